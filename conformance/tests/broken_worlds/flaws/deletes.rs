//! Deletions that go too far, not far enough, or are undone: rules D1 and D2.

use world_core::{
    Appended, By, Deleted, LogId, Position, Renewed,
    head::{Head, Stored},
};

use crate::flaw::{Flaw, flaw, run_of};

pub(crate) fn flaws() -> Vec<Flaw> {
    [only_what_is_over(), spent()].into_iter().flatten().collect()
}

fn only_what_is_over() -> Vec<Flaw> {
    vec![
        flaw!(
            D1,
            "open_runs",
            "an open run is deleted",
            delete = |logs, log, head| {
                if let (LogId::Run(_), Some(run)) = (log, logs.run_mut(log)) {
                    run.closed = true;
                }
                logs.delete(log, head)
            },
        ),
        flaw!(
            D1,
            "runs_at_any_head",
            "a closed run is deleted at any stated head",
            delete = |logs, log, stated| {
                let head = if let LogId::Run(_) = log { logs.last(log) } else { stated };
                logs.delete(log, head)
            },
        ),
        flaw!(
            D1,
            "tokens_at_any_head",
            "a token's log is deleted at any stated head, and a claim that came in between is lost",
            delete = |logs, log, stated| {
                let head = if let LogId::Token(_) = log { logs.last(log) } else { stated };
                logs.delete(log, head)
            },
        ),
        flaw!(
            D1,
            "streams_stay",
            "the streams of a deleted run can still be read",
            delete = |logs, log, head| {
                let (heads, records) = ((*logs.heads).clone(), logs.records.clone());
                let deleted = logs.delete(log, head)?;
                let is_stream = |other: &LogId| matches!(other, LogId::Stream(..));
                logs.heads.extend(heads.into_iter().filter(|(other, _)| is_stream(other)));
                logs.records.extend(records.into_iter().filter(|(other, _)| is_stream(other)));
                Ok(deleted)
            },
        ),
        flaw!(
            D1,
            "records_stay",
            "the records of a deleted run can still be read",
            delete = |logs, log, head| {
                let records = logs.records.get(log).cloned();
                let deleted = logs.delete(log, head)?;
                logs.records.insert(log.clone(), records.unwrap_or_default());
                Ok(deleted)
            },
        ),
        flaw!(
            L1,
            "still_claimed",
            "a deleted run is still given to workers",
            delete = |logs, log, head| {
                let old = logs.head_mut(log).cloned();
                let deleted = logs.delete(log, head)?;
                if let (Some(old), Some(tombstone)) = (old, logs.head_mut(log))
                    && let (Some(run), true) = (old.run, tombstone.deleted)
                {
                    tombstone.run = Some(run);
                }
                Ok(deleted)
            },
            claim = |logs, claim| {
                let due = |head: &mut Head| head.deleted && head.run.is_some();
                let buried: Vec<_> = logs
                    .heads
                    .iter_mut()
                    .filter_map(|(log, head)| due(head).then(|| log.clone()))
                    .collect();
                buried.iter().for_each(|log| {
                    logs.heads.get_mut(log).into_iter().for_each(|head| head.deleted = false)
                });
                let leases = logs.claim(claim);
                buried.iter().for_each(|log| {
                    logs.heads.get_mut(log).into_iter().for_each(|head| head.deleted = true)
                });
                leases
            },
            list = |logs, list| {
                let mut page = logs.list(list)?;
                page.runs.retain(|run| {
                    logs.heads.get(&LogId::Run(run.run.clone())).is_none_or(|head| !head.deleted)
                });
                Ok(page)
            },
        ),
        flaw!(
            D1,
            "repeated_is_absent",
            "a deletion that is sent again says that there never was such a log",
            delete = |logs, log, head| {
                let is_deleted = logs.head_mut(log).is_some_and(|head| head.deleted);
                let deleted = logs.delete(log, head)?;
                Ok(if is_deleted { Deleted::Absent } else { deleted })
            },
        ),
        flaw!(
            D1,
            "absent_is_done",
            "a log that never was is deleted",
            delete = |logs, log, head| {
                Ok(match logs.delete(log, head)? {
                    Deleted::Absent => Deleted::Done,
                    deleted => deleted,
                })
            },
        ),
        flaw!(
            D1,
            "streams_are_deleted",
            "a stream is deleted without its run",
            delete = |logs, log, head| {
                if let LogId::Stream(..) = log {
                    logs.heads.remove(log);
                    logs.records.remove(log);
                    return Ok(Deleted::Done);
                }
                logs.delete(log, head)
            },
        ),
        flaw!(
            D1,
            "prefix_is_deleted",
            "with a run all runs are deleted whose names begin with its name",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if let (LogId::Run(run), Deleted::Done) = (log, deleted) {
                    let is_other = |other: &LogId| {
                        other
                            .run()
                            .is_some_and(|id| id != run && id.as_str().starts_with(run.as_str()))
                    };
                    logs.heads.retain(|other, _| !is_other(other));
                    logs.records.retain(|other, _| !is_other(other));
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D1,
            "namesakes_are_deleted",
            "with a run the token of the same name is deleted",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if let (LogId::Run(run), Deleted::Done) = (log, deleted)
                    && let Ok(token) = world_core::Token::new(run.as_str())
                {
                    logs.heads.remove(&LogId::Token(token.clone()));
                    logs.records.remove(&LogId::Token(token));
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D1,
            "refused_deletion_closes",
            "a deletion of an open run closes it",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if let (Deleted::Open, Some(run)) = (deleted, logs.run_mut(log)) {
                    run.closed = true;
                }
                Ok(deleted)
            },
        ),
    ]
}

fn spent() -> Vec<Flaw> {
    vec![
        flaw!(
            D2,
            "resurrected",
            "a creator makes a deleted run anew",
            append = |logs, log, append| {
                if let (By::Creator(_), Some(Head { deleted: true, .. })) =
                    (&append.by, logs.head_mut(log))
                {
                    logs.heads.remove(log);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            D2,
            "no_tombstone",
            "a deletion removes everything, the tombstone too",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if logs.head_mut(log).is_some_and(|head| head.deleted) {
                    logs.heads.remove(log);
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D2,
            "last_tombstone_only",
            "a deletion removes the tombstones of the ones before it",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if deleted == Deleted::Done {
                    logs.heads.retain(|other, head| other == log || !head.deleted);
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D2,
            "tombstone_of_an_hour",
            "a tombstone is forgotten after an hour",
            append = |logs, log, append| {
                let key = format!("{:?}", run_of(log));
                let now = append.at.as_millis();
                let last = logs.notes.numbers.get(&key).copied().unwrap_or(now);
                if now > last + 3_600_000 {
                    let run = run_of(log);
                    if logs.head_mut(&run).is_some_and(|head| head.deleted) {
                        logs.heads.remove(&run);
                    }
                }
                let answer = logs.append(log, append)?;
                if let Appended::Committed { .. } = answer {
                    logs.notes.numbers.insert(key, now);
                }
                Ok(answer)
            },
        ),
        flaw!(
            D2,
            "token_restarts",
            "a deleted token's log begins at 0 again",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if let (LogId::Token(_), Some(Head { deleted: true, .. })) =
                    (log, logs.head_mut(log))
                {
                    logs.heads.remove(log);
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D2,
            "token_is_spent",
            "a deleted token's log takes nothing any more",
            append = |logs, log, append| {
                if let (LogId::Token(_), Some(Head { deleted: true, .. })) =
                    (log, logs.head_mut(log))
                {
                    return Ok(Appended::NotOpen);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            D2,
            "token_remembers",
            "a late resend of what was deleted from a token's log is committed",
            append = |logs, log, append| {
                let key = |position: Position| format!("{log:?} {position}");
                let of = |record: &world_core::Record| world_core::Page {
                    records: vec![record.clone()],
                    head: record.position,
                };
                let head = logs.last(log);
                let is_known = |record: &world_core::Record| {
                    logs.notes.pages.get(&key(record.position)) == Some(&of(record))
                };
                if let LogId::Token(_) = log
                    && append.head_after() <= head
                    && append.records.iter().all(is_known)
                {
                    return Ok(Appended::Committed { head });
                }
                let answer = logs.append(log, append)?;
                if let Appended::Committed { .. } = answer {
                    let known =
                        append.records.iter().map(|record| (key(record.position), of(record)));
                    logs.notes.pages.extend(known);
                }
                Ok(answer)
            },
        ),
        flaw!(
            D2,
            "creator_remembers",
            "a late resend of a deleted run's creator is committed",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (By::Creator(_), Some(Head { deleted: true, head, .. })) =
                    (&append.by, logs.head_mut(log))
                {
                    return Ok(Appended::Committed { head: *head });
                }
                Ok(answer)
            },
        ),
        flaw!(
            D2,
            "streams_open_again",
            "a stream of a deleted run takes its first chunk",
            append = |logs, log, append| {
                let owner = logs.head(&run_of(log))?;
                if let (LogId::Stream(..), Some(Head { deleted: true, .. })) = (log, owner)
                    && append.expected == logs.last(log)
                {
                    let head = Head {
                        head: append.head_after(),
                        base: Position::START,
                        deleted: false,
                        run: None,
                    };
                    return Ok(logs.write(log, head, &append.records));
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            D2,
            "owner_is_fenced",
            "an owner's append to a deleted run is fenced, not refused as spent",
            append = |logs, log, append| {
                let is_deleted = logs.head_mut(&run_of(log)).is_some_and(|head| head.deleted);
                if let (By::Owner { .. }, true) = (&append.by, is_deleted) {
                    return Ok(Appended::Fenced);
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            D2,
            "rest_of_the_dead",
            "a rest of a deleted run is committed",
            append = |logs, log, append| {
                match logs.head_mut(log) {
                    Some(Head { deleted: true, head, .. }) if append.records.is_empty() => {
                        Ok(Appended::Committed { head: *head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            D1,
            "renewed_after_its_end",
            "the lease of a deleted run is renewed",
            renew = |logs, lease, until| {
                match logs.head_mut(&LogId::Run(lease.run.clone())) {
                    Some(Head { deleted: true, head, .. }) => Ok(Renewed::Held { head: *head }),
                    _ => logs.renew(lease, until),
                }
            },
        ),
        flaw!(
            D1,
            "deleted_head_is_0",
            "a deleted token's log forgets its head once it is deleted again",
            delete = |logs, log, head| {
                let is_deleted = logs.head_mut(log).is_some_and(|head| head.deleted);
                let deleted = logs.delete(log, head)?;
                if let (LogId::Token(_), true) = (log, is_deleted) {
                    logs.heads.remove(log);
                }
                Ok(deleted)
            },
        ),
    ]
}
