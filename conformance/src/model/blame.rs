//! Which rule an answer breaks that the contract does not allow.
//!
//! The answer to an append says which of the contract's questions was answered wrongly: the same
//! bytes (A6), open (A5), ticket (L3), head (A2). What a run's lease or due time shows instead may
//! be the doing of the operation before: in a history that was made as short as still fails, that
//! operation is there because it did something that it must not.

use std::collections::BTreeSet;

use world_core::{
    Append, Appended, By, Claim, Deleted, ErrorKind, Lease, LogId, Page, Phase, Position, Record,
    Renewed, RunMeta,
    head::{Head, Turn},
};

use crate::rule::Rule;

use super::{
    op::{Answer, Op},
    spec::State,
};

/// An operation with its answer, as it was before the one that failed.
pub(crate) type Before<'a> = Option<(&'a Op, &'a Answer)>;

/// What is wrong with an answer whatever a World keeps: the rule, and what was seen.
pub(crate) fn always_wrong(op: &Op, answer: &Answer) -> Option<(Rule, String)> {
    match (op, answer) {
        (Op::Claim(claim), Answer::Leases(leases)) => {
            let limit = claim.limit;
            if leases.len() > limit.get() as usize {
                return Some((
                    Rule::L2,
                    format!("{} leases, where {limit} are the most", leases.len()),
                ));
            }
            let mut runs = BTreeSet::new();
            let twice = leases.iter().find(|lease| !runs.insert(&lease.run))?;
            Some((Rule::L1, format!("one claim gives run {} twice", twice.run)))
        }
        (Op::List(_), Answer::Runs(listed)) => {
            let mut runs = BTreeSet::new();
            let twice = listed.iter().find(|meta| !runs.insert(&meta.run))?;
            Some((Rule::R4, format!("the listing shows run {} twice", twice.run)))
        }
        _ => None,
    }
}

/// The rule that an answer breaks which [`State::step`] does not allow.
pub(crate) fn broken_rule(state: &State, op: &Op, seen: &Answer, before: Before<'_>) -> Rule {
    let wanted = state.wanted(op).answer;
    match (op, &wanted, seen) {
        (Op::Append(log, append), Answer::Appended(wanted), Answer::Appended(seen)) => {
            of_append(state, (log, append), *wanted, *seen, before)
        }
        (Op::Append(..), Answer::Refused(ErrorKind::TooLarge), _)
        | (Op::Append(..), _, Answer::Refused(ErrorKind::TooLarge)) => Rule::B1,
        (Op::Append(..), ..) => Rule::T1,
        (Op::Read(log, after, limit), Answer::Page(wanted), Answer::Page(seen)) => {
            of_page(state, log, (*after, limit.get() as usize), (wanted, seen), before)
        }
        (Op::Read(..), ..) => Rule::R1,
        (Op::Take(run, claim), Answer::Taken(wanted), Answer::Taken(Some(seen))) => {
            let head = state.head(&LogId::Run(run.clone()));
            of_lease(head, claim, wanted.as_ref(), seen, before)
        }
        (Op::Take(..) | Op::Claim(_), ..) => Rule::L1,
        (Op::Renew(lease, _), Answer::Renewed(wanted), Answer::Renewed(seen)) => {
            let head = state.head(&LogId::Run(lease.run.clone()));
            match (wanted, seen) {
                (Renewed::Held { .. }, Renewed::Held { head }) => of_head(before, *head, Rule::R1),
                _ if head.is_some_and(|head| head.deleted) => Rule::D1,
                _ => of_turn(before, Rule::L3),
            }
        }
        (Op::Renew(..), ..) => Rule::L3,
        (Op::Look(run, _), Answer::Seen(wanted), Answer::Seen(seen)) => {
            let head = state.head(&LogId::Run(run.clone()));
            of_meta(head, wanted.as_ref(), seen.as_ref(), before)
        }
        (Op::Look(..) | Op::List(_), ..) => Rule::R4,
        (Op::Delete(..), Answer::Deleted(Deleted::Done), Answer::Deleted(Deleted::Absent)) => {
            let log = op.log();
            let is_repeated = log.and_then(|log| state.head(&log)).is_some_and(|head| head.deleted);
            if is_repeated { Rule::D2 } else { Rule::D1 }
        }
        (Op::Delete(..), ..) => Rule::D1,
    }
}

/// The rule of the operation before, if its answer was that it changes nothing: in a history that
/// is as short as can be, it did.
fn of_change(before: Before<'_>, otherwise: Rule) -> Rule {
    match before {
        Some((Op::Append(..), Answer::Appended(Appended::Conflict { .. }))) => Rule::A2,
        Some((Op::Append(..), Answer::Appended(Appended::Fenced))) => Rule::L3,
        Some((Op::Append(..), Answer::Appended(Appended::NotOpen))) => Rule::A5,
        Some((Op::Append(..), Answer::Refused(ErrorKind::TooLarge))) => Rule::B1,
        Some((Op::Append(..), Answer::Refused(_))) => Rule::T1,
        Some((Op::Renew(..), Answer::Renewed(Renewed::Lost))) => Rule::L3,
        Some((Op::Delete(..), Answer::Deleted(Deleted::Open | Deleted::Absent))) => Rule::D1,
        _ => otherwise,
    }
}

/// The rule that is broken when a head is another than it should be.
fn of_head(before: Before<'_>, seen: Position, otherwise: Rule) -> Rule {
    match before {
        Some((Op::Append(_, append), Answer::Appended(Appended::Committed { .. })))
            if append.expected < seen && seen < append.head_after() =>
        {
            Rule::A1
        }
        _ => of_change(before, otherwise),
    }
}

/// The rule that is broken when a run's lease or due time is not what it should be.
fn of_turn(before: Before<'_>, otherwise: Rule) -> Rule {
    match before {
        _ if is_from_outside(before) => Rule::L4,
        Some((Op::Append(_, Append { by: By::Owner { rest, close, .. }, .. }), answer))
            if !answer.changes_nothing() && (rest.is_some() || *close) =>
        {
            Rule::A4
        }
        _ => of_change(before, otherwise),
    }
}

fn is_from_outside(before: Before<'_>) -> bool {
    matches!(
        before,
        Some((
            Op::Append(LogId::Run(_), Append { by: By::Outsider, .. }),
            Answer::Appended(Appended::Committed { .. }),
        ))
    )
}

fn of_append(
    state: &State,
    (log, append): (&LogId, &Append),
    wanted: Appended,
    seen: Appended,
    before: Before<'_>,
) -> Rule {
    let owner = log.run().and_then(|run| state.head(&LogId::Run(run.clone())));
    if owner.is_some_and(|owner| owner.deleted) {
        return Rule::D2;
    }
    let base = state.head(log).map_or(Position::START, |head| head.base);
    let is_below_base = append.expected < base;
    let is_resend = matches!(wanted, Appended::Committed { .. })
        && state.wanted(&Op::Append(log.clone(), append.clone())).after.is_none();
    match (wanted, seen) {
        (_, Appended::Conflict { head }) if head < base => Rule::D2,
        (_, Appended::Committed { .. }) if is_below_base => Rule::D2,
        _ if is_resend => Rule::A6,
        (Appended::NotOpen, _) | (_, Appended::NotOpen) => Rule::A5,
        (Appended::Fenced, _) | (_, Appended::Fenced) => of_turn(before, Rule::L3),
        (Appended::Committed { .. }, Appended::Committed { .. }) => Rule::A3,
        (Appended::Conflict { .. }, Appended::Committed { head }) => {
            of_commit_elsewhere(state, log, append, head)
        }
        (_, Appended::Conflict { head }) => of_head(before, head, Rule::A2),
    }
}

/// A World that commits where it should conflict has appended at a head that is not the stated
/// one, or takes the append for one that is there already.
fn of_commit_elsewhere(state: &State, log: &LogId, append: &Append, seen: Position) -> Rule {
    let is_alike = |record: &&Record| state.record(log, record.position) == Some(*record);
    let resembles = append.records.first().filter(is_alike).is_some()
        || append.records.last().filter(is_alike).is_some()
        || state.record(log, append.expected.next()).is_some_and(|kept| {
            append.records.first().is_some_and(|record| record.body == kept.body)
        });
    let head = state.head(log).map_or(Position::START, |head| head.head);
    let is_taken_for_old =
        !append.records.is_empty() && seen == head && (append.head_after() != head || resembles);
    if is_taken_for_old { Rule::A6 } else { Rule::A2 }
}

fn of_page(
    state: &State,
    log: &LogId,
    (after, limit): (Position, usize),
    (wanted, seen): (&Page, &Page),
    before: Before<'_>,
) -> Rule {
    let owner = log.run().and_then(|run| state.head(&LogId::Run(run.clone())));
    let base = state.head(log).map_or(Position::START, |head| head.base);
    let is_gone = |record: &Record| record.position <= base;
    if owner.is_some_and(|owner| owner.deleted) || seen.records.iter().any(is_gone) {
        return Rule::D1;
    }
    let follows = after.max(base).get() + 1;
    let is_dense = (follows..).zip(&seen.records).all(|(n, record)| record.position.get() == n);
    let is_too_long = seen.records.len() > limit;
    if !is_dense || is_too_long {
        return Rule::R3;
    }
    if seen.records.iter().zip(&wanted.records).any(|(seen, wanted)| seen != wanted) {
        return Rule::R2;
    }
    if seen.head < wanted.head {
        return match before {
            Some((Op::Delete(of, _), _)) if of == log => Rule::D2,
            _ => of_head(before, seen.head, Rule::R1),
        };
    }
    if seen.head > wanted.head {
        return match before {
            // Committed without a write: the same bytes were there.
            Some((Op::Append(..), Answer::Appended(Appended::Committed { .. }))) => Rule::A6,
            _ => of_change(before, Rule::A3),
        };
    }
    Rule::R3
}

fn of_lease(
    head: Option<&Head>,
    claim: &Claim,
    wanted: Option<&Lease>,
    seen: &Lease,
    before: Before<'_>,
) -> Rule {
    let Some(wanted) = wanted else {
        let run = head.and_then(|head| head.run.as_ref());
        return match run.map(|run| (run.turn, &run.new.queue)) {
            None if head.is_some_and(|head| head.deleted) => Rule::D1,
            Some((turn @ Turn::Leased { .. }, _)) if !turn.is_due(claim.now) => {
                of_turn(before, Rule::L1)
            }
            Some((_, queue)) if !claim.queues.contains(queue) => Rule::L2,
            Some((turn, _)) if turn.is_due(claim.now) && claim.except.contains(&seen.run) => {
                of_turn(before, Rule::L6)
            }
            Some((Turn::Leased { .. } | Turn::Waiting(_) | Turn::Parked, _)) => {
                of_turn(before, Rule::L2)
            }
            Some((Turn::Ready { .. }, _)) | None => Rule::L2,
        };
    };
    let (ticket, until) = (wanted.ticket == seen.ticket, wanted.until == seen.until);
    match () {
        () if !ticket || !until || wanted.run != seen.run => Rule::L1,
        () if wanted.attempt != seen.attempt && is_from_outside(before) => Rule::L4,
        () if wanted.attempt != seen.attempt => of_change(before, Rule::L5),
        () if wanted.closed != seen.closed => Rule::A4,
        () => of_head(before, seen.head, Rule::R1),
    }
}

fn of_meta(
    head: Option<&Head>,
    wanted: Option<&RunMeta>,
    seen: Option<&RunMeta>,
    before: Before<'_>,
) -> Rule {
    let (Some(wanted), Some(seen)) = (wanted, seen) else {
        let is_hidden = head.is_none_or(|head| head.deleted);
        return match seen {
            Some(_) if is_hidden => of_change(before, Rule::D1),
            _ => of_turn(before, Rule::R4),
        };
    };
    let is_closed = |meta: &RunMeta| meta.phase == Phase::Closed;
    match () {
        () if wanted.head != seen.head => of_head(before, seen.head, Rule::R1),
        () if wanted.last != seen.last => of_change(before, Rule::R1),
        () if is_closed(wanted) != is_closed(seen) => of_change(before, Rule::A4),
        () if wanted.phase != seen.phase => of_turn(before, Rule::A4),
        () if wanted.tags != seen.tags => of_change(before, Rule::A4),
        () => Rule::R4,
    }
}
