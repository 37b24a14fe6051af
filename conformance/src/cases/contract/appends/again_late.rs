//! Rule A6, later: after others have written, after the ticket was replaced, after the end.

use world_core::{Append, Appended, By, Due, LogId, NewRun, Phase, Release, Renewed, RunMeta, Tag};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, asked, claimed, listed, log_is, not_due, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A6] a_closing_append_again_is_committed_after_the_end),
        case!(Contract [A6] a_replaced_owner_is_told_that_its_append_is_there),
        case!(Contract [A6] an_append_again_does_not_rest_close_or_tag_again),
        case!(Contract [A6] a_signal_again_does_not_wake_again),
        case!(Contract [A6] a_creation_again_changes_nothing),
        case!(Contract [A6] a_chunk_again_is_committed_after_its_run_ended),
        case!(Contract [A6] a_rest_again_is_fenced),
    ]
}

async fn a_closing_append_again_is_committed_after_the_end(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, rest_at) in [("kept", None), ("given back", Some(Due::Never))] {
        let log = run(name);
        let created = create_leased(1, FAR, 1);
        let work = append(1, &["work"], 2, owner(1));
        let end = append(2, &["last", "end"], 3, close(1, rest_at));
        for append in [&created, &work, &end] {
            put(Rule::A6, &world, &log, append).await?;
        }
        for (what, again) in [("closing append", &end), ("work", &work), ("creation", &created)] {
            let answer = other.append(&log, again).await?;
            ensure_eq!(A6, answer, committed(4), "the {what} of a run, again after it was closed");
        }
        let wanted = [created.records, work.records, end.records].concat();
        log_is(Rule::A6, &world, &log, &wanted, "of which all was sent again").await?;
    }
    Ok(())
}

async fn lease(world: &Handle, log: &LogId, number: u8, now: u64) -> Verdict<world_core::Lease> {
    let until = now + 100;
    let lease = claimed(world, log, &claim(&["queue"], number, now, until, 8)).await?;
    let absent = || crate::Failure::broken(Rule::L2, format!("{log} is due, but no claim gets it"));
    lease.ok_or_else(absent)
}

async fn a_replaced_owner_is_told_that_its_append_is_there(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A6, &world, &log, &create_leased(1, at(100), 1)).await?;
    let work = append(1, &["work", "more"], 2, owner(1));
    put(Rule::A6, &world, &log, &work).await?;
    let next = lease(&other, &log, 2, 100).await?;
    let answer = world.append(&log, &work).await?;
    ensure_eq!(A6, answer, committed(3), "an owner's own append again, after it was replaced");
    put(Rule::A6, &other, &log, &append(3, &["next"], 4, owner(2))).await?;
    let answer = world.append(&log, &work).await?;
    ensure_eq!(A6, answer, committed(4), "the same, after the next owner has appended");
    let answer = asked(&world, &log, 1).await?;
    ensure_eq!(A6, answer, Appended::Fenced, "an append of the replaced owner that is not there");
    let renewed = other.renew(&next, at(300)).await?;
    let held = Renewed::Held { head: pos(4) };
    ensure_eq!(A6, renewed, held, "the next owner's lease after the resend");
    Ok(())
}

async fn an_append_again_does_not_rest_close_or_tag_again(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let tag = |number: u8| vec![Tag::from_bytes([number; 16])];
    put(Rule::A6, &world, &log, &create_leased(1, FAR, 1)).await?;
    let rests = By::Owner {
        ticket: ticket(1),
        close: false,
        rest: Some(Release::driven(Due::Now)),
        tags: Some(tag(1)),
    };
    let slept = append(1, &["slept"], 2, rests);
    put(Rule::A6, &world, &log, &slept).await?;
    // Another owner has it now, until 110, and sets other tags.
    let next = lease(&other, &log, 2, 10).await?;
    let retags = By::Owner { ticket: ticket(2), close: false, rest: None, tags: Some(tag(2)) };
    put(Rule::A6, &other, &log, &append(2, &["tagged"], 3, retags)).await?;
    let answer = world.append(&log, &slept).await?;
    ensure_eq!(A6, answer, committed(3), "an append that rested, again under the next owner");
    // The same records, now with a close: nothing of it counts.
    let mut closing = slept.clone();
    closing.by = close(2, Some(Due::Never));
    let answer = world.append(&log, &closing).await?;
    ensure_eq!(A6, answer, committed(3), "the same records in an append that closes");
    let renewed = other.renew(&next, at(110)).await?;
    ensure_eq!(A6, renewed, Renewed::Held { head: pos(3) }, "the lease after a rest sent again");
    let early = not_due(&other, &log, &claim(&["queue"], 3, 109, 300, 8)).await?;
    ensure_eq!(A6, early, None, "a claim of a leased run, whose old rest was sent again");
    let is_wanted = |meta: &RunMeta| meta.tags == tag(2) && meta.phase == Phase::Leased;
    let meta = listed(&other, &log, is_wanted).await?.map(|meta| (meta.tags, meta.phase));
    ensure_eq!(A6, meta, Some((tag(2), Phase::Leased)), "tags and phase after the resends");
    Ok(())
}

async fn a_signal_again_does_not_wake_again(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A6, &world, &log, &create(Due::Never, 1)).await?;
    let signal = append(1, &["signal"], 2, By::Outsider);
    put(Rule::A6, &other, &log, &signal).await?;
    lease(&world, &log, 1, 10).await?;
    put(Rule::A6, &world, &log, &append(2, &["seen"], 3, rest(1, Due::Never))).await?;
    let answer = other.append(&log, &signal).await?;
    ensure_eq!(A6, answer, committed(3), "a signal again, after the run has seen it and parked");
    let lease = not_due(&world, &log, &claim(&["queue"], 2, 1_000, 2_000, 8)).await?;
    ensure_eq!(A6, lease, None, "a claim of a parked run, to which an old signal was sent again");
    Ok(())
}

async fn a_creation_again_changes_nothing(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let created = create(Due::Now, 1);
    put(Rule::A6, &world, &log, &created).await?;
    lease(&world, &log, 1, 10).await?;
    put(Rule::A6, &world, &log, &append(1, &["seen"], 3, rest(1, Due::Never))).await?;
    let answer = other.append(&log, &created).await?;
    ensure_eq!(A6, answer, committed(2), "a creation again, after the run has parked");
    // The same record with another queue and a lease: the first creation counts.
    let new = NewRun {
        queue: queue("other"),
        tags: vec![Tag::from_bytes([1; 16])],
        lease: Some((ticket(9), FAR)),
        ..new_run(Due::Now)
    };
    let elsewhere = Append { by: By::Creator(new), ..created.clone() };
    let answer = other.append(&log, &elsewhere).await?;
    ensure_eq!(A6, answer, committed(2), "a creation with the same record for another queue");
    for name in ["queue", "other"] {
        let lease = not_due(&world, &log, &claim(&[name], 2, 1_000, 2_000, 8)).await?;
        ensure_eq!(A6, lease, None, "a claim in {name:?} of a parked run that was created again");
    }
    let answer = asked(&world, &log, 9).await?;
    ensure_eq!(A6, answer, Appended::Fenced, "an append under the second creation's lease");
    let meta = listed(&world, &log, |meta| meta.phase == Phase::Parked).await?;
    let seen = meta.map(|meta| (meta.queue, meta.tags, meta.phase));
    let wanted = Some((queue("queue"), Vec::new(), Phase::Parked));
    ensure_eq!(A6, seen, wanted, "queue, tags and phase of a run that was created again");
    Ok(())
}

async fn a_chunk_again_is_committed_after_its_run_ended(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, chunks) = (run("run"), stream("run", "stream"));
    put(Rule::A6, &world, &log, &create_leased(1, at(100), 1)).await?;
    let chunk = append(0, &["chunk", "chunk"], 2, owner(1));
    put(Rule::A6, &world, &chunks, &chunk).await?;
    lease(&other, &log, 2, 100).await?;
    let answer = world.append(&chunks, &chunk).await?;
    ensure_eq!(A6, answer, committed(2), "an owner's own chunk again, after it was replaced");
    put(Rule::A6, &other, &log, &append(1, &["end"], 3, close(2, None))).await?;
    let answer = world.append(&chunks, &chunk).await?;
    ensure_eq!(A6, answer, committed(2), "an owner's own chunk again, after the run was closed");
    log_is(Rule::A6, &other, &chunks, &chunk.records, "of which the chunks were sent again").await
}

async fn a_rest_again_is_fenced(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A6, &world, &log, &create_leased(1, FAR, 1)).await?;
    let rests = append(1, &[], 2, rest(1, Due::At(at(50))));
    put(Rule::A6, &world, &log, &rests).await?;
    let answer = other.append(&log, &rests).await?;
    ensure_eq!(A6, answer, Appended::Fenced, "a rest without records, again");
    let lease = lease(&world, &log, 2, 50).await?;
    let answer = other.append(&log, &rests).await?;
    ensure_eq!(A6, answer, Appended::Fenced, "a rest without records, again under the next owner");
    let renewed = world.renew(&lease, at(500)).await?;
    ensure!(A6, renewed == Renewed::Held { head: pos(1) }, "the next owner's lease: {renewed:?}");
    let records = whole(&world, &log).await?.records.len();
    ensure_eq!(A6, records, 1, "the records of a run that only rested");
    Ok(())
}
