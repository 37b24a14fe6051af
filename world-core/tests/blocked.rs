//! What replay cannot repeat is reported, with its place and the remedy, and once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kit::{Done, blocked, rounds};
use serde::{Deserialize, Serialize};
use world_core::{
    Clock, Ctx, Engine, Kind, MemoryWorld, RunError, Status, StepError, VirtualClock, Workflow,
    seal::Key, testing::TestEngine,
};

const CHARGE: Workflow<u64, u64> = Workflow::new("charge");

async fn charge(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
    let x = ctx.step("charge", || async { Done::Ok(1_u64) }).await?;
    ctx.sleep(Duration::from_secs(1)).await?;
    Ok(x)
}

async fn pay(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
    let x = ctx.step("pay", || async { Done::Ok(1_u64) }).await?;
    ctx.sleep(Duration::from_secs(1)).await?;
    Ok(x)
}

#[tokio::test]
async fn a_divergence_is_noted_once_and_tried_again_ever_more_slowly() {
    let t = TestEngine::new().workflow(CHARGE, charge);
    let run = t.start(CHARGE, 0).await.unwrap();
    t.turn().await.unwrap();
    let next = t.deploy().workflow(CHARGE, pay);
    let began = t.clock().now();
    for _ in 0..8 {
        let error = next.finish(&run).await.unwrap_err();
        assert!(matches!(error, RunError::Blocked { .. }), "{error}");
    }
    let log = t.log(run.id()).await.unwrap();
    let notes = log.iter().filter(|logged| logged.event.kind() == Kind::RUN_BLOCKED).count();
    assert_eq!(notes, 1, "{log:#?}");
    assert!(t.clock().now().since(began) >= Duration::from_secs(64));
    assert_eq!(t.deploy().workflow(CHARGE, charge).finish(&run).await.unwrap(), 1);
}

#[tokio::test]
async fn another_reason_is_noted_too() {
    let t = TestEngine::new().workflow(CHARGE, charge);
    let run = t.start(CHARGE, 0).await.unwrap();
    t.turn().await.unwrap();
    t.deploy().workflow(CHARGE, pay).finish(&run).await.unwrap_err();
    let panics = |_: Ctx, _: u64| async {
        assert!(std::hint::black_box(false), "mend me");
        anyhow::Ok(0)
    };
    let error = t.deploy().workflow(CHARGE, panics).finish(&run).await.unwrap_err();
    assert!(error.to_string().contains("the workflow panicked: mend me"), "{error}");
    let log = t.log(run.id()).await.unwrap();
    let notes = log.iter().filter(|logged| logged.event.kind() == Kind::RUN_BLOCKED).count();
    assert_eq!(notes, 2, "{log:#?}");
}

#[tokio::test]
async fn waiting_for_nothing_durable_is_reported_though_a_step_is_held() {
    async fn never_polled(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let _held = ctx.step("held", async || Done::Ok(1_u64));
        std::future::pending::<()>().await;
        Ok(0)
    }
    async fn polled_once(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let mut held = ctx.step("held", async || Done::Ok(1_u64));
        let _ = futures::poll!(&mut held);
        std::future::pending::<()>().await;
        Ok(0)
    }
    for why in [blocked(never_polled).await, blocked(polled_once).await] {
        assert!(why.contains("waits for something that is not durable"), "{why}");
    }
}

#[tokio::test]
async fn a_body_that_wakes_the_workflow_as_it_is_dropped_is_named() {
    // The body of `holder` holds the lock that the workflow waits for, and `other` goes on.
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let lock = Arc::new(tokio::sync::Mutex::new(0_u64));
        let holder = {
            let lock = Arc::clone(&lock);
            ctx.step("holder", move || {
                let lock = Arc::clone(&lock);
                async move {
                    let _held = lock.lock().await;
                    std::future::pending::<()>().await;
                    Done::Ok(0_u64)
                }
            })
        };
        let quick = ctx.step("quick", async || {
            rounds(4).await;
            Done::Ok(1_u64)
        });
        let mut third = ctx.branch("third");
        let (_, n) = futures::join!(
            async { futures::future::select(holder, quick).map(|_| ()).await },
            async {
                third
                    .step("other", async || {
                        rounds(2).await;
                        Done::Ok(2_u64)
                    })
                    .await?;
                let n = *lock.lock().await;
                third
                    .step("last", async || {
                        rounds(40).await;
                        Done::Ok(n)
                    })
                    .await
            }
        );
        Ok(n?)
    }
    let why = blocked(program).await;
    assert!(why.contains("the body of step holder woke the workflow"), "{why}");
}

#[tokio::test]
async fn a_panic_of_the_workflow_blocks_the_run_until_it_is_mended() {
    let panics = |mut ctx: Ctx, _: u64| async move {
        let x = ctx.step("charge", || async { Done::Ok(1_u64) }).await?;
        assert!(x > 1, "x is {x}");
        anyhow::Ok(x)
    };
    let t = TestEngine::new().workflow(CHARGE, panics);
    let run = t.start(CHARGE, 0).await.unwrap();
    let error = t.finish(&run).await.unwrap_err();
    assert!(error.to_string().contains("the workflow panicked: x is 1; mend it"), "{error}");
    assert_eq!(t.deploy().workflow(CHARGE, charge).finish(&run).await.unwrap(), 1);
}

#[derive(Debug, Serialize)]
struct Strange(u64);

impl<'de> Deserialize<'de> for Strange {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let n = u64::deserialize(from)?;
        assert!(n < 10, "a Deserialize that panics at {n}");
        Ok(Self(n))
    }
}

#[tokio::test]
async fn a_panic_of_a_deserialize_that_reads_a_stored_result_blocks_the_run() {
    let strange = |mut ctx: Ctx, _: u64| async move {
        let x = ctx.step("charge", || async { Done::Ok(Strange(1)) }).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok::<_, StepError>(x.0)
    };
    let ten = |mut ctx: Ctx, _: u64| async move {
        let x = ctx.step("charge", || async { Done::Ok(10_u64) }).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok::<_, StepError>(x)
    };
    let t = TestEngine::new().workflow(CHARGE, ten);
    let run = t.start(CHARGE, 0).await.unwrap();
    t.turn().await.unwrap();
    let why = t.deploy().workflow(CHARGE, strange).finish(&run).await.unwrap_err().to_string();
    assert!(why.contains("a Deserialize that panics at 10"), "{why}");
    assert_eq!(t.deploy().workflow(CHARGE, ten).finish(&run).await.unwrap(), 10);
}

#[tokio::test]
async fn a_result_that_no_longer_decodes_is_a_divergence_and_heals() {
    let other_type = |mut ctx: Ctx, _: u64| async move {
        let x = ctx.step("charge", || async { Done::Ok("one".to_owned()) }).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok::<_, StepError>(x.len() as u64)
    };
    let t = TestEngine::new().workflow(CHARGE, charge);
    let run = t.start(CHARGE, 0).await.unwrap();
    t.turn().await.unwrap();
    t.clock().advance(Duration::from_secs(1));
    let error = t.deploy().workflow(CHARGE, other_type).finish(&run).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("at position 2"), "{text}");
    assert!(text.contains("wants a alloc::string::String"), "{text}");
    assert!(text.contains("does not decode as one: expected a string"), "{text}");
    assert_eq!(t.deploy().workflow(CHARGE, charge).finish(&run).await.unwrap(), 1);
}

#[tokio::test]
async fn the_output_of_a_run_whose_worker_was_aborted_is_heard_of_from_another_engine() {
    let (world, clock, key) = (Arc::new(MemoryWorld::new()), VirtualClock::new(), Key::generate());
    let begun = Arc::new(tokio::sync::Notify::new());
    let engine = |hangs: bool| {
        let begun = Arc::clone(&begun);
        let work = move |mut ctx: Ctx, n: u64| {
            let begun = Arc::clone(&begun);
            async move {
                let n = ctx
                    .step("work", async || {
                        begun.notify_one();
                        if hangs {
                            std::future::pending::<()>().await;
                        }
                        Done::Ok(n)
                    })
                    .await?;
                anyhow::Ok(n)
            }
        };
        let builder = Engine::builder(Arc::clone(&world)).key(key.clone()).clock(clock.clone());
        builder.workflow(CHARGE, work).build().unwrap()
    };
    let (first, second) = (engine(true), engine(false));
    let worker = first.spawn_worker();
    let run = first.client().start(CHARGE, 7).await.unwrap();
    begun.notified().await;
    worker.abort();
    clock.set(clock.now().plus(Duration::from_secs(60)));
    let other = second.spawn_worker();
    let output = tokio::time::timeout(Duration::from_secs(120), run.output()).await;
    assert_eq!(output.expect("the handle asks the store").unwrap(), 7);
    other.shutdown().await;
}

#[tokio::test]
async fn a_workflow_that_drops_an_operation_while_bodies_are_polled_is_reported() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let slow = ctx.step("slow", async || {
            std::future::pending::<()>().await;
            Done::Ok(1_u64)
        });
        let other = ctx.step("other", async || Done::Ok(2_u64));
        let mut polls = 0;
        let second_poll = std::future::poll_fn(|_| {
            polls += 1;
            if polls > 1 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        futures::future::select(second_poll, slow).await;
        Ok(other.await?)
    }
    let why = blocked(program).await;
    assert!(why.contains("moved on by something that is not durable"), "{why}");
    assert!(why.contains("while it waited for other"), "{why}");
}

#[tokio::test]
async fn a_blocked_run_that_is_asked_to_end_ends_without_its_code() {
    const STUCK: Workflow<(), ()> = Workflow::new("stuck");
    async fn stuck(_: Ctx, (): ()) -> Result<(), StepError> {
        std::future::pending().await
    }
    let t = TestEngine::new().workflow(STUCK, stuck);
    let run = t.start(STUCK, ()).await.unwrap();
    t.turn().await.unwrap();
    assert!(matches!(run.status().await.unwrap(), Status::Blocked { .. }));
    run.cancel("nobody wants it").await.unwrap();
    assert!(matches!(run.status().await.unwrap(), Status::Blocked { .. }), "not yet");
    t.turn().await.unwrap();
    let reason = "nobody wants it".to_owned();
    assert_eq!(run.status().await.unwrap(), Status::Cancelled { reason });
}
