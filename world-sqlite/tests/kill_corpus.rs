//! The corpus of workflows under workers that are killed at any moment, on a file that is synced
//! at every commit.
//!
//! `WORLD_KILLS` sets how many, `WORLD_SEED` which.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the seed is shown")]

mod crash;
#[path = "../../world-core/tests/workflows/mod.rs"]
mod workflows;

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use conformance::corpus::{Sample, corpus};
use crash::*;
use workflows::{Trying, mix, told};
use world_core::{testing::Replay, *};
use world_sqlite::SqliteWorld;

/// Longer than any lease: those of the process before have run out.
const AHEAD_A_PROCESS: u64 = 400;

/// Longer than any sleep of the corpus.
const DAY: u64 = 86_400;

/// How many runs are open at once, about.
const OPEN_MIN: usize = 24;

/// What comes of these depends on how often their workers died, as it should; `tests/steps.rs` of the
/// core has them with deaths that are told beforehand.
const COUNTS_DEATHS: [&str; 7] = [
    "at_most_once",
    "fatal",
    "retried",
    "retried_in_vain",
    "retry_after",
    "retries_in_a_fan",
    "undone_by_hand",
];

/// And of these on how late they went on: each process begins minutes after the one before.
const RACES_A_CLOCK: [&str; 9] = [
    "deadline_not_met",
    "in_time_or_never",
    "orders_at_once",
    "poll_until_done",
    "race_of_branches",
    "retry_beats_timer",
    "sleep",
    "step_wins",
    "timer_beats_retry",
];

fn cases() -> Vec<Sample> {
    // Of two thousand steps most of a short life would be replay.
    let fits = |case: &Sample| {
        let is_told = COUNTS_DEATHS.iter().chain(&RACES_A_CLOCK).any(|name| *name == case.name);
        !case.cancel && case.name != "all_of_2000" && !is_told
    };
    let wait = |name: &str, seed: u64| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        count_body();
        let pause = mix(seed ^ name.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)))) % 4;
        Box::pin(tokio::time::sleep(Duration::from_millis(pause)))
    };
    corpus().into_iter().filter(fits).map(|case| case.paced(Arc::new(wait))).collect()
}

fn engine(world: impl World, clock: FastClock) -> Engine {
    let builder = Engine::builder(world).key(key()).clock(clock).linger(Duration::ZERO);
    cases().iter().fold(builder, |builder, case| case.register(builder)).build().unwrap()
}

#[test]
#[ignore = "a part of the_corpus_survives_any_number_of_kills"]
fn part_works_on_the_corpus_until_killed() {
    let (world, clock, runtime) = in_part();
    runtime.block_on(async {
        let _worker = engine(world, clock).spawn_worker();
        println!("ready");
        std::future::pending::<()>().await;
    });
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

async fn open_runs(client: &Client) -> usize {
    let listed = client.list(&List::all(NonZeroU32::new(4096).unwrap())).await.unwrap();
    listed.runs.iter().filter(|run| run.phase != Phase::Closed).count()
}

#[test]
fn the_corpus_survives_any_number_of_kills() {
    let (kills, seed) = (variable("WORLD_KILLS", 200), variable("WORLD_SEED", 1));
    let trying = Trying(format!("WORLD_SEED={seed} WORLD_KILLS={kills}"));
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = cases();
    let (mut started, mut acknowledged) = (0_usize, HashSet::new());
    let look = runtime.block_on(async { Arc::new(open(dir.path())) });
    let begin = Instant::now();
    for kill in 0..kills {
        let ahead = kill * AHEAD_A_PROCESS;
        runtime.block_on(async {
            let client = engine(Arc::clone(&look), FastClock(ahead)).client();
            for _ in open_runs(&client).await..OPEN_MIN {
                let case = &cases[started % cases.len()];
                let id = format!("run-{started}");
                client.start(case.workflow(), seed).id(id).await.unwrap();
                started += 1;
            }
        });
        let draw = mix(seed ^ mix(kill));
        let nth = (draw >> 32) as i64 % 40 + 1;
        let death = match draw % 8 {
            0 => Death::BeforeAppend(nth),
            1 => Death::AfterAppend(nth),
            2 => Death::AtBody(nth),
            _ => Death::Parent,
        };
        let threads = 1 + draw / 8 % 2;
        let part =
            start("part_works_on_the_corpus_until_killed", dir.path(), ahead, death, threads);
        if draw % 8 != 3 {
            part.wait_until_ready();
        }
        let wait = Duration::from_micros(match death {
            Death::Parent => mix(draw) % 40_000,
            _ => 2_000_000, // it dies by itself, if so much happens
        });
        acknowledged.extend(part.killed_after(wait));
    }
    let killed = begin.elapsed();
    runtime.block_on(finish(&look, kills * AHEAD_A_PROCESS));
    let finished = begin.elapsed();
    runtime.block_on(check(&look, &cases, started, &acknowledged));
    println!(
        "seed {seed}: {kills} kills in {killed:?}, the rest by {finished:?}, {started} runs, {} acknowledged records",
        acknowledged.len()
    );
    assert!(acknowledged.len() as u64 > kills, "too little happened");
    drop(trying);
}

/// How many records there are in all: what grows as long as anybody works.
async fn records(look: &Arc<SqliteWorld>) -> u64 {
    let listed = look.list(&List::all(NonZeroU32::new(4096).unwrap())).await.unwrap();
    listed.runs.iter().map(|run| run.head.get()).sum()
}

/// Lets the open runs end: no worker is killed any more, and each begins a day after the last.
async fn finish(look: &Arc<SqliteWorld>, ahead: u64) {
    for day in 1..60 {
        let engine = engine(Arc::clone(look), FastClock(ahead + day * DAY));
        let worker = engine.spawn_worker();
        let settled = async {
            let (mut before, mut same) = ((usize::MAX, 0), 0);
            loop {
                let now = (open_runs(&engine.client()).await, records(look).await);
                same = if now == before { same + 1 } else { 0 };
                before = now;
                if now.0 == 0 || same == 10 {
                    return now.0;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let open = settled.await;
        worker.shutdown().await;
        if open == 0 {
            return;
        }
    }
}

/// A failure without the number of attempts in its text: workers that die count as such.
fn as_if_nobody_died(error: RunError) -> RunError {
    match error {
        RunError::Failed { run, mut failure } => {
            if let Some((step, rest)) = failure.message.split_once(" failed after ")
                && let Some((_, why)) = rest.split_once(" attempts: ")
            {
                failure.message = format!("{step} failed: {why}");
            }
            RunError::Failed { run, failure }
        }
        other => other,
    }
}

/// Every run ended as an undisturbed one may, and every acknowledged record is where it was.
async fn check(
    world: &Arc<SqliteWorld>,
    cases: &[Sample],
    started: usize,
    acknowledged: &HashSet<(String, u64, u64)>,
) {
    let client = engine(Arc::clone(world), FastClock(0)).client();
    let mut records = BTreeMap::new();
    for number in 0..started {
        let case = &cases[number % cases.len()];
        let run = client.run(case.workflow(), &format!("run-{number}")).unwrap();
        let (id, log) = (run.id().clone(), run.log().await.unwrap());
        assert!(log.last().unwrap().event.is_end(), "{} {id} is open: {log:#?}", case.name);
        let ended = run.output().await.map_err(as_if_nobody_died);
        if let Some(objection) = case.objection(&ended) {
            panic!("{id}: {objection}\n{log:#?}");
        }
        let _ = told(&log); // nothing doubled, nothing after the end
        let replay = Replay::of(log.clone()).run(&id).with(case.workflow(), case.function());
        replay.check().unwrap_or_else(|error| panic!("{id}: {error}\n{log:#?}"));
        for record in world.read_all(&LogId::Run(id.clone())).await.unwrap().records {
            records.insert((id.to_string(), record.position.get()), fingerprint(&record));
        }
    }
    for (run, position, print) in acknowledged {
        let found = records.get(&(run.clone(), *position));
        assert_eq!(found, Some(print), "the acknowledged record {position} of {run}");
    }
}
