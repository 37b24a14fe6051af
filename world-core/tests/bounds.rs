//! Bounds of what a workflow, a client and a builder may bring.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use workflows::Least;
use world_core::{
    event::Event, layer::RetryBounds, replay::Key as OperationKey, seal::Key, testing::TestEngine,
    *,
};

const LONG: Workflow<u64, u64> = Workflow::new("long");

/// More than any record holds.
const BYTES: u64 = 3_000_000;

/// Noise, which no compression shrinks.
fn noise(bytes: u64) -> String {
    let mut x = 88_172_645_463_325_252_u64;
    let next = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(33 + (x % 90) as u8)
    };
    (0..bytes).map(next).collect()
}

fn engine<F, Fut>(function: F) -> TestEngine
where
    F: Fn(Ctx, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<u64>> + Send + 'static,
{
    TestEngine::on(Least(MemoryWorld::new())).workflow(LONG, function)
}

#[tokio::test]
async fn a_panic_with_a_huge_text_blocks_its_run_with_the_beginning_of_the_text() {
    let t = engine(|_, bytes| async move { std::panic::resume_unwind(Box::new(noise(bytes))) });
    let run = t.start(LONG, BYTES).await.unwrap();
    let Err(RunError::Blocked { why, .. }) = t.finish(&run).await else { panic!("not blocked") };
    assert!(why.contains("the workflow panicked: ") && why.contains("more bytes]"), "{why}");
    assert!(why.len() < 20_000, "{}", why.len());
}

#[tokio::test]
async fn huge_errors_of_bodies_and_workflows_are_recorded_with_their_beginnings() {
    let t = engine(|mut ctx: Ctx, bytes| async move {
        let step = ctx.step("fails", async || {
            let error = (0..60)
                .fold(anyhow::anyhow!(noise(bytes)), |error, n| error.context(noise(20_000 + n)));
            Err::<u64, _>(error)
        });
        let failed = step.await.unwrap_err();
        let panics = ctx.step("panics", async || -> anyhow::Result<u64> {
            std::panic::resume_unwind(Box::new(noise(bytes)))
        });
        let panicked = panics.await.unwrap_err();
        anyhow::bail!("{failed} {panicked} {}", noise(bytes))
    });
    let run = t.start(LONG, BYTES).await.unwrap();
    let failure = match t.finish(&run).await {
        Err(RunError::Failed { failure, .. }) => failure,
        other => panic!("{other:?}"),
    };
    assert!(failure.message.len() < 20_000 && failure.message.ends_with("more bytes]"));
    let log = t.log(run.id()).await.unwrap();
    let failures = log.iter().filter_map(|logged| match &logged.event {
        Event::StepFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    assert_eq!(failures.len(), 2, "{log:#?}");
    assert!(failures.iter().all(|failure| failure.message.contains("more bytes]")));
    assert!(failures[0].causes.last().unwrap().ends_with("more causes]"));
}

#[tokio::test]
async fn the_huge_reason_of_a_cancellation_is_cut() {
    let t = engine(|mut ctx: Ctx, _| async move {
        ctx.sleep(Duration::from_secs(60)).await?;
        Ok(1)
    });
    let run = t.start(LONG, 0).await.unwrap();
    t.turn().await.unwrap();
    run.cancel(noise(BYTES)).await.unwrap();
    let Err(RunError::Cancelled { reason, .. }) = t.finish(&run).await else { panic!() };
    assert!(reason.len() < 10_000 && reason.ends_with("more bytes]"), "{}", reason.len());
}

#[tokio::test]
async fn a_key_beyond_its_bound_blocks_the_run_before_the_body_begins() {
    for nested in [false, true] {
        let begun = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&begun);
        let t = engine(move |mut ctx: Ctx, bytes| {
            let begun = Arc::clone(&counted);
            async move {
                let name = if nested { "x".to_owned() } else { noise(bytes) };
                if nested {
                    for _ in 0..10_000 {
                        ctx = ctx.branch("branch");
                    }
                }
                let step = ctx.step(&name, async || {
                    begun.fetch_add(1, SeqCst);
                    anyhow::Ok(1)
                });
                Ok(step.await?)
            }
        });
        let run = t.start(LONG, 1_500_000).await.unwrap();
        let Err(RunError::Blocked { why, .. }) = t.finish(&run).await else { panic!() };
        assert!(why.contains("16384 are the most"), "{why}");
        assert!(why.len() < 1_000 && begun.load(SeqCst) == 0, "{why}");
    }
}

#[tokio::test]
async fn a_key_at_its_bound_is_taken_by_every_world_whatever_becomes_of_the_step() {
    let t = engine(|mut ctx: Ctx, _| async move {
        let name = noise(OperationKey::BYTES_MAX as u64).replace(['/', '#', '%'], "x");
        let fails = ctx.step(&name, async || Err::<u64, _>(anyhow::anyhow!(noise(BYTES))));
        assert!(fails.await.is_err());
        Ok(2)
    });
    assert_eq!(t.run(LONG, 0).await.unwrap(), 2);
}

#[tokio::test]
async fn attempts_with_short_delays_leave_few_notes_in_the_log_and_the_latest_among_them() {
    const ATTEMPTS: u32 = 5_000;
    let t = engine(|mut ctx: Ctx, _| async move {
        let step = ctx.step_with("poll", async |at: Attempt| match at.number() {
            ATTEMPTS => Ok(1),
            _ => Err("not yet"),
        });
        Ok(step.retry(Retry::fixed(u32::MAX, Duration::ZERO)).await?)
    });
    let run = t.start(LONG, 0).await.unwrap();
    assert_eq!(t.finish(&run).await.unwrap(), 1);
    let log = t.log(run.id()).await.unwrap();
    let noted = log.iter().filter_map(|logged| match logged.event {
        Event::StepRetrying { attempt, .. } => Some(attempt),
        _ => None,
    });
    let noted: Vec<u32> = noted.collect();
    assert!(noted.len() < 20, "{noted:?}");
    assert_eq!(noted.last(), Some(&(ATTEMPTS - 1)), "{noted:?}");
}

#[test]
fn an_option_outside_its_range_is_refused_with_its_name_value_and_range() {
    type Change = fn(EngineBuilder) -> EngineBuilder;
    let second = Duration::from_secs(1);
    let long = RetryBounds { delay_max_ms: u64::MAX, ..RetryBounds::default() };
    let wrong: [(Change, &str); 9] = [
        (|b| b.lease(Duration::MAX), "lease = 18446744073709551615.999999999s"),
        (|b| b.lease(Duration::from_millis(999)), "lease = 999ms; choose from 1s to 86400s"),
        (|b| b.linger(Duration::MAX), "linger = "),
        (|b| b.poll(Duration::ZERO), "poll = 0ns; choose from 1ms to 3600s"),
        (|b| b.poll(Duration::MAX), "poll = "),
        (|b| b.retention(Duration::MAX), "retention = "),
        (|b| b.runs_max(0), "runs_max = 0; choose from 1 to 1000000"),
        (|b| b.bodies_max(usize::MAX), "bodies_max = "),
        (|b| b.runs_max(usize::MAX), "runs_max = "),
    ];
    let build = |builder: EngineBuilder| builder.key(Key::generate()).build();
    for (change, said) in wrong {
        let error = build(change(Engine::builder(MemoryWorld::new()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(said), "{error} and not {said}");
    }
    let error = build(Engine::builder(MemoryWorld::new()).retries(long)).unwrap_err();
    assert!(error.to_string().contains("retries.delay_max_ms"), "{error}");
    let edges = Engine::builder(MemoryWorld::new())
        .lease(second)
        .linger(Duration::ZERO)
        .poll(Duration::from_millis(1))
        .retention(Duration::ZERO)
        .runs_max(1)
        .bodies_max(1_000_000);
    assert!(build(edges).is_ok());
}
