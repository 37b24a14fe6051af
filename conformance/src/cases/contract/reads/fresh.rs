//! Rule R1: a committed append is visible to the next read, from any handle.

use world_core::{By, Due, Lease, LogId, Renewed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{claimed, log_is, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R1] every_handle_reads_what_another_has_committed),
        case!(Contract [R1] a_log_that_was_absent_is_read_once_it_is_there),
        case!(Contract [R1] a_page_at_the_head_is_read_anew),
        case!(Contract [R1] every_answer_says_the_head_there_is),
        case!(Contract [R1] a_claim_says_the_head_there_is),
    ]
}

/// A log of each kind, with a writer for it; the stream's run comes before it.
fn logs() -> [(LogId, By); 3] {
    [
        (run("run"), By::Outsider),
        (stream("run", "stream"), owner(1)),
        (token("token"), By::Outsider),
    ]
}

async fn every_handle_reads_what_another_has_committed(subject: Subject) -> Verdict {
    let handles = [subject.open().await?, subject.open().await?, subject.open().await?];
    put(Rule::R1, &handles[0], &run("run"), &create_leased(1, FAR, 1)).await?;
    for (log, by) in logs() {
        let mut wanted = whole(&handles[0], &log).await?.records;
        // Every handle has read the log before another writes to it.
        for (round, writer) in handles.iter().chain(&handles).enumerate() {
            let next = append(wanted.len() as u64, &["a", "b"], round as u64, by.clone());
            put(Rule::R1, writer, &log, &next).await?;
            wanted.extend(next.records);
            for (reader, handle) in handles.iter().enumerate() {
                let what = format!("read by handle {reader} after {} has written", round % 3);
                log_is(Rule::R1, handle, &log, &wanted, what).await?;
            }
        }
        let new = subject.open().await?;
        log_is(Rule::R1, &new, &log, &wanted, "read by a handle opened after all writes").await?;
    }
    Ok(())
}

async fn a_log_that_was_absent_is_read_once_it_is_there(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (created, opened) = (create_leased(1, FAR, 1), append(0, &["opened"], 2, owner(1)));
    let first = append(0, &["first"], 3, By::Outsider);
    let new = [(run("run"), created), (stream("run", "stream"), opened), (token("token"), first)];
    for handle in [&world, &other] {
        for (log, _) in &new {
            log_is(Rule::R1, handle, log, &[], "which is not there yet").await?;
        }
    }
    for (log, append) in &new {
        put(Rule::R1, &world, log, append).await?;
        for handle in [&other, &world] {
            let what = "which was read before it was there";
            log_is(Rule::R1, handle, log, &append.records, what).await?;
        }
    }
    Ok(())
}

async fn a_page_at_the_head_is_read_anew(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::R1, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    for (log, by) in logs() {
        for round in 0..4 {
            let head = whole(&other, &log).await?.head;
            let page = other.read(&log, head, count(10)).await?;
            ensure_eq!(R1, page.records.len(), 0, "records after the head, {head}, of {log}");
            let next = append(head.get(), &["next"], round, by.clone());
            put(Rule::R1, &world, &log, &next).await?;
            let page = other.read(&log, head, count(10)).await?;
            let seen = (page.records, page.head);
            let wanted = (next.records.clone(), next.head_after());
            ensure_eq!(R1, seen, wanted, "records and head of {log} after {head}, read again");
        }
    }
    Ok(())
}

async fn every_answer_says_the_head_there_is(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let created = create_leased(1, FAR, 1);
    put(Rule::R1, &world, &log, &created).await?;
    let lease = Lease {
        run: id("run"),
        ticket: ticket(1),
        attempt: 1,
        until: FAR,
        head: pos(1),
        closed: false,
    };
    for head in 1..6 {
        // This handle has seen each head; now the other one moves it.
        put(Rule::R1, &other, &log, &append(head, &["signal"], head, By::Outsider)).await?;
        let head = head + 1;
        let renewed = world.renew(&lease, FAR).await?;
        ensure_eq!(R1, renewed, Renewed::Held { head: pos(head) }, "a renewal");
        let answer = world.append(&log, &append(head - 1, &["late"], 9, owner(1))).await?;
        ensure_eq!(R1, answer, conflict(head), "an append at the head before");
        let answer = world.append(&log, &created).await?;
        ensure_eq!(R1, answer, committed(head), "the creation again");
        let page = world.read(&log, pos(0), count(1)).await?;
        ensure_eq!(R1, page.head, pos(head), "the head of a page of one record");
        let page = world.read(&log, pos(100), count(1)).await?;
        ensure_eq!(R1, page.head, pos(head), "the head of a page beyond the head");
    }
    Ok(())
}

async fn a_claim_says_the_head_there_is(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::R1, &world, &log, &create(Due::Now, 1)).await?;
    for round in 1..5_u8 {
        let head = u64::from(round);
        let (now, until) = (100 * head, 100 * head + 100);
        let lease = claimed(&world, &log, &claim(&["queue"], round, now, until, 8)).await?;
        let seen = lease.map(|lease| lease.head);
        ensure_eq!(R1, seen, Some(pos(head)), "the head of the claim of a run that is due");
        let signal = append(head, &["signal"], now, By::Outsider);
        put(Rule::R1, &other, &log, &signal).await?;
    }
    Ok(())
}
