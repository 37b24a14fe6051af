//! Rule L2, when: what is due is claimed, and nothing before its time.

use world_core::{Append, By, Due, Renewed, Timestamp, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, commits, rest_by, with_run},
    failure::{Verdict, ensure_eq},
    kit::*,
    rule::Rule::{A4, A6, L1, L2, L4},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L2] a_ready_run_is_due_whatever_the_clock),
        case!(Contract [L2] a_timed_run_is_due_from_its_time_on),
        case!(Contract [L2] a_due_time_of_the_past_is_due),
        case!(Contract [L2] a_parked_run_is_never_due),
        case!(Contract [A4] a_rest_puts_the_run_where_it_says),
        case!(Contract [L2] only_the_latest_due_time_counts),
        case!(Contract [L2] only_the_latest_end_of_a_lease_counts),
        case!(Contract [L2] a_lease_that_ran_out_is_due_again_and_again),
        case!(Contract [L2] what_cannot_be_had_hides_no_due_run),
        case!(Contract [L2] every_due_run_is_claimed_with_any_limit),
        case!(Contract [A6] a_creation_that_comes_late_again_makes_nothing_due),
    ]
}

async fn a_ready_run_is_due_whatever_the_clock(subject: Subject) -> Verdict {
    // Its writer's clock may be far ahead of the claimer's: a ready run's time is an order only.
    for millis in [0, 1_000, Timestamp::MAX.as_millis()] {
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create(Due::Now, millis)).await?;
        let why = format!("it was created to be due now, by a clock at {millis}");
        let lease = claimer.takes(L2, "a", (0, 10), why).await?;
        let rests = append(1, &["slept"], millis, rest_by(lease.ticket, Due::Now));
        commits(&world, &run("a"), &rests).await?;
        let why = format!("it rested until now, by a clock at {millis}");
        let lease = claimer.takes(L2, "a", (0, 10), why).await?;
        let parks = append(2, &[], millis, rest_by(lease.ticket, Due::Never));
        commits(&world, &run("a"), &parks).await?;
        commits(&world, &run("a"), &append(2, &["signal"], millis, By::Outsider)).await?;
        let why = format!("it was woken by a clock at {millis}");
        claimer.takes(L4, "a", (0, 10), why).await?;
    }
    Ok(())
}

async fn a_timed_run_is_due_from_its_time_on(subject: Subject) -> Verdict {
    for time in [1, 1_000, 1_700_000_000_000, Timestamp::MAX.as_millis()] {
        let create = create(Due::At(at(time)), 0);
        let subject = subject.elsewhere()?;
        let (_, mut claimer) = with_run(&subject, create).await?;
        for now in [0, time / 2, time - 1] {
            claimer.leaves(L2, "a", now, format!("it is due at {time}")).await?;
        }
        claimer.takes(L2, "a", (time, time + 10), format!("it is due at {time}")).await?;
    }
    Ok(())
}

async fn a_due_time_of_the_past_is_due(subject: Subject) -> Verdict {
    for time in [0, 1, 999_999] {
        let create = create(Due::At(at(time)), 1_000_000);
        let subject = subject.elsewhere()?;
        let (world, mut claimer) = with_run(&subject, create).await?;
        let why = format!("it is due since {time}");
        let lease = claimer.takes(L2, "a", (1_000_000, 1_000_010), &why).await?;
        let rests = append(1, &[], 1_000_001, rest_by(lease.ticket, Due::At(at(time))));
        commits(&world, &run("a"), &rests).await?;
        claimer.takes(L2, "a", (1_000_002, 1_000_010), &why).await?;
    }
    Ok(())
}

async fn a_parked_run_is_never_due(subject: Subject) -> Verdict {
    let (_, mut claimer) = with_run(&subject, create(Due::Never, 5)).await?;
    for now in [0, 5, 6, 1_000_000, u64::MAX] {
        claimer.leaves(L2, "a", now, "it is parked").await?;
    }
    Ok(())
}

/// A rest with and without records, each way, of a run that is claimed at 10 until 1000.
async fn a_rest_puts_the_run_where_it_says(subject: Subject) -> Verdict {
    for bodies in [&[][..], &["timer"], &["result", "timer"]] {
        for due in [Due::Now, Due::At(at(70)), Due::At(at(5_000)), Due::Never] {
            let subject = subject.elsewhere()?;
            let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
            let lease = claimer.takes(L2, "a", (10, 1_000), "it is ready").await?;
            let rests = append(1, bodies, 20, rest_by(lease.ticket, due));
            commits(&world, &run("a"), &rests).await?;
            let why = format!("it rested with {} records and is {due:?}", bodies.len());
            match due {
                // Its lease would have held: a run that rests keeps nothing of it.
                Due::Now => drop(claimer.takes(A4, "a", (20, 30), why).await?),
                Due::At(time) => {
                    let time = time.as_millis();
                    claimer.leaves(A4, "a", time - 1, &why).await?;
                    drop(claimer.takes(A4, "a", (time, time + 10), why).await?);
                }
                Due::Never => claimer.leaves(A4, "a", u64::MAX, why).await?,
            }
        }
    }
    Ok(())
}

async fn only_the_latest_due_time_counts(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::At(at(100)), 1)).await?;
    let rest = async |lease: &world_core::Lease, due: Due| {
        commits(&world, &run("a"), &append(1, &[], 101, rest_by(lease.ticket, due))).await
    };
    let lease = claimer.takes(L2, "a", (100, 110), "it is due at 100").await?;
    rest(&lease, Due::At(at(500))).await?;
    for now in [100, 110, 499] {
        claimer.leaves(L2, "a", now, "it rests until 500; it was due at 100 before").await?;
    }
    let lease = claimer.takes(L2, "a", (500, 510), "it rests until 500").await?;
    rest(&lease, Due::At(at(200))).await?;
    claimer.leaves(L2, "a", 199, "it rests until 200").await?;
    let why = "it rests until 200; it was due at 500 before";
    let lease = claimer.takes(L2, "a", (200, 210), why).await?;
    rest(&lease, Due::Now).await?;
    let lease =
        claimer.takes(L2, "a", (0, 10), "it rested until now, and until 200 before").await?;
    rest(&lease, Due::Never).await?;
    for now in [0, 200, 500, 1_000_000] {
        claimer.leaves(L2, "a", now, "it is parked; it was due before").await?;
    }
    Ok(())
}

async fn only_the_latest_end_of_a_lease_counts(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    let lease = claimer.takes(L2, "a", (0, 100), "it is ready").await?;
    for until in [300, 200, 900, 50] {
        let answer = world.renew(&lease, at(until)).await?;
        ensure_eq!(L3, answer, Renewed::Held { head: pos(1) }, "a renewal until {until}");
        let why = format!("its lease was renewed until {until}");
        claimer.leaves(L1, "a", until - 1, why).await?;
    }
    claimer.takes(L2, "a", (50, 60), "its lease was renewed until 50, and 900 before").await?;
    Ok(())
}

async fn a_lease_that_ran_out_is_due_again_and_again(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, create(Due::Now, 1)).await?;
    for round in 0..8 {
        let (now, until) = (round * 100, round * 100 + 100);
        let why = format!("the lease before has run out at {now}, for the {round}th time");
        let lease = claimer.takes(L2, "a", (now, until), why).await?;
        let step = append(round + 1, &["step"], now + 1, by(lease.ticket));
        commits(&world, &run("a"), &step).await?;
    }
    Ok(())
}

async fn what_cannot_be_had_hides_no_due_run(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for number in 0..30 {
        let append = match number % 5 {
            0 => create_leased(1, at(9_000), 1),
            1 => create(Due::At(at(9_000)), 1),
            2 => create(Due::Never, 1),
            3 => create_in("other", Due::Now, 1),
            _ => create_in("other", Due::At(at(1)), 1),
        };
        commits(&world, &run(&format!("{number:02}")), &append).await?;
    }
    let mut claimer = Claimer::new(&world);
    for (name, due) in [("ready", Due::Now), ("timed", Due::At(at(400)))] {
        commits(&world, &run(name), &create(due, 500)).await?;
        let leases = claimer.collects(1, (500, 9_000), 1).await?;
        let names = crate::claimer::names(&leases);
        ensure_eq!(L2, names, [name], "what claims of 1 gave, where 30 others are not due");
    }
    Ok(())
}

async fn every_due_run_is_claimed_with_any_limit(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut wanted = Vec::new();
    for number in 0..40_u64 {
        let name = format!("run {number:02}");
        let millis = 1 + number * 7 % 11;
        let append: Append = match number % 4 {
            0 | 1 => create(Due::Now, millis),
            2 => create(Due::At(at(millis)), 0),
            _ => create_leased(1, at(millis), 0),
        };
        commits(&world, &run(&name), &append).await?;
        wanted.push(name);
    }
    for (round, limit) in (1..).zip([7, 3, 1000]) {
        let mut claimer = Claimer::new(&subject.open().await?);
        let (now, until) = (round * 100, round * 100 + 100);
        let leases = claimer.collects(wanted.len(), (now, until), limit).await?;
        let names = crate::claimer::names(&leases);
        ensure_eq!(L2, names, wanted, "what claims of at most {limit} gave of 40 due runs");
    }
    Ok(())
}

async fn a_creation_that_comes_late_again_makes_nothing_due(subject: Subject) -> Verdict {
    let creates = create(Due::Now, 1);
    let (world, mut claimer) = with_run(&subject, creates.clone()).await?;
    let again = async || Ok::<_, crate::Failure>(world.append(&run("a"), &creates).await?);
    let lease = claimer.takes(L2, "a", (10, 100), "it is ready").await?;
    ensure_eq!(A6, again().await?, committed(1), "the creation, sent again");
    claimer.leaves(A6, "a", 99, "it is leased until 100; its creation was sent again").await?;
    commits(&world, &run("a"), &append(1, &[], 20, rest_by(lease.ticket, Due::Never))).await?;
    ensure_eq!(A6, again().await?, committed(1), "the creation, sent again");
    claimer.leaves(A6, "a", u64::MAX, "it is parked; its creation was sent again").await
}
