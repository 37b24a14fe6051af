//! Rules A1, A2 and A6: large batches, bodies that are nearly the same, and the claims that are
//! counted.

use world_core::{Append, By, Due, LogId, Sealed};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, POLLS_MAX, claimed, cut, log_is, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A1] a_large_batch_is_never_seen_in_part),
        case!(Contract [A6] bodies_that_differ_in_one_byte_are_another_append),
        case!(Contract [A6] the_same_body_twice_is_two_records),
        case!(Contract [A2] a_conflict_is_no_progress),
        case!(Contract [A6] an_append_again_is_no_progress),
    ]
}

/// Records that every World takes at once.
const MANY: usize = 64;

/// An append of so many records by an outsider.
fn many(expected: u64) -> Append {
    let bodies: Vec<_> = (0..MANY).map(|number| format!("record {number}")).collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    append(expected, &bodies, 2, By::Outsider)
}

async fn a_large_batch_is_never_seen_in_part(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 1..=POLLS_MAX {
        let log = run(&format!("run {polls}"));
        put(Rule::A1, &world, &log, &create(Due::Never, 1)).await?;
        let append = many(1);
        let answer = cut(world.append(&log, &append), polls).await;
        subject.injected(1);
        let page = whole(&other, &log).await?;
        let seen = page.records.len();
        ensure!(
            A1,
            seen == 1 || seen == 1 + MANY,
            "a batch of {MANY} to {log}, dropped after {polls} polls: {seen} records are read, \
             where 1 was before"
        );
        let head = 1 + MANY as u64;
        let again = other.append(&log, &append).await?;
        ensure_eq!(A1, again, committed(head), "the same batch, sent again by another handle");
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}

/// A body of random-looking bytes.
fn body(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251) as u8).collect()
}

fn with_body(expected: u64, body: Vec<u8>) -> Append {
    let mut append = append(expected, &["x"], 2, By::Outsider);
    for record in &mut append.records {
        record.body = Sealed::from_stored(body.clone());
    }
    append
}

async fn bodies_that_differ_in_one_byte_are_another_append(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (name, len) in [("short", 8), ("page", 5_000), ("long", 256 << 10)] {
        let log = token(name);
        let first = with_body(0, body(len));
        put(Rule::A6, &world, &log, &first).await?;
        for place in [0, len / 2, len - 1] {
            let mut changed = body(len);
            changed[place] ^= 1;
            let answer = world.append(&log, &with_body(0, changed)).await?;
            ensure_eq!(
                A6,
                answer,
                conflict(1),
                "a body of {len} bytes that differs from the one there in byte {place}"
            );
        }
        log_is(Rule::A6, &world, &log, &first.records, "after other bodies were sent").await?;
    }
    Ok(())
}

async fn the_same_body_twice_is_two_records(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::A6, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    let logs: [(LogId, u64, By); 3] = [
        (token("token"), 0, By::Outsider),
        (run("run"), 1, By::Outsider),
        (stream("run", "stream"), 0, owner(1)),
    ];
    for (log, from, by) in logs {
        for head in from..from + 3 {
            let append = append(head, &["tick"], 7, by.clone());
            put(Rule::A6, if head % 2 == 0 { &world } else { &other }, &log, &append).await?;
        }
        let records = whole(&other, &log).await?.records.len() as u64;
        ensure_eq!(A6, records, from + 3, "the records of {log}, three of one kind, time and body");
    }
    Ok(())
}

/// Creates a run that has been claimed three times without progress; the third lease lasts.
async fn claimed_thrice(rule: Rule, world: &Handle, log: &LogId) -> Verdict {
    put(rule, world, log, &create(Due::Now, 1)).await?;
    for (number, now, until) in [(1, 10, 20), (2, 20, 30), (3, 30, 40)] {
        let lease = claimed(world, log, &claim(&["queue"], number, now, until, 1)).await?;
        if lease.is_none() {
            return Err(Failure::broken(Rule::L2, format!("{log} is due at {now}: not claimed")));
        }
    }
    Ok(())
}

/// How often the run was claimed, by the claim at 40.
async fn attempt(world: &Handle, log: &LogId) -> Verdict<Option<u32>> {
    let lease = claimed(world, log, &claim(&["queue"], 4, 40, 50, 1)).await?;
    Ok(lease.map(|lease| lease.attempt))
}

async fn a_conflict_is_no_progress(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    claimed_thrice(Rule::A2, &world, &log).await?;
    for by in [owner(3), rest(3, Due::Now), close(3, None)] {
        let answer = other.append(&log, &append(0, &["late"], 31, by)).await?;
        ensure_eq!(A2, answer, conflict(1), "an owner's append at 0, where the head is 1");
    }
    let attempt = attempt(&world, &log).await?;
    ensure_eq!(A2, attempt, Some(4), "the attempt of the fourth claim, after three conflicts");
    Ok(())
}

async fn an_append_again_is_no_progress(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A6, &world, &log, &create_leased(1, at(10), 1)).await?;
    let work = append(1, &["work"], 2, owner(1));
    put(Rule::A6, &world, &log, &work).await?;
    for (number, now, until) in [(2, 10, 20), (3, 20, 30), (4, 30, 40)] {
        let lease = claimed(&world, &log, &claim(&["queue"], number, now, until, 1)).await?;
        let attempt = lease.map(|lease| lease.attempt);
        let wanted = Some(u32::from(number));
        ensure_eq!(A6, attempt, wanted, "the attempt of a claim; old work was sent after each");
        let answer = other.append(&log, &work).await?;
        ensure_eq!(
            A6,
            answer,
            committed(2),
            "work that is there, sent again under attempt {number}"
        );
    }
    let lease = claimed(&world, &log, &claim(&["queue"], 5, 40, 50, 1)).await?;
    let attempt = lease.map(|lease| lease.attempt);
    ensure_eq!(A6, attempt, Some(5), "the attempt of a claim, after old work was sent thrice");
    Ok(())
}
