//! Stores that break the contract, to see that a simulation finds them.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    sync::{Mutex, atomic::AtomicU64, atomic::Ordering::SeqCst},
    time::Duration,
};

use async_trait::async_trait;
use world_core::{
    Append, Appended, By, Claim, Deleted, Due, Lease, List, LogId, MemoryWorld, Page, Position,
    Release, Renewed, Result, RunId, RunPage, Ticket, Timestamp, Wait, World, WorldInfo,
};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It gives some leases again before they have run out (L1).
    LeaseGivenTwice,
    /// It acknowledges some appends and forgets them (A1).
    AppendLost,
    /// It commits some appends and says that they conflict, so that they come again (A2).
    AppendDenied,
    /// It takes appends of owners whose lease another has (L3).
    FenceOpen,
    /// It forgets some times at which runs want to be woken (A4).
    DueForgotten,
    /// It does not see that an append is the same again (A6).
    RepeatRefused,
    /// It forgets that some runs are closed (A4).
    EndForgotten,
    /// Some reads end before the head, and say that this is all (R1).
    ReadStale,
    /// It says of some renewals that they were made, and forgets them (L3).
    RenewalForgotten,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LeaseGivenTwice,
        Self::AppendLost,
        Self::AppendDenied,
        Self::FenceOpen,
        Self::DueForgotten,
        Self::RepeatRefused,
        Self::EndForgotten,
        Self::ReadStale,
        Self::RenewalForgotten,
    ];
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A World in memory with a flaw, which shows in some calls.
#[derive(Debug)]
pub(super) struct Flawed {
    world: MemoryWorld,
    flaw: Flaw,
    calls: AtomicU64,
    current: Mutex<BTreeMap<RunId, Ticket>>,
}

impl Flawed {
    /// The flaw shows in one of this many calls that it concerns.
    const EVERY: u64 = 4;

    pub(super) fn new(world: MemoryWorld, flaw: Flaw) -> Self {
        Self { world, flaw, calls: AtomicU64::new(0), current: Mutex::default() }
    }

    /// Whether the flaw shows in this call.
    fn shows(&self, flaw: Flaw, concerned: bool) -> bool {
        self.flaw == flaw
            && concerned
            && self.calls.fetch_add(1, SeqCst) % Self::EVERY == Self::EVERY - 1
    }
}

#[async_trait]
impl World for Flawed {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let mut append = append.clone();
        let owned = matches!(append.by, By::Owner { .. }) && !append.records.is_empty();
        if self.shows(Flaw::AppendLost, owned) {
            return Ok(Appended::Committed { head: append.head_after() });
        }
        if let By::Owner { rest: Some(Release { due: due @ Due::At(_), .. }), .. } = &mut append.by
            && self.shows(Flaw::DueForgotten, true)
        {
            *due = Due::Never;
        }
        if let By::Owner { close: close @ true, .. } = &mut append.by
            && self.shows(Flaw::EndForgotten, true)
        {
            *close = false;
        }
        if self.flaw == Flaw::RepeatRefused && append.expected > Position::START {
            let head = self.world.read(log, append.expected, NonZeroU32::MIN).await?.head;
            if head > append.expected {
                return Ok(Appended::Conflict { head });
            }
        }
        let answer = self.world.append(log, &append).await?;
        match (answer, log, &mut append.by) {
            (Appended::Fenced, LogId::Run(run), By::Owner { ticket, .. })
                if self.flaw == Flaw::FenceOpen =>
            {
                let current = super::lock(&self.current).get(run).copied();
                *ticket = current.unwrap_or(*ticket);
                self.world.append(log, &append).await
            }
            (Appended::Committed { head }, ..) if self.shows(Flaw::AppendDenied, owned) => {
                Ok(Appended::Conflict { head })
            }
            _ => Ok(answer),
        }
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let mut page = self.world.read(log, after, limit).await?;
        if self.shows(Flaw::ReadStale, page.records.len() > 1) {
            page.records.pop();
            page.head = page.records.last().map_or(page.head, |last| last.position);
        }
        Ok(page)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let mut claim = claim.clone();
        if self.shows(Flaw::LeaseGivenTwice, true) {
            claim.now = claim.now.plus(Duration::from_secs(3600));
        }
        let leases = self.world.claim(&claim).await?;
        let mut current = super::lock(&self.current);
        current.extend(leases.iter().map(|lease| (lease.run.clone(), lease.ticket)));
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let until = if self.shows(Flaw::RenewalForgotten, true) { lease.until } else { until };
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
