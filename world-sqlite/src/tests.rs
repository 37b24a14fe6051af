//! Failures that only the inside can bring about: a full database, damaged rows, a lock that
//! another connection holds, a group with a failing member.

use std::{
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Waker},
};

use rusqlite::Connection;
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

/// Polls once, after which the write waits.
fn assert_queued<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.poll(&mut context).is_pending());
}

/// Queues these while the connection is taken, so that they become one group.
async fn as_a_group(world: &SqliteWorld, members: &[(LogId, Append)]) -> Vec<Result<Appended>> {
    let mut futures: Vec<_> =
        members.iter().map(|(log, append)| Box::pin(world.append(log, append))).collect();
    let taken = world.writer.store();
    for future in &mut futures {
        assert_queued(future.as_mut());
    }
    assert_eq!(world.writer.queued(), members.len());
    drop(taken);
    let mut answers = Vec::new();
    // The first to go on leads, and answers the others.
    world.writer.lead();
    for future in futures {
        answers.push(future.await);
    }
    answers
}

fn commits(world: &SqliteWorld) -> i64 {
    world
        .reading(|conn| Ok(conn.query_row("PRAGMA data_version", [], |r| r.get(0)).unwrap()))
        .unwrap()
}

#[tokio::test]
async fn a_group_commits_together() {
    let (world, _dir) = file();
    read(&world, &token("t0")).await.unwrap();
    let before = commits(&world);
    let members: Vec<_> = (0..50).map(|n| (token(&format!("t{n}")), append(0, b"x"))).collect();
    for answer in as_a_group(&world, &members).await {
        assert_eq!(answer.unwrap(), committed(1));
    }
    assert_eq!(commits(&world) - before, 1);
}

#[tokio::test]
async fn a_member_that_fails_before_it_writes_fails_alone() {
    let (world, _dir) = file();
    world.append(&token("bad"), &append(0, b"x")).await.unwrap();
    sql(&world, "UPDATE logs SET head = -1");
    let members =
        ["a", "bad", "b"].map(|name| (token(name), append(u64::from(name == "bad"), b"x")));
    let answers = as_a_group(&world, &members).await;
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    for (answer, log) in [(&answers[0], "a"), (&answers[2], "b")] {
        assert_eq!(*answer.as_ref().unwrap(), committed(1));
        assert_eq!(read(&world, &token(log)).await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn a_member_that_fails_after_it_wrote_fails_alone() {
    let (world, _dir) = file();
    world.append(&token("bad"), &append(0, b"x")).await.unwrap();
    // A record beyond the head: the primary key is the second net (A2).
    sql(&world, "INSERT INTO records SELECT log, 2, 1, 1, x'00' FROM logs");
    let members =
        ["a", "bad", "b"].map(|name| (token(name), append(u64::from(name == "bad"), b"x")));
    let answers = as_a_group(&world, &members).await;
    let error = answers[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("token bad"), "{error}");
    for (answer, log) in [(&answers[0], "a"), (&answers[2], "b")] {
        assert_eq!(*answer.as_ref().unwrap(), committed(1));
        assert_eq!(read(&world, &token(log)).await.unwrap().records.len(), 1);
    }
    assert_eq!(read(&world, &token("bad")).await.unwrap().head, Position::new(1));
}

#[tokio::test]
async fn a_member_that_fills_the_database_fails_alone() {
    let (world, _dir) = file();
    fill(&world);
    let bodies = [vec![1; 10], vec![1; 1 << 20], vec![1; 10]];
    let members: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| (token(&format!("t{n}")), append(0, body)))
        .collect();
    let answers = as_a_group(&world, &members).await;
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(*answers[0].as_ref().unwrap(), committed(1));
    assert_eq!(*answers[2].as_ref().unwrap(), committed(1));
}

#[tokio::test]
async fn a_member_whose_caller_has_gone_harms_nobody() {
    let (world, _dir) = file();
    {
        let taken = world.writer.store();
        let (log, gone) = (token("gone"), append(0, b"x"));
        let mut future = world.append(&log, &gone);
        assert_queued(future.as_mut());
        drop(taken);
    }
    assert_eq!(world.append(&token("t"), &append(0, b"x")).await.unwrap(), committed(1));
    assert_eq!(world.writer.queued(), 0);
    assert_eq!(read(&world, &token("gone")).await.unwrap().head, Position::START);
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
    };
    assert!(world.claim(&claim).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stored_row_that_cannot_be_a_record_is_corrupt_with_its_place() {
    for damage in [
        "UPDATE records SET position = -5 WHERE position = 2",
        "DELETE FROM records WHERE position = 2",
        "UPDATE records SET kind = 65536 WHERE position = 2",
        "UPDATE records SET kind = -1 WHERE position = 2",
        "UPDATE records SET at = -1 WHERE position = 2",
        "UPDATE records SET at = 253402300800000 WHERE position = 2",
        "UPDATE records SET body = zeroblob(1048577) WHERE position = 2",
    ] {
        let (world, _dir) = file();
        for n in 0..3 {
            world.append(&token("t"), &append(n, b"x")).await.unwrap();
        }
        sql(&world, damage);
        let error = read(&world, &token("t")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
        let text = error.to_string();
        assert!(text.contains("token t") && text.contains("position 2"), "{damage}: {text}");
        // The rest of the log is read as before.
        let one = world.read(&token("t"), Position::new(2), NonZeroU32::MIN).await.unwrap();
        assert_eq!(one.records.len(), 1);
    }
}

#[tokio::test]
async fn a_lost_tail_is_corrupt_with_its_place() {
    let (world, _dir) = file();
    for n in 0..3 {
        world.append(&token("t"), &append(n, b"x")).await.unwrap();
    }
    sql(&world, "DELETE FROM records WHERE position > 1");
    let error = read(&world, &token("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("position 2"), "{error}");
}

#[tokio::test]
async fn a_row_that_cannot_be_a_logs_is_corrupt_and_stops_no_other_run() {
    let (world, _dir) = file();
    let create = |due| {
        let new = NewRun {
            queue: Queue::new("q").unwrap(),
            workflow: WorkflowName::new("w").unwrap(),
            due,
            parent: None,
            tags: Vec::new(),
            key: KeyId::new("k").unwrap(),
            lease: None,
        };
        Append { by: By::Creator(new), ..append(0, b"x") }
    };
    for name in ["bad", "good"] {
        let log = LogId::Run(RunId::new(name).unwrap());
        world.append(&log, &create(Due::Now)).await.unwrap();
    }
    for damage in ["head = -1", "base = 9", "last = 65536", "attempt = -1", "ticket = x'00'"] {
        sql(&world, &format!("UPDATE logs SET {damage} WHERE name = 'bad'"));
        let bad = LogId::Run(RunId::new("bad").unwrap());
        let error = world.append(&bad, &append(1, b"y")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
        assert!(error.to_string().contains("run bad"), "{error}");
    }
    let claim = Claim {
        queues: vec![Queue::new("q").unwrap()],
        ticket: Ticket::from_bytes([1; 16]),
        now: Timestamp::ZERO,
        until: Timestamp::MAX,
        limit: NonZeroU32::MIN,
    };
    let leases = world.claim(&claim).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.run.as_str()).collect::<Vec<_>>(), ["good"]);
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

/// The plans of the statements that run often.
#[tokio::test]
async fn no_hot_statement_scans_or_sorts() {
    let (world, _dir) = file();
    let mut store = world.writer.store();
    let conn = store.conn().unwrap();
    for sql in [crate::read::SQL, crate::claim::OLDEST, crate::row::LOAD, crate::claim::ANY_READY] {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![rusqlite::types::Value::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let plan = plan.join(" | ");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN l"), "{sql}: {plan}");
    }
}
