//! Clocks that are set while the engine works.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use world_core::{
    event::Event,
    layer::{CountLayer, Fault, FaultLayer, Method, RetryBounds},
    seal::Key,
    testing::TestEngine,
    *,
};

const RUN: Workflow<u64, String> = Workflow::new("run");
const COUNT: Workflow<u64, u64> = Workflow::new("count");
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// Moves the time on, a bit at a time, until something is so.
async fn pass(clock: &VirtualClock, most: Duration, is_so: impl Fn() -> bool) -> bool {
    let tick = Duration::from_millis(100);
    for _ in 0..most.as_millis() / tick.as_millis() {
        settle().await;
        if is_so() {
            return true;
        }
        clock.advance(tick);
    }
    settle().await;
    is_so()
}

#[tokio::test]
async fn an_attempt_times_out_and_is_tried_again_although_the_clock_is_set_back() {
    let (clock, began) = (VirtualClock::new(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&began);
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .clock(clock.clone())
        .workflow(RUN, move |mut ctx: Ctx, _| {
            let began = Arc::clone(&counter);
            async move {
                let step = ctx.step("hang", async || {
                    began.fetch_add(1, SeqCst);
                    std::future::pending::<Result<u64, StepError>>().await
                });
                // One wait is kept in the worker, the other longer than it lingers.
                let retry = Retry::exponential(3).first_delay(SECOND / 2).without_jitter();
                let ended = step.timeout(SECOND * 3).retry(retry).await;
                Ok::<_, StepError>(format!("{}", ended.unwrap_err().is_timeout()))
            }
        })
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(RUN, 0).await.unwrap();
    assert!(pass(&clock, SECOND, || began.load(SeqCst) == 1).await);
    clock.set_back(HOUR); // during the attempt
    clock.advance(SECOND * 3);
    settle().await;
    clock.set_back(HOUR); // during the wait
    assert!(pass(&clock, SECOND * 2, || began.load(SeqCst) == 2).await, "it is not tried again");
    let output = tokio::spawn(run.output());
    assert!(pass(&clock, SECOND * 30, || output.is_finished()).await, "it never ends");
    assert_eq!(output.await.unwrap().unwrap(), "true");
    worker.shutdown().await;
}

#[tokio::test]
async fn a_worker_claims_again_and_resends_although_the_clock_is_set_back_while_its_store_is_away()
{
    let (clock, away) = (VirtualClock::new(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::new(CountLayer::new(MemoryWorld::new()));
    let is_away = Arc::clone(&away);
    let world = FaultLayer::new(Arc::clone(&counted), move |seen| match seen.method {
        Method::Append | Method::Claim | Method::Wait | Method::Renew
            if is_away.load(SeqCst) == 1 =>
        {
            Fault::Lost
        }
        _ => Fault::None,
    });
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let once = RetryBounds { tries_max: std::num::NonZeroU32::MIN, ..RetryBounds::default() };
    let engine = Engine::builder(world)
        .key(Key::generate())
        .clock(clock.clone())
        .retries(once)
        .workflow(RUN, move |mut ctx: Ctx, _| {
            let opened = Arc::clone(&opened);
            async move {
                let opened = &opened;
                let step = ctx.step("wait", async || {
                    opened.notified().await;
                    Ok::<_, StepError>(1_u64)
                });
                Ok::<_, StepError>(step.await?.to_string())
            }
        })
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(RUN, 0).await.unwrap();
    settle().await;
    away.store(1, SeqCst);
    gate.notify_one();
    settle().await;
    pass(&clock, SECOND, || false).await;
    clock.set_back(HOUR);
    pass(&clock, SECOND, || false).await;
    away.store(0, SeqCst);
    let (before, output) = (counted.counts().claims, tokio::spawn(run.output()));
    assert!(pass(&clock, SECOND * 10, || output.is_finished()).await, "the append is not resent");
    assert_eq!(output.await.unwrap().unwrap(), "1");
    let claims = || counted.counts().claims > before;
    assert!(pass(&clock, SECOND * 10, claims).await, "the worker claims nothing any more");
    worker.shutdown().await;
}

#[tokio::test]
async fn every_attempt_waits_for_its_delay_however_often_its_run_has_been_taken_over() {
    for residency in [Residency::Resident, Residency::Replay] {
        let t = TestEngine::new().configure(|builder| builder.residency(residency)).workflow(
            COUNT,
            async |mut ctx: Ctx, _| {
                let step = ctx.step_with("ask", async |attempt: Attempt| match attempt.number() {
                    5 => Ok(5_u64),
                    _ => Err("not yet"),
                });
                step.retry(Retry::fixed(9, HOUR).without_jitter()).await
            },
        );
        let began = t.clock().now();
        let run = t.start(COUNT, 0).await.unwrap();
        assert_eq!(t.finish(&run).await.unwrap(), 5);
        let log = t.log(run.id()).await.unwrap();
        let failed = log.iter().filter(|logged| matches!(logged.event, Event::StepRetrying { .. }));
        let at: Vec<_> = failed.map(|logged| logged.at.since(began)).collect();
        assert_eq!(at, [Duration::ZERO, HOUR, HOUR * 2, HOUR * 3], "{residency:?}");
    }
}
