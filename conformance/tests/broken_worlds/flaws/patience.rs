//! Leases that end too early, runs that lose their place, listings that give up.

use world_core::{Claim, Lease, LogId, RunId, RunPage, Timestamp, head::Turn};

use crate::{
    flaw::{Flaw, flaw},
    logs::{Logs, Wanted},
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [leases(), order(), lists()].into_iter().flatten().collect()
}

/// 30 days, in milliseconds.
const MONTH: u64 = 30 * 24 * 3_600_000;

/// Cuts the lease on a run to 30 days, unless it never ends.
fn cut(logs: &mut Logs, log: &LogId) {
    if let Some(run) = logs.run_mut(log)
        && let Turn::Leased { until, .. } = &mut run.turn
        && *until != Timestamp::MAX
    {
        *until = (*until).min(Timestamp::from_millis(MONTH));
    }
}

fn leases() -> Vec<Flaw> {
    vec![
        flaw!(
            L1,
            "leases_of_30_days",
            "no lease lasts for more than 30 days",
            claim = |logs, claim| {
                let leases = logs.claim(claim);
                leases.iter().for_each(|lease| cut(logs, &LogId::Run(lease.run.clone())));
                leases
            },
        ),
        flaw!(
            L3,
            "renewals_of_30_days",
            "no renewal makes a lease last for more than 30 days",
            renew = |logs, lease, until| {
                let renewed = logs.renew(lease, until)?;
                cut(logs, &LogId::Run(lease.run.clone()));
                Ok(renewed)
            },
        ),
        flaw!(
            L5,
            "attempts_of_one_byte",
            "the attempt is kept in one byte",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                leases.iter_mut().for_each(|lease| lease.attempt %= 256);
                leases
            },
        ),
    ]
}

/// The right order among the due runs that are wanted; with none, among all.
fn preferred(logs: &mut Logs, claim: &Claim, is_preferred: Wanted) -> Vec<Lease> {
    let leases = logs.claim_by(claim, is_preferred, Logs::next);
    if leases.is_empty() { logs.claim(claim) } else { leases }
}

/// Whether one of the first timed runs that are due is such a one.
fn is_one_due(logs: &mut Logs, claim: &Claim, is_such: Wanted) -> bool {
    claim.queues.iter().any(|queue| {
        let due = logs.heads.due(queue, true, claim.now).take(64);
        let due: Vec<_> = due.map(|place| place.run.clone()).collect();
        due.iter().any(|run| is_such(logs, run))
    })
}

fn is_leased(logs: &Logs, run: &RunId) -> bool {
    matches!(logs.turn(&LogId::Run(run.clone())), Some(Turn::Leased { .. }))
}

fn is_sleeper(logs: &Logs, run: &RunId) -> bool {
    matches!(logs.turn(&LogId::Run(run.clone())), Some(Turn::Waiting(_)))
}

/// Ready runs and the timed ones of one kind in turn; those of the other kind when none is due.
fn of_timed(logs: &mut Logs, claim: &Claim, first: Wanted, is_wanted: Wanted) -> Vec<Lease> {
    if is_one_due(logs, claim, first) {
        logs.claim_by(claim, is_wanted, Logs::next)
    } else {
        logs.claim(claim)
    }
}

fn order() -> Vec<Flaw> {
    vec![
        flaw!(
            L2,
            "sleepers_first",
            "a lease that ran out is taken only when no sleeper is due",
            claim =
                |logs, claim| of_timed(logs, claim, is_sleeper, |logs, run| !is_leased(logs, run)),
        ),
        flaw!(
            L2,
            "dead_workers_first",
            "a sleeper is taken only when no lease has run out",
            claim =
                |logs, claim| of_timed(logs, claim, is_leased, |logs, run| !is_sleeper(logs, run)),
        ),
        flaw!(
            L2,
            "open_ones_first",
            "a closed run is taken only when no open one is due",
            claim = |logs, claim| {
                preferred(logs, claim, |logs, run| !logs.is_closed(&LogId::Run(run.clone())))
            },
        ),
        flaw!(
            L2,
            "few_attempts_first",
            "a run of more than 32 attempts is taken only when no other is due",
            claim = |logs, claim| {
                preferred(logs, claim, |logs, run| {
                    logs.run(&LogId::Run(run.clone())).is_none_or(|run| run.attempt <= 32)
                })
            },
        ),
    ]
}

fn lists() -> Vec<Flaw> {
    vec![
        flaw!(
            R4,
            "gives_up_after_2000",
            "a listing that has passed over 2000 runs that do not match ends there",
            list = |logs, list| {
                let page = logs.list(list)?;
                let mut passed = logs.metas().into_values().take(2_000);
                let is_found = passed.any(|run| list.matches(&run)) || logs.metas().len() <= 2_000;
                let none = RunPage { runs: Vec::new(), next: None };
                Ok(if is_found { page } else { none })
            },
        ),
        flaw!(
            R4,
            "five_tags",
            "of the tags of a filter the first five are looked at",
            list = |logs, list| {
                let mut list = list.clone();
                list.tags.truncate(5);
                logs.list(&list)
            },
        ),
    ]
}
