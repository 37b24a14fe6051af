//! Listing runs, in the order they were created in.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use world_core::{
    Cursor, Error, ErrorKind, KeyId, List, LogId, NewRun, Queue, Result, RunId, RunMeta, RunPage,
    Tag, WorkflowName,
    head::{Head, Run},
};

use crate::{
    error::{Explain, corrupt},
    row,
};

/// The most runs of a page.
const RUNS_MAX: usize = 1000;
/// The most logs looked at for a page; it ends there, though more may match.
const SCANNED_MAX: i64 = 1 << 14;
/// The first byte of a cursor; the log's number follows.
const CURSOR_VERSION: u8 = 1;

macro_rules! sql {
    ($from:literal) => {
        concat!(
            "SELECT r.log, l.name, r.workflow, l.queue, r.parent, r.tags, r.created, r.key,
                l.head, l.base, l.state, l.last, l.attempt, l.due, l.at, l.ticket FROM ",
            $from,
            " WHERE r.log > ?1 AND r.log <= ?2 AND (?3 IS NULL OR l.queue = ?3)
                AND (?4 IS NULL OR r.workflow = ?4) AND (?5 IS NULL OR l.last = ?5)
            ORDER BY r.log"
        )
    };
}

const BY_NUMBER: &str = sql!("runs r CROSS JOIN logs l ON l.log = r.log");
const BY_TAG: &str = sql!(
    "tags t CROSS JOIN runs r ON t.tag = ?6 AND t.log = r.log CROSS JOIN logs l ON l.log = r.log"
);

/// Reads a page of a listing (rule R4): a run's number never changes and is never used again.
pub(crate) fn page(conn: &Connection, list: &List) -> Result<RunPage> {
    let after = list.after.as_ref().map_or(Ok(0), after)?;
    let limit = usize::try_from(list.limit.get()).unwrap_or(RUNS_MAX).min(RUNS_MAX);
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(log) FROM runs")
        .and_then(|mut sql| sql.query_row([], |row| row.get(0)))
        .explain()?;
    let last = last.unwrap_or(0);
    let until = after.saturating_add(SCANNED_MAX);
    let mut runs = Vec::new();

    let queue = list.queue.as_ref().map(Queue::as_str);
    let workflow = list.workflow.as_ref().map(WorkflowName::as_str);
    let kind = list.last.map(|kind| kind.0);
    let mut statement =
        conn.prepare_cached(if list.tags.is_empty() { BY_NUMBER } else { BY_TAG }).explain()?;
    let mut rows = match list.tags.first() {
        None => statement.query(params![after, until, queue, workflow, kind]),
        Some(tag) => statement.query(params![after, until, queue, workflow, kind, tag.as_bytes()]),
    }
    .explain()?;
    while let Some(row) = rows.next().explain()? {
        let number: i64 = row.get(0).explain()?;
        let run = meta(row)?;
        if !list.matches(&run) {
            continue;
        }
        runs.push(run);
        if runs.len() == limit {
            return Ok(RunPage { runs, next: (number < last).then(|| cursor(number)) });
        }
    }
    Ok(RunPage { runs, next: (until < last).then(|| cursor(until)) })
}

fn cursor(number: i64) -> Cursor {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend(number.to_be_bytes());
    Cursor::from_bytes(bytes)
}

fn after(cursor: &Cursor) -> Result<i64> {
    let invalid = || {
        Error::new(ErrorKind::Invalid, "a cursor that no SQLite World gave")
            .help("start the listing again without one")
    };
    let (&CURSOR_VERSION, number) = cursor.as_bytes().split_first().ok_or_else(invalid)? else {
        return Err(invalid());
    };
    let number = i64::from_be_bytes(number.try_into().map_err(|_| invalid())?);
    if number < 0 { Err(invalid()) } else { Ok(number) }
}

fn meta(row: &Row<'_>) -> Result<RunMeta> {
    let run = RunId::new(row.get::<_, String>(1).explain()?)?;
    let log = LogId::Run(run);
    let bad = |what| corrupt(&log, None, what);
    let text = |column: usize| row.get::<_, String>(column).about(&log);
    let tags: Vec<u8> = row.get(5).about(&log)?;
    let new = NewRun {
        queue: Queue::new(text(3)?)?,
        workflow: WorkflowName::new(text(2)?)?,
        due: world_core::Due::Never,
        parent: row.get::<_, Option<String>>(4).about(&log)?.map(RunId::new).transpose()?,
        tags: tags
            .chunks(size_of::<Tag>())
            .map(|tag| Ok(Tag::from_bytes(tag.try_into()?)))
            .collect::<Result<_, std::array::TryFromSliceError>>()
            .map_err(|_| bad("tags of a size that none have"))?,
        key: KeyId::new(text(7)?)?,
        lease: None,
    };
    let created = row::timestamp(row.get(6).about(&log)?)
        .ok_or_else(|| bad("a creation time that is none"))?;
    match row::head(row, 8, &log, true, || Arc::new(new))? {
        Head { head, run: Some(run), .. } => {
            let LogId::Run(id) = log else { return Err(corrupt(&log, None, "no run")) };
            Ok(Run { created, ..run }.meta(id, head))
        }
        Head { run: None, .. } => Err(corrupt(&log, None, "a deleted run that is still listed")),
    }
}
