//! Due runs that nobody gets: rule L2.

use world_core::{By, Due, LogId, Position, Release, Timestamp, head::Turn};

use crate::{
    flaw::{Flaw, flaw},
    logs::{Logs, Wanted},
};

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        flaw!(
            L2,
            "one_queue_a_claim",
            "a claim looks at the first of its queues only",
            claim = |logs, claim| {
                let queues = claim.queues.iter().take(1).cloned().collect();
                logs.claim(&world_core::Claim { queues, ..claim.clone() })
            },
        ),
        flaw!(
            L2,
            "since_is_a_condition",
            "a run that became ready by a clock that is ahead sleeps until that time",
            claim = |logs, claim| {
                let mut due = logs.all_due(claim);
                due.retain(|run| match logs.turn(&LogId::Run(run.clone())) {
                    Some(Turn::Ready { since }) => since <= claim.now,
                    _ => true,
                });
                due.truncate(claim.limit.get() as usize);
                due.iter().filter_map(|run| logs.lease(run, claim)).collect()
            },
        ),
        flaw!(
            L2,
            "due_a_millisecond_late",
            "a run is due after its time, not at it",
            claim = |logs, claim| {
                let earlier = claim.now.as_millis().checked_sub(1);
                let now = Timestamp::from_millis(earlier.unwrap_or_default());
                logs.claim(&world_core::Claim { now, ..claim.clone() })
            },
        ),
        flaw!(
            L2,
            "lease_lasts_for_ever",
            "a lease that has run out is never due again",
            claim = |logs, claim| {
                let is_wanted: Wanted = |logs, run| {
                    !matches!(logs.turn(&LogId::Run(run.clone())), Some(Turn::Leased { .. }))
                };
                logs.claim_by(claim, is_wanted, Logs::next)
            },
        ),
        flaw!(
            L2,
            "given_up_after_5",
            "a run that was claimed five times without progress is never given out again",
            claim = |logs, claim| {
                let is_wanted: Wanted = |logs, run| {
                    logs.run(&LogId::Run(run.clone())).is_none_or(|run| run.attempt < 5)
                };
                logs.claim_by(claim, is_wanted, Logs::next)
            },
        ),
        flaw!(
            L2,
            "given_up_after_16",
            "a run that was claimed sixteen times without progress is never given out again",
            claim = |logs, claim| {
                let is_wanted: Wanted = |logs, run| {
                    logs.run(&LogId::Run(run.clone())).is_none_or(|run| run.attempt < 16)
                };
                logs.claim_by(claim, is_wanted, Logs::next)
            },
        ),
        flaw!(
            L2,
            "stops_at_the_leased",
            "a scan of a queue stops at the first run that is leased",
            claim = |logs, claim| {
                let first = logs.runs().filter(|(_, run, _)| claim.queues.contains(&run.new.queue));
                let first = first.min_by_key(|(id, run, _)| (run.created, (*id).clone()));
                let is_blocked = first.is_some_and(|(_, run, _)| {
                    matches!(run.turn, Turn::Leased { until, .. } if until > claim.now)
                });
                if is_blocked { Vec::new() } else { logs.claim(claim) }
            },
        ),
        flaw!(
            L2,
            "stops_at_the_parked",
            "a scan of a queue stops at the first run that is parked",
            claim = |logs, claim| {
                let first = logs.runs().filter(|(_, run, _)| claim.queues.contains(&run.new.queue));
                let first = first.min_by_key(|(id, run, _)| (run.created, (*id).clone()));
                let is_blocked = first.is_some_and(|(_, run, _)| run.turn == Turn::Parked);
                if is_blocked { Vec::new() } else { logs.claim(claim) }
            },
        ),
        flaw!(
            L2,
            "due_now_is_forgotten",
            "a rest that wants a worker at once parks the run",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Owner { rest: Some(Release { due: due @ Due::Now, .. }), .. } =
                    &mut changed.by
                {
                    *due = Due::Never;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            L2,
            "long_sleeps_are_for_ever",
            "a run that waits for a time after the year 2038 is parked",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let Some(run) = logs.run_mut(log)
                    && let Turn::Waiting(time) = run.turn
                    && time.as_millis() > 1000 * (i32::MAX as u64)
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "renewed_is_forgotten",
            "a lease that was renewed never runs out",
            renew = |logs, lease, until| {
                let renewed = logs.renew(lease, until)?;
                if let Some(run) = logs.run_mut(&LogId::Run(lease.run.clone()))
                    && let Turn::Leased { until, .. } = &mut run.turn
                {
                    *until = Timestamp::MAX;
                }
                Ok(renewed)
            },
        ),
        flaw!(
            L2,
            "renewal_cannot_shorten",
            "a renewal to an earlier time changes nothing",
            renew = |logs, lease, until| {
                let log = LogId::Run(lease.run.clone());
                let until = match logs.turn(&log) {
                    Some(Turn::Leased { until: old, .. }) => until.max(old),
                    _ => until,
                };
                logs.renew(lease, until)
            },
        ),
        flaw!(
            L1,
            "lease_with_an_old_head",
            "a lease says the head of the creation",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                leases.iter_mut().for_each(|lease| lease.head = Position::new(1));
                leases
            },
        ),
        flaw!(
            L2,
            "queue_of_100",
            "a queue holds 100 runs: what comes then is forgotten",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                let waiting =
                    logs.runs().filter(|(_, run, _)| matches!(run.turn, Turn::Ready { .. }));
                if waiting.count() > 100
                    && let By::Creator(_) = append.by
                    && let Some(run) = logs.run_mut(log)
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "sixteen_queues_a_claim",
            "a claim looks at 16 of its queues",
            claim = |logs, claim| {
                let queues = claim.queues.iter().take(16).cloned().collect();
                logs.claim(&world_core::Claim { queues, ..claim.clone() })
            },
        ),
        flaw!(
            L2,
            "limit_of_31_bits",
            "a claim of more than 2^31 runs is one of a negative number, and gives none",
            claim = |logs, claim| {
                if claim.limit.get() > i32::MAX as u32 { Vec::new() } else { logs.claim(claim) }
            },
        ),
        flaw!(
            L2,
            "past_times_are_missed",
            "a run that rests until a time that has passed is never due",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let Some(run) = logs.run_mut(log)
                    && let Turn::Waiting(time) = run.turn
                    && time < append.at
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "time_0_is_none",
            "a run that waits until the time 0 is parked, since 0 stands for no time",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let Some(run) = logs.run_mut(log)
                    && run.turn == Turn::Waiting(Timestamp::ZERO)
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "since_0_is_never",
            "a run that is ready since the time 0 is parked, since 0 stands for no time",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let Some(run) = logs.run_mut(log)
                    && (run.turn == Turn::Ready { since: Timestamp::ZERO })
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "records_lengthen_the_lease",
            "an owner's records give it a minute more, so a dead owner's run is due late",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (By::Owner { .. }, LogId::Run(_), Some(run)) =
                    (&append.by, log, logs.run_mut(log))
                    && let Turn::Leased { until, .. } = &mut run.turn
                {
                    *until = Timestamp::from_millis(until.as_millis() + 60_000);
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "created_in_the_future",
            "a run whose creator's clock is ahead of the claimer's is not given out",
            claim = |logs, claim| {
                let mut due = logs.all_due(claim);
                due.retain(|run| {
                    let run = logs.run(&LogId::Run(run.clone()));
                    run.is_none_or(|run| run.created <= claim.now)
                });
                due.truncate(claim.limit.get() as usize);
                due.iter().filter_map(|run| logs.lease(run, claim)).collect()
            },
        ),
        flaw!(
            L2,
            "rest_keeps_its_age",
            "a run that rests and is due at once is as old as it was, and starves the others",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (By::Owner { rest: Some(_), .. }, Some(run)) =
                    (&append.by, logs.run_mut(log))
                    && let Turn::Ready { since } = &mut run.turn
                {
                    *since = run.created;
                }
                Ok(answer)
            },
        ),
    ]
}
