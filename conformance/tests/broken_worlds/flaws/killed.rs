//! Worlds that keep everything as long as they are closed, and lose something when they are
//! killed.

use std::sync::Arc;

use world_core::{
    LogId, Sealed, Timestamp,
    head::{Head, Turn},
};

use crate::{
    flaw::Flaw,
    journal::Change,
    on_file::{Act, CAREFUL, Habits},
};

/// A flaw with which one habit is a bad one.
macro_rules! killed {
    ($rule:ident, $name:literal, $what:literal $(, $habit:ident = $bad:expr)+ $(,)?) => {
        Flaw::on_file(
            conformance::Rule::$rule,
            $name,
            $what,
            Habits { $($habit: $bad,)+ ..CAREFUL },
        )
    };
}

/// The change, with something else of the run.
fn with_run(mut change: Change, set: impl FnOnce(&mut world_core::head::Run)) -> Option<Change> {
    if let Some(run) = &mut change.head.run {
        set(run);
    }
    Some(change)
}

fn run_before(before: Option<&Head>) -> Option<&world_core::head::Run> {
    before?.run.as_ref()
}

fn is_leased(turn: Turn) -> bool {
    matches!(turn, Turn::Leased { .. })
}

/// Whether a lease is given back without a record.
fn is_rest(act: Act, before: Option<&Head>, change: &Change) -> bool {
    let was_leased = run_before(before).is_some_and(|run| is_leased(run.turn));
    let is_leased = change.head.turn().is_some_and(is_leased);
    act == Act::Append && change.records.is_empty() && was_leased && !is_leased
}

pub(crate) fn flaws() -> Vec<Flaw> {
    [late(), waiting(), in_part(), forgotten(), torn()].into_iter().flatten().collect()
}

fn late() -> Vec<Flaw> {
    vec![
        killed!(
            R1,
            "acknowledges_before_it_writes",
            "the last three entries of the journal wait in a buffer: a kill loses them",
            buffered = 3,
        ),
        killed!(
            R1,
            "writes_batches_of_64",
            "an append is acknowledged when it is in a buffer that is written from 64 entries on",
            buffered = 64,
        ),
        killed!(
            R1,
            "streams_when_closed",
            "chunks are written when the World is closed: a kill loses them",
            writes = |_, _, change| (!matches!(change.log, LogId::Stream(..))).then_some(change),
        ),
        killed!(
            R1,
            "tokens_when_closed",
            "the claims of tokens are written when the World is closed",
            writes = |act, _, change| {
                let is_claim = act == Act::Append && matches!(change.log, LogId::Token(_));
                (!is_claim).then_some(change)
            },
        ),
        killed!(
            R1,
            "signals_when_closed",
            "what wakes a run is written when the World is closed",
            writes = |_, before, change| {
                let was_parked = run_before(before).is_some_and(|run| run.turn == Turn::Parked);
                (!was_parked).then_some(change)
            },
        ),
    ]
}

/// Each is lost only if it is the very last change before the kill.
fn waiting() -> Vec<Flaw> {
    vec![
        killed!(
            R1,
            "creations_with_the_next_write",
            "a new run is written along with the next other change: a kill in between loses it",
            waits = |_, before, change| before.is_none() && matches!(change.log, LogId::Run(_)),
        ),
        killed!(
            R1,
            "long_appends_with_the_next_write",
            "an append of more than 8 records is written along with the next other change",
            waits = |_, _, change| change.records.len() > 8,
        ),
        killed!(
            R1,
            "streams_with_the_next_write",
            "chunks are written along with the next other change",
            waits = |_, _, change| matches!(change.log, LogId::Stream(..)),
        ),
        killed!(
            R1,
            "tokens_with_the_next_write",
            "the claims of tokens are written along with the next other change",
            waits =
                |act, _, change| { act == Act::Append && matches!(change.log, LogId::Token(_)) },
        ),
        killed!(
            R1,
            "ends_with_the_next_write",
            "an end is written along with the next other change",
            waits = |act, _, change| {
                act == Act::Append && change.head.run.as_ref().is_some_and(|run| run.closed)
            },
        ),
        killed!(
            A4,
            "tags_with_the_next_write",
            "tags without records are written along with the next other change",
            waits = |act, before, change| {
                let tags = |run: &world_core::head::Run| run.new.tags.clone();
                let is_changed = run_before(before).map(tags) != change.head.run.as_ref().map(tags);
                act == Act::Append && change.records.is_empty() && is_changed
            },
        ),
        killed!(
            L1,
            "claims_with_the_next_write",
            "a claim is written along with the next other change",
            waits = |act, _, _| act == Act::Claim,
        ),
        killed!(
            L1,
            "renewals_with_the_next_write",
            "a renewal is written along with the next other change",
            waits = |act, _, _| act == Act::Renewal,
        ),
        killed!(
            L3,
            "rests_with_the_next_write",
            "a rest without records is written along with the next other change",
            waits = |act, before, change| is_rest(act, before, change),
        ),
        killed!(
            D2,
            "deletions_with_the_next_write",
            "the deletion of a run is written along with the next other change",
            waits =
                |act, _, change| { act == Act::Deletion && matches!(change.log, LogId::Run(_)) },
        ),
        killed!(
            D2,
            "token_deletions_with_the_next_write",
            "the deletion of a token's log is written along with the next other change",
            waits =
                |act, _, change| { act == Act::Deletion && matches!(change.log, LogId::Token(_)) },
        ),
    ]
}

fn in_part() -> Vec<Flaw> {
    vec![
        killed!(
            A1,
            "half_a_batch_after_a_kill",
            "a batch is two entries, of which the second is written later",
            writes = |_, _, mut change| {
                change.records.truncate(change.records.len().div_ceil(2));
                if let Some(last) = change.records.last() {
                    change.head.head = last.position;
                }
                Some(change)
            },
        ),
        killed!(
            A4,
            "forgets_tags_after_a_kill",
            "the tags that an owner sets are not in the entry of its append",
            writes = |_, before, change| {
                let before = run_before(before).map(|run| run.new.tags.clone());
                with_run(change, |run| {
                    if let Some(tags) = before {
                        Arc::make_mut(&mut run.new).tags = tags;
                    }
                })
            },
        ),
        killed!(
            A4,
            "forgets_an_end_after_a_kill",
            "the record of an end is written at once, and that it closes the run later",
            writes = |_, _, change| with_run(change, |run| run.closed = false),
        ),
        killed!(
            A4,
            "forgets_a_sleep_after_a_kill",
            "the records of an append are written at once, and its rest later",
            writes = |_, before, change| {
                let turn = run_before(before).map(|run| run.turn);
                let was_leased = turn.filter(|turn| is_leased(*turn));
                let is_append = !change.records.is_empty();
                with_run(change, |run| {
                    if let Some(leased) = was_leased.filter(|_| is_append) {
                        run.turn = leased;
                    }
                })
            },
        ),
        killed!(
            L4,
            "forgets_to_wake_after_a_kill",
            "a signal is written at once, and that the run is due later",
            writes = |_, before, change| {
                let was_parked = run_before(before).is_some_and(|run| run.turn == Turn::Parked);
                with_run(change, |run| {
                    if was_parked {
                        run.turn = Turn::Parked;
                    }
                })
            },
        ),
    ]
}

fn forgotten() -> Vec<Flaw> {
    vec![
        killed!(
            L1,
            "claims_are_not_journalled",
            "a claim is acknowledged and not written: a kill ends its leases",
            writes = |act, _, change| (act != Act::Claim).then_some(change),
        ),
        killed!(
            L1,
            "renewals_are_not_journalled",
            "a renewal is acknowledged and not written: a kill sets the lease's old time",
            writes = |act, _, change| (act != Act::Renewal).then_some(change),
        ),
        killed!(
            L1,
            "a_kill_ends_leases",
            "the leases are not in the journal: a kill ends them",
            after_a_kill = |logs| {
                for head in logs.heads.values_mut() {
                    if let Some(run) = &mut head.run
                        && let Turn::Leased { ticket, .. } = run.turn
                    {
                        run.turn = Turn::Leased { ticket, until: Timestamp::ZERO };
                    }
                }
            },
        ),
        killed!(
            L3,
            "rests_are_not_journalled",
            "a rest without records is acknowledged and not written: after a kill it is leased",
            writes = |act, before, change| (!is_rest(act, before, &change)).then_some(change),
        ),
        killed!(
            L5,
            "attempts_are_not_journalled",
            "a kill sets the claims to 0: who kills its worker is always at its first attempt",
            after_a_kill = |logs| {
                for head in logs.heads.values_mut() {
                    head.run.iter_mut().for_each(|run| run.attempt = 0);
                }
            },
        ),
        killed!(
            L5,
            "progress_is_not_journalled",
            "the records of an owner are written, and not that its run has progressed",
            writes = |act, before, change| {
                let attempt = run_before(before).map(|run| run.attempt);
                with_run(change, |run| {
                    if let Some(attempt) = attempt.filter(|_| act == Act::Append) {
                        run.attempt = attempt;
                    }
                })
            },
        ),
        killed!(
            D2,
            "deletions_are_not_journalled",
            "a deletion is acknowledged and not written: after a kill the run is there again",
            writes = |act, _, change| (act != Act::Deletion).then_some(change),
        ),
        killed!(
            D2,
            "token_deletions_are_not_journalled",
            "the deletion of a token's log is not written: after a kill it is there again",
            writes = |act, _, change| {
                let is_token = matches!(change.log, LogId::Token(_));
                (!(is_token && act == Act::Deletion)).then_some(change)
            },
        ),
        killed!(
            D2,
            "a_kill_loses_tombstones",
            "the tombstones are not in the journal: a kill makes the ids free again",
            after_a_kill = |logs| logs.heads.retain(|_, head| !head.deleted),
        ),
    ]
}

fn torn() -> Vec<Flaw> {
    vec![
        killed!(
            R1,
            "a_torn_end_is_no_journal",
            "a journal whose last entry is torn is taken for none",
            torn = |_| Vec::new(),
        ),
        killed!(
            R1,
            "a_torn_end_takes_others_along",
            "where the last entry is torn, the three before it are cut off too",
            torn = |mut entries| {
                entries.truncate(entries.len().saturating_sub(3));
                entries
            },
        ),
        killed!(
            R1,
            "writes_behind_a_torn_end",
            "the torn entry is not cut off: what is written behind it is never read",
            cuts_off = false,
        ),
        killed!(
            R2,
            "a_torn_end_is_a_record",
            "a torn entry is taken for the last record once more, without its body",
            torn = |mut entries| {
                let last = entries.iter().rev().flatten().find(|change| !change.records.is_empty());
                if let Some(mut change) = last.cloned() {
                    let body = Sealed::from_stored(Vec::new());
                    change.records.last_mut().into_iter().for_each(|last| last.body = body.clone());
                    entries.push(vec![change]);
                }
                entries
            },
        ),
    ]
}
