//! What a World on Redis costs in memory: prints the table of `docs/layouts/redis.md`.
//!
//! `cargo run --release -p world-redis --example memory -- redis://127.0.0.1:6379` fills a server and
//! asks it after each filling how much memory it uses. The server must be empty, and is to be thrown
//! away afterwards. A second argument says how many of each to make, instead of 100,000.

#![allow(clippy::print_stdout)] // it has something to say

use std::{env, error::Error, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use redis::{Client, IntoConnectionInfo, aio::MultiplexedConnection};
use world_core::{
    Append, Appended, By, Deleted, Due, KeyId, Kind, LogId, NewRun, Position, Queue, Record,
    Release, RunId, Sealed, StreamName, Ticket, Timestamp, Token, WorkflowName, World,
};
use world_redis::{Options, RedisWorld};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How many are made at once.
const AT_ONCE: usize = 64;
/// The further records of a long log.
const MORE: u64 = 100;
/// The body of a first record: a small input, sealed.
const FIRST_BYTES: usize = 150;
/// The time of every write.
const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_000);
/// Whoever writes as an owner.
const TICKET: Ticket = Ticket::from_bytes([7; 16]);

/// What is measured.
#[derive(Clone, Copy)]
enum What {
    Run(Due),
    ClosedRun,
    DeletedRun,
    Records(usize),
    Stream,
    Token,
    DeletedToken,
}

const ALL: [What; 12] = [
    What::Run(Due::Never),
    What::Run(Due::Now),
    What::ClosedRun,
    What::DeletedRun,
    What::Records(0),
    What::Records(64),
    What::Records(150),
    What::Records(1024),
    What::Records(16_384),
    What::Stream,
    What::Token,
    What::DeletedToken,
];

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let url = args.next().ok_or("the URL of an empty server is missing")?;
    let count: u64 = args.next().map_or(Ok(100_000), |count| count.parse())?;
    let info = url.as_str().into_connection_info()?;
    let mut server = Client::open(info.clone())?.get_multiplexed_async_connection().await?;
    if say(&mut server).await?.contains("\ndb0:") {
        return Err("the server is not empty".into());
    }

    println!("| Redis {}, {count} of each | bytes |", said(&mut server, "redis_version").await?);
    println!("|---|---|");
    for (database, what) in (0..).zip(ALL) {
        // Each has a database to itself, whose table of keys grows with nothing else.
        let settings = info.redis_settings().clone().set_db(database);
        let client = Client::open(info.clone().set_redis_settings(settings))?;
        let world = RedisWorld::from_client(&client, Options::new()).await?;
        let each = if matches!(what, What::Records(_)) { MORE } else { 1 };
        let numbers = 0..count / each;
        let prepared = stream::iter(numbers.clone()).map(|number| what.prepare(&world, number));
        prepared.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let before = used(&mut server).await?;
        let made = stream::iter(numbers).map(|number| what.make(&world, number));
        made.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let more = used(&mut server).await?.saturating_sub(before);
        println!("| {} | {} |", what.title(), more / (count / each * each).max(1));
    }
    Ok(())
}

impl What {
    fn title(self) -> String {
        match self {
            Self::Run(Due::Never) => {
                format!("an open run that is parked, with its first record of {FIRST_BYTES}")
            }
            Self::Run(_) => {
                format!("an open run that is due, with its first record of {FIRST_BYTES}")
            }
            Self::ClosedRun => format!("a closed run, with two records of {FIRST_BYTES}"),
            Self::DeletedRun => "a deleted run: its tombstone".to_owned(),
            Self::Records(bytes) => format!("each of {MORE} further records of {bytes}"),
            Self::Stream => "a run's first stream, with a record of 64".to_owned(),
            Self::Token => format!("a token, with a record of {FIRST_BYTES}"),
            Self::DeletedToken => "a deleted token: the head of its log".to_owned(),
        }
    }

    /// Makes what is there before it is measured.
    async fn prepare(self, world: &RedisWorld, number: u64) -> Result<()> {
        match self {
            Self::Records(_) | Self::Stream => create(world, number, Due::Now).await,
            _ => Ok(()),
        }
    }

    async fn make(self, world: &RedisWorld, number: u64) -> Result<()> {
        match self {
            Self::Run(due) => create(world, number, due).await,
            Self::ClosedRun => close(world, number).await,
            Self::DeletedRun => {
                close(world, number).await?;
                delete(world, &run(number).into(), 2).await
            }
            Self::Records(bytes) => {
                for expected in 1..=MORE {
                    append(world, &run(number).into(), expected, bytes, By::Outsider).await?;
                }
                Ok(())
            }
            Self::Stream => {
                let log = LogId::Stream(run(number), StreamName::new("answer")?);
                let by = By::Owner { ticket: TICKET, close: false, rest: None, tags: None };
                append(world, &log, 0, 64, by).await
            }
            Self::Token => append(world, &token(number)?, 0, FIRST_BYTES, By::Outsider).await,
            Self::DeletedToken => {
                append(world, &token(number)?, 0, FIRST_BYTES, By::Outsider).await?;
                delete(world, &token(number)?, 1).await
            }
        }
    }
}

/// A run's id as the engine makes it: 31 bytes.
fn run(number: u64) -> RunId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    RunId::generate(NOW, &random)
}

fn token(number: u64) -> Result<LogId> {
    Ok(LogId::Token(Token::new(format!("order-{number:08}"))?))
}

/// A run that is due at once is leased, so that its owner can write.
async fn create(world: &RedisWorld, number: u64, due: Due) -> Result<()> {
    let new = NewRun {
        queue: Queue::new("orders")?,
        workflow: WorkflowName::new("orders")?,
        due,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("k1")?,
        lease: (due == Due::Now).then_some((TICKET, Timestamp::MAX)),
    };
    append(world, &run(number).into(), 0, FIRST_BYTES, By::Creator(new)).await
}

async fn close(world: &RedisWorld, number: u64) -> Result<()> {
    create(world, number, Due::Now).await?;
    let by = By::Owner {
        ticket: TICKET,
        close: true,
        rest: Some(Release::driven(Due::Never)),
        tags: None,
    };
    append(world, &run(number).into(), 1, FIRST_BYTES, by).await
}

async fn append(
    world: &RedisWorld,
    log: &LogId,
    expected: u64,
    bytes: usize,
    by: By,
) -> Result<()> {
    let (expected, body) =
        (Position::new(expected), Sealed::from_stored(Bytes::from(vec![7; bytes])));
    let record = Record { position: expected.next(), kind: Kind(1), at: NOW, body };
    let append = Append { expected, records: vec![record], at: NOW, by };
    match world.append(log, &append).await? {
        Appended::Committed { .. } => Ok(()),
        other => Err(format!("{log}: {other:?}").into()),
    }
}

async fn delete(world: &RedisWorld, log: &LogId, head: u64) -> Result<()> {
    match world.delete(log, Position::new(head)).await? {
        Deleted::Done => Ok(()),
        other => Err(format!("{log}: {other:?}").into()),
    }
}

/// How many bytes are used, once what was removed in the background is gone.
async fn used(server: &mut MultiplexedConnection) -> Result<u64> {
    while said(server, "lazyfree_pending_objects").await? != "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Tables that have just grown are still being moved.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(said(server, "used_memory").await?.parse()?)
}

async fn said(server: &mut MultiplexedConnection, field: &str) -> Result<String> {
    let text = say(server).await?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(name, _)| *name == field).map(|(_, value)| value.trim().to_owned());
    value.ok_or_else(|| format!("the server says nothing of {field}").into())
}

async fn say(server: &mut MultiplexedConnection) -> Result<String> {
    Ok(redis::cmd("INFO").query_async(server).await?)
}
