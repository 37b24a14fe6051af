//! At-most-once bodies of workers that pause between the announcement and the body.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use world_core::{
    layer::{Fault, FaultLayer, Gate, Method},
    seal::Key,
    *,
};

const LAUNCH: Workflow<(), String> = Workflow::new("launch");
const LEASE: Duration = Duration::from_secs(15);

/// A worker whose process pauses once the store has the announcement, and what it does then.
struct Paused {
    memory: MemoryWorld,
    key: Key,
    clock: VirtualClock,
    engine: Engine,
    launched: Arc<AtomicU64>,
    run: RunHandle<String>,
    _worker: Worker,
    /// Holds the answer to the announcement.
    answer: Gate,
    /// Holds the renewals of the lease.
    calls: Gate,
}

fn engine(world: impl World, key: &Key, clock: &VirtualClock, launched: &Arc<AtomicU64>) -> Engine {
    let launched = Arc::clone(launched);
    let launch = move |mut ctx: Ctx, (): ()| {
        let launched = Arc::clone(&launched);
        async move {
            let step = ctx.step("launch", async || {
                launched.fetch_add(1, SeqCst);
                Ok::<_, StepError>(())
            });
            match step.at_most_once().await {
                Ok(()) => Ok("launched".to_owned()),
                Err(StepError::Interrupted { .. }) => Ok("interrupted".to_owned()),
                Err(other) => Err(other),
            }
        }
    };
    Engine::builder(world)
        .key(key.clone())
        .clock(clock.clone())
        .lease(LEASE)
        .workflow(LAUNCH, launch)
        .build()
        .unwrap()
}

async fn paused() -> Paused {
    let (memory, key, clock) = (MemoryWorld::new(), Key::generate(), VirtualClock::new());
    let (answer, calls) = (Gate::new(), Gate::new());
    let (held_answer, held_calls) = (answer.clone(), calls.clone());
    let world = FaultLayer::new(memory.clone(), move |seen| match (seen.method, seen.nth) {
        // The creation is the first append, the announcement the second.
        (Method::Append, 2) => Fault::AnswerHeld(held_answer.clone()),
        (Method::Renew, _) => Fault::Held(held_calls.clone()),
        (Method::Claim, _) => Fault::Lost, // it would take the run from itself
        _ => Fault::None,
    });
    let launched = Arc::new(AtomicU64::new(0));
    let engine = engine(world, &key, &clock, &launched);
    let worker = engine.spawn_worker();
    let run = engine.client().start(LAUNCH, ()).await.unwrap();
    answer.arrived(1).await;
    Paused { memory, key, clock, engine, launched, run, _worker: worker, answer, calls }
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_does_not_begin_after_another_worker_has_told_the_workflow_that_it_was_interrupted()
{
    let paused = paused().await;
    paused.clock.advance(LEASE);
    let others = Arc::new(AtomicU64::new(0));
    let other = engine(paused.memory.clone(), &paused.key, &paused.clock, &others);
    let worker = other.spawn_worker();
    let run = other.client().run(LAUNCH, paused.run.id().as_str()).unwrap();
    assert_eq!(run.output().await.unwrap(), "interrupted");
    paused.answer.open();
    settle().await;
    assert_eq!(paused.launched.load(SeqCst), 0, "before the worker knows that it has lost the run");
    paused.calls.open();
    settle().await;
    assert_eq!(paused.launched.load(SeqCst), 0);
    assert_eq!(others.load(SeqCst), 0);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_body_begins_once_a_renewal_has_confirmed_a_lease_that_had_run_out() {
    let paused = paused().await;
    paused.clock.advance(LEASE);
    paused.answer.open();
    settle().await;
    assert_eq!(paused.launched.load(SeqCst), 0, "another worker may have the run");
    paused.calls.open();
    let run = paused.engine.client().run(LAUNCH, paused.run.id().as_str()).unwrap();
    assert_eq!(run.output().await.unwrap(), "launched");
    assert_eq!(paused.launched.load(SeqCst), 1);
}

#[tokio::test]
async fn a_body_does_not_begin_unconfirmed_after_the_machine_slept_or_its_clock_was_set_back() {
    for slept in [true, false] {
        let paused = paused().await;
        if slept {
            paused.clock.set_forward(LEASE);
        } else {
            paused.clock.set_back(LEASE * 100);
            paused.clock.advance(LEASE);
        }
        paused.answer.open();
        settle().await;
        assert_eq!(paused.launched.load(SeqCst), 0, "slept: {slept}");
        paused.calls.open();
        assert_eq!(paused.run.output().await.unwrap(), "launched");
    }
}
