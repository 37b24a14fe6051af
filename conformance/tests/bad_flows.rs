//! Worlds that double, change or let in what they must not: the groups that run workflows see it.

#![allow(clippy::panic, reason = "tests")]

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use async_trait::async_trait;
use conformance::{Entry, Group, Settings, Site, Suite, cases};
use world_core::*;

/// What is wrong with a World in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The ticket of an owner is not looked at.
    LetsAnybodyIn,
    /// An append that is sent again is refused, as if it had not been done.
    ForgetsWhatItDid,
    /// An append that is sent again is appended again.
    AppendsTwice,
    /// The bytes of a body change on their way.
    ChangesABit,
    /// A run that rests is due at once.
    WakesAtOnce,
}

/// A World in memory that has one fault.
#[derive(Clone, Debug)]
struct Bad {
    world: MemoryWorld,
    how: How,
    /// The ticket that each run is driven under, as the World inside knows it.
    tickets: Arc<Mutex<HashMap<RunId, Ticket>>>,
}

static SITES: LazyLock<Mutex<HashMap<String, Bad>>> = LazyLock::new(Mutex::default);

impl Bad {
    fn at(site: &Site, how: How) -> Self {
        let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Self { world: MemoryWorld::new(), how, tickets: Arc::default() };
        sites.entry(site.name().to_owned()).or_insert_with(new).clone()
    }

    fn tickets(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl World for Bad {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let mut append = append.clone();
        let head = self.world.read(log, append.expected, NonZeroU32::MAX).await?;
        let again = !append.records.is_empty() && head.records.starts_with(&append.records);
        match self.how {
            How::LetsAnybodyIn => {
                if let (LogId::Run(run), By::Owner { ticket, .. }) = (log, &mut append.by)
                    && let Some(known) = self.tickets().get(run)
                {
                    *ticket = *known;
                }
            }
            How::ForgetsWhatItDid if again => return Ok(Appended::Conflict { head: head.head }),
            How::AppendsTwice if again && matches!(append.by, By::Owner { .. }) => {
                append.expected = head.head;
                for (record, number) in append.records.iter_mut().zip(1..) {
                    record.position = Position::new(head.head.get() + number);
                }
            }
            How::ChangesABit => {
                if let Some(record) = append.records.last_mut() {
                    let mut bytes = record.body.as_bytes().to_vec();
                    if let Some(last) = bytes.last_mut() {
                        *last ^= 1;
                    }
                    record.body = Sealed::from_stored(bytes);
                }
            }
            How::WakesAtOnce => {
                if let By::Owner { rest: Some(release), close: false, .. } = &mut append.by {
                    release.due = Due::Now;
                }
            }
            _ => {}
        }
        if let (LogId::Run(run), By::Creator(NewRun { lease: Some((ticket, _)), .. })) =
            (log, &append.by)
        {
            self.tickets().insert(run.clone(), *ticket);
        }
        self.world.append(log, &append).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.world.read(log, after, limit).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let leases = self.world.claim(claim).await?;
        for lease in &leases {
            self.tickets().insert(lease.run.clone(), lease.ticket);
        }
        Ok(leases)
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

/// The first failure of a group on a World with this fault.
fn failure_of(how: How, group: Group) -> Option<Entry> {
    let suite = Suite::new(format!("{how:?}"), move |site: Site| async move {
        Ok::<_, String>(Bad::at(&site, how))
    });
    cases().into_iter().filter(|case| case.group() == group).find_map(|case| {
        let report = suite.run(Settings::default(), |other| other.name() == case.name());
        report.entries.into_iter().find(|entry| entry.failure().is_some() && !entry.is_unproven())
    })
}

fn is_seen(how: How, groups: &[Group]) {
    for group in groups {
        let Some(entry) = failure_of(how, *group) else {
            panic!("{how:?}: the group {group} sees nothing");
        };
        let what = entry.failure().map(|failure| failure.what.clone()).unwrap_or_default();
        assert!(!what.is_empty() && !what.contains("assertion"), "{what}");
    }
}

#[test]
fn what_does_not_look_at_tickets_is_seen_by_a_worker_that_wakes_too_late() {
    is_seen(How::LetsAnybodyIn, &[Group::Faults]);
}

#[test]
fn what_takes_the_same_append_for_another_is_seen_under_faults() {
    is_seen(How::ForgetsWhatItDid, &[Group::Faults]);
    is_seen(How::AppendsTwice, &[Group::Faults]);
}

#[test]
fn what_changes_a_bit_is_seen_by_the_golden_logs() {
    is_seen(How::ChangesABit, &[Group::Determinism]);
}

#[test]
fn what_wakes_too_soon_is_seen_by_the_budget() {
    is_seen(How::WakesAtOnce, &[Group::Budget]);
}
