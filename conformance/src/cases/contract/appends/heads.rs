//! Rule A2: an append commits only at the stated head, whatever the head.

use world_core::{Append, Appended, By, Due, LogId, Phase, Release, Renewed, Tag};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{claimed, listed, log_is, not_due, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A2] a_runs_log_takes_only_the_true_head),
        case!(Contract [A2] a_stream_takes_only_the_true_head),
        case!(Contract [A2] a_token_log_takes_only_the_true_head),
        case!(Contract [A2] of_two_writers_at_one_head_the_second_is_told),
        case!(Contract [A2] a_run_is_not_created_twice),
        case!(Contract [A2] a_stale_rest_leaves_the_lease),
        case!(Contract [A2] a_conflict_changes_nothing_of_a_leased_run),
        case!(Contract [A2] a_conflict_makes_nothing_due),
    ]
}

/// The head of the logs here: behind a batch of five, which a single stored item might hold.
const HEAD: u64 = 6;
const BATCH: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Heads that are not [`HEAD`]: before and inside the batch, beyond it, and what a number of 32
/// or 63 bits would take for it.
const WRONG: [u64; 13] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    HEAD + 1_000,
    HEAD + (1 << 32),
    HEAD + (1 << 53),
    HEAD + (1 << 63),
    u64::MAX - 8,
];

/// A log whose head is [`HEAD`] refuses every other, and takes that one.
async fn takes_only_its_head(
    subject: &Subject,
    before: &[(LogId, Append)],
    log: &LogId,
    writers: &[By],
) -> Verdict {
    let world = subject.open().await?;
    for (log, append) in before {
        put(Rule::A2, &world, log, append).await?;
    }
    let mine = before.iter().filter(|(of, _)| of == log);
    let mut wanted: Vec<_> = mine.flat_map(|(_, append)| append.records.clone()).collect();
    for by in writers {
        for stated in WRONG {
            let late = append(stated, &["late"], 7, by.clone());
            let answer = world.append(log, &late).await?;
            let what = format!("an append to {log} at {stated}, where the head is {HEAD}");
            ensure_eq!(A2, answer, conflict(HEAD), "{what}");
        }
        log_is(Rule::A2, &world, log, &wanted, "after appends at other heads").await?;
    }
    let Some(by) = writers.first() else { return Ok(()) };
    let right = append(HEAD, &["in time"], 8, by.clone());
    put(Rule::A2, &world, log, &right).await?;
    wanted.extend(right.records);
    log_is(Rule::A2, &world, log, &wanted, "after one append at its head").await
}

async fn a_runs_log_takes_only_the_true_head(subject: Subject) -> Verdict {
    let log = run("run");
    let before =
        [(log.clone(), create_leased(1, FAR, 1)), (log.clone(), append(1, &BATCH, 2, owner(1)))];
    takes_only_its_head(&subject, &before, &log, &[owner(1), By::Outsider]).await
}

async fn a_stream_takes_only_the_true_head(subject: Subject) -> Verdict {
    let log = stream("run", "stream");
    let before = [
        (run("run"), create_leased(1, FAR, 1)),
        (log.clone(), append(0, &["opened"], 2, owner(1))),
        (log.clone(), append(1, &BATCH, 3, owner(1))),
    ];
    takes_only_its_head(&subject, &before, &log, &[owner(1)]).await?;
    let world = subject.open().await?;
    let answer = world.append(&stream("run", "new"), &append(3, &["x"], 4, owner(1))).await?;
    ensure_eq!(A2, answer, conflict(0), "an append at 3 to a stream that is not there");
    Ok(())
}

async fn a_token_log_takes_only_the_true_head(subject: Subject) -> Verdict {
    let log = token("token");
    let before = [
        (log.clone(), append(0, &["first"], 1, By::Outsider)),
        (log.clone(), append(1, &BATCH, 2, By::Outsider)),
    ];
    takes_only_its_head(&subject, &before, &log, &[By::Outsider]).await?;
    let world = subject.open().await?;
    let answer = world.append(&token("new"), &append(3, &["x"], 4, By::Outsider)).await?;
    ensure_eq!(A2, answer, conflict(0), "an append at 3 to a token log that is not there");
    Ok(())
}

async fn of_two_writers_at_one_head_the_second_is_told(subject: Subject) -> Verdict {
    let (one, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let mut wanted = create(Due::Never, 1).records;
    put(Rule::A2, &one, &log, &create(Due::Never, 1)).await?;
    for round in 0..4 {
        let head = wanted.len() as u64;
        let first = append(head, &[&format!("first {round}")], 2, By::Outsider);
        let second = append(head, &[&format!("second {round}")], 2, By::Outsider);
        put(Rule::A2, &one, &log, &first).await?;
        let answer = other.append(&log, &second).await?;
        ensure_eq!(A2, answer, conflict(head + 1), "the second append at {head}");
        wanted.extend(first.records);
        log_is(Rule::A2, &one, &log, &wanted, "after two appends at one head").await?;
        let second = append(head + 1, &[&format!("second {round}")], 2, By::Outsider);
        put(Rule::A2, &other, &log, &second).await?;
        wanted.extend(second.records);
    }
    log_is(Rule::A2, &one, &log, &wanted, "after all appends").await
}

async fn a_run_is_not_created_twice(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let created = create_leased(1, FAR, 1);
    put(Rule::A2, &world, &log, &created).await?;
    for body in ["other", "createe", "created "] {
        let second = append(0, &[body], 1, By::Creator(new_run(Due::Now)));
        let answer = other.append(&log, &second).await?;
        ensure_eq!(A2, answer, conflict(1), "a creation with other bytes of a run that is there");
    }
    log_is(Rule::A2, &world, &log, &created.records, "created again").await?;
    let lease = not_due(&world, &log, &claim(&["queue"], 2, 5, 100, 8)).await?;
    ensure_eq!(A2, lease, None, "a claim of a leased run, after it was created again as due");
    Ok(())
}

async fn a_stale_rest_leaves_the_lease(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A2, &world, &log, &create(Due::Now, 1)).await?;
    let first = claim(&["queue"], 1, 5, 100, 1);
    let Some(lease) = claimed(&world, &log, &first).await? else {
        return Err(crate::Failure::broken(Rule::L2, "a new run that is due is not claimed"));
    };
    put(Rule::A2, &other, &log, &append(1, &["signal"], 2, By::Outsider)).await?;
    // The owner has not seen the signal: parked now, the run would sleep for ever.
    for due in [Due::Never, Due::Now, Due::At(at(50))] {
        let answer = world.append(&log, &append(1, &[], 3, rest(1, due))).await?;
        ensure_eq!(A2, answer, conflict(2), "a rest at 1, where a signal has moved the head to 2");
    }
    for stated in [0, 3, 1_000] {
        let answer = world.append(&log, &append(stated, &[], 3, rest(1, Due::Never))).await?;
        ensure_eq!(A2, answer, conflict(2), "a rest at {stated}, where the head is 2");
    }
    let renewed = world.renew(&lease, at(100)).await?;
    ensure_eq!(A2, renewed, Renewed::Held { head: pos(2) }, "the lease after a refused rest");
    let answer = world.append(&log, &append(2, &[], 4, rest(1, Due::Never))).await?;
    ensure_eq!(A2, answer, committed(2), "a rest at the true head");
    Ok(())
}

async fn a_conflict_changes_nothing_of_a_leased_run(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    let tags = vec![Tag::from_bytes([1; 16])];
    let mut new = new_run(Due::Now);
    new.tags = tags.clone();
    let created = append(0, &["created"], 1, By::Creator(new));
    put(Rule::A2, &world, &log, &created).await?;
    let lease = claimed(&world, &log, &claim(&["queue"], 1, 5, 100, 1)).await?;
    ensure!(A2, lease.is_some(), "a new run that is due is not claimed");

    let all_of_it = By::Owner {
        ticket: ticket(1),
        close: true,
        rest: Some(Release::driven(Due::Now)),
        tags: Some(vec![Tag::from_bytes([2; 16])]),
    };
    for stated in [0, 2, 9] {
        for (bodies, by) in [
            (vec!["late"], all_of_it.clone()),
            (vec!["late"], By::Outsider),
            (vec!["late"], owner(1)),
            (vec![], rest(1, Due::Now)),
        ] {
            let answer = world.append(&log, &append(stated, &bodies, 6, by)).await?;
            ensure_eq!(A2, answer, conflict(1), "an append at {stated}, where the head is 1");
        }
    }
    log_is(Rule::A2, &world, &log, &created.records, "after conflicts").await?;
    let early = not_due(&world, &log, &claim(&["queue"], 2, 99, 200, 1)).await?;
    ensure_eq!(A2, early, None, "a claim before the lease has run out, after conflicts");
    let meta = listed(&world, &log, |meta| meta.phase == Phase::Leased).await?;
    let seen = meta.map(|meta| (meta.tags, meta.head, meta.phase));
    ensure_eq!(
        A2,
        seen,
        Some((tags, pos(1), Phase::Leased)),
        "tags, head and phase after conflicts"
    );
    let next = claimed(&world, &log, &claim(&["queue"], 2, 100, 200, 1)).await?;
    let next = next.map(|lease| (lease.attempt, lease.head, lease.closed));
    ensure_eq!(A2, next, Some((2, pos(1), false)), "attempt, head and closed of the next claim");
    Ok(())
}

async fn a_conflict_makes_nothing_due(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (name, due) in [("parked", Due::Never), ("waiting", Due::At(at(1_000)))] {
        let log = run(name);
        put(Rule::A2, &world, &log, &create(due, 1)).await?;
        for stated in [0, 2, 7] {
            let answer = world.append(&log, &append(stated, &["late"], 2, By::Outsider)).await?;
            ensure_eq!(A2, answer, conflict(1), "a signal at {stated}, where the head is 1");
        }
        let lease = not_due(&world, &log, &claim(&["queue"], 1, 999, 2_000, 8)).await?;
        ensure_eq!(A2, lease, None, "a claim of a {name} run, after signals that conflicted");
        let answer = world.append(&log, &append(1, &["in time"], 3, By::Outsider)).await?;
        ensure_eq!(A2, answer, Appended::Committed { head: pos(2) }, "a signal at the true head");
    }
    Ok(())
}
