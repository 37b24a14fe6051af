//! Rules A6 and R4: an append again, long after it; the kind of the last record of a batch.

use world_core::{Append, By, Due, Kind, List, LogId, Record};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    listing::listed,
    look::{self, Handle, log_is, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A6] an_append_is_known_600_records_behind_the_head),
        case!(Contract [A6] an_append_is_known_however_much_later),
        case!(Contract [R4] the_last_kind_is_that_of_the_last_record_of_a_batch),
    ]
}

/// Each kind of log with a batch of two at its end, and that batch.
async fn batches(world: &Handle) -> Verdict<Vec<(LogId, Append, By)>> {
    let creation = append(0, &["a", "b"], 1, By::Creator(new_run(Due::Never)));
    put(Rule::A6, world, &run("driven"), &create_leased(1, FAR, 1)).await?;
    let batches = vec![
        (run("created"), creation, By::Outsider),
        (run("driven"), append(1, &["a", "b"], 1, owner(1)), owner(1)),
        (stream("driven", "stream"), append(0, &["a", "b"], 1, owner(1)), owner(1)),
        (token("token"), append(0, &["a", "b"], 1, By::Outsider), By::Outsider),
    ];
    for (log, batch, _) in &batches {
        put(Rule::A6, world, log, batch).await?;
    }
    Ok(batches)
}

async fn an_append_is_known_600_records_behind_the_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (log, batch, by) in batches(&world).await? {
        let mut head = batch.head_after().get();
        for _ in 0..10 {
            put(Rule::A6, &world, &log, &append(head, &["later"; 60], 2, by.clone())).await?;
            head += 60;
        }
        for world in [&world, &other] {
            let answer = world.append(&log, &batch).await?;
            let what = "600 records behind its head";
            ensure_eq!(A6, answer, committed(head), "a batch sent to {log} again, {what}");
        }
        let mut another = batch.clone();
        another.records.iter_mut().rev().take(1).for_each(|record| record.at = at(9));
        let answer = other.append(&log, &another).await?;
        ensure_eq!(A6, answer, conflict(head), "another batch in its place, sent to {log}");
    }
    Ok(())
}

/// A day, in milliseconds.
const DAY: u64 = 24 * 3_600_000;

async fn an_append_is_known_however_much_later(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let mut logs = Vec::new();
    for (log, batch, by) in batches(&world).await? {
        let before = look::whole(&world, &log).await?.records;
        logs.push((log, batch, by, before));
    }
    for days in [1, 8, 40, 400] {
        let now = days * DAY;
        other.claim(&claim(&["queue", "other"], 9, now, now + 1, 9)).await?;
        for (log, batch, by, written) in &mut logs {
            let later = append(written.len() as u64, &["later"], now, by.clone());
            put(Rule::A6, &world, log, &later).await?;
            written.extend::<Vec<Record>>(later.records);
            // Sent again as it was, and by a writer whose clock has gone on.
            for again in [batch.clone(), Append { at: at(now), ..batch.clone() }] {
                let answer = other.append(log, &again).await?;
                let head = written.len() as u64;
                ensure_eq!(A6, answer, committed(head), "a batch to {log} again, days: {days}");
            }
        }
    }
    for (log, _, _, written) in &logs {
        log_is(Rule::A6, &other, log, written, "to which old batches were sent again").await?;
    }
    Ok(())
}

/// The append with records of these kinds.
fn of_kinds(mut append: Append, kinds: &[u16]) -> Append {
    for (record, kind) in append.records.iter_mut().zip(kinds) {
        record.kind = Kind(*kind);
    }
    append
}

async fn the_last_kind_is_that_of_the_last_record_of_a_batch(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let new = world_core::NewRun { lease: Some((ticket(1), FAR)), ..new_run(Due::Now) };
    let mut head = 0;
    for (who, kinds, by) in [
        ("the creator", [11, 13, 12], By::Creator(new)),
        ("an outsider", [21, 23, 22], By::Outsider),
        ("the owner", [33, 31, 32], owner(1)),
        ("the owner, who closes", [41, 43, 42], close(1, None)),
    ] {
        put(Rule::R4, &world, &log, &of_kinds(append(head, &["x"; 3], 1, by), &kinds)).await?;
        head += 3;
        let what = format!("after a batch of {who} of the kinds {kinds:?}");
        let last = Kind(kinds[2]);
        let seen = look::listed(&other, &log, |meta| meta.last == last).await?;
        let seen = seen.map(|meta| meta.last);
        ensure_eq!(R4, seen, Some(last), "the kind of the last record, {what}");
        for kind in kinds {
            let list = List { last: Some(Kind(kind)), ..List::all(count(9)) };
            let found = listed(&*other, &list).await?.len();
            let wanted = usize::from(Kind(kind) == last);
            ensure_eq!(R4, found, wanted, "runs whose last record is of kind {kind}, {what}");
        }
    }
    Ok(())
}
