//! The changes of a World over a store with a lock or a transaction, from what the store can do.

use std::collections::{BTreeMap, HashSet};

use crate::{
    error::Result,
    ids::{LogId, Position, RunId, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::Deleted,
    record::{Append, Appended, Record},
};

use super::{Class, Head, Place, Ruling, Snapshot, Turns};

/// The most leases that one claim gives.
const LEASES_MAX: usize = 256;

/// A lock or a transaction of a store: two things it can do beside [`Snapshot`], and the four
/// changes of a World made of them. Each loads the head, asks this module, and stores what it is
/// told.
///
/// The World commits when a change has come back, and only then answers; when it has failed, the
/// World undoes whatever was stored.
pub trait Transaction: Snapshot {
    /// Stores a log's head in the place of the one there is, and new records beside it; moves a
    /// run to its new [place](super::Turn::place) in the index of due runs.
    ///
    /// # Errors
    /// The store's own.
    fn store(&mut self, log: &LogId, head: &Head, records: &[Record]) -> Result<()>;

    /// Removes what a tombstone hides: every record of the log, and a run's streams with their
    /// heads. The tombstone is there already, and stays.
    ///
    /// # Errors
    /// The store's own.
    fn remove(&mut self, log: &LogId) -> Result<()>;

    /// An append that has passed [`Append::check`]: the heart of [`World::append`](crate::World::append).
    ///
    /// # Errors
    /// The store's own.
    fn append(&mut self, log: &LogId, append: &Append) -> Result<Appended>
    where
        Self: Sized,
    {
        match super::append(log, append, self)? {
            Ruling::Answer(answer) => Ok(answer),
            Ruling::Write(head) => {
                self.store(log, &head, &append.records)?;
                Ok(Appended::Committed { head: head.head })
            }
        }
    }

    /// The heart of [`World::claim`](crate::World::claim): at most 256 leases. A run whose head
    /// cannot be read is left where it is, and does not keep others from being claimed.
    ///
    /// # Errors
    /// The store's own.
    fn claim(&mut self, claim: &Claim, turns: &Turns) -> Result<Vec<Lease>> {
        let ready = due(self, claim, (Class::Ready, Timestamp::MAX))?;
        let timed = due(self, claim, (Class::Timed, claim.now))?;
        let mut leases = Vec::new();
        for (run, head) in turns.merge(claim, ready, timed).into_iter().take(LEASES_MAX) {
            if let Some((after, lease)) = super::claim(&run, &head, claim) {
                self.store(&LogId::Run(run), &after, &[])?;
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    /// The heart of [`World::renew`](crate::World::renew).
    ///
    /// # Errors
    /// The store's own.
    fn renew(&mut self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        let (after, renewed) = super::renew(self.head(&log)?.as_ref(), lease, until);
        if let Some(after) = after {
            self.store(&log, &after, &[])?;
        }
        Ok(renewed)
    }

    /// The heart of [`World::delete`](crate::World::delete).
    ///
    /// # Errors
    /// The store's own, and `Invalid` for a stream.
    fn delete(&mut self, log: &LogId, stated: Position) -> Result<Deleted> {
        let (tombstone, deleted) = super::delete(log, self.head(log)?.as_ref(), stated)?;
        if let Some(tombstone) = tombstone {
            self.store(log, &tombstone, &[])?;
        }
        if deleted == Deleted::Done {
            self.remove(log)?;
        }
        Ok(deleted)
    }
}

/// The due runs of one class that a claim may get, each once, oldest first.
fn due(
    tx: &mut (impl Transaction + ?Sized),
    claim: &Claim,
    last: Place,
) -> Result<Vec<(RunId, Head)>> {
    let limit = usize::try_from(claim.limit.get()).unwrap_or(LEASES_MAX).min(LEASES_MAX);
    // L6: an outsider may have made an excepted run ready, and then it is given all the same.
    let except: HashSet<&RunId> = match last.0 {
        Class::Ready => HashSet::new(),
        Class::Timed => claim.except.iter().collect(),
    };
    let mut found = BTreeMap::new();
    for queue in &claim.queues {
        let mut wanted = limit.saturating_add(except.len());
        loop {
            let places = tx.oldest(queue, last, wanted)?;
            let is_all = places.len() < wanted;
            let mut good = Vec::new();
            for (time, run) in places.into_iter().filter(|(_, run)| !except.contains(run)) {
                if good.len() >= limit {
                    break;
                }
                good.extend(readable(tx, &run).map(|head| ((time, run), head)));
            }
            // Those that cannot be read must not stand in the way of the others.
            if is_all || good.len() >= limit {
                found.extend(good);
                break;
            }
            wanted = wanted.saturating_mul(2);
        }
    }
    Ok(found.into_iter().map(|((_, run), head)| (run, head)).collect())
}

fn readable(tx: &mut (impl Transaction + ?Sized), run: &RunId) -> Option<Head> {
    match tx.head(&LogId::Run(run.clone())) {
        Ok(Some(head)) => return Some(head),
        Ok(None) => tracing::error!(%run, "a due run is not there"),
        Err(error) => tracing::error!(%error, "a due run cannot be claimed"),
    }
    None
}
