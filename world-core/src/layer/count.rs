//! Counts what is called, so that a test can hold it to a budget.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;

use crate::{
    error::Result,
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    record::{Append, Appended, Page},
    world::{Wait, World, WorldInfo},
};

use super::body_bytes;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a [`CountLayer`] has counted: calls when they are made, outcomes when they come.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// What has been added since an earlier snapshot.
            #[must_use]
            pub const fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }

        #[derive(Debug, Default)]
        struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Calls of `append`.
    appends,
    /// Calls of `read`.
    reads,
    /// Calls of `claim`.
    claims,
    /// Calls of `renew`.
    renewals,
    /// Calls of `list`.
    lists,
    /// Calls of `delete`.
    deletes,
    /// Calls of `wait`.
    waits,
    /// Records of committed appends.
    records_written,
    /// Bytes of the bodies of committed appends.
    bytes_written,
    /// Records that reads returned.
    records_read,
    /// Bytes of the bodies that reads returned.
    bytes_read,
    /// Appends answered `Committed`.
    committed,
    /// Appends answered `Conflict`.
    conflicts,
    /// Appends answered `Fenced`.
    fenced,
    /// Appends answered `NotOpen`.
    not_open,
    /// Leases that claims gave.
    leases,
    /// Claims that gave no lease.
    claims_empty,
    /// Renewals answered `Lost`.
    renewals_lost,
    /// Calls that failed.
    errors,
}

/// A World that counts the calls to the one inside.
///
/// ```
/// # use std::{num::NonZeroU32, sync::Arc};
/// # use world_core::{layer::CountLayer, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let world = Arc::new(CountLayer::new(MemoryWorld::new())); // one for the engine, one to look
/// let before = world.counts();
/// world.read(&LogId::Token(Token::new("order-7")?), Position::START, NonZeroU32::MIN).await?;
/// assert_eq!(world.counts().since(&before).reads, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CountLayer<W> {
    world: W,
    counters: Counters,
}

fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

impl<W: World> CountLayer<W> {
    /// Counts the calls to `world`, from zero.
    #[must_use]
    pub fn new(world: W) -> Self {
        Self { world, counters: Counters::default() }
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    fn checked<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            add(&self.counters.errors, 1);
        }
        answer
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<W: World> World for CountLayer<W> {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let counters = &self.counters;
        add(&counters.appends, 1);
        let answer = self.checked(self.world.append(log, append).await)?;
        match answer {
            Appended::Committed { .. } => {
                add(&counters.committed, 1);
                add(&counters.records_written, append.records.len());
                add(&counters.bytes_written, body_bytes(append));
            }
            Appended::Conflict { .. } => add(&counters.conflicts, 1),
            Appended::Fenced => add(&counters.fenced, 1),
            Appended::NotOpen => add(&counters.not_open, 1),
        }
        Ok(answer)
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        add(&self.counters.reads, 1);
        let page = self.checked(self.world.read(log, after, limit).await)?;
        let bytes = page.records.iter().map(|record| record.body.as_bytes().len()).sum();
        add(&self.counters.records_read, page.records.len());
        add(&self.counters.bytes_read, bytes);
        Ok(page)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        add(&self.counters.claims, 1);
        let leases = self.checked(self.world.claim(claim).await)?;
        add(&self.counters.leases, leases.len());
        add(&self.counters.claims_empty, usize::from(leases.is_empty()));
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        add(&self.counters.renewals, 1);
        let renewed = self.checked(self.world.renew(lease, until).await)?;
        add(&self.counters.renewals_lost, usize::from(renewed == Renewed::Lost));
        Ok(renewed)
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        add(&self.counters.lists, 1);
        self.checked(self.world.list(list).await)
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        add(&self.counters.deletes, 1);
        self.checked(self.world.delete(log, head).await)
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        add(&self.counters.waits, 1);
        self.checked(self.world.wait(wait).await)
    }
}
