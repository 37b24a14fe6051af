//! Bodies that are woken while the workflow does not poll them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};
use workflows::{Outcome, TokioClock};
use world_core::{seal::Key, *};

const FANNED: Workflow<u64, u64> = Workflow::new("fanned");

/// Takes results as they come, each with a step of its own: while that runs, nobody polls the rest.
async fn fanned(mut ctx: Ctx, many: u64) -> Outcome<u64> {
    let mut all: FuturesUnordered<_> = (0..many)
        .map(|n| {
            ctx.step("part", move || async move {
                sleep(Duration::from_millis(10 + n)).await;
                Ok::<_, StepError>(n)
            })
        })
        .collect();
    let mut sum = 0;
    while let Some(n) = all.next().await {
        let n = n?;
        sum += ctx.step("handle", async || Ok::<_, StepError>(n)).await?;
    }
    Ok(sum)
}

/// Runs it with so many parts and permits.
async fn ends(many: u64, bodies_max: usize) {
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .clock(TokioClock::new())
        .bodies_max(bodies_max)
        .workflow(FANNED, fanned)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(FANNED, many).await.unwrap();
    let output = timeout(Duration::from_secs(600), run.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{many} parts, {bodies_max} permits: it hangs"));
    assert_eq!(output.unwrap(), many * (many - 1) / 2);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_with_more_steps_at_once_than_may_run_goes_on_while_they_are_not_polled() {
    ends(300, 4096).await;
}

#[tokio::test(start_paused = true)]
async fn bodies_that_nobody_polls_hold_no_permits() {
    ends(5, 1).await;
    ends(40, 3).await;
}
