//! What the engine for tests costs, and when its clock moves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::time::timeout;
use world_core::{
    layer::{CountLayer, Fault, FaultLayer, Method},
    seal::Key,
    testing::TestEngine,
    *,
};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

const PARENT: Workflow<u64, u64> = Workflow::new("parent");
const CHILD: Workflow<u64, u64> = Workflow::new("child");

async fn child(mut ctx: Ctx, hours: u64) -> anyhow::Result<u64> {
    for _ in 0..hours {
        ctx.sleep(HOUR).await?;
    }
    Ok(hours)
}

/// An engine for tests that has the child, and a client for the parents' bodies.
fn with_child() -> (TestEngine, Client) {
    let (key, world) = (Key::generate(), MemoryWorld::new());
    let t = TestEngine::on(world.clone()).key(key.clone()).workflow(CHILD, child);
    let client = Engine::builder(world).key(key).clock(t.clock().clone()).build().unwrap();
    (t, client.client())
}

async fn child_output(client: &Client, hours: u64) -> anyhow::Result<u64> {
    Ok(client.start(CHILD, hours).id(format!("child-{hours}")).await?.output().await?)
}

#[tokio::test]
async fn steps_and_sleeps_read_each_record_once() {
    const LOOPS: u64 = 1_000;
    let world = Arc::new(CountLayer::new(MemoryWorld::new()));
    let t = TestEngine::on(Arc::clone(&world)).workflow(PARENT, async |mut ctx: Ctx, _| {
        for _ in 0..LOOPS {
            ctx.step("step", async || anyhow::Ok(())).await?;
            ctx.sleep(HOUR).await?;
        }
        anyhow::Ok(LOOPS)
    });
    let run = t.start(PARENT, 0).await.unwrap();
    assert_eq!(t.finish(&run).await.unwrap(), LOOPS);
    let counts = world.counts();
    let records = t.log(run.id()).await.unwrap().len() as u64;
    assert!(counts.records_read <= records + 20, "{records}: {counts:?}");
    assert!(counts.reads <= LOOPS + 20, "{counts:?}");
}

#[tokio::test]
async fn clock_moves_while_a_body_waits_for_a_run_that_sleeps() {
    let (t, client) = with_child();
    let bodies = Arc::new(AtomicU64::new(0));
    let begun = Arc::clone(&bodies);
    let t = t.workflow(PARENT, move |mut ctx: Ctx, hours| {
        let (client, begun) = (client.clone(), Arc::clone(&begun));
        async move {
            let body = async || {
                begun.fetch_add(1, SeqCst);
                child_output(&client, hours).await
            };
            Ok::<_, StepError>(ctx.step("child", body).await?)
        }
    });
    let before = t.clock().now();
    let output = timeout(PATIENCE, t.run(PARENT, 100)).await.expect("the clock moves");
    assert_eq!(output.unwrap(), 100);
    assert_eq!(t.clock().now().since(before), HOUR * 100);
    assert_eq!(bodies.load(SeqCst), 1, "its lease held meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_moves_from_due_time_to_due_time_while_many_bodies_wait() {
    let (t, client) = with_child();
    let t = t.workflow(PARENT, move |mut ctx: Ctx, many| {
        let client = client.clone();
        async move {
            let began = ctx.now();
            let bodies: Vec<_> = (1..=many)
                .map(|hours| {
                    let client = &client;
                    ctx.step("child", move || child_output(client, hours))
                })
                .collect();
            let sleep = ctx.sleep(HOUR / 2);
            let (outputs, slept) = tokio::join!(join_all(bodies), async { sleep.await });
            slept?;
            for (output, wanted) in outputs.into_iter().zip(1..) {
                assert_eq!(output?, wanted);
            }
            anyhow::Ok(ctx.now().since(began).as_secs() / 3600)
        }
    });
    let output = timeout(PATIENCE, t.run(PARENT, 20)).await.expect("the clock moves");
    assert_eq!(output.unwrap(), 20);
}

#[tokio::test]
async fn attempt_that_waits_for_a_run_times_out_by_the_clock_of_the_test() {
    let (t, client) = with_child();
    let t = t.workflow(PARENT, move |mut ctx: Ctx, hours| {
        let client = client.clone();
        async move {
            let body = async || child_output(&client, hours).await;
            let error = ctx.step("child", body).timeout(HOUR * 3).await.unwrap_err();
            anyhow::Ok(u64::from(error.is_timeout()))
        }
    });
    let before = t.clock().now();
    let output = timeout(PATIENCE, t.run(PARENT, 10)).await.expect("the clock moves");
    assert_eq!(output.unwrap(), 1);
    assert_eq!(t.clock().now().since(before), HOUR * 3);
}

#[tokio::test]
async fn clock_stands_still_while_another_body_runs() {
    let (t, client) = with_child();
    let t = t.workflow(PARENT, move |mut ctx: Ctx, hours| {
        let client = client.clone();
        async move {
            let began = ctx.now();
            let waits = ctx.step("child", async || child_output(&client, hours).await);
            let real = async || {
                tokio::time::sleep(Duration::from_millis(50)).await;
                anyhow::Ok(())
            };
            let real = ctx.step("real", real);
            let real = async {
                real.await?;
                anyhow::Ok(ctx.now().since(began))
            };
            let (waits, passed) = tokio::join!(waits, real);
            assert_eq!(passed?, Duration::ZERO, "the body took real time alone");
            anyhow::Ok(waits?)
        }
    });
    let output = timeout(PATIENCE, t.run(PARENT, 3)).await.expect("the clock moves");
    assert_eq!(output.unwrap(), 3);
}

#[tokio::test]
async fn wait_for_a_run_that_nothing_wakes_is_an_error_that_names_both() {
    const ABSENT: Workflow<u64, u64> = Workflow::new("absent");
    let (t, client) = with_child();
    let t = t.workflow(PARENT, move |mut ctx: Ctx, _| {
        let client = client.clone();
        async move {
            let body =
                async || anyhow::Ok(client.start(ABSENT, 1).id("nobody").await?.output().await?);
            anyhow::Ok(ctx.step("child", body).await?)
        }
    });
    let run = t.start(PARENT, 1).await.unwrap();
    let finished = timeout(PATIENCE, t.finish(&run)).await.expect("it does not hang");
    let error = finished.unwrap_err().to_string();
    assert!(error.contains("nobody") && error.contains(run.id().as_str()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn append_that_fails_longer_than_it_is_retried_is_sent_again() {
    let world = FaultLayer::new(MemoryWorld::new(), |seen| match (seen.method, seen.nth) {
        (Method::Append, 2..=20) => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let t = TestEngine::on(world)
        .workflow(PARENT, async |mut ctx: Ctx, n| ctx.step("step", async || anyhow::Ok(n)).await);
    let run = t.start(PARENT, 7).await.unwrap();
    timeout(HOUR, t.turn()).await.expect("it returns").unwrap();
    assert_eq!(timeout(HOUR, t.finish(&run)).await.expect("it returns").unwrap(), 7);
}
