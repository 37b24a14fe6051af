//! Outsiders that wake nobody or take a lease, and claims that are miscounted: rules L4 and L5.

use world_core::{Appended, By, LogId, Renewed, Timestamp, head::Turn};

use crate::flaw::{Flaw, flaw};

pub(crate) fn flaws() -> Vec<Flaw> {
    [outsiders(), attempts()].into_iter().flatten().collect()
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
