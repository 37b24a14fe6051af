//! A deletion and something else.

use world_core::{Appended, By, Deleted, Due, List, World, WorldExt};

use super::rounds;
use crate::{
    case::{Case, case},
    claimer::{commits, lease_on},
    failure::{Verdict, ensure, ensure_eq},
    interleave::interleaved,
    kit::*,
    listing::listed,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [D2] a_claim_revives_no_run_that_is_being_deleted),
        case!(Contention [D2] a_rest_revives_no_run_that_is_being_deleted),
        case!(Contention [D2] a_renewal_revives_no_run_that_is_being_deleted),
        case!(Contention [D1] a_signal_and_the_deletion_of_a_token_lose_nothing),
    ]
}

/// A closed run that ticket 1 has until 100.
async fn closed(world: &dyn World, queue: &str) -> Verdict {
    let new = world_core::NewRun {
        queue: crate::kit::queue(queue),
        lease: Some((ticket(1), at(100))),
        ..new_run(Due::Now)
    };
    commits(world, &run(queue), &append(0, &["created"], 1, By::Creator(new))).await?;
    commits(world, &run(queue), &append(1, &["end"], 1, close(1, None))).await
}

/// That nothing is left of a deleted run, whatever was done beside.
async fn is_gone(world: &dyn World, name: &str, deleted: Deleted, what: &str) -> Verdict {
    ensure_eq!(D1, deleted, Deleted::Done, "the deletion of a closed run, {what}");
    let page = world.read_all(&run(name)).await?;
    ensure!(D1, page.records.is_empty(), "a deleted run has records; {what}");
    let is_listed = listed(world, &List::all(count(64))).await?.iter().any(|run| run == name);
    ensure!(D2, !is_listed, "a deleted run is listed; {what}");
    let leases = world.claim(&claim(&[name], 3, 10_000, 10_000, 4)).await?;
    ensure!(D2, leases.is_empty(), "a deleted run is claimed; {what}");
    for append in [append(2, &["signal"], 9, By::Outsider), create(Due::Now, 9)] {
        let answer = world.append(&run(name), &append).await?;
        ensure_eq!(D2, answer, Appended::NotOpen, "an append to a deleted run; {what}");
    }
    Ok(())
}

async fn a_claim_revives_no_run_that_is_being_deleted(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        closed(&world, &name).await?;
        let (log, claim) = (run(&name), claim(&[&name], 2, 100, 200, 4));
        let calls = (world.claim(&claim), other.delete(&log, pos(2)));
        let (leases, deleted) = interleaved(order, calls.0, calls.1).await;
        leases?;
        is_gone(&world, &name, deleted?, &format!("it was claimed beside: {order}")).await?;
    }
    Ok(())
}

async fn a_rest_revives_no_run_that_is_being_deleted(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        closed(&world, &name).await?;
        let (log, rests) = (run(&name), append(2, &[], 5, rest(1, Due::Now)));
        let calls = (world.append(&log, &rests), other.delete(&log, pos(2)));
        let (answer, deleted) = interleaved(order, calls.0, calls.1).await;
        let answer = answer?;
        let fits = answer == committed(2) || answer == Appended::NotOpen;
        ensure!(D2, fits, "a rest of a closed run beside its deletion: {answer:?}: {order}");
        is_gone(&world, &name, deleted?, &format!("it rested beside: {order}")).await?;
    }
    Ok(())
}

async fn a_renewal_revives_no_run_that_is_being_deleted(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        closed(&world, &name).await?;
        let (log, mine) = (run(&name), lease_on(id(&name), ticket(1), 100, 2));
        let calls = (world.renew(&mine, at(500)), other.delete(&log, pos(2)));
        let (renewed, deleted) = interleaved(order, calls.0, calls.1).await;
        renewed?;
        is_gone(&world, &name, deleted?, &format!("it was renewed beside: {order}")).await?;
    }
    Ok(())
}

async fn a_signal_and_the_deletion_of_a_token_lose_nothing(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = token(&name);
        commits(&world, &log, &append(0, &["claimed"], 1, By::Outsider)).await?;
        let more = append(1, &["more"], 2, By::Outsider);
        let calls = (world.append(&log, &more), other.delete(&log, pos(1)));
        let (answer, deleted) = interleaved(order, calls.0, calls.1).await;
        let (answer, deleted) = (answer?, deleted?);
        // Deleted at 1 it goes on from there; at 2 it is not what was to be deleted.
        ensure_eq!(D1, answer, committed(2), "an append beside the deletion of its log: {order}");
        let page = world.read_all(&log).await?;
        let kept: Vec<_> = page.records.iter().map(|record| record.position.get()).collect();
        let wanted = if deleted == Deleted::Done { vec![2] } else { vec![1, 2] };
        ensure_eq!(D1, kept, wanted, "the positions that are left, {deleted:?}: {order}");
        ensure_eq!(D2, page.head, pos(2), "the head of the log, {deleted:?}: {order}");
    }
    Ok(())
}
