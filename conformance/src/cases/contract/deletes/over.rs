//! Rule D1: only what is over is deleted, and it is hidden before it is removed.

use world_core::{By, Deleted, Due, ErrorKind, Lease, LogId, Record, Renewed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, POLLS_MAX, answered, asked, cut, listing, log_is, not_due, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [D1] an_open_run_is_not_deleted),
        case!(Contract [D1] a_closed_run_is_deleted_only_at_its_head),
        case!(Contract [D1] a_token_log_is_deleted_only_at_its_head),
        case!(Contract [D1] what_never_was_is_absent),
        case!(Contract [D1] a_stream_is_not_deleted_by_itself),
        case!(Contract [D1] a_deleted_run_is_gone_with_its_streams),
        case!(Contract [D1] a_deletion_may_be_repeated),
        case!(Contract [D1] a_long_run_is_deleted_whole),
        case!(Contract [D1] a_deletion_takes_nothing_else_with_it),
        case!(Contract [D1] a_dropped_deletion_hides_all_or_nothing),
    ]
}

async fn deleted(world: &Handle, log: &LogId, head: u64, wanted: Deleted, what: &str) -> Verdict {
    let what = format!("a deletion of {log} at {head}, {what}");
    let deleted = answered(Rule::D1, world.delete(log, pos(head)).await, &what)?;
    ensure_eq!(D1, deleted, wanted, "{what}");
    Ok(())
}

/// A run with a stream of `chunks`, closed at head 3 and rested: its records, and the stream's.
async fn ended(
    world: &Handle,
    name: &str,
    chunks: &[&str],
    due: Due,
) -> Verdict<(Vec<Record>, Vec<Record>)> {
    let (log, stream) = (run(name), stream(name, "stream"));
    let created = create_leased(1, FAR, 1);
    let opened = append(0, chunks, 2, owner(1));
    let end = append(1, &["last", "end"], 3, close(1, Some(due)));
    put(Rule::D1, world, &log, &created).await?;
    put(Rule::D1, world, &stream, &opened).await?;
    put(Rule::D1, world, &log, &end).await?;
    Ok(([created.records, end.records].concat(), opened.records))
}

async fn an_open_run_is_not_deleted(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, created) in [
        ("leased", create_leased(1, FAR, 1)),
        ("run out", create_leased(1, at(2), 1)),
        ("due", create(Due::Now, 1)),
        ("waiting", create(Due::At(at(50)), 1)),
        ("parked", create(Due::Never, 1)),
    ] {
        let log = run(name);
        put(Rule::D1, &world, &log, &created).await?;
        for head in [0, 1, 2] {
            deleted(&other, &log, head, Deleted::Open, "which is open at 1").await?;
        }
        log_is(Rule::D1, &world, &log, &created.records, "which was not to be deleted").await?;
        let signal = append(1, &["signal"], 3, By::Outsider);
        put(Rule::D1, &world, &log, &signal).await?;
    }
    let answer = asked(&world, &run("leased"), 1).await?;
    ensure_eq!(D1, answer, conflict(2), "the owner's append after a deletion was refused");
    Ok(())
}

async fn a_closed_run_is_deleted_only_at_its_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (records, chunks) = ended(&world, "run", &["chunk"], Due::Never).await?;
    for head in [0, 1, 2, 4, 3 + (1 << 32), u64::MAX] {
        deleted(&other, &run("run"), head, Deleted::Open, "which is closed at 3").await?;
    }
    let what = "after a deletion at another head";
    log_is(Rule::D1, &world, &run("run"), &records, what).await?;
    log_is(Rule::D1, &world, &stream("run", "stream"), &chunks, what).await?;
    deleted(&other, &run("run"), 3, Deleted::Done, "which is closed at 3").await?;

    // A closed run that is leased is over too: its worker deletes it.
    put(Rule::D1, &world, &run("kept"), &create_leased(1, FAR, 1)).await?;
    put(Rule::D1, &world, &run("kept"), &append(1, &["end"], 2, close(1, None))).await?;
    deleted(&other, &run("kept"), 2, Deleted::Done, "which is closed at 2, and leased").await
}

async fn a_token_log_is_deleted_only_at_its_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    let first = append(0, &["a", "b", "c"], 1, By::Outsider);
    put(Rule::D1, &world, &log, &first).await?;
    for head in [0, 1, 2, 4, 3 + (1 << 32), u64::MAX] {
        deleted(&other, &log, head, Deleted::Open, "where its head is 3").await?;
    }
    log_is(Rule::D1, &world, &log, &first.records, "after a deletion at another head").await?;
    deleted(&other, &log, 3, Deleted::Done, "where its head is 3").await?;
    let left = whole(&world, &log).await?.records.len();
    ensure_eq!(D1, left, 0, "records of a token log that was deleted");
    Ok(())
}

async fn what_never_was_is_absent(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    put(Rule::D1, &world, &run("other"), &create(Due::Never, 1)).await?;
    for log in [run("run"), token("other"), token("token")] {
        for head in [0, 1, 7] {
            deleted(&world, &log, head, Deleted::Absent, "which is not there").await?;
        }
    }
    // Nothing of it is spent.
    put(Rule::D1, &world, &run("run"), &create(Due::Never, 1)).await?;
    put(Rule::D1, &world, &token("token"), &append(0, &["x"], 1, By::Outsider)).await
}

async fn a_stream_is_not_deleted_by_itself(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (_, chunks) = ended(&world, "run", &["chunk"], Due::Never).await?;
    for (log, head) in
        [(stream("run", "stream"), 1), (stream("run", "absent"), 0), (stream("absent", "s"), 0)]
    {
        let answer = world.delete(&log, pos(head)).await;
        let kind = answer.as_ref().map_err(world_core::Error::kind);
        ensure!(
            D1,
            kind == Err(ErrorKind::Invalid),
            "a deletion of {log} by itself: {answer:?}, not Invalid"
        );
    }
    let what = "after a deletion of it alone was refused";
    log_is(Rule::D1, &world, &stream("run", "stream"), &chunks, what).await
}

async fn a_deleted_run_is_gone_with_its_streams(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, due) in [("parked", Due::Never), ("due", Due::Now), ("timed", Due::At(at(9)))] {
        ended(&world, name, &["chunk"; 3], due).await?;
        deleted(&world, &run(name), 3, Deleted::Done, "which is closed at 3").await?;
    }
    put(Rule::D1, &world, &run("leased"), &create_leased(1, at(100), 1)).await?;
    put(Rule::D1, &world, &run("leased"), &append(1, &["end"], 2, close(1, None))).await?;
    deleted(&world, &run("leased"), 2, Deleted::Done, "which is closed at 2").await?;

    for name in ["parked", "due", "timed", "leased"] {
        for log in [run(name), stream(name, "stream")] {
            let left = whole(&other, &log).await?.records.len();
            ensure_eq!(D1, left, 0, "records of {log}, which was deleted");
        }
        let lease = not_due(&other, &run(name), &claim(&["queue"], 2, 1_000, 2_000, 64)).await?;
        ensure_eq!(D1, lease, None, "a claim, after run {name} was deleted");
        let lease = Lease {
            run: id(name),
            ticket: ticket(1),
            attempt: 1,
            until: FAR,
            head: pos(2),
            closed: true,
        };
        let renewed = other.renew(&lease, FAR).await?;
        ensure_eq!(D1, renewed, Renewed::Lost, "a renewal of the lease of run {name}, deleted");
    }
    let runs = listing(&other).await?.len();
    ensure_eq!(D1, runs, 0, "runs in a listing, where all were deleted");
    Ok(())
}

async fn a_deletion_may_be_repeated(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    ended(&world, "run", &["chunk"], Due::Never).await?;
    put(Rule::D1, &world, &token("token"), &append(0, &["x"; 3], 1, By::Outsider)).await?;
    for log in [run("run"), token("token")] {
        for world in [&world, &other, &world, &other] {
            deleted(world, &log, 3, Deleted::Done, "the same again").await?;
            let left = whole(world, &log).await?.records.len();
            ensure_eq!(D1, left, 0, "records of {log}, which was deleted");
        }
    }
    Ok(())
}

async fn a_long_run_is_deleted_whole(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::D1, &world, &log, &create_leased(1, FAR, 1)).await?;
    let mut head = 1;
    for _ in 0..24 {
        put(Rule::D1, &world, &log, &append(head, &["x"; 32], 2, owner(1))).await?;
        head += 32;
    }
    let streams: Vec<_> = (0..6).map(|number| stream("run", &number.to_string())).collect();
    for chunks in &streams {
        put(Rule::D1, &world, chunks, &append(0, &["x"; 32], 2, owner(1))).await?;
        put(Rule::D1, &world, chunks, &append(32, &["x"; 32], 2, owner(1))).await?;
    }
    put(Rule::D1, &world, &log, &append(head, &["end"], 3, close(1, Some(Due::Never)))).await?;
    deleted(&world, &log, head + 1, Deleted::Done, "which is closed there").await?;
    for log in streams.iter().chain([&log]) {
        let left = whole(&other, log).await?.records.len();
        ensure_eq!(D1, left, 0, "records of {log}, which was deleted");
    }
    deleted(&other, &log, head + 1, Deleted::Done, "again").await
}

async fn a_deletion_takes_nothing_else_with_it(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (records, chunks) = ended(&world, "run 1", &["chunk"; 2], Due::Never).await?;
    for name in ["ru", "run 1 ", "run 12", "RUN 1", "stream"] {
        ended(&world, name, &["chunk"; 2], Due::Never).await?;
    }
    let first = append(0, &["x"; 3], 1, By::Outsider);
    put(Rule::D1, &world, &token("run 1"), &first).await?;
    ended(&world, "run", &["chunk"; 2], Due::Never).await?;
    for name in ["run", "ru", "run 1 ", "run 12", "RUN 1", "stream"] {
        deleted(&world, &run(name), 3, Deleted::Done, "which is closed at 3").await?;
    }
    let what = "after runs of other names were deleted";
    log_is(Rule::D1, &world, &run("run 1"), &records, what).await?;
    log_is(Rule::D1, &world, &stream("run 1", "stream"), &chunks, what).await?;
    log_is(Rule::D1, &world, &token("run 1"), &first.records, what).await?;
    let runs: Vec<_> = listing(&world).await?.into_iter().map(|meta| meta.run).collect();
    ensure_eq!(D1, runs, vec![id("run 1")], "the runs in a listing, {what}");
    deleted(&world, &token("run 1"), 3, Deleted::Done, "where its head is 3").await?;
    log_is(Rule::D1, &world, &run("run 1"), &records, "after a token of its name was deleted").await
}

async fn a_dropped_deletion_hides_all_or_nothing(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let name = format!("run {polls}");
        let (log, chunks) = (run(&name), stream(&name, "stream"));
        ended(&world, &name, &["chunk"; 5], Due::Never).await?;
        let answer = cut(world.delete(&log, pos(3)), polls).await;
        subject.injected(1);
        let what = format!("a deletion dropped after {polls} polls");

        // It may land between two reads, so each is judged by those after it.
        let first = whole(&other, &log).await?.records.len();
        let of_stream = whole(&other, &chunks).await?.records.len();
        let last = whole(&other, &log).await?.records.len();
        for (kept, all, log) in [(first, 3, &log), (of_stream, 5, &chunks), (last, 3, &log)] {
            let is_whole = kept == 0 || kept == all;
            ensure!(D1, is_whole, "{what}: {kept} of {all} records of {log} are left");
        }
        let is_spared = first > 0 || of_stream == 0;
        ensure!(D1, is_spared, "{what}: the run is hidden, its stream is not");
        let is_hidden = of_stream > 0 || last == 0;
        ensure!(D1, is_hidden, "{what}: the stream is hidden, its run is not");

        deleted(&other, &log, 3, Deleted::Done, "again, after the first was dropped").await?;
        for log in [&log, &chunks] {
            let left = whole(&world, log).await?.records.len();
            ensure_eq!(D1, left, 0, "records of {log}, after {what} and repeated");
        }
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}
