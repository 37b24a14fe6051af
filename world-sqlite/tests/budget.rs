//! What a run costs the file, counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::sync::Arc;

use world_core::{Ctx, Engine, StepError, Workflow, layer::CountLayer, seal::Key};
use world_sqlite::{Options, SqliteWorld};

const ADD: Workflow<u64, u64> = Workflow::new("add");

async fn add(mut ctx: Ctx, steps: u64) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Ok::<_, StepError>(sum + 1)).await?;
    }
    Ok(sum)
}

#[tokio::test]
async fn n_sequential_steps_make_n_plus_2_appends_and_at_most_2_reads() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteWorld::open(dir.path().join("runs.db"), Options::new()).unwrap();
    let world = Arc::new(CountLayer::new(file));
    let engine = Engine::builder(Arc::clone(&world))
        .key(Key::generate())
        .workflow(ADD, add)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let before = world.counts();
    let run = engine.client().start(ADD, 100).await.unwrap();
    assert_eq!(run.output().await.unwrap(), 100);
    let counts = world.counts().since(&before);
    worker.shutdown().await;
    assert_eq!((counts.appends, counts.records_written), (102, 102), "{counts:?}");
    assert!(counts.reads <= 2, "{counts:?}");
}
