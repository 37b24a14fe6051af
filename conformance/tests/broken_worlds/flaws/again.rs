//! Appends that are sent again: rule A6.

use world_core::{
    Appended, By, LogId,
    head::{Ruling, Turn},
};

use crate::{
    flaw::{Flaw, flaw, run_of},
    logs::Logs,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [order_of_questions(), nothing_changes()].into_iter().flatten().collect()
}

fn order_of_questions() -> Vec<Flaw> {
    vec![
        flaw!(
            A6,
            "doubled",
            "nobody asks whether the records are there: an outsider that sends again appends again",
            append = |logs, log, append| {
                match logs.append(log, append)? {
                    answer @ Appended::Committed { head }
                        if head > append.head_after()
                            || logs.notes.numbers.contains_key(&text(append)) =>
                    {
                        let _ = answer;
                        let old = logs.head_mut(log).cloned();
                        let Some(mut old) = old else { return Ok(answer) };
                        let mut records = append.records.clone();
                        for record in &mut records {
                            old.head = old.head.next();
                            record.position = old.head;
                        }
                        Ok(logs.write(log, old, &records))
                    }
                    answer => {
                        logs.notes.numbers.insert(text(append), 1);
                        Ok(answer)
                    }
                }
            },
        ),
        flaw!(
            A6,
            "asked_never",
            "the same bytes again are an append like any other, and conflict",
            append = |logs, log, append| {
                let head = logs.last(log);
                match logs.rule(log, append)? {
                    Ruling::Answer(Appended::Committed { .. }) => Ok(Appended::Conflict { head }),
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "asked_after_open",
            "a closed run is not open, though the records are its own",
            append = |logs, log, append| {
                if logs.is_closed(log) && !append.records.is_empty() {
                    return Ok(Appended::NotOpen);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A6,
            "streams_asked_after_open",
            "a stream of a closed run is not open, though the chunk is there",
            append = |logs, log, append| {
                if let (LogId::Stream(..), true) = (log, logs.is_closed(log)) {
                    return Ok(Appended::NotOpen);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A6,
            "asked_after_ticket",
            "an owner that was replaced is fenced, though its records are there",
            append = |logs, log, append| {
                if let (By::Owner { ticket, .. }, Some(run)) = (&append.by, logs.run_mut(log))
                    && run.ticket() != Some(*ticket)
                    && !run.closed
                {
                    return Ok(Appended::Fenced);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A6,
            "asked_of_the_last_only",
            "only the last append of a log is known again",
            append = |logs, log, append| {
                let head = logs.last(log);
                match logs.rule(log, append)? {
                    Ruling::Answer(Appended::Committed { .. }) if append.head_after() < head => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "asked_of_owners_only",
            "an outsider's append is not known again",
            append = |logs, log, append| {
                let head = logs.last(log);
                match logs.rule(log, append)? {
                    Ruling::Answer(Appended::Committed { .. }) if append.by == By::Outsider => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "creators_not_known_again",
            "a creator that sends again conflicts with its own run",
            append = |logs, log, append| {
                let head = logs.last(log);
                match (logs.rule(log, append)?, &append.by) {
                    (Ruling::Answer(Appended::Committed { .. }), By::Creator(_)) => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "tokens_not_known_again",
            "a token's append that is sent again conflicts",
            append = |logs, log, append| {
                let head = logs.last(log);
                match (logs.rule(log, append)?, log) {
                    (Ruling::Answer(Appended::Committed { .. }), LogId::Token(_)) => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "answers_the_old_head",
            "the second answer says the head of then, not the head of now",
            append = |logs, log, append| {
                Ok(match logs.append(log, append)? {
                    Appended::Committed { .. } => Appended::Committed { head: append.head_after() },
                    answer => answer,
                })
            },
        ),
    ]
}

fn text(append: &world_core::Append) -> String {
    append
        .records
        .iter()
        .map(|record| format!("{} {:?};", record.at.as_millis(), record.body.as_bytes()))
        .collect()
}

/// The same bytes again change something after all.
fn nothing_changes() -> Vec<Flaw> {
    vec![
        flaw!(
            A6,
            "wakes_again",
            "a signal that is sent again wakes the run again",
            append = |logs, log, append| {
                let is_again = is_again(logs, log, append)?;
                let answer = logs.append(log, append)?;
                if let (true, By::Outsider, Some(run)) = (is_again, &append.by, logs.run_mut(log))
                    && let Turn::Waiting(_) | Turn::Parked = run.turn
                {
                    run.turn = Turn::Ready { since: append.at };
                }
                Ok(answer)
            },
        ),
        flaw!(
            A6,
            "rests_again",
            "a rest that is sent again ends the lease of the next owner",
            append = |logs, log, append| {
                let is_again = is_again(logs, log, append)?;
                let answer = logs.append(log, append)?;
                if let (true, By::Owner { rest: Some(_), .. }, Some(run)) =
                    (is_again, &append.by, logs.run_mut(log))
                {
                    run.turn = Turn::Parked;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A6,
            "progress_again",
            "an owner's records that are sent again are progress again",
            append = |logs, log, append| {
                let is_again = is_again(logs, log, append)?;
                let answer = logs.append(log, append)?;
                if let (true, By::Owner { .. }, LogId::Run(_), Some(run)) =
                    (is_again, &append.by, log, logs.run_mut(log))
                {
                    run.attempt = 1;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A6,
            "tags_again",
            "an append that is sent again puts its old tags back",
            append = |logs, log, append| {
                let is_again = is_again(logs, log, append)?;
                let answer = logs.append(log, append)?;
                if let (true, By::Owner { tags: Some(tags), .. }, Some(run)) =
                    (is_again, &append.by, logs.run_mut(log))
                {
                    std::sync::Arc::make_mut(&mut run.new).tags.clone_from(tags);
                }
                Ok(answer)
            },
        ),
        flaw!(
            A6,
            "leased_again",
            "a creator that is sent again takes the lease again",
            append = |logs, log, append| {
                let is_again = is_again(logs, log, append)?;
                let answer = logs.append(log, append)?;
                if let (true, By::Creator(new), Some(run)) =
                    (is_again, &append.by, logs.run_mut(log))
                    && let Some((ticket, until)) = new.lease
                {
                    run.turn = Turn::Leased { ticket, until };
                }
                Ok(answer)
            },
        ),
        flaw!(
            A6,
            "cut_off_again",
            "a batch that is sent again is written again, and what came after it is cut off",
            append = |logs, log, append| {
                let is_again = is_again(logs, log, append)?;
                if let (true, Some(old)) = (is_again, logs.head_mut(&run_of(log)))
                    && let LogId::Run(_) = log
                {
                    old.head = append.head_after();
                }
                logs.append(log, append)
            },
        ),
    ]
}

fn is_again(logs: &mut Logs, log: &LogId, append: &world_core::Append) -> world_core::Result<bool> {
    Ok(matches!(logs.rule(log, append)?, Ruling::Answer(Appended::Committed { .. })))
}
