//! How often results are opened and decoded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use kit::Done;
use serde::{Deserialize, Serialize};
use world_core::{Ctx, Residency, Workflow, frozen, replay::HydrationCounts, testing::TestEngine};

const N: u64 = 40;
const MIB: usize = 1 << 20;

/// Runs a workflow with this input, executed anew for every turn, and counts.
async fn counted<O, F, Fut>(
    residency: Residency,
    bytes_max: usize,
    function: F,
) -> (O, HydrationCounts)
where
    O: Serialize + serde::de::DeserializeOwned + 'static,
    F: Fn(Ctx, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<O>> + Send + 'static,
{
    let workflow = Workflow::<u64, O>::new("counted");
    let t = TestEngine::new()
        .configure(|builder| builder.residency(residency).hydration_bytes_max(bytes_max))
        .workflow(workflow, function);
    let output = t.run(workflow, N).await.unwrap();
    (output, t.engine().unwrap().hydration_counts())
}

async fn numbers(mut ctx: Ctx, steps: u64) -> anyhow::Result<u64> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Done::Ok(sum + 1)).await?;
    }
    Ok(sum)
}

#[tokio::test]
async fn with_the_cache_n_sequential_steps_open_at_most_n_results_and_decode_each_once() {
    let (sum, counts) = counted(Residency::Replay, MIB, numbers).await;
    assert_eq!(sum, N);
    assert!(counts.opened <= N, "{counts:?}");
    assert!(counts.misses <= N, "{counts:?}");
    assert!(counts.hits >= N * (N - 1) / 2, "{counts:?}");
}

#[tokio::test]
async fn without_the_cache_n_sequential_steps_open_at_least_half_n_squared_results() {
    let (sum, counts) = counted(Residency::Replay, 0, numbers).await;
    assert_eq!(sum, N);
    assert!(counts.opened >= N * (N - 1) / 2, "{counts:?}");
    assert_eq!(counts.hits, 0, "{counts:?}");
}

#[tokio::test]
async fn a_resident_program_opens_nothing() {
    let (sum, counts) = counted(Residency::Resident, MIB, numbers).await;
    // The first event is opened by the worker that claims the run; no result ever is.
    assert_eq!((sum, counts), (N, HydrationCounts { hits: 0, misses: 0, opened: 1 }));
}

#[tokio::test]
async fn a_program_executed_anew_has_the_same_log_as_a_resident_one() {
    const NUMBERS: Workflow<u64, u64> = Workflow::new("numbers");
    let mut logs = Vec::new();
    for (residency, bytes) in
        [(Residency::Resident, MIB), (Residency::Replay, MIB), (Residency::Replay, 0)]
    {
        let t = TestEngine::new()
            .configure(|builder| builder.residency(residency).hydration_bytes_max(bytes))
            .workflow(NUMBERS, numbers);
        let run = t.start(NUMBERS, N).await.unwrap();
        t.finish(&run).await.unwrap();
        let log = t.log(run.id()).await.unwrap();
        logs.push(log.into_iter().skip(1).map(|logged| logged.event).collect::<Vec<_>>());
    }
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
}

#[tokio::test]
async fn unit_none_booleans_and_short_strings_are_hits() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<()> {
        ctx.step("unit", async || Done::Ok(())).await?;
        ctx.step("none", async || Done::Ok(None::<u64>)).await?;
        ctx.step("some", async || Done::Ok(Some("text".to_owned()))).await?;
        ctx.step("bool", async || Done::Ok(true)).await?;
        ctx.step("text", async || Done::Ok("x".repeat(4 << 10))).await?;
        ctx.step("last", async || Done::Ok(1.5_f64)).await?;
        Ok(())
    }
    let ((), counts) = counted(Residency::Replay, MIB, program).await;
    // Each is decoded when it is first delivered, and in every later turn it is a hit.
    assert_eq!((counts.misses, counts.hits), (6, 5 + 4 + 3 + 2 + 1), "{counts:?}");
}

#[tokio::test]
async fn a_string_over_4_kib_is_decoded_afresh() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<()> {
        ctx.step("long", async || Done::Ok("x".repeat((4 << 10) + 1))).await?;
        ctx.step("long", async || Done::Ok(Some("x".repeat((4 << 10) + 1)))).await?;
        Ok(())
    }
    let ((), counts) = counted(Residency::Replay, MIB, program).await;
    assert_eq!((counts.misses, counts.hits), (2 + 1, 0), "{counts:?}");
}

#[tokio::test]
async fn a_workflow_that_changes_its_result_is_not_seen_by_the_next_replay() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<Vec<u64>> {
        let mut list = ctx.step("list", async || Done::Ok(vec![1_u64])).await?;
        for _ in 0..4 {
            list.push(7);
            ctx.step("more", async || Done::Ok(())).await?;
        }
        Ok(list)
    }
    let (list, counts) = counted(Residency::Replay, MIB, program).await;
    assert_eq!(list, [1, 7, 7, 7, 7]);
    assert!(counts.misses >= 6, "{counts:?}");
}

#[derive(Debug, Serialize, Deserialize)]
struct Rates {
    base: u64,
    names: Vec<String>,
}
frozen!(Rates { base, names });

#[tokio::test]
async fn a_shared_result_is_the_same_arc_in_every_replay() {
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let kept: Arc<Mutex<Vec<Arc<Rates>>>> = Arc::default();
    let (addresses, keep) = (Arc::clone(&seen), Arc::clone(&kept));
    let program = move |mut ctx: Ctx, _: u64| {
        let (addresses, keep) = (Arc::clone(&addresses), Arc::clone(&keep));
        async move {
            let rates = ctx
                .step("rates", async || Done::Ok(Rates { base: 3, names: vec!["a".to_owned()] }))
                .shared()
                .await?;
            addresses.lock().unwrap().push(Arc::as_ptr(&rates).addr());
            keep.lock().unwrap().push(Arc::clone(&rates));
            for _ in 0..3 {
                ctx.step("more", async || Done::Ok(())).await?;
            }
            anyhow::Ok(rates.base + rates.names.len() as u64)
        }
    };
    let (sum, _) = counted(Residency::Replay, MIB, program).await;
    assert_eq!(sum, 4);
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(seen.iter().all(|address| *address == seen[0]), "{seen:?}");
}

static DECODED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Serialize)]
struct Counted(u64);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        u64::deserialize(from).map(Self)
    }
}

#[tokio::test]
async fn a_result_that_does_not_decode_is_asked_for_again_each_time() {
    // A u64 read as a string: the failure is not kept, so mended code reads what is there.
    const READS: Workflow<u64, u64> = Workflow::new("reads");
    let number = |mut ctx: Ctx, _: u64| async move {
        let n = ctx.step("n", async || Done::Ok(Counted(5))).await?.0;
        ctx.sleep(std::time::Duration::from_secs(60)).await?;
        anyhow::Ok(n)
    };
    let text = |mut ctx: Ctx, _: u64| async move {
        let n = ctx.step("n", async || Done::Ok("5".to_owned())).await?;
        ctx.sleep(std::time::Duration::from_secs(60)).await?;
        anyhow::Ok(n.len() as u64)
    };
    let t = TestEngine::new().workflow(READS, number);
    let run = t.start(READS, 0).await.unwrap();
    t.turn().await.unwrap();
    let before = DECODED.load(SeqCst);
    let wrong = t.deploy().configure(|b| b.residency(Residency::Replay)).workflow(READS, text);
    wrong.finish(&run).await.unwrap_err();
    let right = t.deploy().configure(|b| b.residency(Residency::Replay)).workflow(READS, number);
    assert_eq!(right.finish(&run).await.unwrap(), 5);
    assert!(DECODED.load(SeqCst) > before);
}
