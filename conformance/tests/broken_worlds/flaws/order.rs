//! Due runs that are given out of their turn, so that others starve: rule L2.

use world_core::{By, LogId, RunId, head::Turn};

use crate::{
    flaw::{Flaw, flaw},
    logs::{self, Logs, Wanted},
};

/// The oldest of one kind; with none, of the other.
fn first_of(logs: &mut Logs, due: &logs::Due<'_>, is_timed: bool) -> Option<RunId> {
    let place = logs.oldest(due, is_timed).or_else(|| logs.oldest(due, !is_timed))?;
    Some(place.run)
}

/// Every due run is wanted.
const ALL: Wanted = |_, _| true;

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        flaw!(
            L2,
            "newest_first",
            "the newest run is taken first, and old ones starve",
            claim = |logs, claim| {
                logs.claim_by(claim, ALL, |logs, due| {
                    let (ready, timed) = (logs.newest(due, false), logs.newest(due, true));
                    logs.in_turn(ready, timed)
                })
            },
        ),
        flaw!(
            L2,
            "newest_ready_first",
            "of the ready runs the newest is taken first",
            claim = |logs, claim| {
                logs.claim_by(claim, ALL, |logs, due| {
                    let (ready, timed) = (logs.newest(due, false), logs.oldest(due, true));
                    logs.in_turn(ready, timed)
                })
            },
        ),
        flaw!(
            L2,
            "newest_timed_first",
            "of the timed runs the one whose time came last is taken first",
            claim = |logs, claim| {
                logs.claim_by(claim, ALL, |logs, due| {
                    let (ready, timed) = (logs.oldest(due, false), logs.newest(due, true));
                    logs.in_turn(ready, timed)
                })
            },
        ),
        flaw!(
            L2,
            "by_name",
            "runs are taken by their names, whatever their age",
            claim = |logs, claim| {
                let due = logs.all_due(claim).into_iter().take(claim.limit.get() as usize);
                due.filter_map(|run| logs.lease(&run, claim)).collect()
            },
        ),
        flaw!(
            L2,
            "ready_starves_timed",
            "a timed run is taken only when none is ready",
            claim =
                |logs, claim| { logs.claim_by(claim, ALL, |logs, due| first_of(logs, due, false)) },
        ),
        flaw!(
            L2,
            "timed_starves_ready",
            "a ready run is taken only when no timed one is due",
            claim =
                |logs, claim| { logs.claim_by(claim, ALL, |logs, due| first_of(logs, due, true)) },
        ),
        flaw!(
            L2,
            "one_turn_for_all",
            "one flag says whose turn it is for all queues: of two workers each sees one kind",
            claim = |logs, claim| {
                let flip = logs.notes.numbers.entry("turn".to_owned()).or_default();
                *flip += 1;
                if *flip % 2 == 0 {
                    logs.claim_by(claim, ALL, |logs, due| first_of(logs, due, true))
                } else {
                    logs.claim_by(claim, ALL, |logs, due| first_of(logs, due, false))
                }
            },
        ),
        flaw!(
            L2,
            "signals_push_back",
            "a ready run that is signalled again goes to the back",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (By::Outsider, LogId::Run(_), Some(run)) =
                    (&append.by, log, logs.run_mut(log))
                    && let Turn::Ready { since } = &mut run.turn
                {
                    *since = append.at;
                }
                Ok(answer)
            },
        ),
        flaw!(
            L2,
            "first_queue_first",
            "the second queue of a claim is looked at only when the first has nothing",
            claim = |logs, claim| {
                let mut leases = Vec::new();
                for queue in &claim.queues {
                    if leases.is_empty() {
                        let one =
                            world_core::Claim { queues: vec![queue.clone()], ..claim.clone() };
                        leases = logs.claim(&one);
                    }
                }
                leases
            },
        ),
    ]
}
