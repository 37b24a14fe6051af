//! What is taken for the same bytes again, and what is not: rule A6.

use world_core::{Appended, By, LogId, Page, head::Ruling};

use crate::{
    flaw::{Flaw, flaw},
    logs::Logs,
};

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

pub(crate) fn flaws() -> Vec<Flaw> {
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
