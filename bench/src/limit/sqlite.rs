//! SQLite: one `INSERT` a step, in the peers' table.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rusqlite::{Connection, params};

use super::{Bodies, NUMBER_BYTES, number};
use crate::args::{Case, CaseArgs, Sync};

fn open(case: &CaseArgs, path: &Path) -> Result<Connection> {
    let conn = Connection::open(path)?;
    let level = match case.sync {
        Sync::Full => "FULL",
        Sync::Normal => "NORMAL",
    };
    // As the World sets them.
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", level)?;
    conn.pragma_update(None, "cache_size", -(8 << 10))?;
    conn.pragma_update(None, "wal_autocheckpoint", 1000)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS steps (
            run TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, out BLOB NOT NULL,
            PRIMARY KEY (run, seq)) WITHOUT ROWID",
    )?;
    Ok(conn)
}

/// One step; outside a transaction it is one by itself.
fn insert(conn: &Connection, run: &str, step: usize, body: &[u8]) -> Result<()> {
    conn.prepare_cached("INSERT INTO steps VALUES (?1, ?2, 'inc', ?3)")?.execute(params![
        run,
        step as i64,
        body
    ])?;
    Ok(())
}

/// Measures the raw writes of a case.
pub(super) fn measure(
    case: &CaseArgs,
    dir: &Path,
    bodies: &Bodies,
) -> Result<(Duration, Option<Duration>)> {
    let path = dir.join("limit.db");
    if case.case == Case::W5 {
        return Ok((resume(case, &path, bodies.first()?)?, None));
    }
    let mut conn = open(case, &path)?;
    for step in 0..3 {
        insert(&conn, "warm", step, &[0; NUMBER_BYTES])?;
    }
    let runs: Vec<String> = (0..bodies.0.len()).map(|run| format!("r{run}")).collect();
    let start = Instant::now();
    for (run, step, body) in bodies.interleaved() {
        insert(&conn, &runs[run], step, body)?;
    }
    let wall = start.elapsed();
    let count: i64 =
        conn.query_row("SELECT count(*) FROM steps WHERE run <> 'warm'", [], |row| row.get(0))?;
    ensure!(u64::try_from(count)? == case.steps(), "the limit wrote {count} rows");

    let batch = if case.case == Case::W2 {
        let start = Instant::now();
        let all = conn.transaction()?;
        for (step, body) in bodies.first()?.iter().enumerate() {
            insert(&all, "batch", step, body)?;
        }
        all.commit()?;
        Some(start.elapsed())
    } else {
        None
    };
    Ok((wall, batch))
}

/// Opens the file, reads and decodes every row, and writes one.
fn resume(case: &CaseArgs, path: &Path, bodies: &[Vec<u8>]) -> Result<Duration> {
    {
        let mut conn = open(case, path)?;
        let all = conn.transaction()?;
        for (step, body) in bodies.iter().enumerate() {
            insert(&all, "r", step, body)?;
        }
        all.commit()?;
    }
    let start = Instant::now();
    let conn = open(case, path)?;
    let mut statement = conn.prepare("SELECT seq, out FROM steps WHERE run = ?1 ORDER BY seq")?;
    let mut rows = statement.query(["r"])?;
    let mut sum = 0;
    while let Some(row) = rows.next()? {
        sum += number(row.get_ref(1)?.as_blob()?)?;
    }
    insert(&conn, "r", bodies.len(), b"the last")?;
    let wall = start.elapsed();
    ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other rows than it wrote");
    Ok(wall)
}
