//! Steps that the workflow holds and does not poll: a run that waits for anything else rests, or is
//! blocked, as if their bodies were not there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    future::Future,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};
use world_core::{
    layer::{CountLayer, Counts},
    testing::TestEngine,
    *,
};

const DAY: Duration = Duration::from_secs(86_400);

const RUN: Workflow<u64, u64> = Workflow::new("run");

type Outcome = Result<u64, StepError>;

/// Waits for what takes no time on tokio's clock, which is paused: what takes this long hangs.
async fn soon<T>(what: &str, doing: impl Future<Output = T>) -> T {
    timeout(DAY * 365, doing).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

async fn phase(t: &TestEngine) -> Phase {
    let page = t.client().unwrap().list(&List::all(NonZeroU32::MIN)).await.unwrap();
    page.runs.first().unwrap().phase
}

/// Which step is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Plain,
    AtMostOnce,
    /// An attempt takes an hour at most.
    Timeout,
}

/// Holds a step whose body takes 50 ms, sleeps for 30 days, and takes the step's result.
fn holds(held: Held, begun: Arc<AtomicU64>) -> impl Fn(Ctx, u64) -> BoxFuture<'static, Outcome> {
    move |mut ctx, _| {
        let begun = Arc::clone(&begun);
        Box::pin(async move {
            let slow = ctx.step("slow", async || {
                begun.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(50)).await;
                Ok::<_, StepError>(1_u64)
            });
            let mut slow = match held {
                Held::Plain => slow,
                Held::AtMostOnce => slow.at_most_once(),
                Held::Timeout => slow.timeout(DAY / 24),
            };
            let quick = ctx.step("quick", async || {
                sleep(Duration::from_millis(5)).await;
                Ok::<_, StepError>(0)
            });
            tokio::select! { biased;
                early = &mut slow => return early.map(|n| n + 100),
                quick = quick => quick?,
            };
            ctx.sleep(DAY * 30).await?;
            match slow.await {
                Err(StepError::Interrupted { .. }) => Ok(7),
                Err(error) if error.is_timeout() => Ok(8),
                ended => ended,
            }
        })
    }
}

/// Runs it, and looks whether it rests; gives its output, and how often the body began.
async fn rests_and_ends(
    held: Held,
    change: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> (u64, u64) {
    let begun = Arc::new(AtomicU64::new(0));
    let store = Arc::new(CountLayer::new(MemoryWorld::new()));
    let function = holds(held, Arc::clone(&begun));
    let t = TestEngine::on(Arc::clone(&store)).workflow(RUN, function).configure(change);
    let run = t.start(RUN, 0).await.unwrap();
    let until = t.clock().now().plus(DAY * 30);
    soon("the turn", t.turn()).await.unwrap();
    assert_eq!(phase(&t).await, Phase::Waiting(until), "{held:?}");
    let before = store.counts();
    let output = soon("the run", t.finish(&run)).await.unwrap();
    let Counts { leases, renewals, .. } = store.counts().since(&before);
    assert_eq!((leases, renewals), (1, 0), "{held:?}: a sleep holds nothing");
    (output, begun.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_run_that_holds_a_step_over_a_sleep_rests_and_the_body_goes_on_afterwards() {
    for residency in [Residency::Resident, Residency::Replay] {
        let ended = rests_and_ends(Held::Plain, |builder| builder.residency(residency)).await;
        assert_eq!(ended, (1, 1), "{residency:?}: the output, and the bodies that began");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_holds_an_at_most_once_step_over_a_sleep_rests_and_the_body_goes_on_afterwards()
{
    for residency in [Residency::Resident, Residency::Replay] {
        let ended = rests_and_ends(Held::AtMostOnce, |builder| builder.residency(residency)).await;
        assert_eq!(ended, (1, 1), "{residency:?}: the output, and the bodies that began");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_held_attempt_wakes_nobody_and_counts_when_the_step_is_polled_again() {
    let ended = rests_and_ends(Held::Timeout, |builder| builder).await;
    assert_eq!(ended, (8, 1), "the output, and the bodies that began");
}

#[tokio::test(start_paused = true)]
async fn a_held_body_whose_program_leaves_memory_begins_again_unless_it_runs_at_most_once() {
    let none = |builder: EngineBuilder| builder.residents_max(0);
    assert_eq!(rests_and_ends(Held::Plain, none).await, (1, 2));
    assert_eq!(rests_and_ends(Held::AtMostOnce, none).await, (7, 1));
}

/// What else is said of the step that holds the lock.
#[derive(Clone, Copy, Debug)]
enum Holder {
    Plain,
    AtMostOnce,
    Timeout,
    Retried,
    /// Its body is never woken.
    Hangs,
}

/// Waits for a lock that a branch holds which it does not poll.
fn locks(holder: Holder) -> impl Fn(Ctx, u64) -> BoxFuture<'static, Outcome> {
    move |mut ctx, _| {
        Box::pin(async move {
            let lock = tokio::sync::Mutex::new(());
            let (mut x, mut y) = (ctx.branch("x"), ctx.branch("y"));
            let mut held = Box::pin(async {
                let _guard = lock.lock().await;
                let slow = x.step("slow", async || {
                    if matches!(holder, Holder::Hangs) {
                        std::future::pending::<()>().await;
                    }
                    sleep(Duration::from_millis(50)).await;
                    Ok::<_, StepError>(1_u64)
                });
                match holder {
                    Holder::Plain | Holder::Hangs => slow.await,
                    Holder::AtMostOnce => slow.at_most_once().await,
                    Holder::Timeout => slow.timeout(DAY).await,
                    Holder::Retried => slow.retry(Retry::exponential(3)).await,
                }
            });
            let quick = y.step("quick", async || {
                sleep(Duration::from_millis(5)).await;
                Ok::<_, StepError>(0)
            });
            tokio::select! { biased;
                early = &mut held => return early,
                quick = quick => quick?,
            };
            let _guard = lock.lock().await; // which `held` has, and nobody polls that
            Ok(5)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_futurelock_is_blocked_ended_by_a_cancellation_and_deleted() {
    for holder in [Holder::Plain, Holder::AtMostOnce, Holder::Timeout, Holder::Retried] {
        let t = TestEngine::new().workflow(RUN, locks(holder));
        let run = t.start(RUN, 0).await.unwrap();
        soon("the turn", t.turn()).await.unwrap();
        let status = run.status().await.unwrap();
        let Status::Blocked { why } = &status else { panic!("{holder:?}: {status:?}") };
        assert!(why.contains("awaits none of x/slow that could wake it"), "{why}");
        assert!(matches!(phase(&t).await, Phase::Waiting(_)), "{holder:?}: it keeps its lease");
        run.cancel("nobody wants it").await.unwrap();
        soon("the cancellation", t.turn()).await.unwrap();
        let ended = run.status().await.unwrap();
        assert!(matches!(ended, Status::Cancelled { .. }), "{holder:?}: {ended:?}");
        t.client().unwrap().delete(run.id()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_body_that_nothing_wakes_does_not_keep_a_cancelled_run_from_being_blocked() {
    let t = TestEngine::new().workflow(RUN, locks(Holder::Hangs));
    let run = t.start(RUN, 0).await.unwrap();
    let turn = async {
        sleep(Duration::from_secs(1)).await; // the body runs, and nobody knows that it hangs
        assert_eq!(run.status().await.unwrap(), Status::Open);
        run.cancel("nobody wants it").await.unwrap();
    };
    soon("the turn", async { tokio::join!(t.turn(), turn).0 }).await.unwrap();
    let status = run.status().await.unwrap();
    assert!(matches!(status, Status::Blocked { .. }), "{status:?}");
    run.cancel("still").await.unwrap();
    soon("the cancellation", t.turn()).await.unwrap();
    let ended = run.status().await.unwrap();
    assert!(matches!(ended, Status::Cancelled { .. }), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_holds_an_announced_body_is_given_back_by_a_worker_that_stops() {
    async fn goes_on(mut ctx: Ctx, _: u64) -> Outcome {
        let body = |millis| async move {
            sleep(Duration::from_millis(millis)).await;
            Ok::<_, StepError>(millis)
        };
        let mut slow = ctx.step("slow", || body(50)).at_most_once();
        tokio::select! { biased;
            early = &mut slow => return early,
            quick = ctx.step("quick", || body(5)) => quick?,
        };
        ctx.step("during", || body(200)).await?;
        ctx.step("after", || body(1)).await?; // the worker stops, and lets none begin
        match slow.await {
            Err(StepError::Interrupted { .. }) => Ok(7),
            ended => ended,
        }
    }
    let (store, key, clock) =
        (Arc::new(MemoryWorld::new()), seal::Key::generate(), workflows::TokioClock::new());
    let engine = || {
        let builder = Engine::builder(Arc::clone(&store)).key(key.clone()).clock(clock);
        builder.workflow(RUN, goes_on).build().unwrap()
    };
    let first = engine();
    let worker = first.spawn_worker();
    let run = first.client().start(RUN, 0).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let began = tokio::time::Instant::now();
    soon("the shutdown", worker.shutdown()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(run.status().await.unwrap(), Status::Open, "it is not blocked");
    let second = engine();
    let worker = second.spawn_worker();
    assert_eq!(soon("the run", run.output()).await.unwrap(), 7);
    soon("the shutdown", worker.shutdown()).await;
}
