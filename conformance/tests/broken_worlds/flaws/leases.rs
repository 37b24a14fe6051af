//! Leases that are given twice, lost or kept: rules L1 and L3 to L5.

use std::collections::BTreeMap;

use tokio::task::yield_now;
use world_core::{
    Appended, By, LogId, Position, Renewed, Ticket, Timestamp,
    head::{self, Turn},
};

use crate::{
    flaw::{Flaw, flaw, run_of},
    logs::Logs,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [to_one(), not_early(), tickets(), outsiders(), attempts()].into_iter().flatten().collect()
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

/// Whether the writer's ticket passes for the current one, as `looks` says.
fn passes(
    logs: &mut Logs,
    log: &LogId,
    append: &world_core::Append,
    looks: fn(&[u8; 16], &[u8; 16]) -> bool,
) -> Option<world_core::Append> {
    let By::Owner { ticket, .. } = &append.by else { return None };
    let current = logs.run_mut(&run_of(log))?.ticket()?;
    if !looks(current.as_bytes(), ticket.as_bytes()) {
        return None;
    }
    let mut changed = append.clone();
    if let By::Owner { ticket, .. } = &mut changed.by {
        *ticket = current;
    }
    Some(changed)
}

/// A flaw by which tickets that differ look the same.
macro_rules! looks_the_same {
    ($name:literal, $what:literal, $looks:expr) => {
        flaw!(
            L3,
            $name,
            $what,
            append = |logs, log, append| {
                let changed = passes(logs, log, append, $looks);
                logs.append(log, changed.as_ref().unwrap_or(append))
            }
        )
    };
}

fn tickets() -> Vec<Flaw> {
    vec![
        looks_the_same!("any_ticket", "an owner's ticket is not looked at", |_, _| true),
        looks_the_same!(
            "tickets_of_8_bytes",
            "tickets are compared by their first 8 bytes",
            |a, b| { a[..8] == b[..8] }
        ),
        looks_the_same!(
            "tickets_of_15_bytes",
            "tickets are compared by their first 15 bytes",
            |a, b| { a[..15] == b[..15] }
        ),
        looks_the_same!(
            "tickets_end_at_nul",
            "tickets are compared up to the first zero byte",
            |a, b| { a.split(|byte| *byte == 0).next() == b.split(|byte| *byte == 0).next() }
        ),
        looks_the_same!(
            "tickets_as_text",
            "tickets are kept as text, in which bytes that are none are one sign",
            |a, b| { String::from_utf8_lossy(a) == String::from_utf8_lossy(b) }
        ),
        looks_the_same!(
            "tickets_without_case",
            "tickets are compared as text without case",
            |a, b| { a.eq_ignore_ascii_case(b) }
        ),
        looks_the_same!(
            "later_tickets_win",
            "a ticket is a counter: a larger one is newer, and passes",
            |a, b| b >= a
        ),
        flaw!(
            L3,
            "stream_takes_any_ticket",
            "a stream does not look at the ticket",
            append = |logs, log, append| {
                let changed = match log {
                    LogId::Stream(..) => passes(logs, log, append, |_, _| true),
                    LogId::Run(_) | LogId::Token(_) => None,
                };
                logs.append(log, changed.as_ref().unwrap_or(append))
            },
        ),
        flaw!(
            L3,
            "rest_takes_any_ticket",
            "a rest without records does not look at the ticket",
            append = |logs, log, append| {
                let changed =
                    passes(logs, log, append, |_, _| true).filter(|it| it.records.is_empty());
                logs.append(log, changed.as_ref().unwrap_or(append))
            },
        ),
        flaw!(
            L3,
            "renewal_takes_any_ticket",
            "a renewal does not look at the ticket",
            renew = |logs, lease, until| {
                let current =
                    logs.run_mut(&LogId::Run(lease.run.clone())).and_then(|run| run.ticket());
                let ticket = current.unwrap_or(lease.ticket);
                logs.renew(&world_core::Lease { ticket, ..lease.clone() }, until)
            },
        ),
        flaw!(
            L3,
            "renewal_revives",
            "a renewal takes a lease again that was given back",
            renew = |logs, lease, until| {
                let log = LogId::Run(lease.run.clone());
                if let Some(run) = logs.run_mut(&log)
                    && run.ticket().is_none()
                {
                    run.turn = Turn::Leased { ticket: lease.ticket, until };
                }
                logs.renew(lease, until)
            },
        ),
        flaw!(
            L3,
            "rest_keeps_the_ticket",
            "the ticket of a run that rests is still good until the next claim",
            append = |logs, log, append| {
                let (run, turn) = (run_of(log), logs.turn(log));
                let key = format!("{run:?}");
                if let (
                    By::Owner { ticket, .. },
                    Some(Turn::Ready { .. } | Turn::Waiting(_) | Turn::Parked),
                ) = (&append.by, turn)
                    && logs.notes.pages.contains_key(&format!("{key} {:?}", ticket.as_bytes()))
                    && let Some(state) = logs.run_mut(log)
                {
                    state.turn = Turn::Leased { ticket: *ticket, until: Timestamp::ZERO };
                    let answer = logs.append(log, append);
                    if let (Some(state), Some(turn)) = (logs.run_mut(log), turn) {
                        state.turn = turn;
                    }
                    return answer;
                }
                if let Some(Turn::Leased { ticket, .. }) = turn {
                    let page = logs.page(log, Position::START, 1);
                    logs.notes.pages.insert(format!("{key} {:?}", ticket.as_bytes()), page);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            L3,
            "expired_is_fenced",
            "a ticket whose lease has run out is refused, though nobody replaced it",
            append = |logs, log, append| {
                let is_expired = matches!(logs.turn(log), Some(Turn::Leased { until, .. }) if until <= append.at);
                let answer = logs.rule(log, append)?;
                if let (By::Owner { .. }, true, head::Ruling::Write(_)) =
                    (&append.by, is_expired, answer)
                {
                    return Ok(Appended::Fenced);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            L3,
            "expired_cannot_be_renewed",
            "a lease that has run out cannot be renewed, though nobody replaced it",
            renew = |logs, lease, until| {
                let turn = logs.turn(&LogId::Run(lease.run.clone()));
                if matches!(turn, Some(Turn::Leased { until: old, .. }) if old < until && old <= lease.until && old.as_millis() + 1000 < until.as_millis())
                {
                    return Ok(Renewed::Lost);
                }
                logs.renew(lease, until)
            },
        ),
        flaw!(
            L3,
            "the_whole_lease_is_compared",
            "a second renewal with the lease as it was first given is lost",
            renew = |logs, lease, until| {
                let turn = logs.turn(&LogId::Run(lease.run.clone()));
                let is_as_given =
                    matches!(turn, Some(Turn::Leased { until, .. }) if until == lease.until);
                if is_as_given { logs.renew(lease, until) } else { Ok(Renewed::Lost) }
            },
        ),
        flaw!(
            L3,
            "renewal_at_the_claimed_head",
            "a renewal is lost once the log has grown",
            renew = |logs, lease, until| {
                let head = logs.last(&LogId::Run(lease.run.clone()));
                if head == lease.head { logs.renew(lease, until) } else { Ok(Renewed::Lost) }
            },
        ),
        flaw!(
            L3,
            "renewal_says_the_old_head",
            "a renewal reports the head of the lease, so an owner never learns of a signal",
            renew = |logs, lease, until| {
                Ok(match logs.renew(lease, until)? {
                    Renewed::Held { .. } => Renewed::Held { head: lease.head },
                    Renewed::Lost => Renewed::Lost,
                })
            },
        ),
        flaw!(
            L3,
            "fenced_takes_the_lease",
            "an append that is fenced ends the lease of the run's owner",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Fenced, Some(run)) = (answer, logs.run_mut(log)) {
                    run.turn = Turn::Ready { since: append.at };
                }
                Ok(answer)
            },
        ),
        flaw!(
            L3,
            "lost_renewal_moves_the_lease",
            "a renewal that is lost still moves the end of the lease",
            renew = |logs, lease, until| {
                let renewed = logs.renew(lease, until)?;
                if let (Renewed::Lost, Some(run)) =
                    (renewed, logs.run_mut(&LogId::Run(lease.run.clone())))
                    && let Turn::Leased { until: end, .. } = &mut run.turn
                {
                    *end = until;
                }
                Ok(renewed)
            },
        ),
        flaw!(
            L3,
            "own_tickets",
            "the World makes the ticket itself, and the claimer's is none",
            claim = |logs, claim| {
                let mut bytes = *claim.ticket.as_bytes();
                bytes[15] ^= 0xFF;
                let claim =
                    world_core::Claim { ticket: Ticket::from_bytes(bytes), ..claim.clone() };
                let mut leases = logs.claim(&claim);
                bytes[15] ^= 0xFF;
                leases.iter_mut().for_each(|lease| lease.ticket = Ticket::from_bytes(bytes));
                leases
            },
        ),
    ]
}

/// A flaw in what an outsider's append does to the run.
macro_rules! after_a_signal {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            L4,
            $name,
            $what,
            append = |logs, log, append| {
                let change: fn(Turn, Turn, Timestamp) -> Turn = $change;
                let old = logs.turn(log);
                let answer = logs.append(log, append)?;
                if let (By::Outsider, LogId::Run(_), Appended::Committed { .. }) =
                    (&append.by, log, answer)
                    && let (Some(old), Some(run)) = (old, logs.run_mut(log))
                {
                    run.turn = change(old, run.turn, append.at);
                }
                Ok(answer)
            }
        )
    };
}

fn outsiders() -> Vec<Flaw> {
    vec![
        after_a_signal!(
            "signal_ends_the_lease",
            "an outsider's append ends the owner's lease",
            |_, _, at| { Turn::Ready { since: at } }
        ),
        after_a_signal!(
            "signal_shortens_the_lease",
            "an outsider's append makes a leased run due now",
            |_, new, at| match new {
                Turn::Leased { ticket, .. } => Turn::Leased { ticket, until: at },
                turn => turn,
            }
        ),
        after_a_signal!(
            "signal_lengthens_the_lease",
            "an outsider's append gives the owner a minute more",
            |_, new, _| match new {
                Turn::Leased { ticket, until } => {
                    Turn::Leased {
                        ticket,
                        until: Timestamp::from_millis(until.as_millis() + 60_000),
                    }
                }
                turn => turn,
            }
        ),
        after_a_signal!(
            "signal_ends_an_expired_lease",
            "an outsider's append ends a lease that has run out, though nobody has replaced it",
            |_, new, at| match new {
                Turn::Leased { until, .. } if until <= at => Turn::Ready { since: at },
                turn => turn,
            }
        ),
        after_a_signal!(
            "signal_wakes_nobody",
            "an outsider's append does not wake a parked run",
            |old, new, _| { if old == Turn::Parked { old } else { new } }
        ),
        after_a_signal!(
            "signal_leaves_sleepers",
            "an outsider's append does not wake a sleeping run",
            |old, new, _| { if let Turn::Waiting(_) = old { old } else { new } }
        ),
        after_a_signal!(
            "signal_is_due_later",
            "a signalled run is due at the time of the signal, by the signaller's clock",
            |old, new, at| {
                if let (Turn::Parked | Turn::Waiting(_), Turn::Ready { .. }) = (old, new) {
                    Turn::Waiting(at)
                } else {
                    new
                }
            }
        ),
        after_a_signal!("signal_only_once", "a signal to a ready run parks it", |old, new, _| {
            if let Turn::Ready { .. } = old { Turn::Parked } else { new }
        }),
        flaw!(
            L4,
            "only_the_first_signal_wakes",
            "a run is woken by a signal once, and after it has rested again by none",
            append = |logs, log, append| {
                let old = logs.turn(log);
                let answer = logs.append(log, append)?;
                let key = format!("woken {log:?}");
                if let (
                    By::Outsider,
                    LogId::Run(_),
                    Some(old @ (Turn::Parked | Turn::Waiting(_))),
                ) = (&append.by, log, old)
                {
                    if let (true, Some(run)) =
                        (logs.notes.numbers.contains_key(&key), logs.run_mut(log))
                    {
                        run.turn = old;
                    }
                    logs.notes.numbers.insert(key, 1);
                }
                Ok(answer)
            },
        ),
    ]
}

/// A flaw in the number of claims after an append that committed.
macro_rules! attempt_after {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            L5,
            $name,
            $what,
            append = |logs, log, append| {
                let change: fn(u32, u32, &LogId, &world_core::Append) -> u32 = $change;
                let old = logs.run_mut(log).map_or(0, |run| run.attempt);
                let answer = logs.append(log, append)?;
                if let (Appended::Committed { .. }, Some(run)) = (answer, logs.run_mut(log)) {
                    run.attempt = change(old, run.attempt, log, append);
                }
                Ok(answer)
            }
        )
    };
}

fn attempts() -> Vec<Flaw> {
    vec![
        flaw!(
            L5,
            "attempt_never_raised",
            "every claim is the first",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                leases.iter_mut().for_each(|lease| lease.attempt = 1);
                leases
            },
        ),
        flaw!(
            L5,
            "attempt_stops_at_2",
            "claims are counted up to 2",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                leases.iter_mut().for_each(|lease| lease.attempt = lease.attempt.min(2));
                leases
            },
        ),
        flaw!(
            L5,
            "attempt_before_the_claim",
            "a lease says the number of claims before it",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                leases.iter_mut().for_each(|lease| lease.attempt -= 1);
                leases
            },
        ),
        flaw!(
            L5,
            "attempt_raised_by_renewals",
            "a renewal counts as a claim",
            renew = |logs, lease, until| {
                let renewed = logs.renew(lease, until)?;
                if let (Renewed::Held { .. }, Some(run)) =
                    (renewed, logs.run_mut(&LogId::Run(lease.run.clone())))
                {
                    run.attempt += 1;
                }
                Ok(renewed)
            },
        ),
        flaw!(
            L5,
            "attempt_reset_by_renewals",
            "a renewal sets the number of claims back",
            renew = |logs, lease, until| {
                let renewed = logs.renew(lease, until)?;
                if let (Renewed::Held { .. }, Some(run)) =
                    (renewed, logs.run_mut(&LogId::Run(lease.run.clone())))
                {
                    run.attempt = 1;
                }
                Ok(renewed)
            },
        ),
        attempt_after!(
            "attempt_never_reset",
            "progress does not reset the claims",
            |old, new, log, append| {
                let is_progress =
                    matches!((log, &append.by), (LogId::Run(_), By::Owner { rest: None, .. }));
                if is_progress { old } else { new }
            }
        ),
        attempt_after!(
            "attempt_0_by_progress",
            "progress sets the claims to 0, so the claim under way does not count",
            |_, new, log, append| {
                let is_progress =
                    matches!((log, &append.by), (LogId::Run(_), By::Owner { rest: None, .. }));
                if is_progress && !append.records.is_empty() { 0 } else { new }
            }
        ),
        attempt_after!(
            "attempt_kept_by_rest",
            "a rest does not reset the claims",
            |old, new, _, append| {
                let is_rest = matches!(&append.by, By::Owner { rest: Some(_), .. });
                if is_rest { old.max(1) } else { new }
            }
        ),
        attempt_after!(
            "attempt_kept_by_bare_rest",
            "a rest without records does not reset the claims",
            |old, new, _, append| { if append.records.is_empty() { old } else { new } }
        ),
        attempt_after!(
            "attempt_reset_by_signals",
            "an outsider's append resets the claims",
            |_, new, log, append| {
                if let (By::Outsider, LogId::Run(_)) = (&append.by, log) { 0 } else { new }
            }
        ),
        attempt_after!(
            "attempt_reset_by_chunks",
            "a chunk of a stream resets the claims",
            |_, new, log, _| { if let LogId::Stream(..) = log { 1 } else { new } }
        ),
        attempt_after!(
            "attempt_reset_by_tags",
            "new tags reset the claims",
            |_, new, _, append| {
                match &append.by {
                    By::Owner { tags: Some(_), rest: None, .. } => 1,
                    _ => new,
                }
            }
        ),
        attempt_after!(
            "creators_claim_is_not_counted",
            "a creator's lease counts as no claim",
            |old, new, _, append| {
                match &append.by {
                    By::Creator(_) if old == 0 => 0,
                    _ => new,
                }
            }
        ),
    ]
}
