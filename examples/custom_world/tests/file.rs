//! What the conformance suite cannot know of: the file under this World.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::{num::NonZeroU32, path::Path, time::Duration};

use redb::{Database, TableDefinition};
use tempfile::tempdir;
use world_core::*;

type LogKey = (u8, &'static str, &'static str);
const HEADS: TableDefinition<LogKey, &[u8]> = TableDefinition::new("heads");
const RECORDS: TableDefinition<(LogKey, u64), &[u8]> = TableDefinition::new("records");

fn run(name: &str) -> LogId {
    LogId::Run(RunId::new(name).unwrap())
}

fn token() -> LogId {
    LogId::Token(Token::new("door").unwrap())
}

/// The append that follows this head; at 0 it makes a run, or a token's log.
fn append(log: &LogId, head: u64) -> Append {
    let (expected, at) = (Position::new(head), Timestamp::from_millis(7));
    let body = Sealed::from_stored(format!("record {}", head + 1).into_bytes());
    let new = NewRun {
        queue: Queue::new("q").unwrap(),
        workflow: WorkflowName::new("w").unwrap(),
        due: Due::Now,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("k").unwrap(),
        lease: None,
    };
    let is_new = head == 0 && matches!(log, LogId::Run(_));
    Append {
        expected,
        records: vec![Record { position: expected.next(), kind: Kind(1), at, body }],
        at,
        by: if is_new { By::Creator(new) } else { By::Outsider },
    }
}

async fn appended(world: &impl World, log: &LogId, head: u64) -> Appended {
    world.append(log, &append(log, head)).await.unwrap()
}

async fn claimed(world: &impl World, number: u8) -> Vec<String> {
    let claim = Claim {
        queues: vec![Queue::new("q").unwrap()],
        ticket: Ticket::from_bytes([number; 16]),
        now: Timestamp::from_millis(10),
        until: Timestamp::from_millis(20),
        limit: NonZeroU32::MIN,
        except: Vec::new(),
    };
    let leases = world.claim(&claim).await.unwrap();
    leases.into_iter().map(|lease| lease.run.as_str().to_owned()).collect()
}

/// Changes the closed file behind the World's back.
fn damage(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let tx_of = Database::create(path).unwrap();
    let tx = tx_of.begin_write().unwrap();
    change(&tx);
    tx.commit().unwrap();
}

#[tokio::test]
async fn what_one_handle_commits_the_other_reads_and_is_woken_by() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("w.redb");
    let (one, other) = (custom_world::open(&path).unwrap(), custom_world::open(&path).unwrap());
    let wait = Wait {
        queues: Vec::new(),
        logs: vec![(token(), Position::START)],
        at_most: Duration::from_secs(3600),
    };
    let token = token();
    let both = async { tokio::join!(one.wait(&wait), appended(&other, &token, 0)) };
    tokio::time::timeout(Duration::from_secs(120), both).await.unwrap().0.unwrap();
    assert_eq!(one.read_all(&token).await.unwrap().records, append(&token, 0).records);
}

#[tokio::test]
async fn what_is_committed_is_there_when_the_file_is_opened_again() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("w.redb");
    for head in 0..5 {
        let world = custom_world::open(&path).unwrap();
        let committed = Appended::Committed { head: Position::new(head + 1) };
        assert_eq!(appended(&world, &token(), head).await, committed);
    }
}

#[tokio::test]
async fn a_call_that_was_dropped_does_not_keep_the_file_from_being_opened_again() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("w.redb");
    let token = token();
    for _ in 0..20 {
        let world = custom_world::open(&path).unwrap();
        let page = world.read_all(&token).await.unwrap();
        tokio::select! {
            biased;
            _ = appended(&world, &token, page.head.get()) => {}
            () = tokio::task::yield_now() => {}
        }
    }
}

#[test]
fn a_file_that_another_process_has_open_is_unavailable() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("w.redb");
    let held = Database::create(&path).unwrap(); // the lock is the same for another process
    let error = custom_world::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("already open"), "{error}");
    drop(held);
    custom_world::open(&path).unwrap();
}

#[test]
fn a_file_that_cannot_be_one_is_an_error_and_is_left_as_it_is() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "buy milk".repeat(10_000)).unwrap();
    assert_eq!(custom_world::open(&path).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(std::fs::read(&path).unwrap(), "buy milk".repeat(10_000).into_bytes());
    assert_eq!(custom_world::open(dir.path()).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_with_its_place_and_no_other_log_suffers() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("w.redb");
    let world = custom_world::open(&path).unwrap();
    for log in [run("a"), run("b"), run("c")] {
        appended(&world, &log, 0).await;
        appended(&world, &log, 1).await;
    }
    drop(world);
    damage(&path, |tx| {
        tx.open_table(HEADS).unwrap().insert(run("a").key(), &b"?"[..]).unwrap();
        let mut records = tx.open_table(RECORDS).unwrap();
        records.insert((run("b").key(), 2), &b"?"[..]).unwrap();
        records.remove((run("c").key(), 1)).unwrap();
    });
    let world = custom_world::open(&path).unwrap();
    for (log, position) in [(run("a"), None), (run("b"), Some(2)), (run("c"), Some(1))] {
        let error = world.read_all(&log).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let found = (error.log_id(), error.at_position().map(Position::get));
        assert_eq!(found, (Some(&log), position), "{error}");
    }
    assert_eq!(claimed(&world, 1).await, ["b"]);
    assert_eq!(claimed(&world, 2).await, ["c"]);
    assert!(claimed(&world, 3).await.is_empty());
}
