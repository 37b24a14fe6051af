//! How often the workflow is polled is not part of its log: what depends on it is reported, and
//! what only takes many polls is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod kit;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use futures::{FutureExt, future::BoxFuture};
use kit::{Done, blocked, live, rounds};
use world_core::{
    Ctx, StepError, Workflow,
    testing::{Replay, ReplayError},
};

const TURNS: Workflow<u64, String> = Workflow::new("turns");

/// How two branches are joined.
#[derive(Clone, Copy, Debug)]
enum Join {
    Futures,
    Tokio,
    TokioBiased,
    TokioTry,
    TokioTryBiased,
}

/// What the order of two branches shows in.
#[derive(Clone, Copy, Debug)]
enum Shows {
    Keys,
    Output,
}

/// Two branches wait for one step, and each does what its turn says.
fn turns(
    join: Join,
    shows: Shows,
) -> impl Fn(Ctx, u64) -> BoxFuture<'static, anyhow::Result<String>> + Clone + Send + Sync + 'static
{
    move |mut ctx, polls| {
        async move {
            let (left, right) = (ctx.branch("left"), ctx.branch("right"));
            let go = ctx.step("go", move || async move {
                rounds(polls).await; // each wakes the step, and so the join, once
                Done::Ok(1_u64)
            });
            let (go, turn) = (go.boxed().shared(), AtomicU64::new(0));
            let order = Mutex::new(String::new());
            let branch = |name: &'static str, mut ctx: Ctx| {
                let (go, turn, order) = (go.clone(), &turn, &order);
                async move {
                    go.await?;
                    let nth = turn.fetch_add(1, SeqCst);
                    order.lock().unwrap().push_str(name);
                    let step = match shows {
                        Shows::Keys => format!("turn {nth}"),
                        Shows::Output => "turn".to_owned(),
                    };
                    ctx.step(&step, async || Done::Ok(1_u64)).await
                }
            };
            let (left, right) = (branch("l", left), branch("r", right));
            match join {
                Join::Futures => {
                    let (left, right) = futures::join!(left, right);
                    left.and(right)?;
                }
                Join::Tokio => {
                    let (left, right) = tokio::join!(left, right);
                    left.and(right)?;
                }
                Join::TokioBiased => {
                    let (left, right) = tokio::join!(biased; left, right);
                    left.and(right)?;
                }
                Join::TokioTry => {
                    tokio::try_join!(left, right)?;
                }
                Join::TokioTryBiased => {
                    tokio::try_join!(biased; left, right)?;
                }
            }
            Ok(order.into_inner().unwrap())
        }
        .boxed()
    }
}

/// Runs it with so many polls of the first body, and replays its log.
async fn replayed(join: Join, shows: Shows, polls: u64) -> Result<(), ReplayError> {
    let (output, run, log) = live(TURNS, turns(join, shows), polls, 1).await;
    assert_eq!(output.unwrap().len(), 2);
    Replay::of(log).run(&run).with(TURNS, turns(join, shows)).every_prefix().jitter(16).check()
}

#[tokio::test]
async fn branches_that_a_rotating_join_polls_in_another_order_are_reported_by_replay() {
    for polls in 0..4 {
        for join in [Join::Tokio, Join::TokioTry] {
            let error = replayed(join, Shows::Keys, polls).await.unwrap_err().to_string();
            assert!(error.contains("turn"), "{join:?}, {polls}: {error}");
            let error = replayed(join, Shows::Output, polls).await.unwrap_err().to_string();
            assert!(error.contains("returns another output"), "{join:?}, {polls}: {error}");
        }
    }
}

#[tokio::test]
async fn branches_of_a_join_that_does_not_rotate_replay_in_their_order() {
    for polls in 0..4 {
        for join in [Join::Futures, Join::TokioBiased, Join::TokioTryBiased] {
            for shows in [Shows::Keys, Shows::Output] {
                let replayed = replayed(join, shows, polls).await;
                replayed.unwrap_or_else(|error| panic!("{join:?}, {polls}: {error}"));
            }
        }
    }
}

/// What a workflow may ask its context for beside operations.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Random,
    Uuid,
    Branch,
    Shield,
}

impl Draw {
    const ALL: [(Self, &str); 4] = [
        (Self::Random, "ctx.random()"),
        (Self::Uuid, "ctx.uuid()"),
        (Self::Branch, "ctx.branch()"),
        (Self::Shield, "ctx.shield()"),
    ];

    fn draw(self, ctx: &Mutex<Ctx>) {
        let mut ctx = ctx.lock().unwrap();
        match self {
            Self::Random => drop(ctx.random()),
            Self::Uuid => drop(ctx.uuid()),
            Self::Branch => drop(ctx.branch("x")),
            Self::Shield => drop(ctx.shield()),
        }
    }
}

#[tokio::test]
async fn what_a_body_draws_from_a_context_is_reported() {
    for (draw, name) in Draw::ALL {
        let why = blocked(move |mut ctx: Ctx, _: u64| async move {
            let shared = Mutex::new(ctx.branch("shared"));
            let n = ctx.step("body", async || {
                draw.draw(&shared);
                Done::Ok(1_u64)
            });
            Ok(n.await?)
        })
        .await;
        let wanted =
            format!("{name} was called outside the workflow's own poll, on the branch shared:");
        assert!(why.contains(&wanted), "{draw:?}: {why}");
        assert!(why.contains("in a body"), "{draw:?}: {why}");
    }
}

#[tokio::test]
async fn what_another_task_draws_from_a_context_is_reported() {
    for (draw, name) in Draw::ALL {
        let why = blocked(move |mut ctx: Ctx, _: u64| async move {
            let shared = Arc::new(Mutex::new(ctx.branch("shared")));
            let n = ctx.step("body", || {
                let shared = Arc::clone(&shared);
                async move {
                    let drawn = tokio::spawn(async move { draw.draw(&shared) });
                    drawn.await.unwrap();
                    rounds(4).await;
                    Done::Ok(1_u64)
                }
            });
            Ok(n.await?)
        })
        .await;
        assert!(why.contains(&format!("{name} was called outside")), "{draw:?}: {why}");
    }
}

#[tokio::test]
async fn a_body_may_look_at_the_time_of_a_context() {
    const TIME: Workflow<u64, u64> = Workflow::new("time");
    async fn time(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let branch = ctx.branch("shared");
        let now = ctx.step("body", async || Done::Ok(branch.now().as_millis())).await?;
        Ok(now)
    }
    let (output, run, log) = live(TIME, time, 0, 1).await;
    assert!(output.unwrap() > 0);
    Replay::of(log).run(&run).with(TIME, time).every_prefix().jitter(4).check().unwrap();
}

#[tokio::test]
async fn a_number_of_draws_that_depends_on_polls_is_reported_by_replay() {
    const COUNTS: Workflow<u64, u64> = Workflow::new("counts");
    async fn counts(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let mut drawing = ctx.branch("drawing");
        let mut draws = false;
        let polls = std::future::poll_fn(|_| {
            if std::mem::replace(&mut draws, true) {
                drawing.random();
            }
            std::task::Poll::<()>::Pending
        });
        let step = ctx.step("body", async || Done::Ok(1_u64));
        match futures::future::select(step, polls).await {
            futures::future::Either::Left((one, _)) => Ok(one?),
            futures::future::Either::Right(_) => Ok(0),
        }
    }
    let why = blocked(counts).await; // a body was polled, and the workflow drew
    assert!(why.contains("ctx.random() was called outside"), "{why}");
    let (_, run, log) = live(
        COUNTS,
        |mut ctx: Ctx, _| async move { Ok(ctx.step("body", async || Done::Ok(1_u64)).await?) },
        0,
        1,
    )
    .await;
    let error = Replay::of(log).run(&run).with(COUNTS, counts).jitter(16).check().unwrap_err();
    assert!(error.to_string().contains("moved on by something"), "{error}");
}

const PASSES: Workflow<u64, u64> = Workflow::new("passes");

/// Passes so many items from one branch to another, one at a time.
async fn passes(mut ctx: Ctx, items: u64) -> anyhow::Result<u64> {
    let first = ctx.step("first", async || Done::Ok(1_u64)).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<u64>(1);
    let (_, sum) = tokio::join!(
        async move {
            for item in 0..items {
                if sender.send(item).await.is_err() {
                    break;
                }
            }
        },
        async {
            let mut sum = first;
            while let Some(item) = receiver.recv().await {
                sum += item;
            }
            sum
        }
    );
    Ok(ctx.step("last", async || Done::Ok(sum)).await?)
}

#[tokio::test]
async fn two_branches_may_pass_250_000_items_within_one_delivery() {
    let items = 250_000;
    let (output, run, log) = live(PASSES, passes, items, 1).await;
    assert_eq!(output.unwrap(), items * (items - 1) / 2 + 1);
    Replay::of(log).run(&run).with(PASSES, passes).check().unwrap();
}

static POLLS: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn a_loop_that_awaits_nothing_durable_is_blocked_after_a_stated_number_of_polls() {
    async fn spins(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let one = ctx.step("one", async || Done::Ok(1_u64)).await?;
        let spins = std::future::poll_fn(|cx| {
            POLLS.fetch_add(1, SeqCst);
            cx.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        });
        spins.await;
        Ok(one)
    }
    let why = blocked(spins).await;
    assert!(why.contains("never comes to rest"), "{why}");
    let polls = POLLS.load(SeqCst);
    assert!(polls.is_multiple_of(4_000_000), "4,000,000 polls each time, not {polls}");
}

static ASKED: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn a_loop_that_asks_for_operations_and_drops_them_is_blocked_before_it_fills_the_memory() {
    async fn asks(mut ctx: Ctx, _: u64) -> Result<u64, StepError> {
        std::future::poll_fn(|cx| {
            ASKED.fetch_add(1, SeqCst);
            drop(ctx.step("never", async || Done::Ok(1_u64)));
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await
    }
    let why = blocked(|ctx: Ctx, n: u64| async move { Ok(asks(ctx, n).await?) }).await;
    assert!(why.contains("never comes to rest"), "{why}");
    let asked = ASKED.load(SeqCst);
    assert!((100_000..1_000_000).contains(&asked), "{asked}");
}
