//! Logs that take what is not theirs: rule T1.

use std::sync::Arc;

use world_core::{
    Appended, By, Due, ErrorKind, Kind, LogId, NewRun, Position, RunId, RunMeta,
    head::{Head, Run, Turn},
};

use crate::flaw::{Flaw, flaw, run_of};

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        flaw!(
            T1,
            "token_is_claimed",
            "a token's log is a run too, and workers get it",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (LogId::Token(token), Appended::Committed { head }) = (log, answer)
                    && let Ok(id) = RunId::new(token.as_str())
                {
                    let Some(queue) = logs
                        .runs()
                        .map(|(_, run, _)| run.new.queue.clone())
                        .next()
                        .or_else(|| world_core::Queue::new("queue").ok())
                    else {
                        return Ok(answer);
                    };
                    let Ok(workflow) = world_core::WorkflowName::new("workflow") else {
                        return Ok(answer);
                    };
                    let Ok(key) = world_core::KeyId::new("key") else { return Ok(answer) };
                    let new = NewRun {
                        queue,
                        workflow,
                        due: Due::Now,
                        parent: None,
                        tags: Vec::new(),
                        key,
                        lease: None,
                    };
                    let run = Run {
                        new: Arc::new(new),
                        created: append.at,
                        last: Kind(1),
                        closed: false,
                        attempt: 0,
                        turn: Turn::Ready { since: append.at },
                    };
                    let head = Head { head, base: Position::START, deleted: false, run: Some(run) };
                    logs.heads.entry(LogId::Run(id)).or_insert(head);
                }
                Ok(answer)
            },
        ),
        flaw!(
            T1,
            "stream_takes_outsiders",
            "a stream takes an outsider's chunk",
            check = |log, append, limits| {
                if let (LogId::Stream(..), By::Outsider) = (log, &append.by) {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
        ),
        flaw!(
            T1,
            "stream_takes_creators",
            "a stream takes a creator",
            check = |log, append, limits| {
                if let (LogId::Stream(..), By::Creator(_)) = (log, &append.by) {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
        ),
        flaw!(
            T1,
            "stream_closes",
            "an append to a stream may close and rest",
            check = |log, append, limits| {
                if let (LogId::Stream(..), By::Owner { .. }) = (log, &append.by) {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
        ),
        flaw!(
            T1,
            "token_takes_owners",
            "a token's log takes an owner, and says that it is fenced",
            check = |log, append, limits| {
                if let (LogId::Token(_), By::Owner { .. }) = (log, &append.by) {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
        ),
        flaw!(
            T1,
            "token_takes_creators",
            "a token's log takes a creator",
            check = |log, append, limits| {
                if let (LogId::Token(_), By::Creator(_)) = (log, &append.by) {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let LogId::Token(_) = log {
                    changed.by = By::Outsider;
                }
                logs.append(log, &changed)
            },
        ),
        flaw!(
            T1,
            "signals_without_records",
            "an outsider may append nothing, and wakes the run with it",
            check = |log, append, limits| {
                if append.by == By::Outsider && append.records.is_empty() {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
        ),
        flaw!(
            T1,
            "closing_without_records",
            "an owner may close without a record",
            check = |log, append, limits| {
                if append.records.is_empty() && matches!(append.by, By::Owner { .. }) {
                    Ok(())
                } else {
                    append.check(log, limits)
                }
            },
        ),
        flaw!(
            T1,
            "wrong_pairings_not_open",
            "a wrong pairing of writer and log is answered as not open",
            append = |logs, log, append| logs.append(log, append),
            check = |log, append, limits| match append.check(log, limits) {
                Err(error) if error.kind() == ErrorKind::Invalid =>
                    Err(world_core::Error::new(ErrorKind::Unavailable, "refused")),
                checked => checked,
            },
        ),
        flaw!(
            A2,
            "second_creator_overwrites",
            "a second creator makes the run anew",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (By::Creator(_), Appended::Conflict { .. }) = (&append.by, answer) {
                    logs.heads.remove(log);
                    logs.records.remove(log);
                    return logs.append(log, append);
                }
                Ok(answer)
            },
        ),
        flaw!(
            T1,
            "chunk_moves_the_run",
            "a chunk of a stream moves the head of its run",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (LogId::Stream(..), Appended::Committed { .. }, Some(run)) =
                    (log, answer, logs.head_mut(&run_of(log)))
                {
                    run.head = run.head.next();
                }
                Ok(answer)
            },
        ),
        flaw!(
            T1,
            "chunk_wakes_the_run",
            "a chunk of a stream ends its owner's lease",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (LogId::Stream(..), Appended::Committed { .. }, Some(run)) =
                    (log, answer, logs.run_mut(log))
                {
                    run.turn = Turn::Ready { since: append.at };
                }
                Ok(answer)
            },
        ),
        flaw!(
            T1,
            "streams_begin_at_their_run",
            "a stream's first chunk must state the head of its run",
            append = |logs, log, append| {
                if let (LogId::Stream(..), None) = (log, logs.head_mut(log)) {
                    let head = logs.last(&run_of(log));
                    if append.expected != head {
                        return Ok(Appended::Conflict { head });
                    }
                }
                logs.append(log, append)
            },
        ),
        flaw!(
            T1,
            "one_stream_a_run",
            "all streams of a run are one log",
            key = |log| match log {
                LogId::Stream(run, _) => {
                    world_core::StreamName::new("stream")
                        .map_or_else(|_| log.clone(), |name| LogId::Stream(run.clone(), name))
                }
                LogId::Run(_) | LogId::Token(_) => log.clone(),
            },
        ),
        flaw!(
            T1,
            "chunk_answers_the_runs_head",
            "a chunk is answered with the head of its run",
            append = |logs, log, append| {
                Ok(match (logs.append(log, append)?, log) {
                    (Appended::Committed { .. }, LogId::Stream(..)) => {
                        Appended::Committed { head: logs.last(&run_of(log)) }
                    }
                    (answer, _) => answer,
                })
            },
        ),
        flaw!(
            T1,
            "chunk_lengthens_the_lease",
            "a chunk of a stream gives its owner a minute more",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (LogId::Stream(..), Some(run)) = (log, logs.run_mut(log))
                    && let Turn::Leased { until, .. } = &mut run.turn
                {
                    *until = world_core::Timestamp::from_millis(until.as_millis() + 60_000);
                }
                Ok(answer)
            },
        ),
        flaw!(
            R4,
            "token_is_listed",
            "a token's log is listed as a run",
            list = |logs, list| {
                let mut page = logs.list(list)?;
                let tokens = logs.heads.keys().filter_map(|log| match log {
                    LogId::Token(token) => RunId::new(token.as_str()).ok(),
                    LogId::Run(_) | LogId::Stream(..) => None,
                });
                let tokens: Vec<_> = tokens.collect();
                let model = logs.metas().into_values().next();
                if let (None, Some(model)) = (&page.next, model) {
                    page.runs
                        .extend(tokens.into_iter().map(|run| RunMeta { run, ..model.clone() }));
                }
                Ok(page)
            },
        ),
    ]
}
