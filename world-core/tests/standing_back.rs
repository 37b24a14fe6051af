//! Workers that cannot drive a run leave it to those that can.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use workflows::*;
use world_core::{layer::CountLayer, seal::Key, *};

const SHARED: &str = "shared";
const OLD: Workflow<u64, u64> = Workflow::new("old").queue(SHARED);
const NEW: Workflow<u64, u64> = Workflow::new("new").queue(SHARED);

async fn echo(mut ctx: Ctx, n: u64) -> Outcome<u64> {
    ctx.step("a", async || Ok::<_, StepError>(n)).await
}

async fn renamed(mut ctx: Ctx, n: u64) -> Outcome<u64> {
    ctx.step("b", async || Ok::<_, StepError>(n)).await
}

/// What an old worker has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Old {
    /// Not the workflow.
    Code,
    /// An older version of it, which would diverge.
    Version,
    /// Another key.
    OtherKey,
}

type Counted = Arc<CountLayer<MemoryWorld>>;

/// Twenty old workers, of as many processes, and one new one; 60 runs of the new code.
async fn sixty_runs(old: Old) -> (Counted, Vec<RunHandle<u64>>, Duration, Vec<Worker>) {
    let (key, clock) = (Key::generate(), TokioClock::new());
    let memory = MemoryWorld::new();
    let world: Counted = Arc::new(CountLayer::new(memory.clone()));
    let engine = |world: Arc<dyn World>, key: &Key| {
        Engine::builder(world).key(key.clone()).clock(clock).workflow(OLD, echo)
    };
    let mut workers = Vec::new();
    for _ in 0..20 {
        let world: Arc<dyn World> = world.clone();
        let old = match old {
            Old::Code => engine(world, &key),
            Old::Version => engine(world, &key).workflow(NEW, renamed),
            Old::OtherKey => engine(world, &Key::generate()).workflow(NEW.version(2), echo),
        };
        workers.push(old.build().unwrap().spawn_worker());
    }
    let new =
        engine(Arc::new(memory.clone()), &key).workflow(NEW.version(2), echo).build().unwrap();
    let client = engine(Arc::new(memory), &key).build().unwrap().client();
    let start = |n| client.start(NEW.version(2), n).into_future();
    let runs = join_all((0..60).map(start)).await.into_iter().map(Result::unwrap).collect();
    // The old ones have all the time to take them.
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    workers.push(new.spawn_worker());
    (world, runs, begun.elapsed(), workers)
}

#[tokio::test(start_paused = true)]
async fn sixty_runs_that_twenty_old_workers_cannot_drive_end_within_ten_seconds_beside_a_new_one() {
    for old in [Old::Code, Old::Version, Old::OtherKey] {
        let (world, runs, _, workers) = sixty_runs(old).await;
        let before = Instant::now();
        let client = runs.iter().map(RunHandle::id).cloned().collect::<Vec<_>>();
        for (n, run) in runs.into_iter().enumerate() {
            let output = timeout(Duration::from_secs(10), run.output()).await;
            assert_eq!(output.unwrap_or_else(|_| panic!("{old:?}: run {n}")).unwrap(), n as u64);
        }
        assert!(before.elapsed() < Duration::from_secs(10), "{old:?}: {:?}", before.elapsed());
        let counts = world.counts();
        // Each old worker had each run about once: none took them in turn for ever.
        assert!((60..=2 * 20 * 60).contains(&counts.leases), "{old:?}: {counts:?}");
        assert!(
            counts.records_written == 0,
            "{old:?}: an old worker wrote into {client:?}: {counts:?}"
        );
        for worker in workers {
            worker.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_appended_from_outside_to_a_run_that_nobody_can_drive_shortens_no_back_off() {
    let (key, clock) = (Key::generate(), TokioClock::new());
    let world: Counted = Arc::new(CountLayer::new(MemoryWorld::new()));
    let engine = |key: &Key| Engine::builder(world.clone()).key(key.clone()).clock(clock);
    let other = engine(&Key::generate()).workflow(NEW, echo).build().unwrap();
    let client = engine(&key).build().unwrap().client();
    let run = client.start(NEW, 7).await.unwrap();
    let worker = other.spawn_worker();
    sleep(Duration::from_secs(40)).await; // it has tried 6 times, and stands back for 32 s
    let before = world.counts();
    for n in 0..20 {
        run.cancel(format!("request {n}")).await.unwrap();
        sleep(Duration::from_millis(500)).await;
    }
    let counts = world.counts();
    assert_eq!(counts.records_written - before.records_written, 20, "only the requests");
    assert!(counts.leases - before.leases <= 20, "{:?}", counts.leases - before.leases);
    worker.shutdown().await;
    let able = engine(&key).workflow(NEW, echo).build().unwrap();
    let worker = able.spawn_worker();
    let ended = timeout(Duration::from_secs(5), run.output()).await.unwrap();
    assert!(matches!(ended, Err(RunError::Cancelled { .. })), "{ended:?}");
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_blocked_run_is_healed_by_an_able_worker_within_seconds() {
    let (key, clock, memory) = (Key::generate(), TokioClock::new(), MemoryWorld::new());
    let engine = || Engine::builder(memory.clone()).key(key.clone()).clock(clock);
    let panics = |_: Ctx, _: u64| async { panic!("mend me") as Outcome<u64> };
    let broken = engine().workflow(NEW, panics).build().unwrap();
    let worker = broken.spawn_worker();
    let run = broken.client().start(NEW, 7).await.unwrap();
    sleep(Duration::from_secs(1_000)).await; // it is tried again every five minutes
    assert!(matches!(run.status().await.unwrap(), Status::Blocked { .. }));
    let mended = engine().workflow(NEW, echo).build().unwrap();
    let able = mended.spawn_worker();
    let output = timeout(Duration::from_secs(3), run.output()).await.unwrap();
    assert_eq!(output.unwrap(), 7);
    able.shutdown().await;
    worker.shutdown().await;
}
