//! Taking and renewing leases.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{Connection, params};
use world_core::{
    Claim, Lease, LogId, NewRun, Renewed, Result, RunId, Timestamp,
    head::{self, Head, Turns},
};

use crate::{
    error::Explain,
    row::{self, READY, TIMED},
    store::{Tx, Write},
};

pub(crate) const ANY_READY: &str =
    "SELECT EXISTS (SELECT 1 FROM logs WHERE queue = ?1 AND due = 1)";
pub(crate) const OLDEST: &str =
    "SELECT log, name, at, head, base, state, last, attempt, due, at, ticket
    FROM logs WHERE queue = ?1 AND due = ?2 AND at <= ?3 ORDER BY at, log";

/// The most leases one claim gives.
const LEASES_MAX: usize = 256;

/// Whether any run of these queues is due: the question that takes no write lock.
pub(crate) fn any_due(conn: &Connection, claim: &Claim, blank: &Arc<NewRun>) -> Result<bool> {
    Ok(!oldest(conn, claim, READY, 1, blank)?.is_empty()
        || !oldest(conn, claim, TIMED, 1, blank)?.is_empty())
}

/// Whether any run of these queues is ready, whatever the time.
pub(crate) fn any_ready(conn: &Connection, queues: &[world_core::Queue]) -> Result<bool> {
    let mut statement = conn.prepare_cached(ANY_READY).explain()?;
    for queue in queues {
        if statement.query_row([queue.as_str()], |row| row.get(0)).explain()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A claim.
#[derive(Debug)]
pub(crate) struct ClaimDue {
    pub(crate) claim: Claim,
    pub(crate) turns: Arc<Turns>,
}

impl Write for ClaimDue {
    type Reply = Vec<Lease>;
    type Owned = Self;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Lease>> {
        let limit = usize::try_from(self.claim.limit.get()).unwrap_or(LEASES_MAX).min(LEASES_MAX);
        let ready = oldest(tx.conn, &self.claim, READY, limit, tx.blank)?;
        let timed = oldest(tx.conn, &self.claim, TIMED, limit, tx.blank)?;
        let mut leases = Vec::new();
        for due in self.turns.merge(&self.claim, ready, timed).into_iter().take(limit) {
            if let Some((after, lease)) = head::claim(&due.run, &due.head, &self.claim) {
                store_turn(tx, &LogId::Run(due.run), due.number, &after)?;
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    fn into_owned(self) -> Self {
        self
    }
}

struct DueRun {
    at: i64,
    number: i64,
    run: RunId,
    head: Head,
}

/// The oldest runs of one kind that are due. Of the timed, those that the claim excepts are passed
/// over (rule L6): the rows are read one by one, so that no more of them are than it excepts.
fn oldest(
    conn: &Connection,
    claim: &Claim,
    kind: i64,
    limit: usize,
    blank: &Arc<NewRun>,
) -> Result<Vec<DueRun>> {
    // The ready are due whatever their time.
    let until = if kind == TIMED { row::millis(claim.now)? } else { i64::MAX };
    let mut statement = conn.prepare_cached(OLDEST).explain()?;
    let except: HashSet<&str> = match kind {
        TIMED => claim.except.iter().map(RunId::as_str).collect(),
        _ => HashSet::new(),
    };
    let mut found = Vec::new();
    for (seen, queue) in claim.queues.iter().enumerate() {
        if claim.queues[..seen].contains(queue) {
            continue;
        }
        let mut rows = statement.query(params![queue.as_str(), kind, until]).explain()?;
        let mut of_queue = 0;
        while of_queue < limit
            && let Some(row) = rows.next().explain()?
        {
            if !except.is_empty() && is_one_of(&except, row) {
                continue;
            }
            let new = || Arc::new(NewRun { queue: queue.clone(), ..NewRun::clone(blank) });
            match due_run(row, new) {
                Ok(run) => {
                    found.push(run);
                    of_queue += 1;
                }
                // One bad run does not stop the others.
                Err(error) => tracing::error!(%error, "a due run cannot be claimed"),
            }
        }
    }
    found.sort_by_key(|run| (run.at, run.number));
    found.truncate(limit);
    Ok(found)
}

fn is_one_of(names: &HashSet<&str>, row: &rusqlite::Row<'_>) -> bool {
    let name = row.get_ref(1).ok().and_then(|name| name.as_str().ok());
    name.is_some_and(|name| names.contains(name))
}

fn due_run(row: &rusqlite::Row<'_>, new: impl FnOnce() -> Arc<NewRun>) -> Result<DueRun> {
    let run = RunId::new(row.get::<_, String>(1).explain()?)?;
    let log = LogId::Run(run);
    let head = row::head(row, 3, &log, true, new)?;
    let (number, at) = (row.get(0).about(&log)?, row.get(2).about(&log)?);
    match log {
        LogId::Run(run) => Ok(DueRun { at, number, run, head }),
        LogId::Stream(..) | LogId::Token(_) => Err(crate::error::corrupt(&log, None, "no run")),
    }
}

fn store_turn(tx: &mut Tx<'_>, log: &LogId, number: i64, after: &Head) -> Result<()> {
    let Some(run) = &after.run else { return Ok(()) };
    let (due, at, ticket) = row::due_columns(&run.turn)?;
    tx.change(
        log,
        "UPDATE logs SET attempt = ?2, due = ?3, at = ?4, ticket = ?5 WHERE log = ?1",
        params![number, run.attempt, due, at, ticket],
    )?;
    Ok(())
}

/// A renewal of a lease.
#[derive(Debug)]
pub(crate) struct RenewLease {
    pub(crate) lease: Lease,
    pub(crate) until: Timestamp,
}

impl Write for RenewLease {
    type Reply = Renewed;
    type Owned = Self;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Renewed> {
        let log = LogId::Run(self.lease.run.clone());
        let row = row::load(tx.conn, &log, tx.blank)?;
        let (after, renewed) =
            head::renew(row.as_ref().map(|row| &row.head), &self.lease, self.until);
        if let (Some(row), Some(after)) = (row, after) {
            store_turn(tx, &log, row.number, &after)?;
        }
        Ok(renewed)
    }

    fn into_owned(self) -> Self {
        self
    }
}
