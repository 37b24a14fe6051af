//! The World in memory: the executable specification of the contract.

mod due;
mod state;
mod waiting;

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;

use crate::{
    error::Result,
    head,
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    lock::lock,
    record::{Append, Appended, Page},
    world::{Limits, Wait, World, WorldInfo},
};

use state::State;
use waiting::Registered;

/// A World that lives in this process's memory and ends with it.
///
/// It is what the contract means: it loads a log's head, asks [`head`], and stores
/// what it is told, under one lock. Other Worlds are compared with it. Clones share one store.
/// It keeps every tombstone (rule D2) as long as it lives, and so grows with the number of
/// deleted runs; use it for tests, examples and runs that may be lost.
///
/// ```
/// # use std::num::NonZeroU32;
/// # use world_core::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let world = MemoryWorld::new();
/// let log = LogId::Token(Token::new("order-7")?);
/// let record = Record {
///     position: Position::new(1),
///     kind: Kind(1),
///     at: Timestamp::ZERO,
///     body: Sealed::from_stored(&b"opaque"[..]),
/// };
/// let append = Append {
///     expected: Position::START,
///     records: vec![record],
///     at: Timestamp::ZERO,
///     by: By::Outsider,
/// };
/// let committed = Appended::Committed { head: Position::new(1) };
/// assert_eq!(world.append(&log, &append).await?, committed);
/// assert_eq!(world.append(&log, &append).await?, committed); // rule A6
/// assert_eq!(world.read_all(&log).await?.records, append.records);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryWorld {
    state: Arc<Mutex<State>>,
}

impl MemoryWorld {
    /// What one append may hold.
    const LIMITS: Limits =
        Limits { records_max: 1024, record_bytes_max: 1 << 20, append_bytes_max: 8 << 20 };

    /// An empty World.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state. A caller that panicked under the lock left it whole: every change is made
    /// after the last thing that can fail.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Debug for MemoryWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWorld").finish_non_exhaustive()
    }
}

#[async_trait]
impl World for MemoryWorld {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "memory", limits: Self::LIMITS, durable: false }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &Self::LIMITS)?;
        let mut state = self.state();
        match head::append(log, append, &mut *state)? {
            head::Ruling::Answer(answer) => Ok(answer),
            head::Ruling::Write(after) => {
                let head = after.head;
                state.write(log, after, &append.records);
                Ok(Appended::Committed { head })
            }
        }
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.state().page(log, after, limit)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        claim.check()?;
        Ok(self.state().claim(claim))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let mut state = self.state();
        let log = LogId::Run(lease.run.clone());
        let old = head::Stored::head(&mut *state, &log)?;
        let (after, renewed) = head::renew(old.as_ref(), lease, until);
        if let Some(after) = after {
            state.write(&log, after, &[]);
        }
        Ok(renewed)
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.state().list(list)
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let mut state = self.state();
        let old = head::Stored::head(&mut *state, log)?;
        let (tombstone, deleted) = head::delete(log, old.as_ref(), head)?;
        if let Some(tombstone) = tombstone {
            state.bury(log, tombstone);
        }
        Ok(deleted)
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let Some(registered) = Registered::new(&self.state, wait) else { return Ok(()) };
        // Out of time or woken: the caller looks again either way.
        let _ = tokio::time::timeout(wait.at_most, registered.woken()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
