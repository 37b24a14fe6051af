//! The contract as code: what an append, claim, renewal or delete does to a log's [`Head`].
//!
//! Pure functions, no I/O. A World over any store with a lock or a transaction loads the head,
//! asks here, and stores what it is told, in the same transaction. The order of the questions is
//! part of the contract (rule A6): the same bytes again, then open, then ticket, then head.
//!
//! ```
//! use std::collections::HashMap;
//! use world_core::{*, head::{self, Head, Ruling, Stored}};
//!
//! #[derive(Default)]
//! struct Logs { heads: HashMap<LogId, Head>, records: HashMap<(LogId, Position), Record> }
//!
//! impl Stored for Logs {
//!     fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
//!         Ok(self.heads.get(log).cloned())
//!     }
//!     fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
//!         Ok(self.records.get(&(log.clone(), position)).cloned())
//!     }
//! }
//!
//! impl Logs {
//!     /// The heart of `World::append`, under the store's lock or in its transaction.
//!     fn append(&mut self, log: &LogId, append: &Append) -> Result<Appended> {
//!         append.check(log, &Limits::LEAST)?;
//!         match head::append(log, append, self)? {
//!             Ruling::Answer(answer) => Ok(answer),
//!             Ruling::Write(head) => {
//!                 let answer = Appended::Committed { head: head.head };
//!                 self.heads.insert(log.clone(), head);
//!                 for record in &append.records {
//!                     self.records.insert((log.clone(), record.position), record.clone());
//!                 }
//!                 Ok(answer)
//!             }
//!         }
//!     }
//! }
//! # let record = Record {
//! #     position: Position::new(1),
//! #     kind: Kind(1),
//! #     at: Timestamp::ZERO,
//! #     body: Sealed::from_stored(&b"opaque"[..]),
//! # };
//! # let at = Timestamp::ZERO;
//! # let append = Append { expected: Position::START, records: vec![record], at, by: By::Outsider };
//! # let log = LogId::Token(Token::new("order-7")?);
//! let (mut logs, committed) = (Logs::default(), Appended::Committed { head: Position::new(1) });
//! assert_eq!(logs.append(&log, &append)?, committed);
//! assert_eq!(logs.append(&log, &append)?, committed); // rule A6
//! # Ok::<(), Error>(())
//! ```
//!
//! # Storing it
//!
//! [`Head`] and [`Record`], and all that they hold, are serde types. **Their encoding is stable**:
//! field and variant names are never changed or used again, and golden tests hold the bytes as
//! MessagePack with field names and as JSON. [`Head::to_bytes`] and [`Record::to_bytes`] give the
//! first; a store of documents may take the second. Whatever is read is checked: a name that is
//! empty or too long, a time after the year 9999 or a field that is not known is an error and no
//! panic. A field that a later version adds is refused by an earlier one, which would lose it
//! when it stores the head again. A store with columns (SQLite) has an encoding of its own.
//!
//! A [`Ticket`] hides itself from `Debug`, not from the store: it has to be there to be compared.

mod encoding;
mod listing;
mod page;
mod run;
mod snapshot;
mod transaction;
mod turns;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{LogId, Position, RunId, Timestamp},
    lease::{Claim, Lease, Renewed, Ticket},
    list::Deleted,
    record::{Append, Appended, By, Kind, Record, Release},
};

pub use listing::{after, list};
pub use page::page;
pub use run::{Class, Place, Run, Turn};
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use turns::Turns;

/// All that a World keeps of a log beside its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The last position; [`Position::START`] for none.
    pub head: Position,
    /// The position before the first record that is kept: a tombstone's head, and with it where
    /// a token log goes on after it was deleted (rule D2); the start of any other log.
    pub base: Position,
    /// A tombstone (rule D2).
    pub deleted: bool,
    /// Of a run's own log, what concerns the run.
    pub run: Option<Run>,
}

impl Head {
    /// Whose turn it is with the run; a log that is not a run's own, and a tombstone, is nobody's.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        self.run.as_ref().map(|run| run.turn)
    }

    /// The key of a run in an index of due runs: queue, class, time in milliseconds, run. In the
    /// order of these keys the runs of a queue and class stand oldest first; [`Turn::place`] gives
    /// class and time. `None` for what wants no worker.
    #[must_use]
    pub fn due_key<'a>(&'a self, log: &'a LogId) -> Option<(&'a str, u8, u64, &'a str)> {
        let (class, time) = self.turn()?.place()?;
        let queue = self.run.as_ref()?.new.queue.as_str();
        Some((queue, class as u8, time.as_millis(), log.run()?.as_str()))
    }
}

/// What a World has to do about an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Change nothing, and answer this.
    Answer(Appended),
    /// Store the append's records and this head in one atomic write, then answer
    /// [`Appended::Committed`] with its head.
    Write(Head),
}

/// Where the head and the records of a log come from, inside the World's lock or transaction.
pub trait Stored {
    /// The head of a log; `None` when it is absent.
    ///
    /// # Errors
    /// The store's own.
    fn head(&mut self, log: &LogId) -> Result<Option<Head>>;

    /// One record, to compare with (rule A6); `None` when it is not kept.
    ///
    /// # Errors
    /// The store's own.
    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>>;
}

/// Rules on an append that has passed [`Append::check`].
///
/// # Errors
/// Those of `stored`.
pub fn append(log: &LogId, append: &Append, stored: &mut impl Stored) -> Result<Ruling> {
    let old = stored.head(log)?;
    let owner = match log {
        LogId::Stream(run, _) => stored.head(&LogId::Run(run.clone()))?,
        LogId::Run(_) | LogId::Token(_) => None,
    };
    let head = old.as_ref().map_or(Position::START, |old| old.head);

    // D2: a deleted run is spent, and its streams with it, whatever is left of them.
    let is_spent = match log {
        LogId::Run(_) => old.as_ref().is_some_and(|old| old.deleted),
        LogId::Stream(..) => owner.as_ref().is_none_or(|owner| owner.deleted),
        LogId::Token(_) => false,
    };
    if is_spent {
        return Ok(Ruling::Answer(Appended::NotOpen));
    }

    // A6: the same bytes again; what lies below the base was deleted, and is the same as nothing.
    if !append.records.is_empty()
        && append.head_after() <= head
        && old.as_ref().is_some_and(|old| old.base <= append.expected)
        && is_same(log, append, stored)?
    {
        return Ok(Ruling::Answer(Appended::Committed { head }));
    }

    // A5: open.
    let run = match log {
        LogId::Run(_) => old.as_ref().and_then(|old| old.run.as_ref()),
        LogId::Stream(..) => owner.as_ref().and_then(|owner| owner.run.as_ref()),
        LogId::Token(_) => None,
    };
    let is_open = match (log, run) {
        (LogId::Token(_), _) => true,
        (_, Some(run)) => !run.closed || append.records.is_empty(),
        (_, None) => matches!(append.by, By::Creator(_)),
    };
    if !is_open {
        return Ok(Ruling::Answer(Appended::NotOpen));
    }

    // L3: the ticket.
    if let By::Owner { ticket, .. } = &append.by
        && run.and_then(Run::ticket) != Some(*ticket)
    {
        return Ok(Ruling::Answer(Appended::Fenced));
    }

    // A2: the head.
    if append.expected != head {
        return Ok(Ruling::Answer(Appended::Conflict { head }));
    }

    let run = match log {
        LogId::Run(_) => Some(run_after(append, run)?),
        LogId::Stream(..) | LogId::Token(_) => None,
    };
    let base = old.as_ref().map_or(Position::START, |old| old.base);
    Ok(Ruling::Write(Head { head: append.head_after(), base, deleted: false, run }))
}

fn is_same(log: &LogId, append: &Append, stored: &mut impl Stored) -> Result<bool> {
    for record in &append.records {
        if stored.record(log, record.position)?.as_ref() != Some(record) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The claims after progress: the one under way, which counts while its lease lasts (rule L5).
const PROGRESS: u32 = 1;

fn run_after(append: &Append, run: Option<&Run>) -> Result<Run> {
    let last = append.records.last().map(|record| record.kind);
    match (&append.by, run) {
        (By::Creator(new), None) => Ok(Run {
            new: Arc::new(new.clone()),
            created: append.at,
            last: last.unwrap_or(Kind(0)),
            closed: false,
            attempt: u32::from(new.lease.is_some()),
            turn: match new.lease {
                Some((ticket, until)) => Turn::Leased { ticket, until },
                None => Turn::rest(new.due, append.at),
            },
        }),
        (By::Outsider, Some(run)) => {
            let turn = match run.turn {
                // L4 leaves a lease as it is; L2 keeps a ready run's age, however often it is woken.
                turn @ (Turn::Leased { .. } | Turn::Ready { .. }) => turn,
                Turn::Waiting(_) | Turn::Parked => Turn::Ready { since: append.at },
            };
            Ok(Run { last: last.unwrap_or(run.last), turn, ..run.clone() })
        }
        (By::Owner { close, rest, tags, .. }, Some(run)) => {
            let mut run = run.clone();
            run.last = last.unwrap_or(run.last);
            run.closed |= close;
            if let Some(tags) = tags {
                Arc::make_mut(&mut run.new).tags.clone_from(tags);
            }
            // L5: what a worker notes about a run that it cannot drive is no progress.
            run.attempt = match rest {
                Some(Release { driven: true, .. }) => 0,
                Some(Release { driven: false, .. }) => run.attempt.saturating_sub(1),
                None if append.records.is_empty() => run.attempt,
                None => PROGRESS,
            };
            if let Some(Release { due, .. }) = rest {
                run.turn = Turn::rest(*due, append.at);
            }
            Ok(run)
        }
        (By::Creator(_), Some(_)) | (_, None) => {
            Err(Error::new(ErrorKind::Corrupt, "a log's head does not fit its records"))
        }
    }
}

/// The append that a running workflow makes nearly always, as a condition and a change: its
/// owner's, with records, and neither closing, resting nor tagging.
///
/// Where a run's log is open, its head is [`Append::expected`] and its ticket is `ticket`,
/// [`append`] rules to write what this says and leaves all else as it is. In every other case ask
/// [`append`]. It is for a store that can test and change a row in one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The ticket that must be the current one.
    pub ticket: Ticket,
    /// The head to store.
    pub head: Position,
    /// The kind of the run's last record, to store.
    pub last: Kind,
    /// The claims to store (rule L5).
    pub attempt: u32,
}

impl Plain {
    /// What an append that has passed [`Append::check`] says, if it is a plain one to a run's log.
    #[must_use]
    pub fn of(log: &LogId, append: &Append) -> Option<Self> {
        let (LogId::Run(_), By::Owner { ticket, close: false, rest: None, tags: None }) =
            (log, &append.by)
        else {
            return None;
        };
        let last = append.records.last()?.kind;
        Some(Self { ticket: *ticket, head: append.head_after(), last, attempt: PROGRESS })
    }
}

/// Rules on a claim of one run: the head to store and the lease to give, or `None` when the run
/// is not due or the claimer stands back from it (rules L1, L2, L5, L6).
#[must_use]
pub fn claim(run: &RunId, head: &Head, claim: &Claim) -> Option<(Head, Lease)> {
    let state = head.run.as_ref()?;
    if head.deleted || !state.turn.is_due(claim.now) || !claim.queues.contains(&state.new.queue) {
        return None;
    }
    if claim.except.contains(run) && matches!(state.turn.place(), Some((Class::Timed, _))) {
        return None;
    }
    let attempt = state.attempt.saturating_add(1);
    let turn = Turn::Leased { ticket: claim.ticket, until: claim.until };
    let after = Head { run: Some(Run { attempt, turn, ..state.clone() }), ..head.clone() };
    let lease = Lease {
        run: run.clone(),
        ticket: claim.ticket,
        attempt,
        until: claim.until,
        head: head.head,
        closed: state.closed,
    };
    Some((after, lease))
}

/// Rules on a renewal: the head to store, if the lease is the current one (rule L3).
#[must_use]
pub fn renew(head: Option<&Head>, lease: &Lease, until: Timestamp) -> (Option<Head>, Renewed) {
    let Some(old) = head.filter(|head| !head.deleted) else { return (None, Renewed::Lost) };
    match &old.run {
        Some(run) if run.ticket() == Some(lease.ticket) => {
            let turn = Turn::Leased { ticket: lease.ticket, until };
            let after = Head { run: Some(Run { turn, ..run.clone() }), ..old.clone() };
            (Some(after), Renewed::Held { head: old.head })
        }
        _ => (None, Renewed::Lost),
    }
}

/// Rules on a deletion: the tombstone to store before anything is removed (rules D1, D2). With
/// `Done` and no tombstone, what an earlier try has left is to be removed.
///
/// # Errors
/// `Invalid` for a stream, which goes with its run.
pub fn delete(
    log: &LogId,
    head: Option<&Head>,
    stated: Position,
) -> Result<(Option<Head>, Deleted)> {
    if let LogId::Stream(..) = log {
        return Err(
            Error::new(ErrorKind::Invalid, "a stream is deleted with its run").log(log.clone())
        );
    }
    Ok(match head {
        None => (None, Deleted::Absent),
        Some(head) if head.deleted => (None, Deleted::Done),
        Some(head) if head.head != stated || head.run.as_ref().is_some_and(|run| !run.closed) => {
            (None, Deleted::Open)
        }
        Some(head) => (
            Some(Head { head: head.head, base: head.head, deleted: true, run: None }),
            Deleted::Done,
        ),
    })
}

#[cfg(test)]
pub(crate) mod tests;
