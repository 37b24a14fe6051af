//! Golden logs: kept byte by byte, opened to the same events, replayed to the same decisions.

use world_core::{LogId, Position, Record, World, testing::Replay};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict, ensure, ensure_eq},
    flows::{put, samples},
    golden::{self, Golden, opened},
    kit::count,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Determinism [R2, R3, I1] golden_logs_are_kept_byte_by_byte),
        case!(Determinism [] every_prefix_of_a_golden_log_replays_to_the_same_decisions),
    ]
}

/// How many records are asked for at once.
const LIMITS: [u32; 5] = [1, 2, 3, 7, u32::MAX];

/// How many times each log is replayed with spurious polls.
const JITTERS: u64 = 8;

async fn golden_logs_are_kept_byte_by_byte(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for golden in golden::all()? {
        put(&*world, &golden, golden.records.len()).await?;
        let again = subject.open().await?;
        for limit in LIMITS {
            let records = paged(&*again, &golden, limit).await?;
            for (seen, wanted) in records.iter().zip(&golden.records) {
                let (run, position) = (&golden.run, wanted.position);
                ensure_eq!(R3, seen.position, position, "a page of {limit} records of {run}");
                ensure_eq!(R2, (seen.kind, seen.at), (wanted.kind, wanted.at), "{run} {position}");
                ensure!(
                    I1,
                    seen.body == wanted.body,
                    "record {position} of {run} is not the bytes that were appended: {} and {}",
                    golden::hex(seen.body.as_bytes()),
                    golden::hex(wanted.body.as_bytes())
                );
            }
            let (seen, wanted) = (records.len(), golden.records.len());
            ensure_eq!(R3, seen, wanted, "the records of {} in pages of {limit}", golden.run);
        }
        let log = golden.open(&paged(&*again, &golden, u32::MAX).await?).await?;
        for (seen, wanted) in log.iter().map(opened).zip(&golden.opened) {
            if seen != *wanted {
                return Err(Failure::failed(format!(
                    "an event of {} opens as\n  {seen}\nand is\n  {wanted}",
                    golden.run
                )));
            }
        }
    }
    Ok(())
}

/// A run's records, read a page of this limit at a time.
async fn paged(world: &dyn World, golden: &Golden, limit: u32) -> Verdict<Vec<Record>> {
    let log = LogId::Run(golden.run.clone());
    let (mut records, mut after) = (Vec::new(), Position::START);
    for _ in 0..=golden.records.len() {
        let page = world.read(&log, after, count(limit)).await?;
        let many = page.records.len();
        ensure!(R3, many as u64 <= u64::from(limit), "{many} records in a page of {limit}");
        let Some(last) = page.records.last() else { return Ok(records) };
        after = last.position;
        records.extend(page.records);
    }
    let head = golden.records.len();
    Err(Failure::broken(
        crate::rule::Rule::R3,
        format!("{}, of {head} records, has not ended after {head} pages of {limit}", golden.run),
    ))
}

async fn every_prefix_of_a_golden_log_replays_to_the_same_decisions(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for golden in golden::all()? {
        put(&*world, &golden, golden.records.len()).await?;
        let log = golden.open(&paged(&*world, &golden, u32::MAX).await?).await?;
        for sample in samples(&[&golden.sample])? {
            let replay = Replay::of(log.clone()).run(&golden.run);
            let replay = replay.with(sample.workflow(), sample.function());
            replay.every_prefix().jitter(JITTERS).check().map_err(|error| {
                Failure::failed(format!("the golden log {}: {error}", golden.run))
            })?;
        }
    }
    Ok(())
}
