//! A World whose appends take a while, so that bodies go on while one is in flight.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use world_core::{
    Append, Appended, Claim, Deleted, Lease, List, LogId, Page, Position, Renewed, Result, RunPage,
    Timestamp, Wait, World, WorldInfo,
};

use super::Rng;

/// Each append takes some turns of the scheduler before and after it takes effect.
#[derive(Debug)]
pub(crate) struct Lag<W> {
    world: W,
    seed: u64,
    appends: AtomicU64,
}

impl<W> Lag<W> {
    /// The most turns on either side of an append.
    const TURNS_MAX: u64 = 4;

    pub(crate) const fn new(world: W, seed: u64) -> Self {
        Self { world, seed, appends: AtomicU64::new(0) }
    }
}

#[async_trait]
impl<W: World> World for Lag<W> {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let nth = self.appends.fetch_add(1, Relaxed);
        let mut rng = Rng(self.seed.wrapping_mul(1_000_003).wrapping_add(nth));
        let (before, after) = (rng.below(Self::TURNS_MAX), rng.below(Self::TURNS_MAX));
        for _ in 0..before {
            tokio::task::yield_now().await;
        }
        let appended = self.world.append(log, append).await;
        for _ in 0..after {
            tokio::task::yield_now().await;
        }
        appended
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.world.read(log, after, limit).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.world.claim(claim).await
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.world.renew(lease, until).await
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.world.list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.world.delete(log, head).await
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world.wait(wait).await
    }
}
