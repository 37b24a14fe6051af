//! Runs that stand still because what they wait for cannot begin are said to, once, with what waits
//! for what.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod heard;

use std::{sync::Arc, time::Duration};

use futures::future::{join_all, try_join_all};
use heard::Heard;
use world_core::{
    Client, Ctx, Engine, EngineBuilder, MemoryWorld, StepError, VirtualClock, Worker, Workflow,
    seal::Key,
};

const PARENT: Workflow<u64, u64> = Workflow::new("parent");
const CHILD: Workflow<u64, u64> = Workflow::new("child");

/// An engine whose parents wait for their children inside a body, and its worker.
struct Family {
    clock: VirtualClock,
    client: Client,
    worker: Worker,
}

impl Family {
    fn new(configure: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        let (world, key, clock) =
            (Arc::new(MemoryWorld::new()), Key::generate(), VirtualClock::new());
        let builder = || Engine::builder(Arc::clone(&world)).key(key.clone()).clock(clock.clone());
        let client = builder().build().unwrap().client();
        let starts = client.clone();
        let parent = move |mut ctx: Ctx, n: u64| {
            let client = starts.clone();
            async move {
                let id = format!("{}-child", ctx.run_id());
                let child = ctx.step("wait", async || {
                    let child = client.start(CHILD, n).id(&id).await?;
                    anyhow::Ok(child.output().await?)
                });
                child.await
            }
        };
        let child =
            async |mut ctx: Ctx, n: u64| ctx.step("work", async || Ok::<_, StepError>(n)).await;
        let engine = configure(builder()).workflow(PARENT, parent).workflow(CHILD, child);
        let worker = engine.build().unwrap().spawn_worker();
        Self { clock, client, worker }
    }

    async fn start(&self, ids: &[&str]) {
        for id in ids {
            self.client.start(PARENT, 7).id(*id).await.unwrap();
        }
    }
}

/// Moves the clock on until something is heard.
async fn until(heard: &Heard, clock: &VirtualClock, text: &str) -> String {
    const SECONDS_MAX: u32 = 200;
    for _ in 0..SECONDS_MAX {
        if let Some(line) = heard.with(text).pop() {
            return line;
        }
        pass(clock, 1).await;
    }
    panic!("{text:?} was not heard in\n{:#?}", heard.lines());
}

/// Lets this many seconds pass, and everybody do what there is to do in each.
async fn pass(clock: &VirtualClock, seconds: u32) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn parents_that_fill_bodies_max_are_named_with_the_children_they_wait_for() {
    let (heard, _guard) = Heard::listen();
    let family = Family::new(|builder| builder.bodies_max(2));
    family.start(&["a", "b"]).await;
    let line = until(&heard, &family.clock, "no step body can begin").await;
    for part in ["WARN", "bodies_max=2", "waiting=a-child, b-child"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    assert!(line.contains("awaited=a (wait) for a-child, b (wait) for b-child"), "{line}");
    pass(&family.clock, 60).await;
    assert_eq!(heard.with("no step body can begin").len(), 1, "it is said once");
    family.worker.abort();
}

#[tokio::test]
async fn parents_that_fill_runs_max_are_named_with_the_children_that_are_due() {
    let (heard, _guard) = Heard::listen();
    let family = Family::new(|builder| builder.runs_max(2));
    family.start(&["a", "b"]).await;
    let line = until(&heard, &family.clock, "no due run can begin").await;
    for part in
        ["WARN", "runs_max=2", "a-child", "awaited=a (wait) for a-child, b (wait) for b-child"]
    {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    pass(&family.clock, 60).await;
    assert_eq!(heard.with("no due run can begin").len(), 1, "it is said once");
    family.worker.abort();
}

#[tokio::test]
async fn runs_that_move_or_have_room_are_not_said_to_stand_still() {
    let (heard, _guard) = Heard::listen();
    let family = Family::new(|builder| builder.bodies_max(3).runs_max(4));
    family.start(&["a", "b"]).await;
    for id in ["a", "b"] {
        let run = family.client.run(PARENT, id).unwrap();
        assert_eq!(run.output().await.unwrap(), 7);
    }
    pass(&family.clock, 60).await;
    assert_eq!(heard.with("can begin"), Vec::<String>::new());
    family.worker.abort();
}

#[tokio::test]
async fn more_bodies_of_one_run_than_may_run_that_wait_for_one_another_are_said() {
    const ALL: usize = 257;
    let (heard, _guard) = Heard::listen();
    let clock = VirtualClock::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(ALL));
    let meet = move |mut ctx: Ctx, _: u64| {
        let barrier = Arc::clone(&barrier);
        async move {
            let steps = (0..ALL).map(|n| {
                let (mut ctx, barrier) = (ctx.branch("each"), Arc::clone(&barrier));
                async move {
                    ctx.step("meet", async || {
                        barrier.wait().await;
                        Ok::<_, StepError>(n)
                    })
                    .await
                }
            });
            Ok::<_, StepError>(try_join_all(steps.collect::<Vec<_>>()).await?.len() as u64)
        }
    };
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .clock(clock.clone())
        .workflow(PARENT, meet)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    engine.client().start(PARENT, 0).id("a").await.unwrap();
    let line = until(&heard, &clock, "no further body of the run can begin").await;
    assert!(line.contains("run=a running=256 queued=1"), "{line}");
    pass(&clock, 60).await;
    assert_eq!(heard.with("no further body of the run can begin").len(), 1, "it is said once");
    worker.abort();
}

#[tokio::test]
async fn a_run_that_is_waited_for_and_that_no_worker_here_can_begin_is_said_once() {
    const OTHER: Workflow<u64, u64> = Workflow::new("other");
    let (heard, _guard) = Heard::listen();
    let family = Family::new(|builder| builder);
    let other = family.client.start(OTHER, 1).id("o").await.unwrap();
    let waits = tokio::spawn(async move { other.output().await });
    let line = until(&heard, &family.clock, "has not begun").await;
    for part in ["WARN", "run=o workflow=other is_registered=false", "register the workflow"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    pass(&family.clock, 60).await;
    assert_eq!(heard.with("has not begun").len(), 1, "it is said once");
    waits.abort();
    let _ = join_all([waits]).await; // it was aborted
    family.worker.abort();
}
