//! Rule L3 for renewals: they move the end of the current lease, and nothing else.

use world_core::{By, Due, Lease, Renewed, World, WorldExt};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, commits, lease_on, with_run},
    failure::{Verdict, ensure_eq},
    kit::*,
    rule::Rule::{L1, L2, L3},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L3] a_replaced_ticket_renews_nothing),
        case!(Contract [L3] an_expired_ticket_that_nobody_replaced_renews),
        case!(Contract [L3] a_renewal_moves_the_end_later_and_earlier),
        case!(Contract [L3] a_renewal_reports_the_true_head),
        case!(Contract [L3] a_renewal_goes_by_the_ticket_alone),
        case!(Contract [L3] a_renewal_of_what_nobody_has_is_lost),
    ]
}

async fn a_replaced_ticket_renews_nothing(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let old = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
    let new = claimer.takes(L2, "a", (100, 200), "its lease ran out at 100").await?;
    for until in [50, 150, 999] {
        let answer = world.renew(&old, at(until)).await?;
        ensure_eq!(L3, answer, Renewed::Lost, "a renewal of a replaced lease until {until}");
    }
    claimer
        .leaves(L3, "a", 199, "the new owner's lease runs until 200, whatever the old one asks")
        .await?;
    let answer = world.renew(&new, at(200)).await?;
    ensure_eq!(L3, answer, Renewed::Held { head: pos(1) }, "the new owner's renewal");
    let why = "the new owner's lease ran out at 200; the old one asked for 999";
    let third = claimer.takes(L3, "a", (200, 300), why).await?;
    ensure_eq!(L3, third.attempt, new.attempt + 1, "the attempt after renewals that were lost");
    Ok(())
}

async fn an_expired_ticket_that_nobody_replaced_renews(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
    Claimer::of(&world, &["other"]).claim(5_000, 6_000, 9).await?;
    let answer = world.renew(&lease, at(5_000)).await?;
    let held = Renewed::Held { head: pos(1) };
    ensure_eq!(L3, answer, held, "a renewal of a lease that ran out, and that nobody replaced");
    claimer.leaves(L1, "a", 4_999, "its lease was renewed until 5000").await?;
    claimer.takes(L2, "a", (5_000, 6_000), "its lease ran out at 5000").await?;
    let answer = world.renew(&lease, at(9_000)).await?;
    ensure_eq!(L3, answer, Renewed::Lost, "a renewal of the lease once it is replaced");
    Ok(())
}

async fn a_renewal_moves_the_end_later_and_earlier(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let mut lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
    for until in [300, 40, 41, 41, 1_000_000, 0] {
        let answer = world.renew(&lease, at(until)).await?;
        ensure_eq!(L3, answer, Renewed::Held { head: pos(1) }, "a renewal until {until}");
        if until > 0 {
            let why = format!("its lease was renewed until {until}");
            claimer.leaves(L3, "a", until - 1, &why).await?;
        }
        let why = format!("its lease was renewed until {until}");
        lease = claimer.takes(L3, "a", (until, until + 100), why).await?;
    }
    Ok(())
}

async fn a_renewal_reports_the_true_head(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
    let steps = [(By::Outsider, 3), (by(lease.ticket), 4), (By::Outsider, 5)];
    commits(&world, &run("a"), &append(1, &["signal"], 5, By::Outsider)).await?;
    for (by, head) in steps {
        let answer = world.renew(&lease, at(100)).await?;
        ensure_eq!(L3, answer, Renewed::Held { head: pos(head - 1) }, "a renewal");
        commits(&world, &run("a"), &append(head - 1, &["more"], 6, by)).await?;
        let answer = world.renew(&lease, at(100)).await?;
        ensure_eq!(L3, answer, Renewed::Held { head: pos(head) }, "a renewal after an append");
    }
    let answer = world.append(&run("a"), &append(5, &["step"], 7, by(lease.ticket))).await?;
    ensure_eq!(L3, answer, committed(6), "the owner's append at the head that a renewal gave");
    Ok(())
}

async fn a_renewal_goes_by_the_ticket_alone(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
    commits(&world, &run("a"), &append(1, &["step"], 5, by(lease.ticket))).await?;
    let held = Renewed::Held { head: pos(2) };
    for until in [200, 300] {
        // Its end, head and attempt are those of the claim, which have changed since.
        let answer = world.renew(&lease, at(until)).await?;
        ensure_eq!(L3, answer, held, "a renewal with the lease as it was claimed");
    }
    let strange = Lease { attempt: 77, head: pos(99), closed: true, until: at(1), ..lease };
    let answer = world.renew(&strange, at(400)).await?;
    ensure_eq!(L3, answer, held, "a renewal with the current ticket, all else being wrong");
    claimer.leaves(L3, "a", 399, "its lease was renewed until 400").await?;
    let lease = claimer.takes(L3, "a", (400, 500), "its lease was renewed until 400").await?;
    ensure_eq!(L3, (lease.head, lease.closed), (pos(2), false), "the next lease");
    Ok(())
}

async fn a_renewal_of_what_nobody_has_is_lost(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Never, 1)).await?;
    for name in ["a", "absent"] {
        let lease = lease_on(id(name), ticket(1), 100, 1);
        let answer = world.renew(&lease, at(200)).await?;
        ensure_eq!(L3, answer, Renewed::Lost, "a renewal of run {name}, which nobody has");
    }
    claimer.leaves(L3, "a", u64::MAX, "it is parked; a renewal of it was lost").await?;
    let head = world.read_all(&run("absent")).await?.head;
    ensure_eq!(L3, head, pos(0), "the head of an absent run after a renewal");
    commits(&world, &run("absent"), &create(Due::Never, 1)).await?;
    claimer.leaves(L3, "absent", u64::MAX, "it was created parked, after a lost renewal").await?;

    commits(&world, &run("b"), &create_leased(1, at(100), 1)).await?;
    commits(&world, &run("b"), &append(1, &["end"], 2, close(1, None))).await?;
    world.delete(&run("b"), pos(2)).await?;
    let lease = lease_on(id("b"), ticket(1), 100, 2);
    let answer = world.renew(&lease, at(200)).await?;
    ensure_eq!(L3, answer, Renewed::Lost, "a renewal of a run that was deleted while leased");
    claimer.leaves(L3, "b", u64::MAX, "it is deleted").await
}
