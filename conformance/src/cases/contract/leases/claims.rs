//! Rule L1: a due run goes to one claimer, and a lease that has not run out is not given again.

use world_core::{By, Due, NewRun, Renewed, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, close_by, commits, lease_on, names, rest_by, with_run},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    rule::Rule::{A5, L1, L2, L4},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L1] a_lease_says_what_it_is),
        case!(Contract [L1] a_lease_is_given_again_at_its_end_and_not_before),
        case!(Contract [L1] a_creators_lease_holds_whatever_it_said_of_due),
        case!(Contract [L1] of_two_claims_at_the_same_time_one_gets_the_run),
        case!(Contract [L1] a_claim_takes_no_more_than_its_limit),
        case!(Contract [L1] a_claim_takes_only_runs_of_its_queues),
        case!(Contract [I1] queues_whose_names_are_alike_are_two),
        case!(Contract [L1] a_claim_of_several_queues_takes_runs_of_each),
        case!(Contract [L1] a_lease_born_expired_is_given_once_a_claim),
        case!(Contract [L1] only_a_run_that_is_there_is_claimed),
        case!(Contract [A5] a_closed_run_is_claimed_renewed_and_given_back),
    ]
}

async fn a_lease_says_what_it_is(subject: Subject) -> Verdict {
    for head in [2, 4] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(Due::Never, 1)).await?;
        for expected in 1..head {
            commits(&world, &run("a"), &append(expected, &["signal"], 2, By::Outsider)).await?;
        }
        let lease = claimer.takes(L4, "a", (10, 20), "an outsider has written").await?;
        ensure_eq!(L5, lease.attempt, 1, "the attempt of the first claim");
        let wanted = lease_on(id("a"), lease.ticket, 20, head);
        ensure_eq!(L1, lease, wanted, "the lease on a run whose head is {head}");
        let step = append(head, &["step"], 11, by(lease.ticket));
        let answer = world.append(&run("a"), &step).await?;
        ensure_eq!(L1, answer, committed(head + 1), "an append under the ticket of the lease");
    }
    Ok(())
}

async fn a_lease_is_given_again_at_its_end_and_not_before(subject: Subject) -> Verdict {
    let (_, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    claimer.takes(L2, "a", (1_000, 2_000), "it is ready").await?;
    for now in [1_000, 1_001, 1_999] {
        claimer.leaves(L1, "a", now, "it is leased until 2000").await?;
    }
    claimer.takes(L2, "a", (2_000, 3_000), "its lease runs out at 2000").await?;
    // Nothing of the first lease is left, such as its end.
    for now in [2_000, 2_999] {
        claimer.leaves(L1, "a", now, "it is leased again, until 3000").await?;
    }
    claimer.takes(L2, "a", (999_999, 1_000_000), "its lease ran out long ago").await?;
    claimer.leaves(L1, "a", 999_999, "it is leased until 1000000").await
}

async fn a_creators_lease_holds_whatever_it_said_of_due(subject: Subject) -> Verdict {
    for due in [Due::Now, Due::At(at(5)), Due::At(at(9_999)), Due::Never] {
        let new = NewRun { lease: Some((ticket(1), at(100))), ..new_run(due) };
        let create = append(0, &["created"], 1, By::Creator(new));
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create).await?;
        for now in [0, 5, 99] {
            let why = format!("its creator has leased it until 100 (created {due:?})");
            claimer.leaves(L1, "a", now, why).await?;
        }
        let answer = world.append(&run("a"), &append(1, &["step"], 2, owner(1))).await?;
        ensure_eq!(L1, answer, committed(2), "an append under the creator's lease ({due:?})");
        let why = format!("its creator's lease runs out at 100 (created {due:?})");
        let lease = claimer.takes(L2, "a", (100, 200), why).await?;
        ensure_eq!(L1, lease.head, pos(2), "the head of the lease after the creator's");
    }
    Ok(())
}

async fn of_two_claims_at_the_same_time_one_gets_the_run(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    claimer.takes(L2, "a", (50, 100), "it is ready").await?;
    for handle in [&world, &subject.open().await?] {
        let mut other = Claimer::new(handle);
        other.leaves(L1, "a", 50, "another handle has claimed it at the same time").await?;
    }
    claimer.leaves(L1, "a", 50, "this handle has claimed it at the same time").await
}

async fn a_claim_takes_no_more_than_its_limit(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let wanted: Vec<_> = (0..12).map(|number| format!("run {number:02}")).collect();
    for (millis, name) in (1..).zip(&wanted) {
        let due = if millis % 2 == 0 { Due::Now } else { Due::At(at(millis)) };
        commits(&world, &run(name), &create(due, millis)).await?;
    }
    let mut claimer = Claimer::new(&world);
    for (round, limit) in (1..).zip([1, 2, 5, 12, 1000]) {
        let (now, until) = (round * 100, round * 100 + 100);
        // More than the limit, and a run twice in one claim, fail here.
        let leases = claimer.collects(wanted.len(), (now, until), limit).await?;
        ensure_eq!(L1, names(&leases), wanted, "what claims of at most {limit} gave");
    }
    Ok(())
}

async fn a_claim_takes_only_runs_of_its_queues(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    commits(&world, &run("a"), &create_in("mine", Due::Now, 1)).await?;
    commits(&world, &run("b"), &create_in("other", Due::Now, 1)).await?;
    commits(&world, &run("timed"), &create_in("other", Due::At(at(1)), 1)).await?;
    for queues in [&[][..], &["unknown"], &["unknown", "nobody's"]] {
        let leases = Claimer::of(&world, queues).claim(10, 20, 16).await?;
        ensure!(L1, leases.is_empty(), "a claim of {queues:?} gave {:?}", names(&leases));
    }
    let mut claimer = Claimer::of(&world, &["mine"]);
    let leases = claimer.collects(1, (10, 20), 16).await?;
    ensure_eq!(L1, names(&leases), ["a"], "what a claim of the queue \"mine\" gave");
    for name in ["b", "timed"] {
        claimer.leaves(L1, name, 10, "it is of another queue").await?;
    }
    let mut claimer = Claimer::of(&world, &["other"]);
    let leases = claimer.collects(2, (10, 20), 16).await?;
    ensure_eq!(L1, names(&leases), ["b", "timed"], "what a claim of the queue \"other\" gave");
    Ok(())
}

async fn queues_whose_names_are_alike_are_two(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let queues = ["queue", "Queue", "queue ", "queue:a", "queue%", "qu", "queué", "*"];
    for name in queues {
        commits(&world, &run(&format!("of {name}")), &create_in(name, Due::Now, 1)).await?;
    }
    for name in queues {
        let mut claimer = Claimer::of(&world, std::slice::from_ref(&name));
        let leases = claimer.collects(1, (10, 20), 16).await?;
        let wanted = [format!("of {name}")];
        ensure_eq!(I1, names(&leases), wanted, "what a claim of the queue {name:?} gave");
    }
    Ok(())
}

async fn a_claim_of_several_queues_takes_runs_of_each(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (name, queue) in [("a", "left"), ("b", "right"), ("c", "none of them")] {
        commits(&world, &run(name), &create_in(queue, Due::Now, 1)).await?;
    }
    // Named twice, and beside one that nobody knows, a queue is what it is alone.
    let mut claimer = Claimer::of(&world, &["right", "unknown", "left", "right"]);
    let leases = claimer.collects(2, (10, 20), 16).await?;
    ensure_eq!(L1, names(&leases), ["a", "b"], "what a claim of two queues gave");
    claimer.leaves(L1, "c", 10, "it is of another queue").await
}

async fn a_lease_born_expired_is_given_once_a_claim(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    commits(&world, &run("a"), &create(Due::Now, 1)).await?;
    let mut claimer = Claimer::of(&world, &["queue", "queue"]);
    for (attempt, until) in (1..).zip([99, 100, 0]) {
        // A run that comes twice in one claim fails there.
        let why = "it is due, though the lease of each claim has run out when it is given";
        let lease = claimer.takes(L2, "a", (100, until), why).await?;
        ensure_eq!(L5, lease.attempt, attempt, "the attempt");
    }
    let lease = claimer.takes(L2, "a", (100, 200), "its lease has run out").await?;
    let answer = world.append(&run("a"), &append(1, &["step"], 100, by(lease.ticket))).await?;
    ensure_eq!(L1, answer, committed(2), "an append under the last of the tickets");
    Ok(())
}

async fn only_a_run_that_is_there_is_claimed(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(50), 1)).await?;
    let other = run("never created");
    world.append(&other, &append(0, &["signal"], 1, By::Outsider)).await?;
    commits(&world, &token("token"), &append(0, &["claimed"], 1, By::Outsider)).await?;
    commits(&world, &stream("a", "stream"), &append(0, &["chunk"], 1, owner(1))).await?;
    commits(&world, &run("a"), &append(1, &["end"], 2, close(1, Some(Due::Now)))).await?;
    let why = "it was closed and rests until now";
    let lease = claimer.takes(A5, "a", (3, 10), why).await?;
    let rests = append(2, &[], 4, rest_by(lease.ticket, Due::At(at(5))));
    commits(&world, &run("a"), &rests).await?;
    world.delete(&run("a"), pos(2)).await?;
    let leases = Claimer::new(&world).claim(u64::MAX, u64::MAX, 16).await?;
    let found = names(&leases);
    ensure!(
        L1,
        found.is_empty(),
        "a claim gave {found:?}, where a deleted run, a token and a stream are"
    );
    Ok(())
}

async fn a_closed_run_is_claimed_renewed_and_given_back(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(50), 1)).await?;
    let log = run("a");
    commits(&world, &log, &append(1, &["end"], 2, close(1, None))).await?;
    claimer.leaves(L1, "a", 49, "its closing has kept the lease until 50").await?;
    let mut lease = claimer.takes(A5, "a", (50, 60), "it is closed and its lease ran out").await?;
    ensure!(A5, lease.closed, "the lease on a closed run says that it is open");
    ensure_eq!(A5, lease.head, pos(2), "the head in the lease on a closed run");
    let answer = world.renew(&lease, at(90)).await?;
    ensure_eq!(
        A5,
        answer,
        Renewed::Held { head: pos(2) },
        "a renewal of the lease of a closed run"
    );
    claimer.leaves(L1, "a", 89, "its lease was renewed until 90").await?;
    for due in [Due::At(at(200)), Due::Now, Due::Never] {
        let answer = world.append(&log, &append(2, &[], 95, rest_by(lease.ticket, due))).await?;
        ensure_eq!(A5, answer, committed(2), "a rest of a closed run, {due:?}");
        match due {
            Due::At(_) => {
                claimer.leaves(L2, "a", 199, "it is closed and rests until 200").await?;
                lease = claimer.takes(A5, "a", (200, 300), "closed, it rested until 200").await?;
            }
            Due::Now => lease = claimer.takes(A5, "a", (200, 300), "closed, it is ready").await?,
            Due::Never => claimer.leaves(L2, "a", u64::MAX, "it is closed and parked").await?,
        }
    }
    let answer =
        world.append(&log, &append(2, &["late"], 400, close_by(lease.ticket, None))).await?;
    ensure_eq!(A5, answer, world_core::Appended::NotOpen, "a record for a closed run");
    Ok(())
}
