//! Rules D1 and D2: deletions of what is large, and many of them.

use futures::future::join_all;
use world_core::{Appended, By, Deleted, Due, LogId};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{Handle, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [D1] a_run_of_1100_records_is_deleted_whole),
        case!(Contract [D1] a_run_of_110_streams_is_deleted_with_each_of_them),
        case!(Contract [D2] each_of_150_deleted_runs_stays_spent),
        case!(Contract [D2] each_of_150_deleted_token_logs_keeps_its_head),
        case!(Contract [D2] a_deleted_id_is_spent_while_others_go_on_for_days),
    ]
}

async fn delete(rule: Rule, world: &Handle, log: &LogId, head: u64) -> Verdict {
    let answer = world.delete(log, pos(head)).await?;
    if answer == Deleted::Done {
        return Ok(());
    }
    let what = format!("a deletion of {log} at its head, {head}: {answer:?}, not Done");
    Err(crate::Failure::broken(rule, what))
}

async fn is_gone(world: &Handle, log: &LogId) -> Verdict {
    let left = whole(world, log).await?.records.len();
    ensure_eq!(D1, left, 0, "records of {log}, which was deleted");
    // Nor does a part of it show that lies behind a gap.
    for after in [64, 500, 1_000, 1_090] {
        let left = world.read(log, pos(after), count(64)).await?.records.len();
        ensure_eq!(D1, left, 0, "records of {log} after {after}, which was deleted");
    }
    Ok(())
}

async fn a_run_of_1100_records_is_deleted_whole(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, chunks) = (run("run"), stream("run", "stream"));
    put(Rule::D1, &world, &log, &create_leased(1, FAR, 1)).await?;
    for round in 0..20 {
        put(Rule::D1, &world, &log, &append(1 + round * 55, &["x"; 55], 2, owner(1))).await?;
        put(Rule::D1, &world, &chunks, &append(round * 55, &["x"; 55], 2, owner(1))).await?;
    }
    put(Rule::D1, &world, &log, &append(1_101, &["end"], 3, close(1, Some(Due::Never)))).await?;
    delete(Rule::D1, &world, &log, 1_102).await?;
    is_gone(&other, &log).await?;
    is_gone(&other, &chunks).await
}

async fn a_run_of_110_streams_is_deleted_with_each_of_them(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::D1, &world, &log, &create_leased(1, FAR, 1)).await?;
    let streams: Vec<_> = (0..110).map(|number| stream("run", &number.to_string())).collect();
    for some in streams.chunks(32) {
        let chunk = append(0, &["chunk"], 2, owner(1));
        let puts = some.iter().map(|stream| put(Rule::D1, &world, stream, &chunk));
        join_all(puts).await.into_iter().collect::<Verdict<Vec<()>>>()?;
    }
    put(Rule::D1, &world, &log, &append(1, &["end"], 3, close(1, Some(Due::Never)))).await?;
    delete(Rule::D1, &world, &log, 2).await?;
    for log in &streams {
        let left = whole(&other, log).await?.records.len();
        ensure_eq!(D1, left, 0, "records of {log}, one of 110 streams of a deleted run");
    }
    Ok(())
}

async fn closed_and_deleted(world: &Handle, log: &LogId) -> Verdict {
    put(Rule::D2, world, log, &create_leased(1, FAR, 1)).await?;
    put(Rule::D2, world, log, &append(1, &["end"], 2, close(1, Some(Due::Never)))).await?;
    delete(Rule::D2, world, log, 2).await
}

async fn each_of_150_deleted_runs_stays_spent(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let runs: Vec<_> = (0..150).map(|number| run(&format!("run {number}"))).collect();
    for some in runs.chunks(30) {
        let deletions = some.iter().map(|log| closed_and_deleted(&world, log));
        join_all(deletions).await.into_iter().collect::<Verdict<Vec<()>>>()?;
    }
    for log in &runs {
        let answer = other.append(log, &create_leased(1, FAR, 1)).await?;
        let spent = Appended::NotOpen;
        ensure_eq!(D2, answer, spent, "the creator of {log}, one of 150 deleted runs, again");
    }
    Ok(())
}

async fn used_and_deleted(world: &Handle, log: &LogId) -> Verdict {
    put(Rule::D2, world, log, &append(0, &["claim"], 1, By::Outsider)).await?;
    delete(Rule::D2, world, log, 1).await
}

async fn each_of_150_deleted_token_logs_keeps_its_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let tokens: Vec<_> = (0..150).map(|number| token(&format!("token {number}"))).collect();
    for some in tokens.chunks(30) {
        let deletions = some.iter().map(|log| used_and_deleted(&world, log));
        join_all(deletions).await.into_iter().collect::<Verdict<Vec<()>>>()?;
    }
    for log in &tokens {
        let answer = other.append(log, &append(0, &["claim"], 1, By::Outsider)).await?;
        ensure_eq!(D2, answer, conflict(1), "the claim of {log}, one of 150 deleted, again");
    }
    Ok(())
}

/// A day, in milliseconds; an id is spent for seven.
const DAY: u64 = 24 * 3_600_000;

async fn a_deleted_id_is_spent_while_others_go_on_for_days(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    closed_and_deleted(&world, &run("run")).await?;
    used_and_deleted(&world, &token("token")).await?;
    put(Rule::D2, &world, &run("other"), &create(Due::Never, 1)).await?;
    for days in 1..=6 {
        let now = days * DAY;
        put(Rule::D2, &other, &run("other"), &append(days, &["x"], now, By::Outsider)).await?;
        other.claim(&claim(&["queue"], 9, now, now + 1, 9)).await?;
        used_and_deleted(&other, &token(&format!("token {days}"))).await?;
        let answer = other.append(&run("run"), &create_leased(1, FAR, 1)).await?;
        ensure_eq!(D2, answer, Appended::NotOpen, "the creator of a deleted run, days: {days}");
        let answer = other.append(&token("token"), &append(0, &["claim"], 1, By::Outsider)).await?;
        ensure_eq!(D2, answer, conflict(1), "the claim of a deleted token, days: {days}");
    }
    Ok(())
}
