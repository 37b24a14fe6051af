//! Rule A6: the same bytes again are the same append. What is the same, and what is not.

use world_core::{Append, By, Due, Kind, LogId, Record, Sealed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, log_is, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A6] an_append_again_is_the_same_append),
        case!(Contract [A6] an_append_again_says_the_true_head),
        case!(Contract [A6] a_piece_of_what_is_there_is_there),
        case!(Contract [A6] other_bytes_kinds_or_times_are_another_append),
        case!(Contract [A6] a_batch_that_is_partly_there_is_another_append),
        case!(Contract [A6] who_writes_the_same_bytes_does_not_matter),
    ]
}

const BATCH: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Each kind of log with a batch of five at its end, and that batch.
async fn logs(world: &Handle) -> Verdict<Vec<(LogId, Append)>> {
    let created = append(0, &BATCH, 1, By::Creator(new_run(Due::Never)));
    let batches = vec![
        (run("created"), created),
        (run("signalled"), append(1, &BATCH, 2, By::Outsider)),
        (run("driven"), append(1, &BATCH, 2, owner(1))),
        (stream("driven", "stream"), append(0, &BATCH, 2, owner(1))),
        (stream("driven", "other"), append(1, &BATCH, 2, owner(1))),
        (token("new"), append(0, &BATCH, 2, By::Outsider)),
        (token("token"), append(1, &BATCH, 2, By::Outsider)),
    ];
    for (log, first) in [
        (run("signalled"), create(Due::Never, 1)),
        (run("driven"), create_leased(1, FAR, 1)),
        (stream("driven", "other"), append(0, &["opened"], 1, owner(1))),
        (token("token"), append(0, &["first"], 1, By::Outsider)),
    ] {
        put(Rule::A6, world, &log, &first).await?;
    }
    for (log, batch) in &batches {
        put(Rule::A6, world, log, batch).await?;
    }
    Ok(batches)
}

async fn an_append_again_is_the_same_append(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (log, batch) in logs(&world).await? {
        let before = whole(&world, &log).await?.records;
        for world in [&world, &other, &other] {
            let answer = world.append(&log, &batch).await?;
            let head = batch.head_after().get();
            ensure_eq!(A6, answer, committed(head), "a batch sent to {log} again");
        }
        log_is(Rule::A6, &world, &log, &before, "after its last batch was sent again").await?;
    }
    Ok(())
}

async fn an_append_again_says_the_true_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (log, batch) in logs(&world).await? {
        let mut head = batch.head_after().get();
        let by = match &log {
            LogId::Stream(..) => owner(1),
            LogId::Run(_) | LogId::Token(_) => By::Outsider,
        };
        for round in ["next", "and next"] {
            put(Rule::A6, &other, &log, &append(head, &[round, round], 3, by.clone())).await?;
            head += 2;
            let answer = world.append(&log, &batch).await?;
            ensure_eq!(A6, answer, committed(head), "a batch sent to {log} again, after others");
        }
        let records = whole(&world, &log).await?.records.len() as u64;
        ensure_eq!(A6, records, head, "the records of {log}, to which a batch was sent again");
    }
    Ok(())
}

async fn a_piece_of_what_is_there_is_there(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (log, batch) in logs(&world).await? {
        // A creation is at 0, so only its first records can be sent as such.
        let is_creation = matches!(batch.by, By::Creator(_));
        let before = whole(&world, &log).await?.records;
        for (from, to) in [(0, 1), (0, 4), (1, 3), (4, 5), (2, 5)] {
            if is_creation && from > 0 {
                continue;
            }
            let mut piece = batch.clone();
            piece.expected = batch.expected.plus(from);
            let (skipped, taken) = (from as usize, (to - from) as usize);
            piece.records = batch.records.iter().skip(skipped).take(taken).cloned().collect();
            let answer = world.append(&log, &piece).await?;
            let head = batch.head_after().get();
            let what = format!("records {} to {to} of a batch, sent to {log} again", from + 1);
            ensure_eq!(A6, answer, committed(head), "{what}");
        }
        // Of two appends at once: the record before the batch, and the batch.
        if let (Some(first), By::Outsider | By::Owner { .. }) = (before.first(), &batch.by)
            && batch.expected == pos(1)
        {
            let mut all = batch.clone();
            all.expected = pos(0);
            all.records.insert(0, first.clone());
            let answer = world.append(&log, &all).await?;
            ensure_eq!(A6, answer, committed(6), "what two appends wrote to {log}, sent as one");
        }
        log_is(Rule::A6, &world, &log, &before, "to which pieces of it were sent again").await?;
    }
    Ok(())
}

/// A batch that is not what is there, and must conflict without a change.
async fn is_another(world: &Handle, log: &LogId, other: &Append, what: &str) -> Verdict {
    let before = whole(world, log).await?;
    let answer = world.append(log, other).await?;
    let head = before.head.get();
    ensure_eq!(A6, answer, conflict(head), "{what}, sent to {log} where a batch is already");
    log_is(Rule::A6, world, log, &before.records, format!("after {what} was sent")).await
}

/// Makes another record of one.
type Change = fn(&mut Record);

async fn other_bytes_kinds_or_times_are_another_append(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let changes: [(&str, Change); 5] = [
        ("another body", |record| record.body = Sealed::from_stored(&b"other"[..])),
        ("a longer body", |record| {
            record.body = Sealed::from_stored([record.body.as_bytes(), b"\0"].concat());
        }),
        ("an empty body", |record| record.body = Sealed::from_stored(&b""[..])),
        ("another kind", |record| record.kind = Kind(record.kind.0 + 1)),
        ("another time", |record| record.at = at(record.at.as_millis() + 1)),
    ];
    for (log, batch) in logs(&world).await? {
        for (what, change) in changes {
            for index in [0, 2, 4] {
                let mut other = batch.clone();
                other.records.iter_mut().skip(index).take(1).for_each(change);
                let what = format!("a batch with {what} in record {}", index + 1);
                is_another(&world, &log, &other, &what).await?;
            }
        }
    }
    Ok(())
}

async fn a_batch_that_is_partly_there_is_another_append(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (log, batch) in logs(&world).await? {
        let mut longer = batch.clone();
        let last = append(batch.head_after().get(), &["more"], 2, By::Outsider);
        longer.records.extend(last.records);
        is_another(&world, &log, &longer, "a batch whose first five records are there").await?;
        let mut last_only = longer;
        last_only.records.drain(..4);
        last_only.expected = batch.expected.plus(4);
        if !matches!(batch.by, By::Creator(_)) {
            is_another(&world, &log, &last_only, "a batch whose first record is there").await?;
        }
        let head = whole(&world, &log).await?.head;
        ensure!(A6, head == batch.head_after(), "{log} has head {head} after refused batches");
    }
    Ok(())
}

async fn who_writes_the_same_bytes_does_not_matter(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (log, batch) in logs(&world).await? {
        let writers = match &log {
            LogId::Run(_) if batch.expected == pos(0) => vec![By::Outsider, owner(9)],
            LogId::Run(_) => vec![By::Outsider, owner(1), owner(9), close(9, Some(Due::Now))],
            LogId::Stream(..) => vec![owner(1), owner(9)],
            LogId::Token(_) => vec![By::Outsider],
        };
        let before = whole(&world, &log).await?;
        for by in writers {
            let mut again = batch.clone();
            (again.by, again.at) = (by, at(999));
            let answer = world.append(&log, &again).await?;
            let head = before.head.get();
            ensure_eq!(A6, answer, committed(head), "the same records to {log} by another writer");
        }
        log_is(Rule::A6, &world, &log, &before.records, "after others sent the same").await?;
    }
    Ok(())
}
