//! Reading a page of a log, in one statement.

use std::num::NonZeroU32;

use rusqlite::{Connection, OptionalExtension, params};
use world_core::{LogId, Page, Position, Result};

use crate::{
    append::record,
    error::{Explain, corrupt},
    row::{self, Columns},
};

/// A page takes no further record once it holds this many payload bytes.
const PAGE_BYTES_MAX: usize = 1 << 20;

pub(crate) const SQL: &str = "SELECT l.head, l.base, r.position, r.kind, r.at, r.body
    FROM logs l LEFT JOIN records r
        ON r.log = l.log AND r.position > ?4 AND r.position <= l.head AND l.state <> 2
    WHERE l.name = ?2 AND l.kind = ?1 AND l.stream = ?3
    ORDER BY r.position LIMIT ?5";

/// Reads the records after a position (rules R1 to R3); what is there is checked to be a log.
pub(crate) fn page(
    conn: &Connection,
    log: &LogId,
    after: Position,
    limit: NonZeroU32,
) -> Result<Page> {
    let Columns(kind, name, stream) = Columns::of(log);
    let from = row::number(after).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(SQL).about(log)?;
    let mut rows = statement.query(params![kind, name, stream, from, limit.get()]).about(log)?;
    let mut page = Page { records: Vec::new(), head: Position::START };
    let mut last = after;
    let mut bytes = 0;
    let mut is_cut = false;
    while let Some(row) = rows.next().about(log)? {
        let stored = |column: usize| row.get::<_, i64>(column).about(log).map(row::position);
        if page.records.is_empty() {
            let bad = |what| move || corrupt(log, None, what);
            page.head = stored(0)?.ok_or_else(bad("a head that is no position"))?;
            last = stored(1)?.ok_or_else(bad("a base that is no position"))?.max(after);
        }
        if row.get::<_, Option<i64>>(2).about(log)?.is_none() {
            break;
        }
        let record = record(row, 2, log, last.next())?;
        last = record.position;
        bytes += record.body.as_bytes().len();
        page.records.push(record);
        if bytes >= PAGE_BYTES_MAX {
            is_cut = true;
            break;
        }
    }
    is_cut |= page.records.len() >= limit.get() as usize;
    if last < page.head && !is_cut {
        return Err(corrupt(log, Some(last.next()), "a record is missing"));
    }
    Ok(page)
}

/// Reads a log's head alone.
pub(crate) fn head(conn: &Connection, log: &LogId) -> Result<Position> {
    const SQL: &str = "SELECT head FROM logs WHERE name = ?2 AND kind = ?1 AND stream = ?3";
    let Columns(kind, name, stream) = Columns::of(log);
    let head: Option<i64> = conn
        .prepare_cached(SQL)
        .and_then(|mut sql| sql.query_row(params![kind, name, stream], |row| row.get(0)).optional())
        .about(log)?;
    match head.map(row::position) {
        None => Ok(Position::START),
        Some(head) => head.ok_or_else(|| corrupt(log, None, "a head that is no position")),
    }
}
