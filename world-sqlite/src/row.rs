//! A log's small row in the table `logs`: to and from a [`Head`], with every value checked.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use world_core::{
    Error, ErrorKind, Kind, LogId, NewRun, Position, Result, Ticket, Timestamp,
    head::{Class, Head, Run, Turn},
};

use crate::error::{Explain, corrupt};

/// `state` of an open log.
pub(crate) const OPEN: i64 = 0;
/// `state` of a closed run.
pub(crate) const CLOSED: i64 = 1;
/// `state` of a tombstone.
pub(crate) const DELETED: i64 = 2;
/// `due` of a run that is ready.
pub(crate) const READY: i64 = Class::Ready as i64;
/// `due` of a run that is due from a time on: waiting, or leased.
pub(crate) const TIMED: i64 = Class::Timed as i64;

/// A log's id as the columns `kind`, `name`, `stream`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a>(pub(crate) i64, pub(crate) &'a str, pub(crate) &'a str);

impl<'a> Columns<'a> {
    pub(crate) fn of(log: &'a LogId) -> Self {
        let (kind, name, stream) = log.key();
        Self(kind.into(), name, stream)
    }
}

/// A log's row.
#[derive(Debug)]
pub(crate) struct LogRow {
    /// The number its records carry.
    pub(crate) number: i64,
    /// What it says. Of a run, `new` is a stand-in: no ruling on an append, a renewal or a
    /// deletion looks at what a run was created with, so the hot path does not load it.
    pub(crate) head: Head,
}

pub(crate) const LOAD: &str = "SELECT log, head, base, state, last, attempt, due, at, ticket
    FROM logs WHERE name = ?2 AND kind = ?1 AND stream = ?3";

/// Loads a log's row; `new` stands in for what a run was created with.
pub(crate) fn load(conn: &Connection, log: &LogId, new: &Arc<NewRun>) -> Result<Option<LogRow>> {
    let Columns(kind, name, stream) = Columns::of(log);
    let mut statement = conn.prepare_cached(LOAD).about(log)?;
    statement
        .query_row(params![kind, name, stream], |row| {
            Ok((row.get(0)?, head(row, 1, log, kind == 1, || Arc::clone(new))))
        })
        .optional()
        .about(log)?
        .map(|(number, head)| Ok(LogRow { number, head: head? }))
        .transpose()
}

/// Reads `head, base, state, last, attempt, due, at, ticket` from column `first` on.
pub(crate) fn head(
    row: &Row<'_>,
    first: usize,
    log: &LogId,
    is_run: bool,
    new: impl FnOnce() -> Arc<NewRun>,
) -> Result<Head> {
    let number = |column: usize| row.get::<_, i64>(first + column).about(log);
    let bad = |what| corrupt(log, None, what);
    let head = position(number(0)?).ok_or_else(|| bad("a head that is no position"))?;
    let base = position(number(1)?)
        .filter(|base| *base <= head)
        .ok_or_else(|| bad("a base that is no position of the log"))?;
    let state = number(2)?;
    let run = if is_run && state != DELETED {
        Some(Run {
            new: new(),
            // Like `new`: no ruling looks at it.
            created: Timestamp::ZERO,
            last: kind(number(3)?).ok_or_else(|| bad("a kind that is none"))?,
            closed: state == CLOSED,
            attempt: u32::try_from(number(4)?).map_err(|_| bad("an attempt that is none"))?,
            turn: turn(row, first + 5, log)?,
        })
    } else {
        None
    };
    Ok(Head { head, base, deleted: state == DELETED, run })
}

fn turn(row: &Row<'_>, first: usize, log: &LogId) -> Result<Turn> {
    let bad = || corrupt(log, None, "a due time or lease that is none");
    let Some(due) = row.get::<_, Option<i64>>(first).about(log)? else { return Ok(Turn::Parked) };
    let at =
        row.get::<_, Option<i64>>(first + 1).about(log)?.and_then(timestamp).ok_or_else(bad)?;
    let ticket = row.get_ref(first + 2).about(log)?.as_blob_or_null().map_err(|_| bad())?;
    match (due, ticket) {
        (READY, None) => Ok(Turn::Ready { since: at }),
        (TIMED, None) => Ok(Turn::Waiting(at)),
        (TIMED, Some(ticket)) => {
            let ticket = Ticket::from_bytes(ticket.try_into().map_err(|_| bad())?);
            Ok(Turn::Leased { ticket, until: at })
        }
        _ => Err(bad()),
    }
}

/// A turn as the columns `due`, `at`, `ticket`.
pub(crate) type DueColumns = (Option<i64>, Option<i64>, Option<[u8; 16]>);

pub(crate) fn due_columns(turn: &Turn) -> Result<DueColumns> {
    let Some((class, time)) = turn.place() else { return Ok((None, None, None)) };
    let ticket = match turn {
        Turn::Leased { ticket, .. } => Some(*ticket.as_bytes()),
        _ => None,
    };
    Ok((Some(class as i64), Some(millis(time)?), ticket))
}

pub(crate) fn state(head: &Head) -> i64 {
    match &head.run {
        _ if head.deleted => DELETED,
        Some(run) if run.closed => CLOSED,
        _ => OPEN,
    }
}

/// A stored position; `None` when it cannot be one.
pub(crate) fn position(stored: i64) -> Option<Position> {
    u64::try_from(stored).ok().map(Position::new)
}

/// A stored time; `None` when it cannot be one.
pub(crate) fn timestamp(stored: i64) -> Option<Timestamp> {
    let millis = u64::try_from(stored).ok()?;
    (millis <= Timestamp::MAX.as_millis()).then(|| Timestamp::from_millis(millis))
}

/// A stored kind; `None` when it cannot be one.
pub(crate) fn kind(stored: i64) -> Option<Kind> {
    u16::try_from(stored).ok().map(Kind)
}

/// A position to store.
pub(crate) fn number(position: Position) -> Result<i64> {
    i64::try_from(position.get())
        .map_err(|_| Error::new(ErrorKind::TooLarge, "a log with more than 2^63 positions"))
}

/// A time to store.
pub(crate) fn millis(time: Timestamp) -> Result<i64> {
    i64::try_from(time.as_millis())
        .ok()
        .filter(|_| time <= Timestamp::MAX)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "a time after the year 9999"))
}
