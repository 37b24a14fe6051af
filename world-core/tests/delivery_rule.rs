//! The delivery rule, as properties of random workflows under random timings, conflicts, deaths
//! and cancellations. A failure prints its seed; the same seed makes the same workflow.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all, select_all},
    stream::{self, FuturesUnordered},
};
use kit::{Lag, Rng, pick, rounds};
use serde::{Deserialize, Serialize};
use world_core::{
    Ctx, MemoryWorld, Residency, Retry, RunError, StepError, Workflow,
    event::{Event, Logged},
    testing::{Replay, TestEngine},
};

/// A workflow as data.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Node {
    Step,
    /// Fails, at first or always.
    Flaky {
        attempts_max: u32,
        fails: u32,
    },
    Once,
    Sleep(u64),
    Seq(Vec<Node>),
    Join(Vec<Node>),
    /// The first to end; the others are dropped.
    Race(Vec<Node>),
    TokioRace(Box<(Node, Node)>),
    /// The first to end, a step, the next to end, a step …
    Loop(Vec<Node>),
    Unordered(Vec<Node>),
    Buffered(usize, Vec<Node>),
    /// One that several wait for.
    Shared(Box<Node>, Vec<Node>),
    /// The first is polled once and held while the second runs.
    Held(Box<(Node, Node)>),
    /// Polled once and dropped.
    Dropped(Box<Node>),
    /// Asked for and never polled while the second runs.
    Unpolled(Box<Node>),
    /// The second waits for the first by a channel and is polled first.
    Channel(Box<(Node, Node)>),
    Now,
}

fn node(rng: &mut Rng, depth: u32) -> Node {
    let leaf = depth == 0 || rng.below(4) == 0;
    if leaf {
        return match rng.below(12) {
            0 | 1 => Node::Sleep([0, 1, 1, 3600][rng.below(4) as usize]),
            2 => Node::Flaky { attempts_max: 3, fails: rng.below(4) as u32 },
            3 => Node::Once,
            4 => Node::Now,
            _ => Node::Step,
        };
    }
    let many = |rng: &mut Rng| -> Vec<Node> {
        (0..1 + rng.below(3)).map(|_| node(rng, depth - 1)).collect()
    };
    match rng.below(13) {
        0 => Node::Seq(many(rng)),
        1 | 2 => Node::Join(many(rng)),
        3 => Node::Race(many(rng)),
        4 => Node::TokioRace(Box::new((node(rng, depth - 1), node(rng, depth - 1)))),
        5 | 6 => Node::Loop(many(rng)),
        7 => Node::Unordered(many(rng)),
        8 => Node::Buffered(1 + rng.below(3) as usize, many(rng)),
        9 => Node::Shared(Box::new(node(rng, depth - 1)), many(rng)),
        10 => Node::Held(Box::new((node(rng, depth - 1), node(rng, depth - 1)))),
        11 => match rng.below(2) {
            0 => Node::Dropped(Box::new(node(rng, depth - 1))),
            _ => Node::Unpolled(Box::new(node(rng, depth - 1))),
        },
        _ => Node::Channel(Box::new((node(rng, depth - 1), node(rng, depth - 1)))),
    }
}

/// What bodies do, as they see it.
#[derive(Debug, Default)]
struct Audit {
    running: Mutex<HashSet<String>>,
    begun: Mutex<HashMap<String, u32>>,
    wrong: Mutex<Vec<String>>,
    /// How many bodies begin before the worker is killed.
    until_death: Mutex<Option<u32>>,
    death: tokio::sync::Notify,
}

impl Audit {
    fn begin(self: &Arc<Self>, key: &str) -> Running {
        if !self.running.lock().unwrap().insert(key.to_owned()) {
            self.wrong.lock().unwrap().push(format!("two instances of the body of {key}"));
        }
        *self.begun.lock().unwrap().entry(key.to_owned()).or_default() += 1;
        let mut until = self.until_death.lock().unwrap();
        if let Some(left) = &mut *until {
            *left = left.saturating_sub(1);
            if *left == 0 {
                *until = None;
                self.death.notify_one();
            }
        }
        Running(Arc::clone(self), key.to_owned())
    }

    fn bodies(&self) -> u32 {
        self.begun.lock().unwrap().values().sum()
    }
}

/// Marks a body as running until it is dropped.
struct Running(Arc<Audit>, String);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.lock().unwrap().remove(&self.1);
    }
}

#[derive(Clone)]
struct World {
    seed: u64,
    audit: Arc<Audit>,
}

type Ended = Result<u64, StepError>;

fn mix(left: u64, right: u64) -> u64 {
    Rng(left.rotate_left(17) ^ right).next()
}

/// Depends on the order of what it is given.
fn fold(results: impl IntoIterator<Item = u64>) -> u64 {
    results.into_iter().fold(7, mix)
}

async fn step(ctx: &mut Ctx, name: &str, world: &World, fails: u32) -> Ended {
    work(ctx, name, world, fails).await
}

fn work<'a>(ctx: &mut Ctx, name: &str, world: &'a World, fails: u32) -> world_core::Step<'a, u64> {
    ctx.step_with(name, move |attempt: world_core::Attempt| async move {
        let key = attempt.key().to_string();
        let _running = world.audit.begin(&key);
        rounds(pick(world.seed, &key, 6)).await;
        if attempt.number() <= fails {
            return Err(format!("attempt {} of {key} fails", attempt.number()));
        }
        Ok(pick(1, &key, 1 << 40))
    })
}

/// An error that the workflow catches; a cancellation it does not.
fn caught(ended: Ended) -> Ended {
    match ended {
        Err(StepError::Cancelled) => Err(StepError::Cancelled),
        Err(StepError::Interrupted { .. }) => Ok(3),
        Err(_) => Ok(5),
        Ok(n) => Ok(n),
    }
}

fn run<'a>(mut ctx: Ctx, node: &'a Node, world: &'a World) -> BoxFuture<'a, Ended> {
    let children = |ctx: &mut Ctx, nodes: &'a [Node]| -> Vec<BoxFuture<'a, Ended>> {
        nodes.iter().map(|node| run(ctx.branch("n"), node, world)).collect()
    };
    async move {
        match node {
            Node::Step => step(&mut ctx, "step", world, 0).await,
            Node::Flaky { attempts_max, fails } => {
                let step = work(&mut ctx, "flaky", world, *fails);
                caught(step.retry(Retry::exponential(*attempts_max)).await)
            }
            Node::Once => caught(work(&mut ctx, "once", world, 0).at_most_once().await),
            Node::Sleep(seconds) => {
                ctx.sleep(Duration::from_secs(*seconds)).await?;
                Ok(*seconds)
            }
            Node::Seq(nodes) => {
                let mut results = Vec::new();
                for node in nodes {
                    results.push(run(ctx.branch("n"), node, world).await?);
                }
                Ok(fold(results))
            }
            Node::Join(nodes) => {
                let results: Result<Vec<u64>, _> =
                    join_all(children(&mut ctx, nodes)).await.into_iter().collect();
                Ok(fold(results?))
            }
            Node::Race(nodes) => {
                let (first, index, rest) = select_all(children(&mut ctx, nodes)).await;
                drop(rest);
                Ok(mix(first?, index as u64))
            }
            Node::TokioRace(two) => {
                let (left, right) = (ctx.branch("l"), ctx.branch("r"));
                Ok(tokio::select! {
                    x = run(left, &two.0, world) => mix(x?, 1),
                    x = run(right, &two.1, world) => mix(x?, 2),
                })
            }
            Node::Loop(nodes) => {
                let mut waiting = children(&mut ctx, nodes);
                let mut results = Vec::new();
                while !waiting.is_empty() {
                    let (first, index, _) = select_all(&mut waiting).await;
                    drop(waiting.remove(index));
                    results.push(first?);
                    results.push(step(&mut ctx, "handle", world, 0).await?);
                }
                Ok(fold(results))
            }
            Node::Unordered(nodes) => {
                let mut all: FuturesUnordered<_> = children(&mut ctx, nodes).into_iter().collect();
                let mut results = Vec::new();
                let mut pushed = false;
                while let Some(next) = all.next().await {
                    results.push(next?);
                    if !std::mem::replace(&mut pushed, true) {
                        let mut branch = ctx.branch("pushed");
                        all.push(async move { step(&mut branch, "late", world, 0).await }.boxed());
                    }
                }
                Ok(fold(results))
            }
            Node::Buffered(n, nodes) => {
                let all = stream::iter(children(&mut ctx, nodes)).buffered(*n);
                let results: Vec<Ended> = all.collect().await;
                Ok(fold(results.into_iter().collect::<Result<Vec<_>, _>>()?))
            }
            Node::Shared(one, users) => {
                let shared = run(ctx.branch("one"), one, world).shared();
                let users = users.iter().map(|node| {
                    let (shared, ctx) = (shared.clone(), ctx.branch("user"));
                    async move {
                        let n = shared.await?;
                        Ok::<_, StepError>(mix(n, run(ctx, node, world).await?))
                    }
                });
                let users: Vec<_> = users.collect();
                let results: Result<Vec<u64>, _> = join_all(users).await.into_iter().collect();
                Ok(fold(results?))
            }
            Node::Held(two) => {
                let mut held = run(ctx.branch("held"), &two.0, world);
                let first = match futures::poll!(&mut held) {
                    std::task::Poll::Ready(held) => return Ok(mix(held?, 9)),
                    std::task::Poll::Pending => run(ctx.branch("other"), &two.1, world).await?,
                };
                Ok(mix(first, held.await?))
            }
            Node::Dropped(one) => {
                let mut one = run(ctx.branch("dropped"), one, world);
                let _ = futures::poll!(&mut one);
                let after = step(&mut ctx, "between", world, 0).await?;
                drop(one);
                Ok(mix(after, step(&mut ctx, "after", world, 0).await?))
            }
            Node::Unpolled(other) => {
                let unused = work(&mut ctx, "unused", world, 0);
                let n = run(ctx.branch("other"), other, world).await?;
                drop(unused);
                Ok(n)
            }
            Node::Channel(two) => {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let (left, right) = (ctx.branch("l"), ctx.branch("r"));
                let (waits, sends) = futures::join!(
                    async {
                        let n = receiver.await.unwrap_or(0);
                        Ok::<_, StepError>(mix(n, run(right, &two.1, world).await?))
                    },
                    async {
                        let n = run(left, &two.0, world).await?;
                        let _ = sender.send(n);
                        Ok::<_, StepError>(())
                    }
                );
                sends?;
                waits
            }
            Node::Now => {
                let (now, random) = (ctx.now(), ctx.random());
                step(&mut ctx, &format!("at {}", now.as_millis() % 7), world, 0).await?;
                Ok(mix(now.as_millis(), random))
            }
        }
    }
    .boxed()
}

/// What else happens to a run.
#[derive(Clone, Copy, Debug)]
struct Fate {
    residency: Residency,
    /// Others append: how often.
    noise: u64,
    /// The worker is killed as this many bodies have begun.
    death: Option<u32>,
    /// The workflow is not shielded from the others' requests to end.
    cancelled: bool,
}

const RANDOM: Workflow<(Node, bool), u64> = Workflow::new("random");

async fn lives(
    seed: u64,
    script: &Node,
    fate: Fate,
) -> (Result<u64, RunError>, Vec<Logged>, Arc<Audit>) {
    let audit = Arc::new(Audit::default());
    *audit.until_death.lock().unwrap() = fate.death;
    let world = World { seed, audit: Arc::clone(&audit) };
    let function = move |mut ctx: Ctx, (script, shielded): (Node, bool)| {
        let world = world.clone();
        async move {
            let ctx = if shielded { ctx.shield() } else { ctx };
            run(ctx, &script, &world).await
        }
    };
    let t = TestEngine::on(Lag::new(MemoryWorld::new(), seed))
        .configure(|builder| builder.residency(fate.residency))
        .workflow(RANDOM, function.clone());
    let run = t.start(RANDOM, (script.clone(), !fate.cancelled)).await.unwrap();
    let noise = async {
        let mut rng = Rng(seed);
        for nth in 0..fate.noise {
            rounds(3 * rng.below(9)).await;
            if run.cancel(format!("request {nth}")).await.is_err() {
                break; // it has ended
            }
        }
    };
    let death = async {
        if fate.death.is_some() {
            audit.death.notified().await;
            t.crash();
        }
        std::future::pending::<()>().await;
    };
    let finish = async { tokio::join!(t.finish(&run), noise).0 };
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::select! { ended = finish => ended, () = death => unreachable!() }
    });
    let ended = ended.await;
    let log = t.log(run.id()).await.unwrap();
    let Ok(ended) = ended else {
        panic!("seed {seed} hangs: {fate:?}\n{script:?}\n{log:#?}");
    };
    let bodies = audit.bodies();
    let replay = Replay::of(log.clone()).run(run.id()).with(RANDOM, function);
    if let Err(error) = replay.every_prefix().jitter(6).check() {
        panic!("seed {seed}: {error}\n{fate:?}\n{script:?}\n{log:#?}");
    }
    assert_eq!(audit.bodies(), bodies, "seed {seed}: a replay polled a body");
    (ended, log, audit)
}

async fn holds(seed: u64, fate: Fate) {
    let script = node(&mut Rng(seed), 3);
    let (ended, log, audit) = lives(seed, &script, fate).await;
    let say = |what: &str| format!("seed {seed}: {what}\n{fate:?}\n{script:?}\n{log:#?}");
    match &ended {
        Ok(_) => {}
        Err(RunError::Cancelled { .. }) if fate.cancelled => {}
        Err(other) => panic!("{}", say(&other.to_string())),
    }
    let wrong = audit.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{}", say(&wrong.join(", ")));
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for logged in &log {
        if let Event::StepCompleted { key, .. }
        | Event::StepFailed { key, .. }
        | Event::TimerFired { key, .. } = &logged.event
        {
            *ends.entry(key.to_string()).or_default() += 1;
        }
    }
    let twice: Vec<_> = ends.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{}", say(&format!("deposited twice: {twice:?}")));
}

/// The seeds of one property; `WORLD_SEEDS` says how many, for a longer hunt.
fn seeds(property: u64) -> std::ops::Range<u64> {
    let many = std::env::var("WORLD_SEEDS").ok().and_then(|many| many.parse().ok());
    let from = property * 1_000_000;
    from..from + many.unwrap_or(400)
}

const CALM: Fate = Fate { residency: Residency::Resident, noise: 0, death: None, cancelled: false };

#[tokio::test]
async fn a_random_workflow_replays_to_the_same_decisions_under_every_timing() {
    for seed in seeds(1) {
        holds(seed, CALM).await;
    }
}

#[tokio::test]
async fn a_program_dropped_at_rest_and_executed_anew_has_the_same_operations_open() {
    for seed in seeds(2) {
        holds(seed, Fate { residency: Residency::Replay, ..CALM }).await;
    }
}

#[tokio::test]
async fn others_that_append_meanwhile_change_nothing() {
    for seed in seeds(3) {
        let residency =
            if seed.is_multiple_of(3) { Residency::Replay } else { Residency::Resident };
        holds(seed, Fate { residency, noise: 12, ..CALM }).await;
    }
}

#[tokio::test]
async fn a_worker_that_dies_is_followed_by_one_that_goes_on() {
    for seed in seeds(4) {
        let death = Some(1 + (seed % 7) as u32);
        holds(seed, Fate { death, noise: seed % 2 * 6, ..CALM }).await;
    }
}

#[tokio::test]
async fn a_cancellation_at_any_time_replays() {
    for seed in seeds(5) {
        let death = seed.is_multiple_of(4).then_some(3);
        holds(seed, Fate { noise: 1 + seed % 3, cancelled: true, death, ..CALM }).await;
    }
}

#[tokio::test]
async fn what_the_code_asks_for_as_it_ends_stands_before_its_end_also_after_a_conflict() {
    // A rest met a cancellation, and what it would have written was written again with the end.
    holds(5_000_439, Fate { noise: 1, cancelled: true, ..CALM }).await;
}
