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

use world_core::{layer::CountLayer, seal::Key, *};

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
