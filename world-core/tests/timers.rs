//! Durable sleeps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::time::Duration;

use futures::future::join_all;
use kit::{Done, live, lives_and_replays, rounds};
use world_core::{Clock, Ctx, Kind, Workflow, event::Logged, testing::TestEngine};

fn fired(log: &[Logged]) -> usize {
    log.iter().filter(|logged| logged.event.kind() == Kind::TIMER_FIRED).count()
}

const SLEEPS: Workflow<(usize, u64), usize> = Workflow::new("sleeps");

async fn sleeps(mut ctx: Ctx, (n, seconds): (usize, u64)) -> anyhow::Result<usize> {
    let sleeps: Vec<_> = (0..n).map(|_| ctx.sleep(Duration::from_secs(seconds))).collect();
    for woken in join_all(sleeps).await {
        woken?;
    }
    Ok(n)
}

#[tokio::test]
async fn a_timer_fires_once_though_its_setting_and_its_firing_stand_in_two_appends() {
    for seconds in [0, 1] {
        for seed in 0..4 {
            // More timers than an append holds.
            let (output, _, log) = live(SLEEPS, sleeps, (1000, seconds), seed).await;
            assert_eq!((output.unwrap(), fired(&log)), (1000, 1000));
        }
    }
}

#[tokio::test]
async fn sleeps_end_in_the_order_of_their_times_and_take_no_time() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<Vec<u64>> {
        let began = ctx.now();
        let mut sleeps: futures::stream::FuturesUnordered<_> = [50_u64, 10, 30]
            .into_iter()
            .map(|days| {
                let sleep = ctx.sleep(Duration::from_secs(days * 86_400));
                async move { sleep.await.map(|()| days) }
            })
            .collect();
        let mut order = Vec::new();
        while let Some(days) = futures::StreamExt::next(&mut sleeps).await {
            order.push(days?);
        }
        drop(sleeps);
        anyhow::ensure!(ctx.now().since(began) == Duration::from_secs(50 * 86_400));
        Ok(order)
    }
    assert_eq!(lives_and_replays(0..1, 32, program).await, [[10, 30, 50]]);
}

#[tokio::test]
async fn a_sleep_in_the_past_and_a_sleep_of_no_time_end_at_once() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<bool> {
        let began = ctx.now();
        ctx.sleep(Duration::ZERO).await?;
        ctx.sleep_until(world_core::Timestamp::from_millis(1)).await?;
        Ok(ctx.now() == began)
    }
    assert_eq!(lives_and_replays(0..1, 32, program).await, [true]);
}

#[tokio::test]
async fn a_sleep_that_a_new_deployment_makes_longer_ends_when_it_was_recorded_to_end() {
    const NAP: Workflow<(), ()> = Workflow::new("nap");
    let nap = |hours: u64| {
        move |mut ctx: Ctx, (): ()| async move { ctx.sleep(Duration::from_secs(hours * 3600)).await }
    };
    let t = TestEngine::new().workflow(NAP, nap(1));
    let began = t.clock().now();
    let run = t.start(NAP, ()).await.unwrap();
    t.turn().await.unwrap();
    t.deploy().workflow(NAP, nap(100)).finish(&run).await.unwrap();
    assert_eq!(t.clock().now().since(began), Duration::from_secs(3600));
}

#[tokio::test]
async fn the_sooner_of_a_step_and_a_sleep_wins() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let (mut left, mut right) = (ctx.branch("step"), ctx.branch("sleep"));
        let delay = if seed.is_multiple_of(2) { 0 } else { 3600 };
        Ok(tokio::select! {
            biased;
            x = left.step("work", async || { rounds(3).await; Done::Ok("step".to_owned()) }) => x?,
            x = right.sleep(Duration::from_secs(delay)) => { x?; "sleep".to_owned() }
        })
    }
    assert_eq!(lives_and_replays(0..2, 32, program).await, ["sleep", "step"]);
}
