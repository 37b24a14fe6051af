//! Appends that land elsewhere than at their head, or change something when they do not: rule A2.

use tokio::task::yield_now;
use world_core::{
    Appended, By, LogId, Position, Timestamp,
    head::{Head, Ruling, Turn},
};

use crate::flaw::{Flaw, flaw};

pub(crate) fn flaws() -> Vec<Flaw> {
    [at_the_head(), nothing_changes()].into_iter().flatten().collect()
}

fn at_the_head() -> Vec<Flaw> {
    vec![
        flaw!(
            A2,
            "lost_update",
            "the head is read, and the records are written later, without another look",
            append_in_steps = |base, log, append| {
                Box::pin(async move {
                    let ruling = base.logs().rule(log, append)?;
                    yield_now().await;
                    Ok(match ruling {
                        Ruling::Answer(answer) => answer,
                        Ruling::Write(head) => base.logs().write(log, head, &append.records),
                    })
                })
            },
        ),
        flaw!(
            A2,
            "expected_inside_a_batch",
            "a batch is one item under its first position, so a head inside it looks free",
            append = |logs, log, append| {
                let place = format!("{log:?} {}", append.expected);
                let answer = logs.append(log, append)?;
                let is_inside = !logs.notes.numbers.contains_key(&place);
                match answer {
                    Appended::Conflict { head } if append.expected < head && is_inside => {
                        let old = logs.head_mut(log).cloned();
                        Ok(old.map_or(answer, |old| logs.write(log, old, &append.records)))
                    }
                    _ => {
                        logs.notes.numbers.insert(place, 1);
                        Ok(answer)
                    }
                }
            },
        ),
        flaw!(
            A2,
            "expected_beyond_the_head",
            "a head beyond the true one is taken, and leaves a hole",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                match (answer, logs.head_mut(log)) {
                    (Appended::Conflict { head }, Some(old)) if append.expected > head => {
                        let after = Head { head: append.head_after(), ..old.clone() };
                        Ok(logs.write(log, after, &append.records))
                    }
                    _ => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "expected_0_is_any_head",
            "an append that states the head 0 lands at the end",
            append = |logs, log, append| {
                match logs.append(log, append)? {
                    Appended::Conflict { head } if append.expected == Position::START => {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    answer => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "outsiders_at_any_head",
            "an outsider's append lands at the end, whatever head it states",
            append = |logs, log, append| {
                match logs.append(log, append)? {
                    Appended::Conflict { head } if append.by == By::Outsider => {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    answer => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "streams_at_any_head",
            "a chunk lands at the end of its stream, whatever head it states",
            append = |logs, log, append| {
                match (logs.append(log, append)?, log) {
                    (Appended::Conflict { head }, LogId::Stream(..)) => {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    (answer, _) => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "tokens_at_any_head",
            "a token's log takes an append at any head below its own",
            append = |logs, log, append| {
                match (logs.append(log, append)?, log) {
                    (Appended::Conflict { head }, LogId::Token(_)) if append.expected < head => {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    (answer, _) => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "rest_at_any_head",
            "an append without records is not asked for its head: a run parks past a signal",
            append = |logs, log, append| {
                match logs.append(log, append)? {
                    Appended::Conflict { head } if append.records.is_empty() => {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    answer => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "rest_behind_a_signal",
            "a rest without records states only that it has not seen more than there is",
            append = |logs, log, append| {
                match logs.append(log, append)? {
                    Appended::Conflict { head }
                        if append.records.is_empty() && append.expected < head =>
                    {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    answer => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "heads_of_32_bits",
            "heads are compared by their lower 32 bits",
            append = |logs, log, append| {
                match logs.append(log, append)? {
                    Appended::Conflict { head }
                        if head.get() as u32 == append.expected.get() as u32 =>
                    {
                        let moved = at(append, head);
                        logs.append(log, &moved)
                    }
                    answer => Ok(answer),
                }
            },
        ),
        flaw!(
            A2,
            "conflict_with_the_stated_head",
            "a conflict reports the head that was stated, so the writer tries the same again",
            append = |logs, log, append| {
                Ok(match logs.append(log, append)? {
                    Appended::Conflict { .. } => Appended::Conflict { head: append.expected },
                    answer => answer,
                })
            },
        ),
        flaw!(
            A3,
            "clocks_compared",
            "an append whose time is before the last record's conflicts",
            append = |logs, log, append| {
                let last = logs.records_of(log).last().map_or(Timestamp::ZERO, |last| last.at);
                let head = logs.last(log);
                match logs.rule(log, append)? {
                    Ruling::Write(_) if append.at < last => Ok(Appended::Conflict { head }),
                    _ => logs.append(log, append),
                }
            },
        ),
    ]
}

/// The append moved to another head.
fn at(append: &world_core::Append, head: Position) -> world_core::Append {
    let mut next = head;
    let mut moved = append.clone();
    moved.expected = head;
    for record in &mut moved.records {
        next = next.next();
        record.position = next;
    }
    moved
}

/// What a conflict changes, though it must change nothing.
fn nothing_changes() -> Vec<Flaw> {
    vec![
        flaw!(
            A2,
            "conflict_rests",
            "an owner's rest takes effect although its append conflicts",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Conflict { .. }, By::Owner { rest: Some(_), .. }, Some(run)) =
                    (answer, &append.by, logs.run_mut(log))
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A2,
            "conflict_closes",
            "an owner's closing takes effect although its append conflicts",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Conflict { .. }, By::Owner { close: true, .. }, Some(run)) =
                    (answer, &append.by, logs.run_mut(log))
                {
                    run.closed = true;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A2,
            "conflict_tags",
            "new tags are kept although their append conflicts",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Conflict { .. }, By::Owner { tags: Some(tags), .. }, Some(run)) =
                    (answer, &append.by, logs.run_mut(log))
                {
                    std::sync::Arc::make_mut(&mut run.new).tags.clone_from(tags);
                }
                Ok(answer)
            },
        ),
        flaw!(
            A2,
            "conflict_is_progress",
            "an owner's append resets the claims although it conflicts",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Conflict { .. }, By::Owner { .. }, Some(run)) =
                    (answer, &append.by, logs.run_mut(log))
                {
                    run.attempt = 1;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A2,
            "conflict_wakes",
            "an outsider's append wakes the run although it conflicts",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Conflict { .. }, By::Outsider, LogId::Run(_), Some(run)) =
                    (answer, &append.by, log, logs.run_mut(log))
                    && !matches!(run.turn, Turn::Leased { .. })
                {
                    run.turn = Turn::Ready { since: append.at };
                }
                Ok(answer)
            },
        ),
    ]
}
