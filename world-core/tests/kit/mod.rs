//! Short words for tests of workflows.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it does not expect")]

mod lag;

use std::{fmt::Debug, future::Future, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use world_core::{
    Ctx, MemoryWorld, RunError, RunId, StepError, Workflow,
    event::Logged,
    testing::{Replay, TestEngine},
};

pub(crate) use lag::Lag;

/// Numbers from a seed, the same on every machine: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A number from a seed and a name: how long a body takes, in turns of the scheduler.
pub(crate) fn pick(seed: u64, name: &str, end: u64) -> u64 {
    let name = name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    Rng(name).below(end)
}

/// Lets others run this many times. Odd numbers begin with a wake in the same poll, so that
/// bodies meet in one append in some seeds and in several in others.
pub(crate) async fn rounds(n: u64) {
    for round in 0..n {
        if (n + round).is_multiple_of(3) {
            let mut woken = false;
            std::future::poll_fn(|cx| {
                if std::mem::replace(&mut woken, true) {
                    return std::task::Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// What a body returns.
pub(crate) type Done<T> = Result<T, StepError>;

/// Runs a workflow live on a World with this seed, and returns its output with its id and log.
pub(crate) async fn live<I, O, F, Fut>(
    workflow: Workflow<I, O>,
    function: F,
    input: I,
    seed: u64,
) -> (Result<O, RunError>, RunId, Vec<Logged>)
where
    I: Serialize + DeserializeOwned + Send + 'static,
    O: Serialize + DeserializeOwned + 'static,
    F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<O>> + Send + 'static,
{
    let world = Lag::new(MemoryWorld::new(), seed);
    let t = TestEngine::on(world).workflow(workflow, function);
    let run = t.start(workflow, input).await.unwrap();
    // Nothing here takes real time: what takes this long hangs.
    let output = tokio::time::timeout(Duration::from_secs(60), t.finish(&run)).await;
    let log = t.log(run.id()).await.unwrap();
    let output = output.unwrap_or_else(|_| panic!("seed {seed} hangs\n{log:#?}"));
    (output, run.id().clone(), log)
}

/// Runs a workflow live over several seeds, each an input, and replays each log under jitter.
/// Returns the outputs.
pub(crate) async fn lives_and_replays<O, F, Fut>(
    seeds: std::ops::Range<u64>,
    jitter: u64,
    function: F,
) -> Vec<O>
where
    O: Serialize + DeserializeOwned + Debug + 'static,
    F: Fn(Ctx, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<O>> + Send + 'static,
{
    let workflow = Workflow::<u64, O>::new("program");
    let mut outputs = Vec::new();
    for seed in seeds {
        let (output, run, log) = live(workflow, function.clone(), seed, seed).await;
        outputs.push(output.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{log:#?}")));
        Replay::of(log.clone())
            .run(&run)
            .with(workflow, function.clone())
            .every_prefix()
            .jitter(jitter)
            .check()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{log:#?}"));
    }
    outputs
}

/// Runs a workflow that must be blocked, and returns why. Whatever it wrote before must replay.
pub(crate) async fn blocked<O, F, Fut>(function: F) -> String
where
    O: Serialize + DeserializeOwned + Debug + 'static,
    F: Fn(Ctx, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<O>> + Send + 'static,
{
    let workflow = Workflow::<u64, O>::new("program");
    match live(workflow, function, 1, 1).await {
        (Err(RunError::Blocked { why, .. }), ..) => why,
        (other, _, log) => panic!("not blocked: {other:?}\n{log:#?}"),
    }
}
