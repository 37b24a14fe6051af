//! Workers that are killed at any moment, on a file that is synced at every commit.
//!
//! `WORLD_KILLS` sets how many, `WORLD_SEED` which.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the seed is shown")]

mod crash;
#[path = "../../world-core/tests/workflows/mod.rs"]
mod workflows;

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use crash::*;
use workflows::{ALL, Told, Trying, log_of, mix, outsider, register, replays_cold, told};
use world_core::*;
use world_sqlite::SqliteWorld;

/// Longer than any lease: those of the process before have run out.
const AHEAD_A_PROCESS: u64 = 400;

/// How many runs are open at once, about.
const OPEN_MIN: usize = 24;

#[test]
#[ignore = "a part of a_run_survives_any_number_of_kills"]
fn part_works_until_killed() {
    let (world, clock, runtime) = in_part();
    listen_to_bodies(&workflows::ON_BODY);
    runtime.block_on(async {
        let builder = Engine::builder(world).key(key()).clock(clock).linger(Duration::ZERO);
        let engine = register(builder).build().unwrap();
        let _worker = engine.spawn_worker();
        println!("ready");
        std::future::pending::<()>().await;
    });
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Which workflow a run is of, and its input.
fn made_of(run: u64) -> (Workflow<u64, u64>, u64) {
    (ALL[(run % ALL.len() as u64) as usize], run / ALL.len() as u64 % 2)
}

#[test]
fn a_run_survives_any_number_of_kills() {
    let (kills, seed) = (variable("WORLD_KILLS", 200), variable("WORLD_SEED", 1));
    let trying = Trying(format!("WORLD_SEED={seed} WORLD_KILLS={kills}"));
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut started, mut acknowledged) = (0, HashSet::new());
    let begin = Instant::now();
    let look = runtime.block_on(async { Arc::new(open(dir.path())) });
    for kill in 0..kills {
        let ahead = kill * AHEAD_A_PROCESS;
        runtime.block_on(async {
            let engine = Engine::builder(look.clone()).key(key()).clock(FastClock(ahead));
            let client = engine.build().unwrap().client();
            let listed = client.list(&List::all(NonZeroU32::new(4096).unwrap())).await.unwrap();
            let open = listed.runs.iter().filter(|run| run.phase != Phase::Closed).count();
            for _ in open..OPEN_MIN {
                let (workflow, input) = made_of(started);
                client.start(workflow, input).id(format!("run-{started}")).await.unwrap();
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
        let part = start("part_works_until_killed", dir.path(), ahead, death, 1 + draw / 8 % 2);
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

    // The last worker is not killed.
    let ahead = FastClock(kills * AHEAD_A_PROCESS);
    runtime.block_on(async {
        let builder = Engine::builder(look.clone()).key(key()).clock(ahead);
        let engine = register(builder).build().unwrap();
        let worker = engine.spawn_worker();
        for run in 0..started {
            let handle = engine.client().run(made_of(run).0, &format!("run-{run}")).unwrap();
            let _ = tokio::time::timeout(Duration::from_secs(60), handle.output()).await;
        }
        worker.shutdown().await;
    });

    paused().block_on(check(&look, started, &acknowledged));
    println!(
        "seed {seed}: {kills} kills in {killed:?}, {started} runs, {} acknowledged records",
        acknowledged.len()
    );
    assert!(acknowledged.len() as u64 > kills, "too little happened");
    drop(trying);
}

/// Every run ended as an undisturbed one does, and every acknowledged record is where it was.
async fn check(world: &Arc<SqliteWorld>, started: u64, acknowledged: &HashSet<(String, u64, u64)>) {
    let look = outsider(Arc::clone(world), &key());
    let mut wanted: HashMap<(&str, u64), Told> = HashMap::new();
    let mut records = BTreeMap::new();
    for run in 0..started {
        let (workflow, input) = made_of(run);
        let id = RunId::new(format!("run-{run}")).unwrap();
        let log = log_of(&look, &id).await;
        let told = told(&log);
        let at = (workflow.name(), input);
        if let Entry::Vacant(place) = wanted.entry(at) {
            place.insert(workflows::undisturbed(workflow, input).await);
        }
        assert_eq!(told, wanted[&at], "{id}: {log:#?}");
        if run % 4 == 0 {
            replays_cold(world, &key(), &id, &log).await;
        }
        for record in world.read_all(&LogId::Run(id.clone())).await.unwrap().records {
            records.insert((id.to_string(), record.position.get()), fingerprint(&record));
        }
    }
    for (run, position, print) in acknowledged {
        let found = records.get(&(run.clone(), *position));
        assert_eq!(found, Some(print), "the acknowledged record {position} of {run}");
    }
}
