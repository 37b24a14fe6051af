//! What the tests build appends of, and what they ask a server.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use redis_servers::{Address, Connection};
use tokio::task::JoinHandle;
use world_core::*;
use world_redis::RedisWorld;

const T: u64 = 1_700_000_000_000;

pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(T + millis)
}

pub fn run(name: &str) -> LogId {
    LogId::Run(RunId::new(name).unwrap())
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

/// An append of one record.
pub fn append(expected: u64, body: &str, by: By) -> Append {
    let expected = Position::new(expected);
    let body = Sealed::from_stored(body.as_bytes().to_vec());
    let record = Record { position: expected.next(), kind: Kind(7), at: at(0), body };
    Append { expected, records: vec![record], at: at(0), by }
}

pub fn creator(queue_name: &str, due: Due, lease: Option<(Ticket, Timestamp)>) -> By {
    By::Creator(NewRun {
        queue: queue(queue_name),
        workflow: WorkflowName::new("onboard").unwrap(),
        due,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("k1").unwrap(),
        lease,
    })
}

pub fn owner(number: u8, rest: Option<Due>) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: rest.map(Release::driven), tags: None }
}

pub fn claim_of(queue_name: &str, number: u8) -> Claim {
    Claim {
        queues: vec![queue(queue_name)],
        ticket: ticket(number),
        now: at(0),
        until: at(1000),
        limit: NonZeroU32::MIN,
        except: Vec::new(),
    }
}

pub fn committed(head: u64) -> Appended {
    Appended::Committed { head: Position::new(head) }
}

/// Waits for a queue, as long as it takes.
pub fn wait_for_queue(name: &str) -> Wait {
    Wait { queues: vec![queue(name)], logs: Vec::new(), at_most: Duration::from_secs(3600) }
}

/// Waits for a log, as long as it takes.
pub fn wait_for_log(log: &LogId, head: u64) -> Wait {
    let logs = vec![(log.clone(), Position::new(head))];
    Wait { queues: Vec::new(), logs, at_most: Duration::from_secs(3600) }
}

/// Asks until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never comes: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What servers have counted.
pub struct Counts(Vec<Connection>);

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counts of {} servers", self.0.len())
    }
}

impl Counts {
    pub fn of<'a>(servers: impl IntoIterator<Item = &'a Address>) -> Self {
        Self(servers.into_iter().map(|server| server.connect().unwrap()).collect())
    }

    /// How often a command was called, also by scripts.
    pub fn calls(&mut self, command: &str) -> u64 {
        let field = format!("cmdstat_{command}");
        let mut calls = 0;
        for server in &mut self.0 {
            if let Ok(stat) = server.field(&["INFO", "commandstats"], &field) {
                let (_, rest) = stat.split_once("calls=").unwrap();
                calls += rest.split(',').next().unwrap().parse::<u64>().unwrap();
            }
        }
        calls
    }

    /// How many connections are subscribed to a channel.
    pub fn subscribed(&mut self, channel: &str) -> i64 {
        let ask = |server: &mut Connection| {
            let answer = server.command(&["PUBSUB", "NUMSUB", channel]).unwrap();
            answer.array()[1].integer().unwrap()
        };
        self.0.iter_mut().map(ask).sum()
    }

    /// Ends the connections of all clients but these.
    pub fn kill_clients(&mut self) {
        for server in &mut self.0 {
            for kind in ["normal", "pubsub"] {
                server.command(&["CLIENT", "KILL", "TYPE", kind]).unwrap();
            }
        }
    }
}

/// One who waits, and has looked: from now on only what is published tells it, or its next look.
#[derive(Debug)]
pub struct Waiter {
    waits: JoinHandle<Result<()>>,
    look: &'static str,
    looks: u64,
}

impl Waiter {
    /// Begins to wait; `look` is the command with which it looks, `each` how often in one look. A
    /// wait that fails or returns early is begun again.
    pub async fn begin(
        world: &Arc<RedisWorld>,
        wait: Wait,
        look: &'static str,
        each: u64,
        counts: &mut Counts,
    ) -> Self {
        for _ in 0..20 {
            let looks = counts.calls(look) + each;
            let (world, wait) = (Arc::clone(world), wait.clone());
            let waits = tokio::spawn(async move { world.wait(&wait).await });
            until("its look", || counts.calls(look) >= looks || waits.is_finished()).await;
            if !waits.is_finished() {
                return Self { waits, look, looks };
            }
            if let Err(error) = waits.await.unwrap() {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            }
        }
        panic!("no wait lasts");
    }

    /// What others do counts as so many of its looks.
    pub fn expect_more(&mut self, looks: u64) {
        self.looks += looks;
    }

    /// Waits for its end, because its connection is gone: what was published meanwhile is lost.
    pub async fn ends(self) {
        if let Err(error) = self.waits.await.unwrap() {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }

    /// Waits for its end; whether it has looked no more before.
    pub async fn was_told(self, counts: &mut Counts) -> bool {
        self.waits.await.unwrap().unwrap();
        counts.calls(self.look) == self.looks
    }
}
