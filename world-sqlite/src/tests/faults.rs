//! A full database, a lock that another connection holds, a transaction left open.

use std::num::NonZeroU32;

use rusqlite::Connection;
use world_core::*;

use super::{append, committed, file, fill, read, sql, token};
use crate::{Options, SqliteWorld};

#[tokio::test]
async fn a1_a_full_database_refuses_with_unavailable_and_loses_nothing() {
    let (world, _dir) = file();
    world.append(&token("t"), &append(0, b"first")).await.unwrap();
    fill(&world);
    let big = append(1, &vec![1; 1 << 20]);
    let error = world.append(&token("t"), &big).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(read(&world, &token("t")).await.unwrap().records, append(0, b"first").records);
    assert_eq!(world.append(&token("t"), &append(1, b"small")).await.unwrap(), committed(2));
    sql(&world, "PRAGMA max_page_count = 1000000");
    let big = append(2, &vec![1; 1 << 20]);
    assert_eq!(world.append(&token("t"), &big).await.unwrap(), committed(3));
}

#[tokio::test]
async fn while_another_process_writes_a_write_waits_and_then_is_unavailable() {
    let (world, dir) = file();
    let other = Connection::open(dir.path().join("w.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..2 {
        let error = world.append(&token("t"), &append(0, b"x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("another process"), "{error}");
    }
    // Reading goes on, and so does writing once the other has finished.
    assert_eq!(read(&world, &token("t")).await.unwrap().head, Position::START);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(world.append(&token("t"), &append(0, b"x")).await.unwrap(), committed(1));
}

#[tokio::test]
async fn a_write_that_waits_for_another_process_is_done_when_that_has_finished() {
    let dir = tempfile::tempdir().unwrap();
    let world = SqliteWorld::open(dir.path().join("w.db"), Options::new()).unwrap();
    let other = Connection::open(dir.path().join("w.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (log, first) = (token("t"), append(0, b"x"));
    let (answer, ()) = tokio::join!(world.append(&log, &first), async {
        // Reached only because the wait does not hold up this thread.
        other.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(answer.unwrap(), committed(1));
}

#[tokio::test]
async fn an_idle_claim_takes_no_write_lock() {
    let (world, dir) = file();
    let other = Connection::open(dir.path().join("w.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let claim = Claim {
        queues: vec![Queue::new("q").unwrap()],
        ticket: Ticket::from_bytes([1; 16]),
        now: Timestamp::MAX,
        until: Timestamp::MAX,
        limit: NonZeroU32::MIN,
        except: Vec::new(),
    };
    assert!(world.claim(&claim).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_database_that_turns_read_only_refuses_and_loses_nothing() {
    let (world, _dir) = file();
    world.append(&token("t"), &append(0, b"x")).await.unwrap();
    sql(&world, "PRAGMA query_only = 1");
    let error = world.append(&token("t"), &append(1, b"y")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsuitable);
    sql(&world, "PRAGMA query_only = 0");
    assert_eq!(world.append(&token("t"), &append(1, b"y")).await.unwrap(), committed(2));
}

#[tokio::test]
async fn a_transaction_left_open_is_undone_before_the_next() {
    let (world, _dir) = file();
    sql(&world, "BEGIN IMMEDIATE; INSERT INTO records VALUES (9, 9, 9, 9, x'00')");
    assert_eq!(world.append(&token("t"), &append(0, b"x")).await.unwrap(), committed(1));
    let mut store = world.writer.store();
    let count: i64 =
        store.conn().unwrap().query_row("SELECT count(*) FROM records", [], |r| r.get(0)).unwrap();
    assert_eq!(count, 1);
}
