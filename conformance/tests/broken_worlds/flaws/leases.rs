//! Leases that are given twice, early or not at all: rule L1.

use std::collections::BTreeMap;

use tokio::task::yield_now;
use world_core::{By, LogId, Ticket, Timestamp, head::Turn};

use crate::{
    flaw::{Flaw, flaw},
    logs::Logs,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [to_one(), not_early()].into_iter().flatten().collect()
}

fn to_one() -> Vec<Flaw> {
    vec![
        flaw!(
            L1,
            "given_twice",
            "the due runs are read, and the leases are written later: two claimers get one run",
            claim_in_steps = |base, claim| {
                Box::pin(async move {
                    let (leases, new) = {
                        let mut logs = base.logs();
                        let old: BTreeMap<_, _> = (*logs.heads).clone();
                        let leases = logs.claim(claim);
                        (leases, std::mem::replace(&mut *logs.heads, old))
                    };
                    yield_now().await;
                    base.logs().heads.extend(new);
                    Ok(leases)
                })
            },
        ),
        flaw!(
            L1,
            "twice_in_one_claim",
            "a claim whose leases end at once gets the same run several times",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                if claim.until <= claim.now && leases.len() < claim.limit.get() as usize {
                    leases.extend(leases.first().cloned());
                }
                leases
            },
        ),
        flaw!(
            L1,
            "twice_for_a_queue_named_twice",
            "a claim that names a queue twice gets each run twice",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                let mut queues = claim.queues.clone();
                queues.sort();
                queues.dedup();
                if queues.len() < claim.queues.len() {
                    leases.extend(leases.clone());
                }
                leases
            },
        ),
        flaw!(
            L1,
            "more_than_asked",
            "a claim takes leases on all that is due, whatever its limit",
            claim = |logs, claim| {
                logs.claim(&world_core::Claim { limit: std::num::NonZeroU32::MAX, ..claim.clone() })
            },
        ),
        flaw!(
            L1,
            "any_queue",
            "a claim gets due runs of queues that it did not name",
            claim = |logs, claim| {
                let queues = logs.runs().map(|(_, run, _)| run.new.queue.clone()).collect();
                logs.claim(&world_core::Claim { queues, ..claim.clone() })
            },
        ),
        flaw!(
            L1,
            "no_queue_is_any_queue",
            "a claim that names no queue gets runs of all",
            claim = |logs, claim| {
                let mut claim = claim.clone();
                if claim.queues.is_empty() {
                    claim.queues = logs.runs().map(|(_, run, _)| run.new.queue.clone()).collect();
                }
                logs.claim(&claim)
            },
        ),
    ]
}

/// Claims as if the clock were `ahead` milliseconds ahead, for runs of one kind of turn.
fn early(
    logs: &mut Logs,
    claim: &world_core::Claim,
    ahead: u64,
    of: fn(Turn) -> bool,
) -> Vec<world_core::Lease> {
    let now = Timestamp::from_millis(claim.now.as_millis() + ahead);
    let soon = world_core::Claim { now, ..claim.clone() };
    let due = logs.all_due(&soon);
    let mut leases = logs.claim(claim);
    for run in due {
        let turn = logs.turn(&LogId::Run(run.clone()));
        let is_new = leases.iter().all(|lease| lease.run != run);
        if leases.len() < claim.limit.get() as usize && is_new && turn.is_some_and(of) {
            leases.extend(logs.lease(&run, &soon));
        }
    }
    leases
}

fn not_early() -> Vec<Flaw> {
    vec![
        flaw!(
            L1,
            "lease_a_millisecond_short",
            "a lease is given again one millisecond before it runs out",
            claim = |logs, claim| early(logs, claim, 1, |turn| matches!(turn, Turn::Leased { .. })),
        ),
        flaw!(
            L1,
            "leases_in_seconds",
            "the end of a lease is kept in whole seconds, cut off",
            claim = |logs, claim| {
                let now = claim.now.as_millis();
                let due = logs.runs().filter(|(_, run, _)| match run.turn {
                    Turn::Leased { until, .. } => until.as_millis() / 1000 * 1000 <= now,
                    _ => false,
                });
                let due: Vec<_> = due.map(|(id, ..)| id.clone()).collect();
                let mut leases = logs.claim(claim);
                for run in due {
                    let late = world_core::Claim { now: Timestamp::MAX, ..claim.clone() };
                    if leases.iter().all(|lease| lease.run != run) {
                        leases.extend(logs.lease(&run, &late));
                    }
                }
                leases
            },
        ),
        flaw!(
            L1,
            "creators_lease_forgotten",
            "a creator that takes the first lease does not get it",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Creator(new) = &mut changed.by {
                    new.lease = None;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            L1,
            "creators_run_is_ready",
            "a run that its creator holds is given out too, since it is due at once",
            claim = |logs, claim| {
                early(
                    logs,
                    claim,
                    u64::from(u32::MAX),
                    |turn| matches!(turn, Turn::Leased { ticket, .. } if ticket == FIRST),
                )
            },
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Creator(new) = &mut changed.by
                    && let (world_core::Due::Now, Some((_, until))) = (new.due, &mut new.lease)
                {
                    *until = append.at.min(*until);
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            L1,
            "renewal_does_nothing",
            "a renewal is granted, and the lease runs out when it would have",
            renew = |logs, lease, until| {
                let log = LogId::Run(lease.run.clone());
                let old = logs.turn(&log);
                let renewed = logs.renew(lease, until)?;
                if let (Some(run), Some(old)) = (logs.run_mut(&log), old) {
                    run.turn = old;
                }
                Ok(renewed)
            },
        ),
        flaw!(
            L1,
            "lease_is_as_long_as_usual",
            "a lease lasts a minute, whatever time the claim names",
            claim = |logs, claim| {
                let until = Timestamp::from_millis(claim.now.as_millis() + 60_000).min(claim.until);
                logs.claim(&world_core::Claim { until, ..claim.clone() })
            },
        ),
        flaw!(
            L2,
            "sleepers_a_millisecond_early",
            "a sleeping run is given out one millisecond before its time",
            claim = |logs, claim| early(logs, claim, 1, |turn| matches!(turn, Turn::Waiting(_))),
        ),
        flaw!(
            L1,
            "own_clock",
            "whether a lease has run out is asked of the World's own clock",
            claim = |logs, claim| {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let now = since.map_or(0, |since| since.as_millis() as u64);
                logs.claim(&world_core::Claim { now: Timestamp::from_millis(now), ..claim.clone() })
            },
        ),
    ]
}

const FIRST: Ticket = Ticket::from_bytes([1; 16]);
