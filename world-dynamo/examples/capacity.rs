//! What a World on DynamoDB costs in requests and capacity units: prints the tables of
//! `docs/layouts/dynamo.md`.
//!
//! `cargo run --release -p world-dynamo --example capacity` starts a server of its own, and asks it with
//! each request what that has consumed (`ReturnConsumedCapacity`).

#![allow(clippy::print_stdout)] // it has something to say

use std::{error::Error, num::NonZeroU32, time::Duration};

use dynamodb_servers::{Meter, Metered, Private, aws_sdk_dynamodb::Client, builder};
use world_core::{
    Append, By, Claim, Ctx, Due, Engine, KeyId, Kind, LogId, NewRun, Position, Queue, Record,
    Release, RunId, Sealed, StepError, StreamName, Ticket, Timestamp, Token, Workflow,
    WorkflowName, World, WorldExt, seal::Key,
};
use world_dynamo::{DynamoWorld, Options};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_000);
const UNTIL: Timestamp = Timestamp::from_millis(1_763_000_015_000);
/// The body of a record: a small result, sealed.
const BODY_BYTES: usize = 150;
/// The steps over which the cost of one is averaged.
const STEPS: u64 = 1000;
/// What a body takes that does something.
const PAUSE: Duration = Duration::from_millis(20);

/// A World whose requests are metered.
struct Counted {
    world: DynamoWorld,
    meter: Meter,
    client: Client,
}

impl Counted {
    async fn new(server: &Private, table: &str) -> Result<Self> {
        let meter = Meter::default();
        let client =
            Client::from_conf(builder(&server.endpoint()).interceptor(meter.clone()).build());
        DynamoWorld::create_table(&client, table, Options::new()).await?;
        let world = DynamoWorld::from_client(&client, table, Options::new()).await?;
        let _ = meter.take();
        Ok(Self { world, meter, client })
    }

    /// What was metered since the last time, with all that goes on behind it.
    async fn taken(&self) -> Metered {
        tokio::time::sleep(Duration::from_millis(100)).await; // copies
        self.meter.take()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = Private::start()?;
    calls(&server).await?;
    println!();
    steps(&server).await?;
    println!();
    runs(&server).await
}

/// Each call of a World.
async fn calls(server: &Private) -> Result<()> {
    let counted = Counted::new(server, "calls").await?;
    let (world, log) = (&counted.world, run("order-7")?);
    println!("| call | requests | write units | of the index | read units |");
    println!("|---|---|---|---|---|");
    let row = async |what: &str| {
        let taken = counted.taken().await;
        println!(
            "| {what} | {} | {} | {} | {} |",
            asked(&taken),
            taken.write,
            taken.index,
            taken.read
        );
    };
    world.append(&log, &append(0, 1, BODY_BYTES, creator(Due::Now))).await?;
    row("create a run that is due").await;
    world.claim(&claim(1)).await?;
    row("claim it").await;
    world.append(&log, &append(1, 1, BODY_BYTES, owner(1, None))).await?;
    row("append 1, by its owner").await;
    let lease = world.claim(&claim(2)).await?;
    row("claim nothing (one queue, 4 shards)").await;
    drop(lease);
    let held = world_core::Lease {
        run: RunId::new("order-7")?,
        ticket: Ticket::from_bytes([1; 16]),
        attempt: 1,
        until: UNTIL,
        head: Position::new(2),
        closed: false,
    };
    world.renew(&held, UNTIL.plus(Duration::from_secs(15))).await?;
    row("renew its lease").await;
    world.append(&log, &append(2, 1, 4096, owner(1, None))).await?;
    row("append 1 of 4 KB").await;
    world.append(&log, &append(3, 64, BODY_BYTES, owner(1, None))).await?;
    row("append 64").await;
    world.append(&log, &append(67, 1000, BODY_BYTES, owner(1, None))).await?;
    row("append 1,000").await;
    let chunks = LogId::Stream(RunId::new("order-7")?, StreamName::new("out")?);
    world.append(&chunks, &append(0, 1, BODY_BYTES, owner(1, None))).await?;
    world.append(&chunks, &append(1, 1, BODY_BYTES, owner(1, None))).await?;
    let _ = counted.taken().await;
    world.append(&chunks, &append(2, 1, BODY_BYTES, owner(1, None))).await?;
    row("append 1 to its stream").await;
    world.append(&log, &append(1067, 1, BODY_BYTES, owner(1, Some(Due::Never)))).await?;
    row("append 1 and park").await;
    world.append(&log, &append(1068, 1, BODY_BYTES, By::Outsider)).await?;
    row("append 1 from outside: it is due").await;
    world.read(&log, Position::new(1068), NonZeroU32::MIN).await?;
    row("read the last record").await;
    world.read(&log, Position::START, NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN)).await?;
    row("read 1,000").await;
    let token = LogId::Token(Token::new("order-7")?);
    world.append(&token, &append(0, 1, BODY_BYTES, By::Outsider)).await?;
    row("append 1 to a new token").await;
    world.claim(&claim(3)).await?;
    let close = By::Owner {
        ticket: Ticket::from_bytes([3; 16]),
        close: true,
        rest: Some(Release::driven(Due::Never)),
        tags: None,
    };
    let _ = counted.taken().await;
    world.append(&log, &append(1069, 1, BODY_BYTES, close)).await?;
    row("append 1, close and rest").await;
    world.delete(&log, Position::new(1070)).await?;
    row("delete it (1,070 records)").await;
    Ok(())
}

/// A sequential step, by the size of its record: of a run that does nothing else, and of one whose
/// bodies take a moment; beside them the plain transaction that such a write takes the place of.
async fn steps(server: &Private) -> Result<()> {
    println!(
        "| sealed record, bytes | requests a step | write units a step | with {PAUSE:?} between | \
         by a transaction each |"
    );
    println!("|---|---|---|---|---|");
    for bytes in [64, BODY_BYTES, 300, 600, 1000, 2000, 4000, 16_000] {
        let hurried = step(server, bytes, STEPS, Duration::ZERO).await?;
        let calm = step(server, bytes, STEPS / 5, PAUSE).await?;
        // The head item and the record, each in whole units, and a transaction doubles them.
        let by_transaction = 2 * (1 + (bytes + 150).div_ceil(1024));
        println!(
            "| {bytes} | {:.2}, {:.2} | {:.2} | {:.2} | {by_transaction} |",
            hurried.0, calm.0, hurried.1, calm.1
        );
    }
    Ok(())
}

/// The requests and the write units of a step.
async fn step(server: &Private, bytes: usize, steps: u64, pause: Duration) -> Result<(f64, f64)> {
    let counted = Counted::new(server, &format!("steps-{bytes}-{}", pause.as_millis())).await?;
    let log = run("order-7")?;
    counted.world.append(&log, &append(0, 1, BODY_BYTES, leased())).await?;
    let _ = counted.taken().await;
    for step in 1..=steps {
        counted.world.append(&log, &append(step, 1, bytes, owner(1, None))).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    let taken = counted.taken().await;
    Ok((taken.all() as f64 / steps as f64, taken.write / steps as f64))
}

const ADD: Workflow<u64, u64> = Workflow::new("add");

async fn add(mut ctx: Ctx, steps: u64) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Ok::<_, StepError>(sum + 1)).await?;
    }
    Ok(sum)
}

/// Whole runs by an engine, and how they are resumed.
async fn runs(server: &Private) -> Result<()> {
    println!("| run | requests | write units | read units |");
    println!("|---|---|---|---|");
    let key = Key::generate();
    for steps in [5, STEPS, 10 * STEPS] {
        let counted = Counted::new(server, &format!("runs-{steps}")).await?;
        let world =
            DynamoWorld::from_client(&counted.client, &format!("runs-{steps}"), Options::new())
                .await?;
        let engine = Engine::builder(world).key(key.clone()).workflow(ADD, add).build()?;
        let worker = engine.spawn_worker();
        engine.client().start(ADD, 1).await?.output().await?;
        let _ = counted.taken().await;
        let handle = engine.client().start(ADD, steps).id("counted").await?;
        handle.output().await?;
        let taken = counted.taken().await;
        worker.shutdown().await;
        println!(
            "| {steps} steps, from start to output | {} | {} | {} |",
            asked(&taken),
            taken.write,
            taken.read
        );
        let _ = counted.taken().await;
        counted.world.read_all(&run("counted")?).await?;
        let taken = counted.taken().await;
        println!(
            "| its log, read again ({} records) | {} | {} | {} |",
            steps + 2,
            asked(&taken),
            taken.write,
            taken.read
        );
    }
    Ok(())
}

fn asked(taken: &Metered) -> String {
    let said: Vec<_> =
        taken.requests.iter().map(|(name, count)| format!("{count} {name}")).collect();
    said.join(", ")
}

fn run(name: &str) -> Result<LogId> {
    Ok(LogId::Run(RunId::new(name)?))
}

fn append(expected: u64, count: u64, bytes: usize, by: By) -> Append {
    let expected = Position::new(expected);
    let records = (1..=count).map(|number| Record {
        position: expected.plus(number),
        kind: Kind(7),
        at: NOW,
        body: Sealed::from_stored(vec![7; bytes]),
    });
    Append { expected, records: records.collect(), at: NOW, by }
}

fn new(due: Due, lease: Option<(Ticket, Timestamp)>) -> By {
    let name = "onboard";
    let (Ok(queue), Ok(workflow), Ok(key)) =
        (Queue::new(name), WorkflowName::new(name), KeyId::new("key-2026"))
    else {
        return By::Outsider;
    };
    By::Creator(NewRun { queue, workflow, due, parent: None, tags: Vec::new(), key, lease })
}

fn creator(due: Due) -> By {
    new(due, None)
}

fn leased() -> By {
    new(Due::Now, Some((Ticket::from_bytes([1; 16]), UNTIL)))
}

fn owner(number: u8, rest: Option<Due>) -> By {
    By::Owner {
        ticket: Ticket::from_bytes([number; 16]),
        close: false,
        rest: rest.map(Release::driven),
        tags: None,
    }
}

fn claim(number: u8) -> Claim {
    Claim {
        queues: Queue::new("onboard").into_iter().collect(),
        ticket: Ticket::from_bytes([number; 16]),
        now: NOW,
        until: UNTIL,
        limit: NonZeroU32::MIN,
        except: Vec::new(),
    }
}
