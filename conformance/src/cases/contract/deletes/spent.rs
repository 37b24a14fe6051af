//! Rule D2: a deleted id stays spent.

use world_core::{Append, Appended, By, Deleted, Due, LogId};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{Handle, answered, listing, log_is, not_due, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [D2] a_late_resend_does_not_make_a_deleted_run_anew),
        case!(Contract [D2] a_deleted_run_takes_nothing_from_anyone),
        case!(Contract [D2] the_streams_of_a_deleted_run_are_spent_with_it),
        case!(Contract [D2] a_deletion_again_leaves_the_id_spent),
        case!(Contract [D2] a_deleted_token_log_keeps_its_head),
        case!(Contract [D2] a_late_resend_to_a_deleted_token_log_conflicts),
        case!(Contract [D2] a_token_log_is_deleted_again_further_on),
    ]
}

async fn delete(world: &Handle, log: &LogId, head: u64) -> Verdict {
    let deleted = world.delete(log, pos(head)).await?;
    ensure_eq!(D2, deleted, Deleted::Done, "a deletion of {log} at its head, {head}");
    Ok(())
}

/// A run that was closed at head 3 and deleted, and what was written to it and to its stream.
async fn deleted_run(world: &Handle, created: Append) -> Verdict<(Vec<Append>, Append)> {
    let log = run("run");
    let appends = vec![
        created,
        append(1, &["signal"], 2, By::Outsider),
        append(2, &["end"], 3, close(1, Some(Due::Never))),
    ];
    let chunk = append(0, &["chunk"; 2], 2, owner(1));
    put(Rule::D2, world, &log, &appends[0]).await?;
    put(Rule::D2, world, &stream("run", "stream"), &chunk).await?;
    put(Rule::D2, world, &log, &appends[1]).await?;
    put(Rule::D2, world, &log, &appends[2]).await?;
    delete(world, &log, 3).await?;
    Ok((appends, chunk))
}

async fn is_not_open(world: &Handle, log: &LogId, append: &Append, what: &str) -> Verdict {
    let what = format!("{what}, at {} of {log}, which is deleted", append.expected);
    let answer = answered(Rule::D2, world.append(log, append).await, &what)?;
    ensure_eq!(D2, answer, Appended::NotOpen, "{what}");
    Ok(())
}

async fn is_gone(world: &Handle) -> Verdict {
    for log in [run("run"), stream("run", "stream"), stream("run", "new")] {
        let left = whole(world, &log).await?.records.len();
        ensure_eq!(D2, left, 0, "records of {log}, which is deleted, after late appends");
    }
    let runs = listing(world).await?.len();
    ensure_eq!(D2, runs, 0, "runs in a listing, where the only one is deleted");
    let lease = not_due(world, &run("run"), &claim(&["queue"], 3, 1_000, 2_000, 8)).await?;
    ensure_eq!(D2, lease, None, "a claim, where the only run is deleted");
    Ok(())
}

async fn a_late_resend_does_not_make_a_deleted_run_anew(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (appends, _) = deleted_run(&world, create_leased(1, FAR, 1)).await?;
    for world in [&world, &other, &subject.open().await?] {
        for append in &appends {
            is_not_open(world, &run("run"), append, "an append of its life, again").await?;
        }
        is_gone(world).await?;
    }
    Ok(())
}

async fn a_deleted_run_takes_nothing_from_anyone(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    deleted_run(&world, create_leased(1, FAR, 1)).await?;
    for (what, append) in [
        ("another creation", append(0, &["another"], 5, By::Creator(new_run(Due::Now)))),
        ("another creation with a lease", create_leased(2, FAR, 9)),
        ("a signal", append(3, &["late"], 5, By::Outsider)),
        ("a signal", append(0, &["late"], 5, By::Outsider)),
        ("the owner's append", append(3, &["late"], 5, owner(1))),
        ("another owner's append", append(3, &["late"], 5, owner(2))),
        ("a close", append(3, &["late"], 5, close(1, Some(Due::Now)))),
        ("a rest", append(3, &[], 5, rest(1, Due::Now))),
        ("a rest", append(0, &[], 5, rest(1, Due::Now))),
    ] {
        is_not_open(&other, &run("run"), &append, what).await?;
    }
    is_gone(&world).await
}

async fn the_streams_of_a_deleted_run_are_spent_with_it(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (_, chunk) = deleted_run(&world, create_leased(1, FAR, 1)).await?;
    for world in [&world, &other] {
        let old = stream("run", "stream");
        is_not_open(world, &old, &chunk, "a chunk of its life, again").await?;
        is_not_open(world, &old, &append(2, &["late"], 5, owner(1)), "a late chunk").await?;
        let new = append(0, &["late"], 5, owner(1));
        is_not_open(world, &stream("run", "new"), &new, "the first chunk of a new one").await?;
    }
    is_gone(&world).await
}

async fn a_deletion_again_leaves_the_id_spent(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (appends, chunk) = deleted_run(&world, create_leased(1, FAR, 1)).await?;
    for _ in 0..3 {
        delete(&other, &run("run"), 3).await?;
        for append in &appends {
            is_not_open(&world, &run("run"), append, "an append of its life, again").await?;
        }
        let old = stream("run", "stream");
        is_not_open(&world, &old, &chunk, "a chunk of its life, again").await?;
    }
    is_gone(&world).await
}

async fn a_deleted_token_log_keeps_its_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    put(Rule::D2, &world, &log, &append(0, &["old"; 3], 1, By::Outsider)).await?;
    delete(&world, &log, 3).await?;
    for after in [0, 2, 3, 4] {
        let page = other.read(&log, pos(after), count(9)).await?;
        let seen = (page.records.len(), page.head);
        let what = "records and head of a deleted token log, read after";
        ensure_eq!(D2, seen, (0, pos(3)), "{what} {after}");
    }
    for stated in [0, 1, 2, 4] {
        let answer = other.append(&log, &append(stated, &["new"], 5, By::Outsider)).await?;
        ensure_eq!(D2, answer, conflict(3), "an append at {stated}, where 3 were deleted");
    }
    let next = append(3, &["new"; 2], 5, By::Outsider);
    put(Rule::D2, &other, &log, &next).await?;
    log_is(Rule::D2, &world, &log, &next.records, "which goes on above what was deleted").await
}

async fn a_late_resend_to_a_deleted_token_log_conflicts(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    let old = [
        append(0, &["one"], 1, By::Outsider),
        append(1, &["two", "three"], 1, By::Outsider),
        append(3, &["four"], 1, By::Outsider),
    ];
    for append in &old {
        put(Rule::D2, &world, &log, append).await?;
    }
    delete(&world, &log, 4).await?;
    for append in &old {
        let answer = other.append(&log, append).await?;
        ensure_eq!(D2, answer, conflict(4), "a late resend to a token log that was deleted");
    }
    let next = append(4, &["five", "six"], 5, By::Outsider);
    put(Rule::D2, &other, &log, &next).await?;
    for append in &old {
        let answer = world.append(&log, append).await?;
        ensure_eq!(D2, answer, conflict(6), "a late resend, after the token was used again");
    }
    // Partly of the old life, partly of the new.
    let mut both = old[2].clone();
    both.records.extend(next.records.clone());
    let answer = world.append(&log, &both).await?;
    ensure_eq!(D2, answer, conflict(6), "records from before and after the deletion, again");
    let answer = world.append(&log, &next).await?;
    ensure_eq!(D2, answer, committed(6), "an append of the new life, again");
    log_is(Rule::D2, &world, &log, &next.records, "after late resends").await
}

async fn a_token_log_is_deleted_again_further_on(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    let mut head = 0;
    for life in 0..4 {
        let next = append(head, &["a life"; 2], life, By::Outsider);
        put(Rule::D2, &world, &log, &next).await?;
        log_is(Rule::D2, &other, &log, &next.records, "in one of its lives").await?;
        if head > 0 {
            let late = other.delete(&log, pos(head)).await?;
            ensure_eq!(D2, late, Deleted::Open, "the last deletion again, at {head}");
        }
        head += 2;
        delete(&other, &log, head).await?;
        let page = world.read(&log, pos(0), count(9)).await?;
        let seen = (page.records.len(), page.head);
        ensure_eq!(D2, seen, (0, pos(head)), "records and head after deletion {life}");
    }
    Ok(())
}
