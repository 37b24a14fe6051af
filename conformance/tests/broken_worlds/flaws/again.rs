//! Appends that are sent again: rule A6.

use world_core::{
    Appended, By, LogId, Page,
    head::{Ruling, Turn},
};

use crate::{
    flaw::{Flaw, flaw, run_of},
    logs::Logs,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [order_of_questions(), what_is_the_same(), nothing_changes()].into_iter().flatten().collect()
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

/// Answers `Committed` to what conflicts, where `is_same` takes it for what is there.
fn known_again(
    logs: &mut Logs,
    log: &LogId,
    append: &world_core::Append,
    is_same: fn(&[world_core::Record], &[world_core::Record]) -> bool,
) -> world_core::Result<Appended> {
    let head = logs.last(log);
    let Ruling::Answer(Appended::Conflict { .. } | Appended::Fenced) = logs.rule(log, append)?
    else {
        return logs.append(log, append);
    };
    let Page { records: mut there, .. } = logs.page(log, append.expected, append.records.len());
    there.truncate(append.records.len());
    if append.head_after() <= head && !there.is_empty() && is_same(&there, &append.records) {
        return Ok(Appended::Committed { head });
    }
    logs.append(log, append)
}

fn what_is_the_same() -> Vec<Flaw> {
    vec![
        flaw!(
            A6,
            "same_first_record",
            "only the first record is compared",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| there.first() == sent.first())
            },
        ),
        flaw!(
            A6,
            "same_last_record",
            "only the last record is compared",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| there.last() == sent.last())
            },
        ),
        flaw!(
            A6,
            "same_but_for_its_time",
            "the records' times are not compared",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| {
                    there.iter().zip(sent).all(|(a, b)| (a.kind, &a.body) == (b.kind, &b.body))
                })
            },
        ),
        flaw!(
            A6,
            "same_but_for_its_kind",
            "the records' kinds are not compared",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| {
                    there.iter().zip(sent).all(|(a, b)| (a.at, &a.body) == (b.at, &b.body))
                })
            },
        ),
        flaw!(
            A6,
            "same_but_for_its_body",
            "the records' bodies are not compared",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| {
                    there.iter().zip(sent).all(|(a, b)| (a.at, a.kind) == (b.at, b.kind))
                })
            },
        ),
        flaw!(
            A6,
            "same_length_of_bodies",
            "bodies of the same length are the same",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| {
                    let len = |record: &world_core::Record| record.body.as_bytes().len();
                    there
                        .iter()
                        .zip(sent)
                        .all(|(a, b)| (a.at, a.kind, len(a)) == (b.at, b.kind, len(b)))
                })
            },
        ),
        flaw!(
            A6,
            "same_start_of_bodies",
            "only the first 256 bytes of bodies are compared",
            append = |logs, log, append| {
                known_again(logs, log, append, |there, sent| {
                    let start = |record: &world_core::Record| {
                        let body = record.body.as_bytes();
                        (record.at, record.kind, body.len(), body[..body.len().min(256)].to_vec())
                    };
                    there.iter().map(start).eq(sent.iter().map(start))
                })
            },
        ),
        flaw!(
            A6,
            "same_body_anywhere",
            "a body that is in the log already is not written again, wherever it stands",
            append = |logs, log, append| {
                let (head, all) = (logs.last(log), logs.records_of(log));
                let is_there = |sent: &world_core::Record| {
                    all.iter().any(|record| {
                        (record.at, record.kind, &record.body) == (sent.at, sent.kind, &sent.body)
                    })
                };
                match logs.rule(log, append)? {
                    Ruling::Write(_)
                        if !append.records.is_empty() && append.records.iter().all(is_there) =>
                    {
                        Ok(Appended::Committed { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "the_missing_tail_is_added",
            "of a batch that begins with what is there, the rest is appended",
            append = |logs, log, append| {
                let head = logs.last(log);
                let there = logs.page(log, append.expected, usize::MAX).records;
                let (rule, shared) = (logs.rule(log, append)?, there.len());
                if let Ruling::Answer(Appended::Conflict { .. }) = rule
                    && shared > 0
                    && append.records.starts_with(&there)
                    && append.head_after() > head
                {
                    let mut tail = append.clone();
                    tail.expected = head;
                    if let By::Creator(_) = tail.by {
                        tail.by = By::Outsider;
                    }
                    tail.records.drain(..shared);
                    return logs.append(log, &tail);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A6,
            "same_batches_only",
            "records that came one at a time are not known again as a batch, nor the other way round",
            append = |logs, log, append| {
                let batch = format!("{log:?} {} {}", append.expected, append.records.len());
                let (head, rule) = (logs.last(log), logs.rule(log, append)?);
                if let Ruling::Answer(Appended::Committed { .. }) = rule
                    && !logs.notes.numbers.contains_key(&batch)
                {
                    return Ok(Appended::Conflict { head });
                }
                if let Ruling::Write(_) = rule {
                    logs.notes.numbers.insert(batch, 1);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            A6,
            "large_ones_not_known_again",
            "an append of more than half a MiB is not known again: it is compared with one page",
            append = |logs, log, append| {
                let head = logs.last(log);
                let bytes: usize = append.records.iter().map(|it| it.body.as_bytes().len()).sum();
                match logs.rule(log, append)? {
                    Ruling::Answer(Appended::Committed { .. }) if bytes > 512 << 10 => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            D2,
            "used_tokens_not_known_again",
            "in a token's log that goes on after a deletion nothing is known again",
            append = |logs, log, append| {
                let head = logs.last(log);
                let base = logs.heads.get(log).map_or(head, |head| head.base).get();
                match (logs.rule(log, append)?, log) {
                    (Ruling::Answer(Appended::Committed { .. }), LogId::Token(_)) if base > 0 => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "same_creator_only",
            "a creator is known again only with the same queue, tags and lease",
            append = |logs, log, append| {
                if let (LogId::Run(_), By::Creator(new), Some(run)) =
                    (log, &append.by, logs.run_mut(log))
                    && *run.new != *new
                {
                    return Ok(Appended::Conflict { head: logs.last(log) });
                }
                logs.append(log, append)
            },
        ),
    ]
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
