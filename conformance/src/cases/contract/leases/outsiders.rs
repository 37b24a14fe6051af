//! Rule L4: an outsider makes a run due at once, and leaves a lease alone.

use world_core::{Appended, By, Due, Renewed, World};

use crate::{
    case::{Case, case},
    claimer::{by, close_by, commits, rest_by, with_run},
    failure::{Verdict, ensure_eq},
    kit::*,
    rule::Rule::{A2, A5, A6, L1, L2, L4, T1},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L4] an_outsider_wakes_a_run_that_sleeps_or_is_parked),
        case!(Contract [L4] a_run_is_woken_for_a_claimer_whose_clock_is_behind),
        case!(Contract [L4] a_woken_run_has_no_due_time_left),
        case!(Contract [L4] an_outsider_leaves_a_ready_run_ready),
        case!(Contract [L4] an_outsider_neither_ends_nor_moves_a_lease),
        case!(Contract [L4] an_outsider_leaves_a_lease_that_ran_out_as_it_is),
        case!(Contract [A2] no_owner_parks_past_a_signal_it_has_not_seen),
        case!(Contract [L4] a_run_is_woken_as_often_as_it_is_parked),
        case!(Contract [A2] a_signal_that_conflicts_wakes_nobody),
        case!(Contract [A6] a_signal_that_comes_again_wakes_nobody),
        case!(Contract [A5] a_closed_run_is_woken_by_nobody),
        case!(Contract [T1] a_chunk_neither_wakes_nor_gives_back),
    ]
}

async fn an_outsider_wakes_a_run_that_sleeps_or_is_parked(subject: Subject) -> Verdict {
    for due in [Due::Never, Due::At(at(900))] {
        for bodies in [&["signal"][..], &["one", "two", "three"]] {
            // As it was created, and after a rest.
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(due, 1)).await?;
            let signals = append(1, bodies, 50, By::Outsider);
            commits(&world, &run("a"), &signals).await?;
            let why = format!("it was created {due:?}, and an outsider wrote at 50");
            let lease = claimer.takes(L4, "a", (50, 60), why).await?;
            ensure_eq!(
                L4,
                lease.head,
                signals.head_after(),
                "the head of the lease on a woken run"
            );
            let head = lease.head.get();
            let rests = append(head, &[], 51, rest_by(lease.ticket, due));
            commits(&world, &run("a"), &rests).await?;
            claimer.leaves(L2, "a", 52, format!("it rests, {due:?}")).await?;
            commits(&world, &run("a"), &append(head, bodies, 53, By::Outsider)).await?;
            let why = format!("it rested, {due:?}, and an outsider wrote at 53");
            claimer.takes(L4, "a", (53, 60), why).await?;
        }
    }
    Ok(())
}

async fn a_run_is_woken_for_a_claimer_whose_clock_is_behind(subject: Subject) -> Verdict {
    for due in [Due::Never, Due::At(at(9_000_000))] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(due, 1)).await?;
        commits(&world, &run("a"), &append(1, &["signal"], 1_000_000, By::Outsider)).await?;
        let why = "an outsider wrote, by a clock that is ahead of the claimer's";
        claimer.takes(L4, "a", (0, 60), why).await?;
    }
    Ok(())
}

async fn a_woken_run_has_no_due_time_left(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::At(at(500)), 1)).await?;
    commits(&world, &run("a"), &append(1, &["signal"], 50, By::Outsider)).await?;
    let lease = claimer.takes(L4, "a", (50, 1_000), "it was woken before its time, 500").await?;
    claimer.leaves(L1, "a", 500, "it is leased until 1000; it was due at 500 before").await?;
    commits(&world, &run("a"), &append(2, &[], 60, rest_by(lease.ticket, Due::Never))).await?;
    for now in [500, 1_000, u64::MAX] {
        claimer.leaves(L4, "a", now, "it is parked; it was due at 500 before").await?;
    }
    Ok(())
}

async fn an_outsider_leaves_a_ready_run_ready(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 10)).await?;
    for (head, millis) in (1..).zip([5, 10, 1_000, 1_000_000]) {
        commits(&world, &run("a"), &append(head, &["signal"], millis, By::Outsider)).await?;
    }
    let lease = claimer.takes(L4, "a", (0, 100), "it was ready, and outsiders wrote").await?;
    ensure_eq!(L4, lease.head, pos(5), "the head of the lease on a run that was woken");
    ensure_eq!(L5, lease.attempt, 1, "the attempt of a run that was never claimed");
    claimer.leaves(L1, "a", 99, "it is leased until 100, and was woken before four times").await
}

async fn an_outsider_neither_ends_nor_moves_a_lease(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let log = run("a");
    let lease = claimer.takes(L2, "a", (0, 1_000), "it is ready").await?;
    for (head, millis) in (1..).zip([0, 1, 500, 999, 1_000, 5_000_000]) {
        commits(&world, &log, &append(head, &["signal"], millis, By::Outsider)).await?;
        for now in [0, millis.min(999), 999] {
            let why = format!("it is leased until 1000, and an outsider wrote at {millis}");
            claimer.leaves(L4, "a", now, why).await?;
        }
    }
    let answer = world.append(&log, &append(7, &["step"], 10, by(lease.ticket))).await?;
    ensure_eq!(L4, answer, committed(8), "the owner's append after those of outsiders");
    let why = "its lease ran out at 1000, whatever outsiders wrote";
    let next = claimer.takes(L4, "a", (1_000, 1_100), why).await?;
    ensure_eq!(L4, next.head, pos(8), "the head of the next lease");
    commits(&world, &log, &append(8, &["signal"], 1_050, By::Outsider)).await?;
    let answer = world.renew(&next, at(1_200)).await?;
    ensure_eq!(L4, answer, Renewed::Held { head: pos(9) }, "a renewal after an outsider's append");
    claimer.leaves(L4, "a", 1_199, "its lease was renewed until 1200").await
}

async fn an_outsider_leaves_a_lease_that_ran_out_as_it_is(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    commits(&world, &run("a"), &append(1, &["signal"], 5_000, By::Outsider)).await?;
    let why = "its lease has not run out by this claimer's clock; an outsider wrote at 5000";
    claimer.leaves(L4, "a", 99, why).await?;
    let answer = world.append(&run("a"), &append(2, &["step"], 5_001, owner(1))).await?;
    ensure_eq!(L4, answer, committed(3), "the owner's append, whose lease nobody has replaced");
    let lease = claimer.takes(L4, "a", (100, 200), "its lease ran out at 100").await?;
    ensure_eq!(L4, lease.head, pos(3), "the head of the next lease");
    Ok(())
}

async fn no_owner_parks_past_a_signal_it_has_not_seen(subject: Subject) -> Verdict {
    for due in [Due::Never, Due::At(at(900))] {
        for bodies in [&[][..], &["timer"]] {
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
            let log = run("a");
            let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
            commits(&world, &log, &append(1, &["signal"], 10, By::Outsider)).await?;
            claimer.leaves(L4, "a", 99, "it is leased until 100; an outsider wrote").await?;
            let blind = append(1, bodies, 11, rest_by(lease.ticket, due));
            let answer = world.append(&log, &blind).await?;
            ensure_eq!(
                A2,
                answer,
                conflict(2),
                "a rest that has not seen the last signal, {due:?}"
            );
            claimer.leaves(A2, "a", 99, "it is leased until 100; its rest conflicted").await?;
            let seeing = append(2, bodies, 12, rest_by(lease.ticket, due));
            let answer = world.append(&log, &seeing).await?;
            let wanted = Appended::Committed { head: seeing.head_after() };
            ensure_eq!(A2, answer, wanted, "a rest that has seen the last signal, {due:?}");
            claimer.leaves(A2, "a", 899, format!("it rests, {due:?}, having seen all")).await?;
            let signal = append(seeing.head_after().get(), &["signal"], 13, By::Outsider);
            commits(&world, &log, &signal).await?;
            claimer.takes(L4, "a", (13, 20), "an outsider has woken it again").await?;
        }
    }
    Ok(())
}

async fn a_run_is_woken_as_often_as_it_is_parked(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Never, 1)).await?;
    for head in 1..8 {
        let now = head * 100;
        commits(&world, &run("a"), &append(head, &["signal"], now, By::Outsider)).await?;
        let lease = claimer.takes(L4, "a", (now, now + 50), "an outsider has woken it").await?;
        ensure_eq!(L5, lease.attempt, 1, "the attempt of a run that rested before");
        let rests = append(head + 1, &[], now + 1, rest_by(lease.ticket, Due::Never));
        commits(&world, &run("a"), &rests).await?;
        claimer.leaves(L2, "a", now + 99, "it is parked").await?;
    }
    Ok(())
}

async fn a_signal_that_conflicts_wakes_nobody(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Never, 1)).await?;
    for stated in [0, 2, 7] {
        let answer = world.append(&run("a"), &append(stated, &["signal"], 2, By::Outsider)).await?;
        ensure_eq!(A2, answer, conflict(1), "a signal at {stated}, where the head is 1");
        claimer.leaves(A2, "a", 999, "it is parked, and the signal conflicted").await?;
    }
    Ok(())
}

async fn a_signal_that_comes_again_wakes_nobody(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Never, 1)).await?;
    let signal = append(1, &["signal"], 10, By::Outsider);
    commits(&world, &run("a"), &signal).await?;
    let lease = claimer.takes(L4, "a", (10, 100), "an outsider has woken it").await?;
    commits(&world, &run("a"), &append(2, &["park"], 20, rest_by(lease.ticket, Due::Never)))
        .await?;
    let answer = world.append(&run("a"), &signal).await?;
    ensure_eq!(A6, answer, committed(3), "the signal, sent again");
    claimer.leaves(A6, "a", u64::MAX, "it is parked; the signal it had seen came again").await
}

async fn a_closed_run_is_woken_by_nobody(subject: Subject) -> Verdict {
    for rest in [Due::Never, Due::At(at(900))] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
        let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
        let ends = append(1, &["end"], 10, close_by(lease.ticket, Some(rest)));
        commits(&world, &run("a"), &ends).await?;
        let answer = world.append(&run("a"), &append(2, &["signal"], 20, By::Outsider)).await?;
        ensure_eq!(A5, answer, Appended::NotOpen, "a signal to a closed run");
        claimer.leaves(A5, "a", 899, format!("it is closed and rests, {rest:?}")).await?;
    }
    Ok(())
}

async fn a_chunk_neither_wakes_nor_gives_back(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    for head in 0..3 {
        let chunk = append(head, &["chunk"], 5, owner(1));
        commits(&world, &stream("a", "stream"), &chunk).await?;
        claimer.leaves(T1, "a", 99, "it is leased until 100; its stream has grown").await?;
    }
    let lease = claimer.takes(T1, "a", (100, 200), "its lease ran out at 100").await?;
    ensure_eq!(T1, lease.head, pos(1), "the run's head, whose stream has grown");
    commits(&world, &run("a"), &append(1, &[], 101, rest_by(lease.ticket, Due::Never))).await?;
    let late = append(3, &["late"], 102, by(lease.ticket));
    let answer = world.append(&stream("a", "stream"), &late).await?;
    ensure_eq!(L3, answer, Appended::Fenced, "a chunk after its run was given back");
    claimer.leaves(T1, "a", u64::MAX, "it is parked").await
}
