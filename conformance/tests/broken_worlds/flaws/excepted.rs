//! Claims that except too much or too little, and runs that were not driven: rules L5 and L6.

use world_core::{Append, Appended, By, Claim, LogId, Release, RunId, head::Turn};

use crate::{
    flaw::{Flaw, flaw},
    logs::Logs,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [undriven(), excepted(), in_the_way()].into_iter().flatten().collect()
}

/// A flaw in the number of claims after an undriven rest that committed. It says what becomes of
/// the number before, the one after, and whether there were records.
macro_rules! after_undriven {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            L5,
            $name,
            $what,
            append = |logs, log, append| {
                let change: fn(u32, u32, &Append, bool) -> u32 = $change;
                let (old, is_closed) = (attempt(logs, log), logs.is_closed(log));
                let head = logs.last(log);
                let answer = logs.append(log, append)?;
                let is_now =
                    matches!(answer, Appended::Committed { .. }) && append.expected == head;
                if let (true, true, Some(run)) = (is_undriven(append), is_now, logs.run_mut(log)) {
                    run.attempt = change(old, run.attempt, append, is_closed);
                }
                Ok(answer)
            }
        )
    };
}

fn attempt(logs: &Logs, log: &LogId) -> u32 {
    logs.run(log).map_or(0, |run| run.attempt)
}

fn is_undriven(append: &Append) -> bool {
    matches!(append.by, By::Owner { rest: Some(Release { driven: false, .. }), .. })
}

fn undriven() -> Vec<Flaw> {
    vec![
        after_undriven!(
            "undriven_rest_begins_anew",
            "a rest sets the claims to 0, though the run was not driven",
            |_, _, _, _| 0
        ),
        after_undriven!(
            "undriven_rest_counts_its_claim",
            "a run that was not driven keeps the claim that gave it",
            |old, _, _, _| old
        ),
        after_undriven!(
            "undriven_note_is_progress",
            "the records of an undriven rest are progress, and the claim is taken back after it",
            |_, new, append, _| if append.records.is_empty() { new } else { 0 }
        ),
        after_undriven!(
            "undriven_rest_leaves_one_claim",
            "an undriven rest leaves at least one claim",
            |_, new, _, _| new.max(1)
        ),
        after_undriven!(
            "undriven_rest_of_a_closed_run_begins_anew",
            "of a closed run every rest sets the claims to 0",
            |_, new, _, is_closed| if is_closed { 0 } else { new }
        ),
        flaw!(
            L5,
            "undriven_rest_taken_back_at_every_resend",
            "each resend of an undriven rest takes back a claim more",
            append = |logs, log, append| {
                let is_there = logs.last(log) >= append.head_after() && !append.records.is_empty();
                let answer = logs.append(log, append)?;
                if let (true, Appended::Committed { .. }, Some(run)) =
                    (is_there && is_undriven(append), answer, logs.run_mut(log))
                {
                    run.attempt = run.attempt.saturating_sub(1);
                }
                Ok(answer)
            }
        ),
        flaw!(
            L5,
            "undriven_rest_of_a_stale_owner_counts",
            "an undriven rest takes a claim back, also where it is refused",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                let is_refused = matches!(answer, Appended::Fenced | Appended::Conflict { .. });
                if let (true, LogId::Run(_), Some(run)) =
                    (is_refused && is_undriven(append), log, logs.run_mut(log))
                {
                    run.attempt = run.attempt.saturating_sub(1);
                }
                Ok(answer)
            }
        ),
    ]
}

/// The claim, with other runs excepted.
fn with(claim: &Claim, except: Vec<RunId>) -> Claim {
    Claim { except, ..claim.clone() }
}

/// The excepted runs of which the turn is such a one.
fn of_turn(logs: &Logs, claim: &Claim, is_it: fn(Turn) -> bool) -> Vec<RunId> {
    let turn = |run: &&RunId| logs.turn(&LogId::Run((*run).clone()));
    claim.except.iter().filter(|run| turn(run).is_some_and(is_it)).cloned().collect()
}

fn excepted() -> Vec<Flaw> {
    vec![
        flaw!(
            L6,
            "except_is_not_looked_at",
            "a claim gets the runs that it excepts",
            claim = |logs, claim| logs.claim(&with(claim, Vec::new())),
        ),
        flaw!(
            L6,
            "except_spares_sleepers_alone",
            "an excepted run whose lease ran out is given",
            claim = |logs, claim| {
                let except = of_turn(logs, claim, |turn| matches!(turn, Turn::Waiting(_)));
                logs.claim(&with(claim, except))
            },
        ),
        flaw!(
            L6,
            "except_spares_leases_alone",
            "an excepted run whose time has come is given",
            claim = |logs, claim| {
                let except = of_turn(logs, claim, |turn| matches!(turn, Turn::Leased { .. }));
                logs.claim(&with(claim, except))
            },
        ),
        flaw!(
            L6,
            "except_hides_what_is_ready",
            "an excepted run is not given, though an outsider made it ready: no cancel gets through",
            claim = |logs, claim| {
                let ready: Vec<_> = of_turn(logs, claim, |turn| matches!(turn, Turn::Ready { .. }));
                let hidden: Vec<_> = ready
                    .into_iter()
                    .filter_map(|run| {
                        let log = LogId::Run(run);
                        let turn = std::mem::replace(&mut logs.run_mut(&log)?.turn, Turn::Parked);
                        Some((log, turn))
                    })
                    .collect();
                let leases = logs.claim(claim);
                for (log, turn) in hidden {
                    if let Some(run) = logs.run_mut(&log) {
                        run.turn = turn;
                    }
                }
                leases
            },
        ),
        flaw!(
            L6,
            "except_is_remembered",
            "what one claim excepts is excepted for every later one too",
            claim = |logs, claim| {
                let mut except = claim.except.clone();
                let numbers = &mut logs.notes.numbers;
                numbers.extend(claim.except.iter().map(|run| (format!("except {run}"), 1)));
                let names = numbers.keys().filter_map(|name| name.strip_prefix("except "));
                except.extend(names.filter_map(|name| RunId::new(name).ok()));
                logs.claim(&with(claim, except))
            },
        ),
        flaw!(
            L6,
            "except_by_prefix",
            "a run is passed over if its name begins like one that is excepted",
            claim = |logs, claim| {
                let is_like = |run: &RunId| {
                    let begins = |other: &RunId| run.as_str().starts_with(other.as_str());
                    claim.except.iter().any(begins)
                };
                let except = logs.runs().map(|(run, ..)| run.clone()).filter(is_like).collect();
                logs.claim(&with(claim, except))
            },
        ),
        flaw!(
            L6,
            "except_ignores_case",
            "a run is passed over if its name differs in case alone from one that is excepted",
            claim = |logs, claim| {
                let is_like = |run: &RunId| {
                    let name = run.as_str();
                    claim.except.iter().any(|other| other.as_str().eq_ignore_ascii_case(name))
                };
                let except = logs.runs().map(|(run, ..)| run.clone()).filter(is_like).collect();
                logs.claim(&with(claim, except))
            },
        ),
        flaw!(
            L6,
            "except_of_the_first_16",
            "of the runs that a claim excepts the first 16 are passed over",
            claim = |logs, claim| {
                logs.claim(&with(claim, claim.except.iter().take(16).cloned().collect()))
            },
        ),
        flaw!(
            L6,
            "except_without_a_bound",
            "a claim may except any number of runs",
            check_claim = |_| Ok(()),
        ),
        flaw!(
            L6,
            "except_cut_at_256",
            "of more than 256 runs that a claim excepts the first 256 are passed over",
            check_claim = |_| Ok(()),
            claim = |logs, claim| {
                logs.claim(&with(claim, claim.except.iter().take(256).cloned().collect()))
            },
        ),
        flaw!(
            L6,
            "except_of_255",
            "a claim that excepts 256 runs is refused",
            check_claim = |claim| {
                let more = claim.except.first().cloned();
                let except = claim.except.iter().cloned().chain(more).collect();
                with(claim, except).check()
            },
        ),
    ]
}

/// Claims as if nothing were excepted, looks at so many of the due runs, and drops the excepted.
fn dropped_after(logs: &mut Logs, claim: &Claim, looked_at: usize) -> Vec<world_core::Lease> {
    let old = logs.heads.clone();
    let limit = u32::try_from(looked_at).ok().and_then(std::num::NonZeroU32::new);
    let limit = limit.unwrap_or(claim.limit);
    let is_ready = of_turn(logs, claim, |turn| matches!(turn, Turn::Ready { .. }));
    let seen = logs.claim(&Claim { limit, except: Vec::new(), ..claim.clone() });
    logs.heads = old;
    let is_kept = |run: &RunId| !claim.except.contains(run) || is_ready.contains(run);
    let kept = seen.into_iter().map(|lease| lease.run).filter(is_kept);
    let kept: Vec<_> = kept.take(claim.limit.get() as usize).collect();
    kept.iter().filter_map(|run| logs.lease(run, claim)).collect()
}

fn in_the_way() -> Vec<Flaw> {
    vec![
        flaw!(
            L6,
            "excepted_runs_take_the_limit",
            "the limit is taken of what is due, and then the excepted are dropped",
            claim = |logs, claim| dropped_after(logs, claim, claim.limit.get() as usize),
        ),
        flaw!(
            L6,
            "excepted_runs_fill_the_page",
            "the first 100 due runs are looked at, and then the excepted are dropped",
            claim = |logs, claim| dropped_after(logs, claim, 100),
        ),
        flaw!(
            L6,
            "nothing_beside_an_excepted_run",
            "a claim gives nothing while a run that it excepts is due",
            claim = |logs, claim| {
                let all = logs.all_due(claim);
                if all.iter().any(|run| claim.except.contains(run)) {
                    return Vec::new();
                }
                logs.claim(claim)
            },
        ),
        flaw!(
            L6,
            "excepted_runs_give_up_their_turn",
            "while an excepted run is timed and due, no timed run of its queue is given",
            claim = |logs, claim| {
                let timed = of_turn(logs, claim, |turn| !matches!(turn, Turn::Ready { .. }));
                let is_due = logs.all_due(claim).iter().any(|run| timed.contains(run));
                if is_due {
                    logs.claim_by(
                        claim,
                        |logs, run| {
                            let turn = logs.turn(&LogId::Run(run.clone()));
                            matches!(turn, Some(Turn::Ready { .. }))
                        },
                        Logs::next,
                    )
                } else {
                    logs.claim(claim)
                }
            },
        ),
        flaw!(
            L6,
            "excepted_runs_are_pushed_back",
            "an excepted run is due a second later than it was",
            claim = |logs, claim| {
                for run in claim.except.clone() {
                    if let Some(run) = logs.run_mut(&LogId::Run(run))
                        && let Turn::Waiting(time) = &mut run.turn
                    {
                        *time = world_core::Timestamp::from_millis(claim.now.as_millis() + 1000);
                    }
                }
                logs.claim(claim)
            },
        ),
    ]
}
