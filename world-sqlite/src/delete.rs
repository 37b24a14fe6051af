//! Deleting: a tombstone first, then what it hides, a bounded piece at a time.

use rusqlite::{OptionalExtension, params};
use world_core::{Deleted, LogId, Position, Result, head};

use crate::{
    error::Explain,
    row::{self, Columns, DELETED},
    store::{Tx, Write},
    wait::Topic,
};

/// The most records one transaction removes.
const REMOVED_MAX: i64 = 512;

/// A deletion; it is repeated while there is more to remove.
#[derive(Clone, Debug)]
pub(crate) struct DeleteLog {
    pub(crate) log: LogId,
    pub(crate) head: Position,
}

/// What a deletion has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) deleted: Deleted,
    /// Whether records are left that nobody sees any more.
    pub(crate) is_more: bool,
}

impl Write for DeleteLog {
    type Reply = Progress;
    type Owned = Self;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Progress> {
        let log = &self.log;
        let row = row::load(tx.conn, log, tx.blank)?;
        let (tombstone, deleted) = head::delete(log, row.as_ref().map(|row| &row.head), self.head)?;
        let (Some(row), Deleted::Done) = (row, deleted) else {
            return Ok(Progress { deleted, is_more: false });
        };
        if let Some(tombstone) = tombstone {
            hide(tx, log, row.number, &tombstone)?;
            tx.touch(Topic::Log(log.clone()));
        }
        let is_more = !remove(tx, log, row.number)?;
        Ok(Progress { deleted, is_more })
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// Stores the tombstone, and hides a run's streams with it.
fn hide(tx: &mut Tx<'_>, log: &LogId, number: i64, tombstone: &head::Head) -> Result<()> {
    tx.change(
        log,
        "UPDATE logs SET head = ?2, base = ?3, state = ?4, last = 0, attempt = 0,
            queue = NULL, due = NULL, at = NULL, ticket = NULL WHERE log = ?1",
        params![number, row::number(tombstone.head)?, row::number(tombstone.base)?, DELETED],
    )?;
    let LogId::Run(run) = log else { return Ok(()) };
    tx.change(
        log,
        "UPDATE logs SET state = ?2, head = 0, base = 0 WHERE name = ?1 AND kind = 2",
        params![run.as_str(), DELETED],
    )?;
    let sql = "DELETE FROM runs WHERE log = ?1 RETURNING tags";
    tx.wrote = true;
    let tags: Option<Vec<u8>> = tx
        .conn
        .prepare_cached(sql)
        .and_then(|mut sql| sql.query_row([number], |row| row.get(0)).optional())
        .about(log)?;
    tx.forget_tags(log, number, &tags.unwrap_or_default())
}

/// Removes at most [`REMOVED_MAX`] records of what is hidden; `true` when nothing is left.
fn remove(tx: &mut Tx<'_>, log: &LogId, number: i64) -> Result<bool> {
    let Columns(_, name, _) = Columns::of(log);
    let mut budget = REMOVED_MAX;
    if let LogId::Run(_) = log {
        let sql = "SELECT log FROM logs WHERE name = ?1 AND kind = 2 LIMIT 1";
        while let Some(stream) = tx
            .conn
            .prepare_cached(sql)
            .and_then(|mut sql| sql.query_row([name], |row| row.get::<_, i64>(0)).optional())
            .about(log)?
        {
            if budget == 0 || !remove_records(tx, log, stream, &mut budget)? {
                return Ok(false);
            }
            tx.change(log, "DELETE FROM logs WHERE log = ?1", [stream])?;
            budget = (budget - 1).max(0);
        }
    }
    remove_records(tx, log, number, &mut budget)
}

fn remove_records(tx: &mut Tx<'_>, log: &LogId, number: i64, budget: &mut i64) -> Result<bool> {
    let sql = "DELETE FROM records WHERE log = ?1 AND position IN
        (SELECT position FROM records WHERE log = ?1 ORDER BY position LIMIT ?2)";
    let removed = tx.change(log, sql, params![number, *budget])?;
    let removed = i64::try_from(removed).unwrap_or(*budget);
    *budget -= removed;
    if *budget > 0 {
        return Ok(true);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM records WHERE log = ?1)";
    let is_more: bool = tx
        .conn
        .prepare_cached(sql)
        .and_then(|mut sql| sql.query_row([number], |row| row.get(0)))
        .about(log)?;
    Ok(!is_more)
}
