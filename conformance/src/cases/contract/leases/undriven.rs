//! Rule L5: giving back a run that was not driven takes its claim back.

use world_core::{Appended, By, Due, Phase, Release, Tag};

use crate::{
    case::{Case, case},
    claimer::{by, close_by, commits, rest_undriven_by, with_run},
    failure::{Verdict, ensure_eq},
    kit::*,
    look,
    rule::Rule::A5,
    subject::Subject,
};

use super::attempts::{grow, next};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L5] a_run_that_was_not_driven_keeps_the_claims_before),
        case!(Contract [L5] any_number_of_undriven_rests_count_for_nothing),
        case!(Contract [L5] after_progress_an_undriven_rest_leaves_no_claim),
        case!(Contract [L5] a_creator_that_does_not_drive_its_run_leaves_no_claim),
        case!(Contract [L5] an_undriven_rest_that_is_sent_again_takes_back_one_claim),
        case!(Contract [L5] an_undriven_rest_that_is_refused_takes_back_nothing),
        case!(Contract [L5] a_closed_run_is_given_back_undriven),
        case!(Contract [A4] an_undriven_rest_carries_records_due_time_and_tags),
    ]
}

const DUES: [Due; 3] = [Due::Now, Due::At(world_core::Timestamp::from_millis(500)), Due::Never];

async fn a_run_that_was_not_driven_keeps_the_claims_before(subject: Subject) -> Verdict {
    for bodies in [&[][..], &["note"], &["two", "notes"]] {
        for due in DUES {
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
            next(&mut claimer, 100, 1, "of a new run").await?;
            next(&mut claimer, 200, 2, "whose owner died").await?;
            let lease = next(&mut claimer, 300, 3, "whose owners died").await?;
            grow(&world, &lease, bodies, rest_undriven_by(lease.ticket, due)).await?;
            if due == Due::Never {
                let head = 1 + bodies.len() as u64;
                commits(&world, &run("a"), &append(head, &["signal"], 400, By::Outsider)).await?;
            }
            let after =
                format!("after two deaths and an undriven rest, {due:?}, {} records", bodies.len());
            next(&mut claimer, 500, 3, &after).await?;
            next(&mut claimer, 600, 4, &format!("{after}, whose owner died")).await?;
        }
    }
    Ok(())
}

async fn any_number_of_undriven_rests_count_for_nothing(subject: Subject) -> Verdict {
    for deaths in [0, 1, 4] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
        for death in 1..=deaths {
            next(&mut claimer, u64::from(death) * 100, death, "without progress").await?;
        }
        for round in 0..12 {
            let after = format!("after {deaths} deaths and {round} undriven rests");
            let lease = next(&mut claimer, 1_000 + round, deaths + 1, &after).await?;
            let due = Due::At(at(1_000 + round));
            grow(&world, &lease, &[], rest_undriven_by(lease.ticket, due)).await?;
        }
    }
    Ok(())
}

async fn after_progress_an_undriven_rest_leaves_no_claim(subject: Subject) -> Verdict {
    for bodies in [&[][..], &["note"]] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
        next(&mut claimer, 100, 1, "of a new run").await?;
        let lease = next(&mut claimer, 200, 2, "whose owner died").await?;
        grow(&world, &lease, &["step"], by(lease.ticket)).await?;
        let gives_back = append(2, bodies, 5, rest_undriven_by(lease.ticket, Due::Now));
        commits(&world, &run("a"), &gives_back).await?;
        next(&mut claimer, 300, 1, "after progress and an undriven rest").await?;
    }
    Ok(())
}

async fn a_creator_that_does_not_drive_its_run_leaves_no_claim(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create_leased(1, at(100), 1)).await?;
    commits(&world, &run("a"), &append(1, &[], 5, rest_undriven(1, Due::Now))).await?;
    let lease = next(&mut claimer, 50, 1, "after the creator's undriven rest").await?;
    grow(&world, &lease, &[], rest_undriven_by(lease.ticket, Due::Now)).await?;
    next(&mut claimer, 100, 1, "after an undriven rest of that claim").await?;
    Ok(())
}

async fn an_undriven_rest_that_is_sent_again_takes_back_one_claim(subject: Subject) -> Verdict {
    for (bodies, answer) in [(&[][..], Appended::Fenced), (&["note"], committed(2))] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
        next(&mut claimer, 100, 1, "of a new run").await?;
        next(&mut claimer, 200, 2, "whose owner died").await?;
        let lease = next(&mut claimer, 300, 3, "whose owners died").await?;
        let gives_back = append(1, bodies, 5, rest_undriven_by(lease.ticket, Due::Now));
        commits(&world, &run("a"), &gives_back).await?;
        for _ in 0..2 {
            let again = world.append(&run("a"), &gives_back).await?;
            ensure_eq!(A6, again, answer, "an undriven rest that is sent again");
        }
        let after = format!("after an undriven rest with {} records, sent thrice", bodies.len());
        next(&mut claimer, 400, 3, &after).await?;
        world.append(&run("a"), &gives_back).await?;
        next(&mut claimer, 500, 4, &format!("{after}, and once more later")).await?;
    }
    Ok(())
}

async fn an_undriven_rest_that_is_refused_takes_back_nothing(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let old = next(&mut claimer, 100, 1, "of a new run").await?;
    let lease = next(&mut claimer, 200, 2, "whose owner died").await?;
    for bodies in [&[][..], &["note"]] {
        let fenced = append(1, bodies, 5, rest_undriven_by(old.ticket, Due::Now));
        let answer = world.append(&run("a"), &fenced).await?;
        ensure_eq!(L3, answer, Appended::Fenced, "an undriven rest under an old ticket");
        let stale = append(7, bodies, 5, rest_undriven_by(lease.ticket, Due::Now));
        let answer = world.append(&run("a"), &stale).await?;
        ensure_eq!(A2, answer, conflict(1), "an undriven rest at 7, where the head is 1");
    }
    next(&mut claimer, 300, 3, "after undriven rests that were refused").await?;
    Ok(())
}

async fn a_closed_run_is_given_back_undriven(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let lease = next(&mut claimer, 100, 1, "of a new run").await?;
    grow(&world, &lease, &["end"], close_by(lease.ticket, Some(Due::At(at(200))))).await?;
    let why = "it is closed and rested until 200";
    claimer.takes(A5, "a", (200, 300), why).await?;
    for round in 0..4 {
        let now = 300 + round;
        let lease = claimer.takes(A5, "a", (now, now + 100), "it is closed and was let go").await?;
        let what = format!("the attempt of a closed run after a death and {round} undriven rests");
        ensure_eq!(L5, (lease.attempt, lease.closed), (2, true), "{what}");
        let gives_back = append(2, &[], 5, rest_undriven_by(lease.ticket, Due::At(at(now))));
        let answer = world.append(&run("a"), &gives_back).await?;
        ensure_eq!(A5, answer, committed(2), "an undriven rest of a closed run");
    }
    Ok(())
}

async fn an_undriven_rest_carries_records_due_time_and_tags(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let lease = next(&mut claimer, 100, 1, "of a new run").await?;
    let tags = vec![Tag::from_bytes([1; 16])];
    let gives_back = By::Owner {
        ticket: lease.ticket,
        close: false,
        rest: Some(Release::undriven(Due::At(at(700)))),
        tags: Some(tags.clone()),
    };
    grow(&world, &lease, &["note"], gives_back).await?;
    let is_wanted = |meta: &world_core::RunMeta| meta.phase == Phase::Waiting(at(700));
    let seen = look::listed(&world, &run("a"), is_wanted).await?;
    let seen = seen.map(|meta| (meta.phase, meta.tags, meta.head));
    ensure_eq!(A4, seen, Some((Phase::Waiting(at(700)), tags, pos(2))), "after an undriven rest");
    claimer.leaves(A5, "a", 699, "it was given back until 700").await?;
    next(&mut claimer, 700, 1, "after an undriven rest until then").await?;
    Ok(())
}
