//! Two calls of which one at least concerns a lease.

use world_core::{Appended, By, Due, Lease, Renewed, World, WorldExt};

use super::rounds;
use crate::{
    case::{Case, case},
    claimer::{by, commits, lease_on},
    failure::{Verdict, ensure, ensure_eq},
    interleave::interleaved,
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [L1] of_two_claims_one_gets_the_run),
        case!(Contention [L1] of_two_claims_each_run_goes_to_one),
        case!(Contention [L3] of_an_owner_and_who_takes_over_one_goes_on),
        case!(Contention [L3] of_a_rest_and_a_takeover_one_is_done),
        case!(Contention [L3] of_a_renewal_and_a_takeover_one_is_done),
        case!(Contention [A2] a_claim_and_a_signal_are_both_done),
        case!(Contention [L4] a_claim_never_hides_a_wake),
        case!(Contention [L4] a_renewal_and_a_signal_are_both_done),
        case!(Contention [L3] a_renewal_and_a_step_are_both_done),
    ]
}

async fn of_two_claims_one_gets_the_run(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        for (due, kind) in [(Due::Now, "ready"), (Due::At(at(5)), "timed")] {
            let queue = format!("{name} {kind}");
            commits(&world, &run(&queue), &create_in(&queue, due, 1)).await?;
            let claims = [1, 2].map(|number| claim(&[&queue], number, 10, 100, 4));
            let calls = (world.claim(&claims[0]), other.claim(&claims[1]));
            let (one, two) = interleaved(order, calls.0, calls.1).await;
            let (one, two) = (one?, two?);
            let given = one.len() + two.len();
            ensure!(L1, given <= 1, "two claims of a {kind} run gave {given} leases: {order}");
            for lease in one.iter().chain(&two) {
                let step = append(1, &["step"], 11, by(lease.ticket));
                let answer = world.append(&run(&queue), &step).await?;
                ensure_eq!(L1, answer, committed(2), "the append of who got it: {order}");
            }
        }
    }
    Ok(())
}

async fn of_two_claims_each_run_goes_to_one(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (queue, order) in rounds() {
        for number in 0..6 {
            let due = if number % 2 == 0 { Due::Now } else { Due::At(at(5)) };
            let log = run(&format!("{queue} {number}"));
            commits(&world, &log, &create_in(&queue, due, number)).await?;
        }
        let claims = [1, 2].map(|number| claim(&[&queue], number, 10, 100, 4));
        let calls = (world.claim(&claims[0]), other.claim(&claims[1]));
        let (one, two) = interleaved(order, calls.0, calls.1).await;
        let (one, two) = (one?, two?);
        for lease in &one {
            let twice = two.iter().any(|other| other.run == lease.run);
            ensure!(L1, !twice, "two claims at once both gave run {}: {order}", lease.run);
        }
        for lease in one.iter().chain(&two) {
            let step = append(1, &["step"], 11, by(lease.ticket));
            let answer = world.append(&lease.run.clone().into(), &step).await?;
            ensure_eq!(L1, answer, committed(2), "the append of who got {}: {order}", lease.run);
        }
    }
    Ok(())
}

/// A run whose creator's lease, under ticket 1, runs out at 100.
async fn expiring(world: &dyn World, queue: &str) -> Verdict {
    let new = world_core::NewRun {
        queue: crate::kit::queue(queue),
        lease: Some((ticket(1), at(100))),
        ..new_run(Due::Now)
    };
    commits(world, &run(queue), &append(0, &["created"], 1, By::Creator(new))).await
}

async fn of_an_owner_and_who_takes_over_one_goes_on(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        expiring(&world, &name).await?;
        let (step, claim) = (append(1, &["step"], 100, owner(1)), claim(&[&name], 2, 100, 200, 4));
        let calls = (world.append(&log, &step), other.claim(&claim));
        let (answer, leases) = interleaved(order, calls.0, calls.1).await;
        let (answer, leases) = (answer?, leases?);
        let head = world.read_all(&log).await?.head;
        let told = if answer == Appended::Fenced { pos(1) } else { pos(2) };
        ensure_eq!(
            L3,
            head,
            told,
            "the head after an owner's append, answered {answer:?}: {order}"
        );
        if let Some(lease) = leases.first() {
            // What the new owner was told is there is all there is: nothing came after it.
            ensure_eq!(L3, lease.head, head, "the head of who took over: {order}");
            let answer = world.append(&log, &append(head.get(), &["next"], 101, owner(2))).await?;
            let wanted = committed(head.get() + 1);
            ensure_eq!(L3, answer, wanted, "the append of who took over: {order}");
        } else {
            ensure_eq!(L3, answer, committed(2), "an owner's append, replaced by nobody: {order}");
        }
    }
    Ok(())
}

async fn of_a_rest_and_a_takeover_one_is_done(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        expiring(&world, &name).await?;
        let parks = append(1, &[], 100, rest(1, Due::Never));
        let claim = claim(&[&name], 2, 100, 200, 4);
        let calls = (world.append(&log, &parks), other.claim(&claim));
        let (answer, leases) = interleaved(order, calls.0, calls.1).await;
        let (answer, given) = (answer?, leases?.len());
        let wanted = if given == 0 { committed(1) } else { Appended::Fenced };
        ensure_eq!(L3, answer, wanted, "a rest beside a claim that gave {given} leases: {order}");
        let answer = world.append(&log, &append(1, &["next"], 101, owner(2))).await?;
        let wanted = if given == 0 { Appended::Fenced } else { committed(2) };
        ensure_eq!(L3, answer, wanted, "the append of a claimer that got {given} leases: {order}");
    }
    Ok(())
}

async fn of_a_renewal_and_a_takeover_one_is_done(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        expiring(&world, &name).await?;
        let mine = lease_on(id(&name), ticket(1), 100, 1);
        let takes = claim(&[&name], 2, 100, 200, 4);
        let calls = (world.renew(&mine, at(500)), other.claim(&takes));
        let (renewed, leases) = interleaved(order, calls.0, calls.1).await;
        let (renewed, given) = (renewed?, leases?.len());
        let held = Renewed::Held { head: pos(1) };
        let wanted = if given == 0 { held } else { Renewed::Lost };
        ensure_eq!(L3, renewed, wanted, "a renewal beside a claim that gave {given}: {order}");
        let (current, replaced) = if given == 0 { (1, 2) } else { (2, 1) };
        let answer = world.append(&log, &append(1, &["late"], 101, owner(replaced))).await?;
        ensure_eq!(L3, answer, Appended::Fenced, "the append of who lost: {order}");
        let end = if given == 0 { 500 } else { 200 };
        let early = world.claim(&claim(&[&name], 3, end - 1, 900, 4)).await?;
        ensure!(
            L1,
            early.is_empty(),
            "a lease until {end} was given again at {}: {order}",
            end - 1
        );
        let answer = world.append(&log, &append(1, &["next"], 101, owner(current))).await?;
        ensure_eq!(L3, answer, committed(2), "the append of who has it: {order}");
    }
    Ok(())
}

async fn a_claim_and_a_signal_are_both_done(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        commits(&world, &log, &create_in(&name, Due::Now, 1)).await?;
        let (claim, signal) =
            (claim(&[&name], 1, 10, 100, 4), append(1, &["signal"], 2, By::Outsider));
        let calls = (world.claim(&claim), other.append(&log, &signal));
        let (leases, answer) = interleaved(order, calls.0, calls.1).await;
        let (leases, answer) = (leases?, answer?);
        ensure_eq!(A2, answer, committed(2), "a signal beside a claim: {order}");
        let page = world.read_all(&log).await?;
        let seen = (page.head, page.records.len());
        ensure_eq!(A2, seen, (pos(2), 2), "the log after a signal and a claim: {order}");
        for lease in leases {
            let in_between = [pos(1), pos(2)].contains(&lease.head);
            ensure!(A2, in_between, "the head of the lease is {}: {order}", lease.head);
            let answer = world.append(&log, &append(2, &["step"], 11, owner(1))).await?;
            ensure_eq!(A2, answer, committed(3), "the claimer's append: {order}");
        }
    }
    Ok(())
}

/// A claim that looked before the wake may miss it; the next one does not.
async fn a_claim_never_hides_a_wake(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        for (due, kind) in [(Due::Never, "parked"), (Due::At(at(900)), "sleeping")] {
            let queue = format!("{name} {kind}");
            let log = run(&queue);
            commits(&world, &log, &create_in(&queue, due, 1)).await?;
            let signal = append(1, &["signal"], 2, By::Outsider);
            let mut leases: Vec<Lease> = Vec::new();
            let first = claim(&[&queue], 1, 10, 100, 4);
            let calls = (world.claim(&first), other.append(&log, &signal));
            let (given, answer) = interleaved(order, calls.0, calls.1).await;
            leases.extend(given?);
            ensure_eq!(L4, answer?, committed(2), "a signal to a {kind} run: {order}");
            for _ in 0..crate::claimer::CLAIMS_MAX {
                if !leases.is_empty() {
                    break;
                }
                leases.extend(other.claim(&claim(&[&queue], 2, 10, 100, 4)).await?);
            }
            let heads: Vec<_> = leases.iter().map(|lease| lease.head).collect();
            ensure_eq!(L4, heads, [pos(2)], "the heads of the leases on a woken run: {order}");
        }
    }
    Ok(())
}

async fn a_renewal_and_a_signal_are_both_done(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        expiring(&world, &name).await?;
        let mine = lease_on(id(&name), ticket(1), 100, 1);
        let signal = append(1, &["signal"], 2, By::Outsider);
        let calls = (world.renew(&mine, at(500)), other.append(&log, &signal));
        let (renewed, answer) = interleaved(order, calls.0, calls.1).await;
        let (renewed, answer) = (renewed?, answer?);
        ensure_eq!(L4, answer, committed(2), "a signal beside a renewal: {order}");
        let held = [1, 2].map(|head| Renewed::Held { head: pos(head) });
        ensure!(L4, held.contains(&renewed), "a renewal beside a signal: {renewed:?}: {order}");
        let early = world.claim(&claim(&[&name], 3, 499, 900, 4)).await?;
        ensure!(L4, early.is_empty(), "a lease renewed until 500 was given at 499: {order}");
        let answer = world.append(&log, &append(2, &["step"], 3, owner(1))).await?;
        ensure_eq!(L4, answer, committed(3), "the owner's append at head 2: {order}");
    }
    Ok(())
}

async fn a_renewal_and_a_step_are_both_done(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for (name, order) in rounds() {
        let log = run(&name);
        expiring(&world, &name).await?;
        let mine = lease_on(id(&name), ticket(1), 100, 1);
        let step = append(1, &["step"], 2, owner(1));
        let calls = (world.renew(&mine, at(500)), other.append(&log, &step));
        let (renewed, answer) = interleaved(order, calls.0, calls.1).await;
        let (renewed, answer) = (renewed?, answer?);
        ensure_eq!(L3, answer, committed(2), "an owner's step beside its renewal: {order}");
        let held = [1, 2].map(|head| Renewed::Held { head: pos(head) });
        ensure!(L3, held.contains(&renewed), "a renewal beside a step: {renewed:?}: {order}");
        let early = world.claim(&claim(&[&name], 3, 499, 900, 4)).await?;
        ensure!(L3, early.is_empty(), "a lease renewed until 500 was given at 499: {order}");
        let answer = world.append(&log, &append(2, &["next"], 3, owner(1))).await?;
        ensure_eq!(L3, answer, committed(3), "the owner's next append, at head 2: {order}");
    }
    Ok(())
}
