//! Appending: the head's ruling, asked and stored in one transaction.

use std::borrow::Cow;

use rusqlite::{OptionalExtension, params};
use world_core::{
    Append, Appended, By, LogId, NewRun, Position, Queue, Record, Result, RunId, Sealed, Tag,
    head::{self, Head, Plain, Ruling, Run, Stored, Turn},
};

use crate::{
    error::{Explain, corrupt},
    row::{self, Columns, DueColumns, LogRow},
    store::{Tx, Write},
    wait::Topic,
};

/// An append to a log.
#[derive(Debug)]
pub(crate) struct AppendTo<'a> {
    pub(crate) log: Cow<'a, LogId>,
    pub(crate) append: Cow<'a, Append>,
}

impl Write for AppendTo<'_> {
    type Reply = Appended;
    type Owned = AppendTo<'static>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Appended> {
        let (log, append) = (self.log.as_ref(), self.append.as_ref());
        if let LogId::Run(run) = log
            && let Some(plain) = Plain::of(log, append)
            && let Some(number) = update_plain(tx, run, log, append.expected, &plain)?
        {
            for record in &append.records {
                insert_record(tx, log, number, record)?;
            }
            tx.touch(Topic::Log(log.clone()));
            return Ok(Appended::Committed { head: plain.head });
        }
        let mut loaded = Loaded { tx, log, number: None, turn: None };
        let after = match head::append(log, append, &mut loaded)? {
            Ruling::Answer(answer) => return Ok(answer),
            Ruling::Write(after) => after,
        };
        let (number, turn) = (loaded.number, loaded.turn);
        let number = match (number, &append.by) {
            (None, by) => insert(tx, log, &after, by)?,
            (Some(number), by) => {
                update(tx, log, number, &after, turn)?;
                if let By::Owner { tags: Some(tags), .. } = by {
                    retag(tx, log, number, tags)?;
                }
                number
            }
        };
        if let (LogId::Run(run), By::Owner { rest: None, .. }) = (log, &append.by) {
            tx.remember(run, number);
        }
        for record in &append.records {
            insert_record(tx, log, number, record)?;
        }
        tx.touch(Topic::Log(log.clone()));
        Ok(Appended::Committed { head: after.head })
    }

    fn into_owned(self) -> AppendTo<'static> {
        AppendTo {
            log: Cow::Owned(self.log.into_owned()),
            append: Cow::Owned(self.append.into_owned()),
        }
    }

    fn bytes(&self) -> usize {
        self.append.records.iter().map(|record| record.body.as_bytes().len()).sum()
    }
}

/// What the ruling asks for, and what is remembered of it.
struct Loaded<'a, 'tx> {
    tx: &'a Tx<'tx>,
    log: &'a LogId,
    /// The log's number, once its row was there.
    number: Option<i64>,
    /// The run's turn before this append.
    turn: Option<Turn>,
}

impl Stored for Loaded<'_, '_> {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        let Some(LogRow { number, head }) = row::load(self.tx.conn, log, self.tx.blank)? else {
            return Ok(None);
        };
        if log == self.log {
            self.number = Some(number);
            self.turn = head.run.as_ref().map(|run| run.turn);
        }
        Ok(Some(head))
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        let (Some(number), Ok(at)) = (self.number, row::number(position)) else { return Ok(None) };
        let sql = "SELECT position, kind, at, body FROM records WHERE log = ?1 AND position = ?2";
        let mut statement = self.tx.conn.prepare_cached(sql).about(log)?;
        statement
            .query_row(params![number, at], |row| Ok(record(row, 0, log, position)))
            .optional()
            .about(log)?
            .transpose()
    }
}

/// Reads `position, kind, at, body` from column `first` on, of the record that stands at `expected`.
pub(crate) fn record(
    row: &rusqlite::Row<'_>,
    first: usize,
    log: &LogId,
    expected: Position,
) -> Result<Record> {
    let bad = |what| corrupt(log, Some(expected), what);
    let number = |column: usize| {
        row.get::<_, i64>(first + column).map_err(|_| bad("a record's number is none"))
    };
    let position = row::position(number(0)?).filter(|position| *position == expected);
    let kind = row::kind(number(1)?).ok_or_else(|| bad("a record's kind is none"))?;
    let at = row::timestamp(number(2)?).ok_or_else(|| bad("a record's time is none"))?;
    let body = row
        .get_ref(first + 3)
        .ok()
        .and_then(|value| value.as_blob().ok())
        .ok_or_else(|| bad("a record's body is no bytes"))?;
    if body.len() > crate::LIMITS.record_bytes_max {
        return Err(bad("a record's body is larger than any that is written"));
    }
    Ok(Record {
        position: position.ok_or_else(|| bad("a record is missing"))?,
        kind,
        at,
        body: Sealed::from_stored(bytes::Bytes::copy_from_slice(body)),
    })
}

fn insert_record(tx: &mut Tx<'_>, log: &LogId, number: i64, record: &Record) -> Result<()> {
    tx.change(
        log,
        "INSERT INTO records (log, position, kind, at, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            number,
            row::number(record.position)?,
            record.kind.0,
            row::millis(record.at)?,
            record.body.as_bytes()
        ],
    )?;
    Ok(())
}

pub(crate) const UPDATE_PLAIN: &str = "UPDATE logs SET head = ?5, last = ?6, attempt = ?7
    WHERE log = ?1 AND name = ?2 AND kind = 1 AND head = ?3 AND ticket = ?4 AND state = 0";

/// Stores the head of a plain append where its condition holds: the question and the answer in
/// one statement. `None`, and nothing is changed, where it does not.
fn update_plain(
    tx: &mut Tx<'_>,
    run: &RunId,
    log: &LogId,
    expected: Position,
    plain: &Plain,
) -> Result<Option<i64>> {
    let Some(number) = tx.numbers.get(run).copied() else { return Ok(None) };
    let (Ok(expected), Ok(head)) = (row::number(expected), row::number(plain.head)) else {
        return Ok(None);
    };
    let (ticket, Plain { last, attempt, .. }) = (plain.ticket.as_bytes(), plain);
    let values = params![number, run.as_str(), expected, ticket, head, last.0, attempt];
    let changed = tx
        .conn
        .prepare_cached(UPDATE_PLAIN)
        .and_then(|mut update| update.execute(values))
        .about(log)?;
    tx.wrote |= changed > 0;
    Ok((changed > 0).then_some(number))
}

/// Stores the head of a log that is there; only a changed turn touches the index of due runs.
fn update(
    tx: &mut Tx<'_>,
    log: &LogId,
    number: i64,
    after: &Head,
    before: Option<Turn>,
) -> Result<()> {
    let (last, attempt) = after.run.as_ref().map_or((0, 0), |run| (run.last.0, run.attempt));
    let (head, base, state) =
        (row::number(after.head)?, row::number(after.base)?, row::state(after));
    match &after.run {
        Some(run) if Some(run.turn) != before => {
            let (due, at, ticket) = row::due_columns(&run.turn)?;
            tx.change(
                log,
                "UPDATE logs SET head = ?2, base = ?3, state = ?4, last = ?5, attempt = ?6,
                    due = ?7, at = ?8, ticket = ?9 WHERE log = ?1",
                params![number, head, base, state, last, attempt, due, at, ticket],
            )?;
            if let Turn::Ready { .. } = run.turn {
                let sql = "SELECT queue FROM logs WHERE log = ?1";
                let queue: String = tx
                    .conn
                    .prepare_cached(sql)
                    .and_then(|mut sql| sql.query_row([number], |row| row.get(0)))
                    .about(log)?;
                tx.touch(Topic::Queue(Queue::new(queue)?));
            }
        }
        _ => {
            tx.change(
                log,
                "UPDATE logs SET head = ?2, base = ?3, state = ?4, last = ?5, attempt = ?6
                    WHERE log = ?1",
                params![number, head, base, state, last, attempt],
            )?;
        }
    }
    Ok(())
}

fn insert(tx: &mut Tx<'_>, log: &LogId, after: &Head, by: &By) -> Result<i64> {
    let Columns(kind, name, stream) = Columns::of(log);
    let run = match (&after.run, by) {
        (Some(run), By::Creator(new)) => Some((run, new)),
        _ => None,
    };
    let (due, at, ticket): DueColumns = match run {
        Some((run, _)) => row::due_columns(&run.turn)?,
        None => (None, None, None),
    };
    tx.change(
        log,
        "INSERT INTO logs (kind, name, stream, head, base, state, last, attempt, queue, due, at, ticket)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            kind,
            name,
            stream,
            row::number(after.head)?,
            row::number(after.base)?,
            row::state(after),
            run.map_or(0, |(run, _)| run.last.0),
            run.map_or(0, |(run, _)| run.attempt),
            run.map(|(_, new)| new.queue.as_str()),
            due,
            at,
            ticket
        ],
    )?;
    let number = tx.conn.last_insert_rowid();
    if let Some((run, new)) = run {
        insert_run(tx, log, number, run, new)?;
    }
    Ok(number)
}

fn insert_run(tx: &mut Tx<'_>, log: &LogId, number: i64, run: &Run, new: &NewRun) -> Result<()> {
    tx.change(
        log,
        "INSERT INTO runs (log, workflow, parent, created, key, tags)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            number,
            new.workflow.as_str(),
            new.parent.as_ref().map(|parent| parent.as_str()),
            row::millis(run.created)?,
            new.key.as_str(),
            tag_bytes(&new.tags)
        ],
    )?;
    insert_tags(tx, log, number, &new.tags)?;
    if let Turn::Ready { .. } = run.turn {
        tx.touch(Topic::Queue(new.queue.clone()));
    }
    Ok(())
}

fn retag(tx: &mut Tx<'_>, log: &LogId, number: i64, tags: &[Tag]) -> Result<()> {
    let old: Vec<u8> = tx
        .conn
        .prepare_cached("SELECT tags FROM runs WHERE log = ?1")
        .and_then(|mut sql| sql.query_row([number], |row| row.get(0)))
        .about(log)?;
    tx.forget_tags(log, number, &old)?;
    tx.change(log, "UPDATE runs SET tags = ?2 WHERE log = ?1", params![number, tag_bytes(tags)])?;
    insert_tags(tx, log, number, tags)
}

fn insert_tags(tx: &mut Tx<'_>, log: &LogId, number: i64, tags: &[Tag]) -> Result<()> {
    for tag in tags {
        let sql = "INSERT OR IGNORE INTO tags (tag, log) VALUES (?1, ?2)";
        tx.change(log, sql, params![tag.as_bytes(), number])?;
    }
    Ok(())
}

fn tag_bytes(tags: &[Tag]) -> Vec<u8> {
    tags.iter().flat_map(Tag::as_bytes).copied().collect()
}
