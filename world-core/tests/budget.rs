//! What a run costs its store, counted.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

use std::sync::Arc;

use world_core::{
    Ctx, Engine, MemoryWorld, Residency, StepError, Workflow,
    layer::{CountLayer, Counts},
    seal::Key,
};

const ADD: Workflow<u64, u64> = Workflow::new("add");

async fn add(mut ctx: Ctx, steps: u64) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Ok::<_, StepError>(sum + 1)).await?;
    }
    Ok(sum)
}

async fn counted(steps: u64, residency: Residency) -> Counts {
    let world = Arc::new(CountLayer::new(MemoryWorld::new()));
    let engine = Engine::builder(Arc::clone(&world))
        .key(Key::generate())
        .residency(residency)
        .workflow(ADD, add)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let before = world.counts();
    let run = engine.client().start(ADD, steps).await.unwrap();
    assert_eq!(run.output().await.unwrap(), steps);
    let counts = world.counts().since(&before);
    worker.shutdown().await;
    counts
}

#[tokio::test]
async fn n_sequential_steps_make_n_plus_2_appends_and_at_most_2_reads() {
    for residency in [Residency::Resident, Residency::Replay] {
        let counts = counted(100, residency).await;
        assert_eq!(counts.appends, 102, "{counts:?}");
        assert_eq!(counts.records_written, 102, "{counts:?}");
        assert!(counts.reads <= 2, "{counts:?}");
    }
}
