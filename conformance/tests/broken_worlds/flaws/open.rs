//! Changes that fall apart, and records where none are taken: rules A4 and A5.

use tokio::task::yield_now;
use world_core::{
    Appended, By, Due, LogId, Position, Release, Renewed,
    head::{Head, Ruling, Run, Turn},
};

use crate::{
    flaw::{Flaw, flaw, run_of},
    logs::{Logs, Wanted},
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [in_one_write(), closed(), absent()].into_iter().flatten().collect()
}

/// A flaw that first writes the records, as `first` changes the run, and then the rest.
macro_rules! in_two_writes {
    ($name:literal, $what:literal, $first:expr) => {
        flaw!(
            A4,
            $name,
            $what,
            append_in_steps = |base, log, append| {
                Box::pin(async move {
                    let old = base.logs().run_mut(log).map(|run| run.clone());
                    let ruling = base.logs().rule(log, append)?;
                    let Ruling::Write(head) = ruling else {
                        return base.logs().append(log, append);
                    };
                    if let (LogId::Run(_), Some(run)) = (log, &head.run) {
                        let first: fn(&mut Run, Option<Run>) = $first;
                        let mut run = run.clone();
                        first(&mut run, old);
                        let half = Head { run: Some(run), ..head.clone() };
                        base.logs().write(log, half, &append.records);
                        yield_now().await;
                    }
                    Ok(base.logs().write(log, head, &append.records))
                })
            },
        )
    };
}

fn in_one_write() -> Vec<Flaw> {
    vec![
        in_two_writes!(
            "wakes_later",
            "a signal is in the log before the run is woken: a caller that goes away leaves it asleep",
            |run, old| {
                if let (Some(old), Turn::Ready { .. }) = (old, run.turn) {
                    run.turn = old.turn;
                }
            }
        ),
        in_two_writes!(
            "closes_later",
            "the last record is in the log before the run is closed",
            |run, _| run.closed = false
        ),
        in_two_writes!(
            "rests_later",
            "the records are in the log before the lease is given back",
            |run, old| {
                if let (Some(old), Turn::Waiting(_) | Turn::Parked) = (old, run.turn) {
                    run.turn = old.turn;
                }
            }
        ),
        in_two_writes!(
            "queued_later",
            "a new run is in the log before it is in the queue",
            |run, old| {
                if old.is_none() {
                    run.turn = Turn::Parked;
                }
            }
        ),
        flaw!(
            A4,
            "rest_without_its_time",
            "an append with records and a rest parks the run, whatever time the rest names",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (
                    By::Owner { rest: Some(Release { due: Due::At(_), .. }), .. },
                    Appended::Committed { .. },
                    Some(run),
                ) = (&append.by, answer, logs.run_mut(log))
                    && let Turn::Waiting(_) = run.turn
                    && !append.records.is_empty()
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A4,
            "close_forgets_the_rest",
            "an append that closes and rests keeps the lease",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Owner { close: true, rest, .. } = &mut changed.by {
                    *rest = None;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            A4,
            "close_drops_the_lease",
            "closing a run ends its lease, so that nobody pays its debts",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (
                    By::Owner { close: true, rest: None, .. },
                    Appended::Committed { .. },
                    Some(run),
                ) = (&append.by, answer, logs.run_mut(log))
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A4,
            "tags_forgotten",
            "an owner's append with records leaves the tags as they were",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let (By::Owner { tags, .. }, false) =
                    (&mut changed.by, append.records.is_empty())
                {
                    *tags = None;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            A4,
            "tags_forgotten_at_the_end",
            "an append that closes or rests leaves the tags as they were",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Owner { close, rest, tags, .. } = &mut changed.by
                    && (*close || rest.is_some())
                {
                    *tags = None;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            A4,
            "tags_never_cleared",
            "no tags at all are taken for no change of the tags",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Owner { tags, .. } = &mut changed.by
                    && tags.as_ref().is_some_and(Vec::is_empty)
                    && (!append.records.is_empty())
                {
                    *tags = None;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            A4,
            "creators_due_forgotten",
            "a new run is due at once, whatever its creator says",
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Creator(new) = &mut changed.by {
                    new.due = Due::Now;
                }
                logs.append(log, &changed)
            },
        ),
    ]
}

fn closed() -> Vec<Flaw> {
    vec![
        flaw!(
            A5,
            "closed_takes_signals",
            "a closed run takes an outsider's records",
            append = |logs, log, append| {
                let was_closed = logs.is_closed(log);
                if let (LogId::Run(_), By::Outsider, Some(run)) =
                    (log, &append.by, logs.run_mut(log))
                {
                    run.closed = false;
                    let answer = logs.append(log, append);
                    logs.run_mut(log).into_iter().for_each(|run| run.closed = was_closed);
                    return answer;
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A5,
            "closed_takes_its_owner",
            "a closed run takes its owner's records",
            append = |logs, log, append| {
                let was_closed = logs.is_closed(log);
                if let (LogId::Run(_), By::Owner { .. }, Some(run)) =
                    (log, &append.by, logs.run_mut(log))
                {
                    run.closed = false;
                    let answer = logs.append(log, append);
                    logs.run_mut(log).into_iter().for_each(|run| run.closed |= was_closed);
                    return answer;
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A5,
            "streams_of_closed_runs",
            "a stream takes chunks after its run was closed",
            append = |logs, log, append| {
                let was_closed = logs.is_closed(log);
                if let (LogId::Stream(..), Some(run)) = (log, logs.run_mut(log)) {
                    run.closed = false;
                }
                let answer = logs.append(log, append);
                if let (LogId::Stream(..), Some(run)) = (log, logs.run_mut(log)) {
                    run.closed = was_closed;
                }
                answer
            },
        ),
        flaw!(
            A5,
            "closed_cannot_rest",
            "a closed run refuses a rest, so its lease cannot be given back",
            append = |logs, log, append| {
                if logs.is_closed(log) && append.records.is_empty() {
                    return Ok(Appended::NotOpen);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A5,
            "closed_cannot_be_claimed",
            "a closed run is nobody's: its debts are never paid",
            claim = |logs, claim| {
                let is_wanted: Wanted = |logs, run| !logs.is_closed(&LogId::Run(run.clone()));
                logs.claim_by(claim, is_wanted, Logs::next)
            },
        ),
        flaw!(
            A5,
            "closed_cannot_be_renewed",
            "the lease of a closed run cannot be renewed",
            renew = |logs, lease, until| {
                if logs.is_closed(&LogId::Run(lease.run.clone())) {
                    return Ok(Renewed::Lost);
                }
                logs.renew(lease, until)
            },
        ),
        flaw!(
            A5,
            "closed_is_unreadable",
            "a closed run reads as if it were empty",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if logs.is_closed(log) {
                    page.records.clear();
                }
                page
            },
        ),
        flaw!(
            A5,
            "lease_says_open",
            "the lease of a closed run says that it is open",
            claim = |logs, claim| {
                let mut leases = logs.claim(claim);
                leases.iter_mut().for_each(|lease| lease.closed = false);
                leases
            },
        ),
    ]
}

fn absent() -> Vec<Flaw> {
    vec![
        flaw!(
            A5,
            "signals_make_runs",
            "an outsider's append to an absent run makes a log",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::NotOpen, LogId::Run(_), None) = (answer, log, logs.head_mut(log))
                {
                    let (head, base) = (append.head_after(), Position::START);
                    let head = Head { head, base, deleted: false, run: None };
                    return Ok(logs.write(log, head, &append.records));
                }
                Ok(answer)
            },
        ),
        flaw!(
            A5,
            "streams_without_a_run",
            "a stream takes chunks though there is no run",
            append = |logs, log, append| {
                if let (LogId::Stream(..), None) = (log, logs.head_mut(&run_of(log))) {
                    let (head, base) = (append.head_after(), Position::START);
                    let head = Head { head, base, deleted: false, run: None };
                    return Ok(logs.write(log, head, &append.records));
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A5,
            "absent_is_fenced",
            "an owner of a run that is not there is told that it was replaced",
            append = |logs, log, append| {
                if let (By::Owner { .. }, None) = (&append.by, logs.head_mut(&run_of(log))) {
                    return Ok(Appended::Fenced);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A5,
            "absent_conflicts",
            "an absent run answers with a conflict at 0",
            append = |logs, log, append| {
                if let (LogId::Run(_), By::Outsider, None) = (log, &append.by, logs.head_mut(log)) {
                    return Ok(Appended::Conflict { head: Position::START });
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A5,
            "closing_reopens",
            "a closed run is opened again by its next lease",
            claim = |logs, claim| {
                let leases = logs.claim(claim);
                for lease in &leases {
                    let log = LogId::Run(lease.run.clone());
                    logs.run_mut(&log).into_iter().for_each(|run| run.closed = false);
                }
                leases
            },
        ),
        flaw!(
            A5,
            "rest_reopens",
            "a closed run is opened again by its owner's rest",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (LogId::Run(_), true, Some(run)) =
                    (log, append.records.is_empty(), logs.run_mut(log))
                {
                    run.closed = false;
                }
                Ok(answer)
            },
        ),
    ]
}
