//! Deadlines of steps: from when they count, and that they hold wherever the step is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use world_core::{
    event::{Event, Logged},
    layer::CountLayer,
    seal::Key,
    testing::TestEngine,
    *,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const RUN: Workflow<u64, String> = Workflow::new("run");

fn told<T: std::fmt::Debug>(ended: Result<T, StepError>) -> String {
    match ended {
        Ok(value) => format!("{value:?}"),
        Err(error) if error.is_timeout() => format!("timeout: {error}"),
        Err(error) => format!("error: {error}"),
    }
}

fn deadlines(log: &[Logged]) -> Vec<Timestamp> {
    let at = |logged: &Logged| match logged.event {
        Event::StepDeadline { at, .. } => Some(at),
        _ => None,
    };
    log.iter().filter_map(at).collect()
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_deadline_that_ends_a_retried_step_between_attempts_is_a_timeout_with_the_last_failure() {
    let t = TestEngine::new().workflow(RUN, async |mut ctx: Ctx, _| {
        let retry = Retry::fixed(u32::MAX, SECOND * 60).without_jitter();
        let ended = ctx.step("ask", async || Err::<u64, _>("not yet")).retry(retry).deadline(HOUR);
        Ok::<_, StepError>(told(ended.await))
    });
    let began = t.clock().now();
    let run = t.start(RUN, 0).await.unwrap();
    let output = t.finish(&run).await.unwrap();
    assert!(output.starts_with("timeout: ") && output.ends_with(": not yet"), "{output}");
    assert_eq!(deadlines(&t.log(run.id()).await.unwrap()), [began.plus(HOUR)]);
}

#[tokio::test]
async fn a_deadline_counts_from_when_a_worker_comes_to_the_step() {
    let t = TestEngine::new().workflow(RUN, async |mut ctx: Ctx, _| {
        let step = ctx.step("ask", async || Ok::<_, StepError>(7_u64)).deadline(SECOND * 2);
        Ok::<_, StepError>(told(step.await))
    });
    let run = t.start(RUN, 0).await.unwrap();
    t.clock().advance(HOUR);
    assert_eq!(t.finish(&run).await.unwrap(), "7", "it waited longer than that for a worker");
}

#[tokio::test]
async fn a_deadline_passes_while_the_body_waits_for_room() {
    let (clock, began) = (VirtualClock::new(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&began);
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .clock(clock.clone())
        .bodies_max(1)
        .workflow(RUN, move |mut ctx: Ctx, late: u64| {
            let began = Arc::clone(&counter);
            async move {
                let slow = ctx.step("slow", async || {
                    began.fetch_add(1, SeqCst);
                    std::future::pending::<Result<(), StepError>>().await
                });
                let late: Vec<_> = (0..late)
                    .map(|_| ctx.step("late", async || Ok::<_, StepError>(())).deadline(SECOND))
                    .collect();
                let late = join_all(late);
                tokio::select! { biased;
                    slow = slow => Ok::<_, StepError>(told(slow)),
                    late = late => Ok(late.into_iter().map(told).collect::<Vec<_>>().join(", ")),
                }
            }
        })
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(RUN, 2).await.unwrap();
    while began.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    settle().await;
    clock.advance(SECOND);
    let output = run.output().await.unwrap();
    let late = |key| format!("timeout: step {key} failed: the step's deadline has passed");
    assert_eq!(output, [late("late"), late("late#2")].join(", "));
    worker.shutdown().await;
}

#[tokio::test]
async fn a_deadline_ends_a_body_that_runs_and_one_that_nobody_polls() {
    for held in [false, true] {
        let t = TestEngine::new().workflow(RUN, move |mut ctx: Ctx, _| async move {
            let never = || std::future::pending::<Result<u64, StepError>>();
            let mut step = ctx.step("ask", async || never().await).deadline(SECOND * 2);
            if held {
                tokio::select! { biased;
                    _ = &mut step => {}
                    ended = ctx.sleep(SECOND) => ended?,
                }
                ctx.sleep(SECOND * 9).await?;
            }
            Ok::<_, StepError>(told(step.await))
        });
        let run = t.start(RUN, 0).await.unwrap();
        let finished = t.finish(&run);
        tokio::pin!(finished);
        // A body runs, so the test moves the clock.
        let output = loop {
            tokio::select! { biased;
                output = &mut finished => break output.unwrap(),
                () = settle() => t.clock().advance(SECOND / 2),
            }
        };
        assert!(output.starts_with("timeout: ") && output.ends_with("has passed"), "{output}");
    }
}

#[tokio::test]
async fn a_deadline_that_is_noted_holds_for_the_worker_that_takes_over() {
    let t = TestEngine::new().workflow(RUN, async |mut ctx: Ctx, _| {
        let retry = Retry::fixed(u32::MAX, SECOND * 60).without_jitter();
        let ended = ctx.step("ask", async || Err::<u64, _>("not yet")).retry(retry).deadline(HOUR);
        Ok::<_, StepError>(told(ended.await))
    });
    let run = t.start(RUN, 0).await.unwrap();
    t.turn().await.unwrap(); // it has failed once, and rests until its next attempt
    t.clock().advance(HOUR);
    let next = t.deploy().workflow(RUN, async |mut ctx: Ctx, _| {
        let ended = ctx.step("ask", async || Ok::<_, StepError>(7_u64)).deadline(HOUR * 5);
        Ok::<_, StepError>(told(ended.await))
    });
    let output = next.finish(&next.client().unwrap().run(RUN, run.id().as_str()).unwrap()).await;
    let output = output.unwrap();
    assert!(output.starts_with("timeout: "), "{output}");
}

#[tokio::test]
async fn a_step_with_a_deadline_costs_a_record_and_no_append_and_one_without_neither() {
    for (timed, records) in [(false, 7), (true, 12)] {
        let world = Arc::new(CountLayer::new(MemoryWorld::new()));
        let engine = Engine::builder(Arc::clone(&world))
            .key(Key::generate())
            .workflow(RUN, move |mut ctx: Ctx, _| async move {
                for _ in 0..5 {
                    let step = ctx.step("add", async || Ok::<_, StepError>(1_u64));
                    if timed {
                        step.deadline(HOUR).await?
                    } else {
                        step.await?
                    };
                }
                Ok::<_, StepError>(String::new())
            })
            .build()
            .unwrap();
        let worker = engine.spawn_worker();
        let before = world.counts();
        engine.client().start(RUN, 0).await.unwrap().output().await.unwrap();
        let counts = world.counts().since(&before);
        assert_eq!((counts.appends, counts.records_written), (7, records), "{counts:?}");
        worker.shutdown().await;
    }
}
