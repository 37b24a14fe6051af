//! An engine that several runtimes use.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

use world_core::{Ctx, Engine, MemoryWorld, StepError, Workflow, seal::Key};

const ECHO: Workflow<u64, u64> = Workflow::new("echo");

async fn echo(mut ctx: Ctx, value: u64) -> Result<u64, StepError> {
    let mut last = 0;
    for _ in 0..10 {
        last = ctx
            .step("yield", async || {
                tokio::task::yield_now().await;
                Ok::<_, StepError>(value)
            })
            .await?;
    }
    Ok(last)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_run_outlives_the_runtime_of_the_client_that_started_it() {
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .workflow(ECHO, echo)
        .build()
        .unwrap();
    let workers = runtime();
    let worker = workers.block_on(async { engine.spawn_worker() });
    let run = runtime().block_on(async { engine.client().start(ECHO, 7).await.unwrap() });
    assert_eq!(workers.block_on(run.output()).unwrap(), 7);
    workers.block_on(worker.shutdown());
}
