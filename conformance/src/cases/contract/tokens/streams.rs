//! Rule T1: a stream takes only the owner of its run, while the run is open.

use world_core::{Appended, By, Due, Kind, LogId};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{Handle, claimed, listed, listing, log_is, not_due, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [T1] a_stream_begins_at_its_first_chunk),
        case!(Contract [T1] a_stream_takes_only_the_current_ticket_of_its_run),
        case!(Contract [T1] a_stream_of_a_resting_run_takes_nothing),
        case!(Contract [T1] a_stream_leaves_its_run_as_it_is),
        case!(Contract [T1, L5] chunks_are_no_progress_of_their_run),
        case!(Contract [T1] streams_are_apart),
    ]
}

async fn a_stream_begins_at_its_first_chunk(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, chunks) = (run("run"), stream("run", "stream"));
    // Its positions are its own, wherever its run stands.
    put(Rule::T1, &world, &log, &create_leased(1, FAR, 1)).await?;
    put(Rule::T1, &world, &log, &append(1, &["a", "b", "c"], 2, owner(1))).await?;
    let opened = append(0, &["opened", "chunk"], 3, owner(1));
    put(Rule::T1, &world, &chunks, &opened).await?;
    let next = append(2, &["chunk"], 4, owner(1));
    put(Rule::T1, &other, &chunks, &next).await?;
    put(Rule::T1, &other, &log, &append(4, &["d"], 5, owner(1))).await?;
    let wanted = [opened.records, next.records].concat();
    log_is(Rule::T1, &world, &chunks, &wanted, "after three chunks").await
}

async fn fenced(world: &Handle, log: &LogId, expected: u64, by: By, what: &str) -> Verdict {
    let answer = world.append(log, &append(expected, &["late"], 9, by)).await?;
    ensure_eq!(T1, answer, Appended::Fenced, "{what}, at {expected} of {log}");
    Ok(())
}

async fn a_stream_takes_only_the_current_ticket_of_its_run(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, chunks, new) = (run("run"), stream("run", "stream"), stream("run", "new"));
    put(Rule::T1, &world, &log, &create_leased(1, at(100), 1)).await?;
    put(Rule::T1, &world, &run("other"), &create_leased(2, FAR, 1)).await?;
    let first = append(0, &["chunk"], 2, owner(1));
    put(Rule::T1, &world, &chunks, &first).await?;
    for (log, expected) in [(&chunks, 1), (&chunks, 0), (&chunks, 7), (&new, 0), (&new, 1)] {
        fenced(&other, log, expected, owner(2), "a chunk under another run's ticket").await?;
    }
    let lease = claimed(&other, &log, &claim(&["queue"], 3, 100, 200, 8)).await?;
    let seen = lease.map(|lease| lease.run);
    ensure_eq!(T1, seen, Some(id("run")), "the claim of a run whose lease has run out");
    for (log, expected) in [(&chunks, 1), (&new, 0)] {
        fenced(&world, log, expected, owner(1), "a chunk under the replaced ticket").await?;
    }
    log_is(Rule::T1, &world, &new, &[], "after chunks that were fenced").await?;
    let next = append(1, &["next"], 3, owner(3));
    put(Rule::T1, &other, &chunks, &next).await?;
    let wanted = [first.records, next.records].concat();
    log_is(Rule::T1, &world, &chunks, &wanted, "of two owners, one after the other").await
}

async fn a_stream_of_a_resting_run_takes_nothing(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (name, due) in [("parked", Due::Never), ("waiting", Due::At(at(9))), ("due", Due::Now)] {
        let (log, chunks) = (run(name), stream(name, "stream"));
        put(Rule::T1, &world, &log, &create_leased(1, FAR, 1)).await?;
        let first = append(0, &["chunk"], 2, owner(1));
        put(Rule::T1, &world, &chunks, &first).await?;
        put(Rule::T1, &world, &log, &append(1, &[], 3, rest(1, due))).await?;
        let what = "a chunk after the lease was given back";
        fenced(&world, &chunks, 1, owner(1), what).await?;
        fenced(&world, &stream(name, "new"), 0, owner(1), what).await?;
        log_is(Rule::T1, &world, &chunks, &first.records, what).await?;
    }
    Ok(())
}

async fn a_stream_leaves_its_run_as_it_is(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (log, chunks) = (run("run"), stream("run", "stream"));
    let created = create_leased(1, at(100), 1);
    put(Rule::T1, &world, &log, &created).await?;
    for round in 0..3 {
        let mut chunk = append(2 * round, &["chunk", "chunk"], 500 + round, owner(1));
        chunk.records.iter_mut().for_each(|record| record.kind = Kind(77));
        put(Rule::T1, &world, &chunks, &chunk).await?;
    }
    log_is(Rule::T1, &world, &log, &created.records, "after chunks of its stream").await?;
    let early = not_due(&world, &log, &claim(&["queue"], 2, 99, 200, 8)).await?;
    ensure_eq!(T1, early, None, "a claim at 99 of a run leased until 100, after chunks");
    let meta = listed(&world, &log, |meta| meta.last == Kind(1)).await?;
    let seen = meta.map(|meta| (meta.head, meta.last));
    ensure_eq!(T1, seen, Some((pos(1), Kind(1))), "head and last kind in a listing, after chunks");
    let runs = listing(&world).await?.len();
    ensure_eq!(T1, runs, 1, "runs in a listing, where one run and its stream are");
    let due = claimed(&world, &log, &claim(&["queue"], 2, 100, 200, 8)).await?;
    let seen = due.map(|lease| (lease.head, lease.closed));
    ensure_eq!(T1, seen, Some((pos(1), false)), "head and closed of the next claim, after chunks");
    Ok(())
}

async fn chunks_are_no_progress_of_their_run(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (log, chunks) = (run("run"), stream("run", "stream"));
    put(Rule::L5, &world, &log, &create(Due::Now, 1)).await?;
    for round in 1..5_u8 {
        let now = 100 * u64::from(round);
        let lease = claimed(&world, &log, &claim(&["queue"], round, now, now + 100, 8)).await?;
        let attempt = lease.map(|lease| lease.attempt);
        let what = "whose workers wrote only chunks";
        ensure_eq!(
            L5,
            attempt,
            Some(u32::from(round)),
            "the attempt of claim {round} of a run {what}"
        );
        let chunk = append(u64::from(round) - 1, &["chunk"], now, owner(round));
        put(Rule::T1, &world, &chunks, &chunk).await?;
    }
    Ok(())
}

async fn streams_are_apart(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let names = [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b"), ("two", "one")];
    put(Rule::T1, &world, &run("one"), &create_leased(1, FAR, 1)).await?;
    put(Rule::T1, &world, &run("two"), &create_leased(1, FAR, 1)).await?;
    let mut written = Vec::new();
    for (number, (run, name)) in names.into_iter().enumerate() {
        let (log, body) = (stream(run, name), format!("chunk of {run} {name}"));
        let chunks = append(0, &vec![body.as_str(); number + 1], 2, owner(1));
        put(Rule::T1, &world, &log, &chunks).await?;
        written.push((log, chunks.records));
    }
    let end = append(1, &["end"], 3, close(1, Some(Due::Never)));
    put(Rule::T1, &world, &run("one"), &end).await?;
    for (log, wanted) in &written {
        log_is(Rule::T1, &world, log, wanted, "beside other streams").await?;
    }
    // The end of one run is not the end of the other's stream of the same name.
    put(Rule::T1, &world, &stream("two", "a"), &append(3, &["more"], 4, owner(1))).await
}
