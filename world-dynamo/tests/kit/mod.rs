//! What the tests build appends of, and the Worlds that they try.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

pub mod wire;

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use dynamodb_servers::{aws_sdk_dynamodb::Client, builder, client, shared};
use wire::Wire;
use world_core::*;
use world_dynamo::{DynamoWorld, Options};

/// How long a request may take whose time does not matter.
const LONG: Duration = Duration::from_secs(20);

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

pub fn stream(run: &str, name: &str) -> LogId {
    LogId::Stream(RunId::new(run).unwrap(), StreamName::new(name).unwrap())
}

pub fn ticket(number: u8) -> Ticket {
    Ticket::from_bytes([number; 16])
}

/// An append of these bodies.
pub fn append_all(expected: u64, bodies: &[Vec<u8>], by: By) -> Append {
    let expected = Position::new(expected);
    let records = bodies.iter().zip(1..).map(|(body, number)| Record {
        position: expected.plus(number),
        kind: Kind(7),
        at: at(0),
        body: Sealed::from_stored(body.clone()),
    });
    Append { expected, records: records.collect(), at: at(0), by }
}

/// An append of one record.
pub fn append(expected: u64, body: &str, by: By) -> Append {
    append_all(expected, &[body.as_bytes().to_vec()], by)
}

/// A body that is long enough for a batch item of its own.
pub fn long(letter: char) -> String {
    letter.to_string().repeat(5000)
}

/// A run that its creator holds, with ticket 1.
pub fn held() -> By {
    creator(Due::Now, Some((ticket(1), at(1000))))
}

pub fn creator(due: Due, lease: Option<(Ticket, Timestamp)>) -> By {
    By::Creator(NewRun {
        queue: Queue::new("q").unwrap(),
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

/// The owner with ticket 1, as it closes its run.
pub fn closer() -> By {
    By::Owner {
        ticket: ticket(1),
        close: true,
        rest: Some(Release::driven(Due::Never)),
        tags: None,
    }
}

pub fn claim(number: u8, limit: u32) -> Claim {
    Claim {
        queues: vec![Queue::new("q").unwrap()],
        ticket: ticket(number),
        now: at(0),
        until: at(1000),
        limit: NonZeroU32::new(limit).unwrap(),
        except: Vec::new(),
    }
}

pub fn lease(name: &str, number: u8) -> Lease {
    Lease {
        run: RunId::new(name).unwrap(),
        ticket: ticket(number),
        attempt: 1,
        until: at(1000),
        head: Position::new(1),
        closed: false,
    }
}

pub fn committed(head: u64) -> Appended {
    Appended::Committed { head: Position::new(head) }
}

/// The bodies of a log's records, as text, each shortened to its first letter.
pub async fn letters(world: &DynamoWorld, log: &LogId) -> String {
    let page = world.read_all(log).await.unwrap();
    let numbers: Vec<_> = page.records.iter().map(|record| record.position.get()).collect();
    assert_eq!(numbers, (1..=page.head.get()).collect::<Vec<_>>(), "{log}");
    page.records.iter().map(|record| char::from(record.body.as_bytes()[0])).collect()
}

/// A World in a table of its own on the shared server, and two doors to it: one whose wire can be
/// disturbed, and one that is quiet.
pub struct Scene {
    pub wire: Wire,
    pub world: DynamoWorld,
    pub quiet: DynamoWorld,
    pub client: Client,
    pub table: String,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scene({})", self.table)
    }
}

impl Scene {
    /// A further World on the same table, whose wire can be disturbed too.
    pub async fn another(&self, timeout: Duration) -> (Wire, DynamoWorld) {
        let wire = Wire::default();
        let config = builder(&shared().unwrap()).http_client(wire.clone()).build();
        let client = Client::from_conf(config);
        let options = Options::new().poll(Duration::from_millis(10)).timeout(timeout);
        let world = DynamoWorld::from_client(&client, &self.table, options).await.unwrap();
        (wire, world)
    }

    pub async fn new() -> Self {
        Self::within(LONG).await
    }

    /// The same, with the longest that a request with all its tries may take.
    pub async fn within(timeout: Duration) -> Self {
        let endpoint = shared().unwrap();
        let (table, client) = (fresh_table(), client(&endpoint));
        let quick = |timeout| Options::new().poll(Duration::from_millis(10)).timeout(timeout);
        DynamoWorld::create_table(&client, &table, Options::new()).await.unwrap();
        let wire = Wire::default();
        let disturbed = Client::from_conf(builder(&endpoint).http_client(wire.clone()).build());
        let world = DynamoWorld::from_client(&disturbed, &table, quick(timeout)).await.unwrap();
        let quiet = DynamoWorld::from_client(&client, &table, quick(LONG)).await.unwrap();
        wire.clear();
        Self { wire, world, quiet, client, table }
    }
}

/// The name of a table that nobody else has.
pub fn fresh_table() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}
