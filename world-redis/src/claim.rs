//! Claiming due runs: the shards in turn, and in each the ready and the timed.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use world_core::{Claim, Lease, Position, Queue, Result, RunId, Timestamp};

use crate::{
    append::flag,
    error::nonsense,
    keys::{Keys, Shard},
    script::{CLAIM, Call, RENEW},
    state,
};

/// The most leases that one script gives, so that it holds the server for a moment only.
pub(crate) const LEASES_MAX: u32 = 256;
/// The sets of queues that are remembered; beyond them all are forgotten, and begin anew.
const REMEMBERED_MAX: usize = 4096;

/// Whose turn it is: which shard is asked first, and whether its ready or its timed go first.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    shard: AtomicU16,
    /// How often each shard was asked for each set of queues.
    asked: Mutex<HashMap<(Shard, Vec<Queue>), bool>>,
}

impl Turns {
    /// The shards, from the one whose turn it is.
    pub(crate) fn shards(&self, shards: u16) -> impl Iterator<Item = Shard> + use<> {
        let first = self.shard.fetch_add(1, Ordering::Relaxed) % shards;
        (first..shards).chain(0..first)
    }

    /// Whether the timed of a shard go first: every other time that these queues are asked.
    fn is_timed_first(&self, shard: Shard, queues: &[Queue]) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= REMEMBERED_MAX {
            asked.clear();
        }
        let is_timed_first = asked.entry((shard, queues.to_vec())).or_insert(true);
        *is_timed_first = !*is_timed_first;
        *is_timed_first
    }
}

/// The call that claims in one shard, at most `limit` runs.
pub(crate) fn call(keys: &Keys, turns: &Turns, shard: Shard, claim: &Claim, limit: u32) -> Call {
    let mut queues: Vec<&str> = Vec::new();
    for queue in &claim.queues {
        if !queues.contains(&queue.as_str()) {
            queues.push(queue.as_str());
        }
    }
    Call::new(&CLAIM, [keys.runs(shard), keys.due(shard)])
        .arg(state::ticket(&claim.ticket))
        .arg(state::millis(claim.now.as_millis() + 1))
        .arg(state::time(claim.until))
        .arg(limit.min(LEASES_MAX).to_string())
        .arg(flag(turns.is_timed_first(shard, &claim.queues)))
        .args(queues)
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
