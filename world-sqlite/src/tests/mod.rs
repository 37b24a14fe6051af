//! Failures that only the inside can bring about.

mod faults;
mod group;
mod removal;
mod rows;

use std::num::NonZeroU32;

use tempfile::TempDir;
use world_core::*;

use crate::{Options, SqliteWorld, Synchronous};

fn file() -> (SqliteWorld, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteWorld::open(dir.path().join("w.db"), options()).unwrap(), dir)
}

fn options() -> Options {
    Options::new()
        .synchronous(Synchronous::Normal)
        .busy_timeout(std::time::Duration::from_millis(20))
}

fn token(name: &str) -> LogId {
    LogId::Token(Token::new(name).unwrap())
}

fn append(expected: u64, body: &[u8]) -> Append {
    let at = Timestamp::from_millis(expected);
    let record = Record {
        position: Position::new(expected + 1),
        kind: Kind(1),
        at,
        body: Sealed::from_stored(body.to_vec()),
    };
    Append { expected: Position::new(expected), records: vec![record], at, by: By::Outsider }
}

fn committed(head: u64) -> Appended {
    Appended::Committed { head: Position::new(head) }
}

fn sql(world: &SqliteWorld, sql: &str) {
    // A pragma that sets something may answer; the answer is not looked at.
    world.writer.store().conn().unwrap().execute_batch(sql).unwrap();
}

async fn read(world: &SqliteWorld, log: &LogId) -> Result<Page> {
    world.read(log, Position::START, NonZeroU32::MAX).await
}

/// Stops the database from growing.
fn fill(world: &SqliteWorld) {
    let mut store = world.writer.store();
    let conn = store.conn().unwrap();
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
}

fn creator(due: Due) -> By {
    By::Creator(NewRun {
        queue: Queue::new("q").unwrap(),
        workflow: WorkflowName::new("w").unwrap(),
        due,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("k").unwrap(),
        lease: None,
    })
}
