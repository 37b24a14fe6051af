//! Rule L3: only the current ticket counts, and it counts until it is replaced.

use world_core::{Appended, By, Due, Lease, List, Release, Renewed, Tag, Ticket, World, WorldExt};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, close_by, commits, lease_on, rest_by, with_run},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    listing::metas,
    rule::Rule::{L1, L2, L3},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L3] a_replaced_ticket_appends_nothing),
        case!(Contract [L3] a_replaced_ticket_is_fenced_whatever_the_head),
        case!(Contract [L3] a_ticket_that_was_given_back_is_no_longer_current),
        case!(Contract [L3] tickets_are_compared_whole),
        case!(Contract [L3] a_run_that_nobody_has_takes_no_ticket),
        case!(Contract [L3] an_expired_ticket_that_nobody_replaced_appends),
        case!(Contract [L3] runs_of_one_claim_are_given_back_one_by_one),
    ]
}

/// Every kind of append that a ticket allows, at this head, with what it is.
fn appends_under(ticket: Ticket, head: u64) -> Vec<(&'static str, world_core::Append)> {
    let tags = Some(vec![Tag::from_bytes([9; 16])]);
    let tagging = By::Owner { ticket, close: false, rest: None, tags };
    vec![
        ("an append", append(head, &["late"], 50, by(ticket))),
        ("an append that rests", append(head, &["late"], 50, rest_by(ticket, Due::Now))),
        ("an append that closes", append(head, &["late"], 50, close_by(ticket, None))),
        (
            "an append that closes and rests",
            append(head, &["late"], 50, close_by(ticket, Some(Due::Never))),
        ),
        ("a rest", append(head, &[], 50, rest_by(ticket, Due::Never))),
        ("a rest until a time", append(head, &[], 50, rest_by(ticket, Due::At(at(60))))),
        ("an append with tags", append(head, &["late"], 50, tagging.clone())),
        ("tags", append(head, &[], 50, tagging)),
    ]
}

async fn a_replaced_ticket_appends_nothing(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    let log = run("a");
    let new = claimer.takes(L2, "a", (100, 200), "its lease ran out at 100").await?;
    for (what, append) in appends_under(ticket(1), 1) {
        let answer = world.append(&log, &append).await?;
        ensure_eq!(L3, answer, Appended::Fenced, "{what} under a replaced ticket");
        claimer
            .leaves(L3, "a", 199, format!("{what} under a replaced ticket changes nothing"))
            .await?;
    }
    let chunk = append(0, &["late"], 50, owner(1));
    let answer = world.append(&stream("a", "stream"), &chunk).await?;
    ensure_eq!(L3, answer, Appended::Fenced, "a chunk of a stream under a replaced ticket");
    let head = world.read_all(&stream("a", "stream")).await?.head;
    ensure_eq!(L3, head, pos(0), "the stream's head after a chunk under a replaced ticket");
    let page = world.read_all(&log).await?;
    let seen = (page.head, page.records.len());
    ensure_eq!(L3, seen, (pos(1), 1), "the log after appends under a replaced ticket");
    let listed = metas(&*world, &List::all(count(9))).await?;
    let tagged = listed.iter().any(|meta| !meta.tags.is_empty());
    ensure!(L3, !tagged, "the tags of a replaced ticket's owner are there");
    // Of the new owner nothing has changed: neither its right nor its end, nor who has died.
    let third = claimer.takes(L3, "a", (200, 300), "the new owner's lease ran out at 200").await?;
    let attempt = new.attempt + 1;
    ensure_eq!(L3, third.attempt, attempt, "the attempt after appends under a replaced ticket");
    let answer = world.append(&log, &append(1, &["step"], 60, by(third.ticket))).await?;
    ensure_eq!(L3, answer, committed(2), "the current owner's append");
    let answer = world.append(&log, &append(2, &["late"], 60, by(new.ticket))).await?;
    ensure_eq!(L3, answer, Appended::Fenced, "an append of the owner before");
    Ok(())
}

async fn a_replaced_ticket_is_fenced_whatever_the_head(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    let lease = claimer.takes(L2, "a", (100, 200), "its lease ran out at 100").await?;
    commits(&world, &run("a"), &append(1, &["step"], 101, by(lease.ticket))).await?;
    for stated in [1, 2, 3, 9] {
        let answer = world.append(&run("a"), &append(stated, &["late"], 102, owner(1))).await?;
        ensure_eq!(L3, answer, Appended::Fenced, "a replaced owner's append at {stated}, head 2");
    }
    let answer = world.append(&run("a"), &append(1, &["other"], 102, by(lease.ticket))).await?;
    ensure_eq!(A2, answer, conflict(2), "the current owner's append at 1, head 2");
    Ok(())
}

async fn a_ticket_that_was_given_back_is_no_longer_current(subject: Subject) -> Verdict {
    for due in [Due::Now, Due::At(at(500)), Due::Never] {
        for bodies in [&[][..], &["timer"]] {
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
            let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
            let rests = append(1, bodies, 10, rest_by(lease.ticket, due));
            commits(&world, &run("a"), &rests).await?;
            let head = rests.head_after().get();
            let after = format!("after a rest, {due:?}");
            for (what, append) in appends_under(lease.ticket, head) {
                let answer = world.append(&run("a"), &append).await?;
                ensure_eq!(L3, answer, Appended::Fenced, "{what} under a ticket {after}");
            }
            let chunk = append(0, &["late"], 50, by(lease.ticket));
            let answer = world.append(&stream("a", "stream"), &chunk).await?;
            ensure_eq!(L3, answer, Appended::Fenced, "a chunk of a stream {after}");
            let answer = world.renew(&lease, at(900)).await?;
            ensure_eq!(L3, answer, Renewed::Lost, "a renewal {after}");
            match due {
                Due::Never => claimer.leaves(L3, "a", u64::MAX, "it is parked").await?,
                Due::At(_) => claimer.leaves(L3, "a", 499, "it rests until 500").await?,
                Due::Now => {}
            }
            if due != Due::Never {
                let lease =
                    claimer.takes(L3, "a", (500, 600), format!("it is due {after}")).await?;
                ensure_eq!(L3, lease.head, pos(head), "the head {after} and late appends");
            }
        }
    }
    Ok(())
}

async fn tickets_are_compared_whole(subject: Subject) -> Verdict {
    let mut tickets = vec![[7; 16], [0; 16], [0xFF; 16]];
    for place in [0, 7, 8, 15] {
        let mut ticket = [7; 16];
        ticket[place] = 6;
        tickets.push(ticket);
    }
    for current in [[7; 16], [0; 16]] {
        let new = world_core::NewRun {
            lease: Some((Ticket::from_bytes(current), at(100))),
            ..new_run(Due::Now)
        };
        let create = append(0, &["created"], 1, By::Creator(new));
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create).await?;
        for other in tickets.iter().filter(|other| **other != current) {
            let ticket = Ticket::from_bytes(*other);
            let lease = Lease { ticket, ..lease_on(id("a"), ticket, 100, 1) };
            let what = format!("under the ticket {other:?}, where {current:?} is current");
            let answer = world.append(&run("a"), &append(1, &["other"], 5, by(ticket))).await?;
            ensure_eq!(L3, answer, Appended::Fenced, "an append {what}");
            let chunk = append(0, &["other"], 5, by(ticket));
            let answer = world.append(&stream("a", "stream"), &chunk).await?;
            ensure_eq!(L3, answer, Appended::Fenced, "a chunk of a stream {what}");
            ensure_eq!(L3, world.renew(&lease, at(9)).await?, Renewed::Lost, "a renewal {what}");
        }
        claimer.leaves(L1, "a", 99, "it is leased until 100").await?;
        let step = append(1, &["step"], 5, by(Ticket::from_bytes(current)));
        let answer = world.append(&run("a"), &step).await?;
        ensure_eq!(L3, answer, committed(2), "an append under the current ticket, {current:?}");
    }
    Ok(())
}

async fn a_run_that_nobody_has_takes_no_ticket(subject: Subject) -> Verdict {
    for due in [Due::Now, Due::At(at(500)), Due::Never] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(due, 1)).await?;
        for bytes in [[0; 16], [7; 16], [0xFF; 16]] {
            let ticket = Ticket::from_bytes(bytes);
            let what = format!("under the ticket {bytes:?} of a run that nobody has, {due:?}");
            for (kind, append) in appends_under(ticket, 1) {
                let answer = world.append(&run("a"), &append).await?;
                ensure_eq!(L3, answer, Appended::Fenced, "{kind} {what}");
            }
            let lease = lease_on(id("a"), ticket, 100, 1);
            ensure_eq!(L3, world.renew(&lease, at(9)).await?, Renewed::Lost, "a renewal {what}");
        }
        if due == Due::Never {
            claimer.leaves(L3, "a", u64::MAX, "it is parked, and nobody has had it").await?;
        } else {
            let lease = claimer.takes(L3, "a", (500, 600), "nobody has had it").await?;
            ensure_eq!(L3, lease.head, pos(1), "the head of the first lease");
            ensure_eq!(L5, lease.attempt, 1, "the attempt of the first lease");
        }
    }
    Ok(())
}

async fn an_expired_ticket_that_nobody_replaced_appends(subject: Subject) -> Verdict {
    for what in 0..appends_under(ticket(1), 1).len() {
        let create = create_leased(1, at(100), 1);
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create).await?;
        // The writer's clock says how late it is, and so does a claim of another queue.
        Claimer::of(&world, &["other"]).claim(999_999, 999_999, 9).await?;
        let mut step = append(1, &["step"], 999_999, owner(1));
        step.at = at(999_999);
        let answer = world.append(&run("a"), &step).await?;
        ensure_eq!(L3, answer, committed(2), "an append under a lease that ran out long ago");
        let chunk = append(0, &["chunk"], 999_999, owner(1));
        let answer = world.append(&stream("a", "stream"), &chunk).await?;
        ensure_eq!(L3, answer, committed(1), "a chunk under a lease that ran out long ago");
        let Some((what, append)) = appends_under(ticket(1), 2).into_iter().nth(what) else { break };
        let wanted = Appended::Committed { head: append.head_after() };
        let answer = world.append(&run("a"), &append).await?;
        ensure_eq!(L3, answer, wanted, "{what} under a lease that ran out long ago");
        if matches!(append.by, By::Owner { rest: Some(Release { due: Due::Never, .. }), .. }) {
            claimer.leaves(L3, "a", u64::MAX, format!("{what} has parked it")).await?;
        } else {
            let lease = claimer.takes(L2, "a", (999_999, 1_000_000), "it is due").await?;
            ensure_eq!(L3, lease.head, append.head_after(), "the head after {what}");
            let late = crate::kit::append(lease.head.get(), &["late"], 9, owner(1));
            let answer = world.append(&run("a"), &late).await?;
            let open = if lease.closed { Appended::NotOpen } else { Appended::Fenced };
            ensure_eq!(L3, answer, open, "an append under it once it is replaced");
        }
    }
    Ok(())
}

async fn runs_of_one_claim_are_given_back_one_by_one(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    for name in ["b", "c"] {
        commits(&world, &run(name), &create(Due::Now, 1)).await?;
    }
    let leases = claimer.collects(3, (0, 100), 3).await?;
    for (number, lease) in leases.iter().enumerate() {
        let log = lease.run.clone().into();
        commits(&world, &log, &append(1, &[], 5, rest_by(lease.ticket, Due::Never))).await?;
        for (other, lease) in leases.iter().enumerate() {
            let wanted = match other <= number {
                true => Renewed::Lost,
                false => Renewed::Held { head: pos(1) },
            };
            let answer = world.renew(lease, at(100)).await?;
            let run = &lease.run;
            ensure_eq!(L3, answer, wanted, "a renewal of {run}, {} of 3 given back", number + 1);
        }
    }
    Ok(())
}
