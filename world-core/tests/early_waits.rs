//! A World whose `wait` returns at once is not asked without a pause.
#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use world_core::{layer::CountLayer, seal::Key, *};

#[derive(Debug)]
struct Early(MemoryWorld);

#[async_trait]
impl World for Early {
    fn info(&self) -> WorldInfo {
        self.0.info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        self.0.append(log, append).await
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.0.read(log, after, limit).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.0.claim(claim).await
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.0.renew(lease, until).await
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.0.list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.0.delete(log, head).await
    }
    async fn wait(&self, _: &Wait) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_output_looks_now_and_then() {
    const NEVER: Workflow<(), ()> = Workflow::new("never");
    let world = Arc::new(CountLayer::new(Early(MemoryWorld::new())));
    let engine = Engine::builder(Arc::clone(&world)).key(Key::generate()).build().unwrap();
    let run = engine.client().start(NEVER, ()).await.unwrap();
    let minute = Duration::from_secs(60);
    assert!(tokio::time::timeout(minute, run.output()).await.is_err());
    let waits = world.counts().waits;
    assert!((100..2_000).contains(&waits), "{waits} looks in a minute");
}
