//! Rule L5: claims in a row are counted, progress and rests begin anew.

use std::sync::Arc;

use world_core::{Appended, By, Due, Lease, Tag, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, close_by, commits, rest_by, with_run},
    failure::{Verdict, ensure_eq},
    kit::*,
    rule::Rule::{A5, L2},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L5] each_claim_without_progress_counts),
        case!(Contract [L5] a_creators_lease_is_the_first_attempt),
        case!(Contract [L5] an_owners_records_count_the_claim_under_way_alone),
        case!(Contract [L5] a_rest_begins_anew),
        case!(Contract [L5] a_rest_of_a_run_that_was_claimed_often_begins_anew),
        case!(Contract [L5] outsiders_chunks_tags_and_renewals_count_for_nothing),
        case!(Contract [L5] what_is_refused_counts_for_nothing),
        case!(Contract [L5] a_closing_is_progress_as_well),
        case!(Contract [L5] each_run_has_a_count_of_its_own),
    ]
}

/// Claims the run "a" when its lease has run out at `now`, and checks the attempt.
pub(super) async fn next(
    claimer: &mut Claimer,
    now: u64,
    attempt: u32,
    after: &str,
) -> Verdict<Lease> {
    let why = format!("it is due {after}");
    let lease = claimer.takes(L2, "a", (now, now + 100), why).await?;
    ensure_eq!(L5, lease.attempt, attempt, "the attempt of a claim {after}");
    Ok(lease)
}

pub(super) async fn grow(
    world: &Arc<dyn World>,
    lease: &Lease,
    bodies: &[&str],
    by: By,
) -> Verdict {
    commits(world, &run("a"), &append(lease.head.get(), bodies, 5, by)).await
}

async fn each_claim_without_progress_counts(subject: Subject) -> Verdict {
    let (_, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    for attempt in 1..=12 {
        let now = u64::from(attempt) * 100;
        next(&mut claimer, now, attempt, "after claims without progress").await?;
    }
    Ok(())
}

async fn a_creators_lease_is_the_first_attempt(subject: Subject) -> Verdict {
    let (_, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    next(&mut claimer, 100, 2, "after the creator's lease ran out").await?;
    next(&mut claimer, 200, 3, "after that lease ran out too").await?;
    let subject = subject.elsewhere()?;
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    commits(&world, &run("a"), &append(1, &["step"], 5, owner(1))).await?;
    next(&mut claimer, 100, 2, "after the creator's progress, and death").await?;
    let subject = subject.elsewhere()?;
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    commits(&world, &run("a"), &append(1, &[], 5, rest(1, Due::Now))).await?;
    next(&mut claimer, 100, 1, "after the creator's rest").await?;
    Ok(())
}

async fn an_owners_records_count_the_claim_under_way_alone(subject: Subject) -> Verdict {
    for claims in 1..=4 {
        for bodies in [&["step"][..], &["one", "two", "three"]] {
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
            let mut lease = next(&mut claimer, 100, 1, "of a new run").await?;
            for attempt in 2..=claims {
                lease =
                    next(&mut claimer, u64::from(attempt) * 100, attempt, "that ran out").await?;
            }
            grow(&world, &lease, bodies, by(lease.ticket)).await?;
            next(&mut claimer, 1_000, 2, "of an owner that made progress, and died").await?;
            next(&mut claimer, 1_100, 3, "of one more that died").await?;
        }
    }
    Ok(())
}

async fn a_rest_begins_anew(subject: Subject) -> Verdict {
    for bodies in [&[][..], &["timer"]] {
        for due in [Due::Now, Due::At(at(500)), Due::Never] {
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
            next(&mut claimer, 100, 1, "of a new run").await?;
            let lease = next(&mut claimer, 200, 2, "whose owner died").await?;
            grow(&world, &lease, bodies, rest_by(lease.ticket, due)).await?;
            if due == Due::Never {
                let head = 1 + bodies.len() as u64;
                commits(&world, &run("a"), &append(head, &["signal"], 300, By::Outsider)).await?;
            }
            let after = format!("after a rest with {} records, {due:?}", bodies.len());
            next(&mut claimer, 500, 1, &after).await?;
            next(&mut claimer, 600, 2, &format!("{after}, whose owner died")).await?;
        }
    }
    Ok(())
}

async fn a_rest_of_a_run_that_was_claimed_often_begins_anew(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    for round in 0..6 {
        let lease = next(&mut claimer, 100 + round, 1, "after a rest").await?;
        grow(&world, &lease, &[], rest_by(lease.ticket, Due::Now)).await?;
    }
    Ok(())
}

async fn outsiders_chunks_tags_and_renewals_count_for_nothing(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    next(&mut claimer, 100, 1, "of a new run").await?;
    let lease = next(&mut claimer, 200, 2, "whose owner died").await?;
    grow(&world, &lease, &["signal"], By::Outsider).await?;
    let lease = next(&mut claimer, 300, 3, "after an outsider's append").await?;
    world.renew(&lease, at(400)).await?;
    world.renew(&lease, at(400)).await?;
    let lease = next(&mut claimer, 400, 4, "after renewals").await?;
    let chunk = append(0, &["chunk"], 5, by(lease.ticket));
    commits(&world, &stream("a", "stream"), &chunk).await?;
    let lease = next(&mut claimer, 500, 5, "after a chunk of a stream").await?;
    let tags = Some(vec![Tag::from_bytes([1; 16])]);
    let tagging = By::Owner { ticket: lease.ticket, close: false, rest: None, tags };
    grow(&world, &lease, &[], tagging).await?;
    let lease = next(&mut claimer, 600, 6, "after tags without records").await?;
    grow(&world, &lease, &["step"], by(lease.ticket)).await?;
    grow(&world, &next(&mut claimer, 700, 2, "after a step").await?, &["signal"], By::Outsider)
        .await?;
    next(&mut claimer, 800, 3, "after an outsider's append to a run with progress").await?;
    Ok(())
}

async fn what_is_refused_counts_for_nothing(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let old = next(&mut claimer, 100, 1, "of a new run").await?;
    let lease = next(&mut claimer, 200, 2, "whose owner died").await?;
    let fenced = append(1, &["late"], 5, by(old.ticket));
    let stale = append(0, &["stale"], 5, by(lease.ticket));
    let stale_rest = append(7, &[], 5, rest_by(lease.ticket, Due::Now));
    ensure_eq!(
        L3,
        world.append(&run("a"), &fenced).await?,
        Appended::Fenced,
        "an old owner's step"
    );
    for stale in [stale, stale_rest] {
        let answer = world.append(&run("a"), &stale).await?;
        ensure_eq!(A2, answer, conflict(1), "an append at {}, where the head is 1", stale.expected);
    }
    let lease = next(&mut claimer, 300, 3, "after appends that were refused").await?;
    let step = append(1, &["step"], 5, by(lease.ticket));
    commits(&world, &run("a"), &step).await?;
    next(&mut claimer, 400, 2, "after a step").await?;
    world.append(&run("a"), &step).await?;
    next(&mut claimer, 500, 3, "after the step was sent again").await?;
    Ok(())
}

async fn a_closing_is_progress_as_well(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    next(&mut claimer, 100, 1, "of a new run").await?;
    next(&mut claimer, 200, 2, "whose owner died").await?;
    let lease = next(&mut claimer, 300, 3, "whose owners died").await?;
    grow(&world, &lease, &["end"], close_by(lease.ticket, None)).await?;
    let dies = [(400, 2, "after its closing, whose owner died"), (500, 3, "whose owners died")];
    let mut last = lease.ticket;
    for (now, attempt, after) in dies {
        let lease =
            claimer.takes(A5, "a", (now, now + 100), "it is closed and leased no more").await?;
        ensure_eq!(L5, lease.attempt, attempt, "the attempt of a claim of a closed run {after}");
        last = lease.ticket;
    }
    commits(&world, &run("a"), &append(2, &[], 501, rest_by(last, Due::Now))).await?;
    let lease = claimer.takes(A5, "a", (600, 700), "it is closed and rested until now").await?;
    ensure_eq!(L5, lease.attempt, 1, "the attempt of a claim of a closed run after a rest");
    Ok(())
}

async fn each_run_has_a_count_of_its_own(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    for attempt in 1..=3 {
        next(&mut claimer, u64::from(attempt) * 100, attempt, "without progress").await?;
    }
    commits(&world, &run("b"), &create_in("other", Due::Now, 1)).await?;
    let mut other = Claimer::of(&world, &["other"]);
    let lease = other.takes(L2, "b", (300, 400), "it is ready").await?;
    ensure_eq!(L5, lease.attempt, 1, "the attempt of a new run beside one that is claimed often");
    next(&mut claimer, 400, 4, "beside a run that was claimed once").await?;
    Ok(())
}
