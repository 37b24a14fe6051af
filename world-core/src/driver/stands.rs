//! Where the drives of an engine stand, for a test that moves the clock: time may go on while all
//! of them only wait for a time or for other runs.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use super::{clock::moment, engine::Engine, hub::Signal, standstill};
use crate::{
    error::Result,
    ids::{RunId, Timestamp},
    lock::lock,
    moment::Moment,
    replay::Waits,
};

/// Where a drive stood when it was last polled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Stand {
    /// It reads, writes or renews its lease, or was not polled yet.
    #[default]
    Moves,
    /// It waits for its bodies and for these times.
    Waits {
        /// When it goes on by itself.
        next: Option<Timestamp>,
        /// When it renews its lease.
        renew_at: Moment,
    },
}

/// Says when a drive may stand elsewhere than before. Drives say nothing before somebody listens:
/// an engine with workers pays for one look at a flag.
#[derive(Debug, Default)]
pub(super) struct Stands {
    is_watched: AtomicBool,
    changes: AtomicU64,
    changed: Notify,
}

impl Stands {
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(SeqCst)
    }

    /// A drive may stand elsewhere.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.changed.notify_waiters();
    }
}

/// What the drives of an engine wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drives {
    /// How often a drive said that it may stand elsewhere: while this stays, so does the rest.
    changes: u64,
    /// The runs that are driven.
    pub(crate) driven: BTreeSet<RunId>,
    /// How many of them do nothing but wait for a time or for other runs.
    pub(crate) waiting: usize,
    /// The runs whose ends bodies wait for.
    pub(crate) awaited: BTreeSet<RunId>,
    /// When one of those that wait goes on by itself.
    pub(crate) next: Option<Timestamp>,
    /// Which bodies wait for which runs, in words.
    pub(crate) told: String,
}

impl Engine {
    /// Lets drives say where they stand from now on.
    pub(crate) fn watch_drives(&self) {
        self.inner().hub.stands.is_watched.store(true, SeqCst);
    }

    /// Waits until a drive may stand elsewhere; begin to wait before looking.
    pub(crate) fn drives_changed(&self) -> Notified<'_> {
        self.inner().hub.stands.changed.notified()
    }

    /// What the drives wait for now. A drive only waits if each of its bodies waits for the end of
    /// a run, whatever else it waits for, and its next time is not there yet.
    pub(crate) fn drives(&self) -> Drives {
        let (hub, now) = (&self.inner().hub, moment(&*self.inner().clock));
        let mut drives = Drives { changes: hub.stands.changes.load(SeqCst), ..Drives::default() };
        let mut told = Vec::new();
        for (run, signal) in hub.driven() {
            if let Some((next, waits)) = signal.waits_at(now) {
                drives.waiting += 1;
                drives.next = [drives.next, next].into_iter().flatten().min();
                if let Some(waits) = waits {
                    told.extend(standstill::bodies_that_wait(&run, &waits));
                    drives.awaited.extend(waits.awaited.into_iter().map(|(_, run)| run));
                }
            }
            drives.driven.insert(run);
        }
        drives.told = standstill::shown(told);
        drives
    }

    /// Whether every drive stands where it stood then.
    pub(crate) fn stands_as(&self, drives: &Drives) -> bool {
        self.inner().hub.stands.changes.load(SeqCst) == drives.changes
    }

    /// Prolongs the leases of all runs that are driven here, so that they hold when the clock is
    /// moved by this much.
    pub(crate) async fn prolong_leases(&self, by: Duration) -> Result<()> {
        let inner = self.inner();
        let time = by.saturating_add(inner.options.lease);
        for (_, signal) in inner.hub.driven() {
            let held = &signal.lease;
            inner.renew(held, time, held.head()).await?; // a lost one is its drive's to deal with
        }
        Ok(())
    }
}

impl Signal {
    /// If the drive only waits: until when at most, and what its program waits for.
    fn waits_at(&self, now: Moment) -> Option<(Option<Timestamp>, Option<Waits>)> {
        let Stand::Waits { next, renew_at } = *lock(&self.stand) else { return None };
        let is_woken = next.is_some_and(|next| next <= now.wall) || now.reaches(renew_at);
        let waits = self.program().map(|program| program.waits());
        let runs = waits.as_ref().is_some_and(|waits| waits.running > waits.awaited.len());
        (!is_woken && !runs).then_some((next, waits))
    }
}
