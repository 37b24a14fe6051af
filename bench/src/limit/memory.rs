//! Memory: one append of a ready-made record a step.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use world_core::{
    Append, Appended, By, Due, KeyId, Kind, LogId, MemoryWorld, NewRun, Position, Queue, Record,
    RunId, Sealed, Ticket, Timestamp, WorkflowName, World, WorldExt,
};

use super::{Bodies, NUMBER_BYTES, number};
use crate::args::{Case, CaseArgs};

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A run that is there, and whose worker writes to it.
struct Log {
    id: LogId,
    ticket: Ticket,
}

impl Log {
    async fn create(world: &dyn World, run: String) -> Result<Self> {
        let (id, ticket) = (LogId::Run(RunId::new(run)?), Ticket::from_bytes([9; 16]));
        let new = NewRun {
            queue: Queue::new("limit")?,
            workflow: WorkflowName::new("limit")?,
            due: Due::Now,
            parent: None,
            tags: Vec::new(),
            key: KeyId::new("limit")?,
            lease: Some((ticket, Timestamp::MAX)),
        };
        let created = record(Position::START.next(), Kind::RUN_CREATED, &[0; NUMBER_BYTES]);
        let by = By::Creator(new);
        let append = Append { expected: Position::START, records: vec![created], at: AT, by };
        committed(world.append(&id, &append).await?)?;
        Ok(Self { id, ticket })
    }

    /// An append of these bodies, the first of which is the `step`th result.
    fn ready_made(&self, step: usize, bodies: &[Vec<u8>]) -> Append {
        let expected = Position::START.plus(1 + step as u64);
        let mut position = expected;
        let records = bodies.iter().map(|body| {
            position = position.next();
            record(position, Kind::STEP_COMPLETED, body)
        });
        let records = records.collect();
        let by = By::Owner { ticket: self.ticket, close: false, rest: None, tags: None };
        Append { expected, records, at: AT, by }
    }
}

fn record(position: Position, kind: Kind, body: &[u8]) -> Record {
    Record { position, kind, at: AT, body: Sealed::from_stored(body.to_vec()) }
}

fn committed(answer: Appended) -> Result<()> {
    ensure!(matches!(answer, Appended::Committed { .. }), "the limit's append was {answer:?}");
    Ok(())
}

/// Measures the raw appends of a case.
pub(super) async fn measure(
    case: &CaseArgs,
    bodies: &Bodies,
) -> Result<(Duration, Option<Duration>)> {
    let world = MemoryWorld::new();
    let warm = Log::create(&world, "warm".to_owned()).await?;
    for step in 0..3 {
        let append = warm.ready_made(step, &[vec![0; NUMBER_BYTES]]);
        committed(world.append(&warm.id, &append).await?)?;
    }
    let mut logs = Vec::new();
    for run in 0..bodies.0.len() {
        logs.push(Log::create(&world, format!("r{run}")).await?);
    }
    let appends: Vec<(usize, Append)> = bodies
        .interleaved()
        .map(|(run, step, body)| (run, logs[run].ready_made(step, &[body.to_vec()])))
        .collect();
    let start = Instant::now();
    for (run, append) in &appends {
        committed(world.append(&logs[*run].id, append).await?)?;
    }
    let wall = start.elapsed();

    match case.case {
        Case::W2 => {
            let log = Log::create(&world, "batch".to_owned()).await?;
            let most = world.info().limits.records_max;
            let chunks = bodies.first()?.chunks(most).enumerate();
            let appends: Vec<Append> =
                chunks.map(|(index, chunk)| log.ready_made(index * most, chunk)).collect();
            let start = Instant::now();
            for append in &appends {
                committed(world.append(&log.id, append).await?)?;
            }
            Ok((wall, Some(start.elapsed())))
        }
        Case::W5 => {
            let log = logs.first().context("no log to resume")?;
            let last = log.ready_made(bodies.first()?.len(), &[b"the last".to_vec()]);
            let start = Instant::now();
            let page = world.read_all(&log.id).await?;
            let mut sum = 0;
            for record in page.records.iter().skip(1) {
                sum += number(record.body.as_bytes())?;
            }
            committed(world.append(&log.id, &last).await?)?;
            let wall = start.elapsed();
            ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other records");
            Ok((wall, None))
        }
        _ => Ok((wall, None)),
    }
}
