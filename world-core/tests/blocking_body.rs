//! A body that blocks its thread for longer than a lease.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use world_core::{
    layer::{CountLayer, Fault, FaultLayer, Method, RetryBounds},
    seal::Key,
    *,
};

const BLOCK: Workflow<(), u64> = Workflow::new("block");
const LEASE: Duration = Duration::from_secs(15);

static BEGUN: AtomicU64 = AtomicU64::new(0);
static GATE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

async fn block(mut ctx: Ctx, (): ()) -> Result<u64, StepError> {
    ctx.step("block", async || {
        let begun = BEGUN.fetch_add(1, SeqCst) + 1;
        let gate = GATE.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.recv().unwrap(); // blocks the thread, as a body must not
        }
        Ok::<_, StepError>(begun)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_body_that_blocks_its_thread_is_not_begun_again_while_its_worker_lives() {
    let (open, gate) = mpsc::channel();
    *GATE.lock().unwrap() = Some(gate);
    let (world, clock) = (Arc::new(CountLayer::new(MemoryWorld::new())), VirtualClock::new());
    let engine = Engine::builder(Arc::clone(&world))
        .key(Key::generate())
        .clock(clock.clone())
        .lease(LEASE)
        .workflow(BLOCK, block)
        .build()
        .unwrap();
    let _worker = engine.spawn_worker();
    let run = engine.client().start(BLOCK, ()).await.unwrap();
    while BEGUN.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // Five times two thirds of a lease pass, and each time the worker renews it.
    let log = LogId::Run(run.id().clone());
    for _ in 0..5 {
        let before = world.counts().renewals;
        clock.advance(LEASE * 2 / 3);
        let renewed = async {
            while world.counts().renewals == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), renewed).await.unwrap();
    }
    open.send(()).unwrap();
    assert_eq!(run.output().await.unwrap(), 1);
    assert_eq!(BEGUN.load(SeqCst), 1);
    assert_eq!(world.read_all(&log).await.unwrap().records.len(), 3);
}

/// The keeper renews the lease of a run whose body blocks its thread. Whether there is time to
/// send an append again is decided by that lease, not by the one from before.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_append_that_fails_after_a_body_blocked_its_thread_is_sent_again() {
    const ONCE: Workflow<(), u64> = Workflow::new("once");
    let (open, gate) = mpsc::channel();
    let (begun, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(gate)));
    let counted = Arc::new(CountLayer::new(MemoryWorld::new()));
    // The creation is the first append, the result of the step the second.
    let world = FaultLayer::new(Arc::clone(&counted), |seen| match (seen.method, seen.nth) {
        (Method::Append, 2) => Fault::Lost,
        _ => Fault::None,
    });
    let (clock, counter) = (VirtualClock::new(), Arc::clone(&begun));
    let once = move |mut ctx: Ctx, (): ()| {
        let (counter, gate) = (Arc::clone(&counter), Arc::clone(&gate));
        async move {
            ctx.step("block", async || {
                let begun = counter.fetch_add(1, SeqCst) + 1;
                gate.lock().unwrap().recv().unwrap(); // blocks the thread, as a body must not
                Ok::<_, StepError>(begun)
            })
            .await
        }
    };
    let once_only = RetryBounds { tries_max: std::num::NonZeroU32::MIN, ..RetryBounds::default() };
    let engine = Engine::builder(world)
        .key(Key::generate())
        .clock(clock.clone())
        .lease(LEASE)
        .retries(once_only)
        .workflow(ONCE, once)
        .build()
        .unwrap();
    let _worker = engine.spawn_worker();
    let run = engine.client().start(ONCE, ()).await.unwrap();
    while begun.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let before = counted.counts().renewals;
        clock.advance(LEASE * 2 / 3);
        while counted.counts().renewals == before {
            tokio::task::yield_now().await;
        }
    }
    open.send(()).unwrap();
    open.send(()).unwrap(); // for a second attempt, which must not be
    let output = tokio::spawn(run.output());
    let ended = async {
        // The clock is no faster than the machine's: the worker is to have time to renew the lease.
        while !output.is_finished() {
            clock.advance(Duration::from_millis(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!(output.await.unwrap().unwrap(), 1);
    assert_eq!(begun.load(SeqCst), 1);
}
