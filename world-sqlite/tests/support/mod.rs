//! What the tests build their logs of.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "names in tests are valid")]

use std::num::NonZeroU32;

use bytes::Bytes;
use tempfile::TempDir;
use world_core::*;
use world_sqlite::{Options, SqliteWorld, Synchronous};

pub const T: u64 = 1_700_000_000_000;

/// A World in a file of its own, and the directory that must outlive it.
pub fn file() -> (SqliteWorld, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(&dir), dir)
}

/// Another World on the same file.
pub fn open(dir: &TempDir) -> SqliteWorld {
    SqliteWorld::open(dir.path().join("w.db"), fast()).unwrap()
}

pub fn fast() -> Options {
    Options::new().synchronous(Synchronous::Normal)
}

pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(T.saturating_add(millis))
}

pub fn position(number: u64) -> Position {
    Position::new(number)
}

pub fn run_id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub fn run(name: &str) -> LogId {
    LogId::Run(run_id(name))
}

pub fn stream(name: &str, stream: &str) -> LogId {
    LogId::Stream(run_id(name), StreamName::new(stream).unwrap())
}

pub fn token(name: &str) -> LogId {
    LogId::Token(Token::new(name).unwrap())
}

pub fn queue(name: &str) -> Queue {
    Queue::new(name).unwrap()
}

pub fn ticket(number: u8) -> Ticket {
    Ticket::from_bytes([number; 16])
}

pub fn record(at_position: u64, body: impl Into<Bytes>) -> Record {
    Record {
        position: position(at_position),
        kind: Kind(7),
        at: at(at_position),
        body: Sealed::from_stored(body.into()),
    }
}

pub fn append(expected: u64, bodies: &[&str], by: By) -> Append {
    let records = (expected + 1..)
        .zip(bodies)
        .map(|(position, body)| record(position, body.as_bytes().to_vec()))
        .collect();
    Append { expected: position(expected), records, at: at(expected), by }
}

pub fn creator(queue_name: &str, due: Due) -> By {
    By::Creator(NewRun {
        queue: queue(queue_name),
        workflow: WorkflowName::new("onboard").unwrap(),
        due,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("k1").unwrap(),
        lease: None,
    })
}

/// A creator that holds the first lease until `until`.
pub fn holder(queue_name: &str, number: u8, until: u64) -> By {
    let By::Creator(mut new) = creator(queue_name, Due::Now) else { unreachable!() };
    new.lease = Some((ticket(number), at(until)));
    By::Creator(new)
}

pub fn owner(number: u8) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: None, tags: None }
}

pub fn closer(number: u8) -> By {
    By::Owner { ticket: ticket(number), close: true, rest: None, tags: None }
}

pub fn rester(number: u8, due: Due) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: Some(Release::driven(due)), tags: None }
}

pub fn claim_of(queues: &[&str], number: u8, now: u64, limit: u32) -> Claim {
    Claim {
        queues: queues.iter().map(|name| queue(name)).collect(),
        ticket: ticket(number),
        now: at(now),
        until: at(now + 1000),
        limit: NonZeroU32::new(limit).unwrap(),
        except: Vec::new(),
    }
}

pub fn committed(head: u64) -> Appended {
    Appended::Committed { head: position(head) }
}

pub fn conflict(head: u64) -> Appended {
    Appended::Conflict { head: position(head) }
}

pub async fn bodies(world: &SqliteWorld, log: &LogId) -> Vec<String> {
    let page = world.read_all(log).await.unwrap();
    assert_eq!(page.head.get(), page.records.last().map_or(page.head.get(), |r| r.position.get()));
    let text = |r: &Record| String::from_utf8_lossy(r.body.as_bytes()).into_owned();
    page.records.iter().map(text).collect()
}

pub async fn do_append(world: &SqliteWorld, log: &LogId, append: &Append) -> Appended {
    world.append(log, append).await.unwrap()
}
