//! Claiming due runs: the shards in turn, and in each the ready and the timed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use world_core::{Claim, Lease, Position, Queue, Result, RunId, Timestamp};

use crate::{
    append::flag,
    error::nonsense,
    keys::{Keys, Shard},
    script::{CLAIM, Call, LOOK, RENEW},
    state,
};

/// The most leases that one script gives, so that it holds the server for a moment only.
const LEASES_MAX: u32 = 256;
/// The sets of queues that are remembered; beyond them all are forgotten, and begin anew.
const REMEMBERED_MAX: usize = 4096;

/// Whose turn it is, for each set of queues that is claimed: which shard is asked first, and
/// whether its ready or its timed go first.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Vec<Queue>, Next>>);

#[derive(Clone, Copy, Debug, Default)]
struct Next {
    round: u64,
    /// The changes of the store that who claims was told of.
    told: u64,
}

/// A claim's turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    first: Shard,
    is_timed_first: bool,
}

impl Turns {
    /// The turn of a claim.
    pub(crate) fn next(&self, queues: &[Queue], shards: u16) -> Turn {
        self.with(queues, |next| {
            let (shards, round) = (u64::from(shards), next.round);
            next.round += 1;
            Turn {
                first: u16::try_from(round % shards).unwrap_or_default(),
                is_timed_first: round / shards % 2 == 1,
            }
        })
    }

    /// Whether who claims these queues has yet to be told of a change of the store; then it is.
    pub(crate) fn is_to_be_told(&self, queues: &[Queue], changes: u64) -> bool {
        self.with(queues, |next| std::mem::replace(&mut next.told, changes) != changes)
    }

    fn with<T>(&self, queues: &[Queue], does: impl FnOnce(&mut Next) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = all.get_mut(queues) {
            return does(next);
        }
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        does(all.entry(queues.to_vec()).or_default())
    }
}

impl Turn {
    /// The shards, from the one whose turn it is.
    pub(crate) fn shards(self, shards: u16) -> impl Iterator<Item = Shard> {
        (self.first..shards).chain(0..self.first)
    }
}

fn distinct(queues: &[Queue]) -> Vec<&str> {
    let mut distinct: Vec<&str> = Vec::new();
    for queue in queues {
        if !distinct.contains(&queue.as_str()) {
            distinct.push(queue.as_str());
        }
    }
    distinct
}

/// The call that says whether a shard has a due run: with `now` also one whose time has come.
pub(crate) fn look(keys: &Keys, shard: Shard, queues: &[Queue], now: Option<Timestamp>) -> Call {
    let after = now.map_or_else(String::new, |now| state::millis(now.as_millis() + 1));
    Call::new(&LOOK, [keys.runs(shard), keys.due(shard)]).arg(after).args(distinct(queues))
}

/// The call that claims in one shard, at most `limit` runs.
pub(crate) fn call(keys: &Keys, turn: Turn, shard: Shard, claim: &Claim, limit: usize) -> Call {
    let limit = u32::try_from(limit).unwrap_or(LEASES_MAX).min(LEASES_MAX);
    Call::new(&CLAIM, [keys.runs(shard), keys.due(shard)])
        .arg(state::ticket(&claim.ticket))
        .arg(state::millis(claim.now.as_millis() + 1))
        .arg(state::time(claim.until))
        .arg(limit.to_string())
        .arg(flag(turn.is_timed_first))
        .args(distinct(&claim.queues))
}

/// A lease as the script gives it: run, attempt, head, phase.
pub(crate) type Given = (String, u32, u64, String);

pub(crate) fn lease(claim: &Claim, (run, attempt, head, phase): Given) -> Result<Lease> {
    Ok(Lease {
        run: RunId::new(run).map_err(|error| nonsense().source(error))?,
        ticket: claim.ticket,
        attempt,
        until: claim.until,
        head: Position::new(head),
        closed: phase == "closed",
    })
}

/// The call that renews a lease.
pub(crate) fn renew(keys: &Keys, lease: &Lease, until: Timestamp) -> Call {
    let shard = keys.shard(&lease.run.clone().into());
    Call::new(&RENEW, [keys.runs(shard), keys.due(shard)])
        .arg(lease.run.as_str())
        .arg(state::ticket(&lease.ticket))
        .arg(state::time(until))
}
