//! Rule L2, in what order: no due run starves, however many others there are.
//!
//! The order is one of a shard, and nobody knows a World's shards. But where more runs arrive than
//! are claimed, a World that gives the wrong ones first never gives the right one; one that keeps
//! the rule gives it after a while, however many shards it takes in turn.

use std::sync::Arc;

use world_core::{Append, By, Due, World};

use crate::{
    case::{Case, case},
    claimer::{CLAIMS_MAX, Claimer, commits},
    failure::{Verdict, ensure},
    kit::*,
    rule::Rule::{self, L2},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L2] younger_ready_runs_do_not_starve_older_ones),
        case!(Contract [L2] later_timed_runs_do_not_starve_earlier_ones),
        case!(Contract [L2] ready_runs_do_not_starve_timed_ones),
        case!(Contract [L2] timed_runs_do_not_starve_ready_ones),
        case!(Contract [L2] ready_runs_do_not_starve_leases_that_ran_out),
        case!(Contract [L2] leases_that_ran_out_do_not_starve_ready_runs),
        case!(Contract [L2] a_run_that_rested_does_not_starve_the_others),
        case!(Contract [L2] a_run_that_is_woken_all_the_time_keeps_its_age),
        case!(Contract [L2] a_hot_queue_does_not_starve_a_cold_one),
        case!(Contract [L2] one_claimers_rhythm_starves_no_queue_of_another),
        case!(Contract [L2] large_claims_starve_nobody),
    ]
}

/// Runs that arrive all the time: three for each claim of one. Their names lie on both sides of
/// "m", and between, so that an order by name or by a hash of it is no order by age.
pub(super) struct Arriving {
    number: u64,
    create: fn(u64) -> Append,
}

impl Arriving {
    const FIRST: u64 = 1_000;

    pub(super) fn of(create: fn(u64) -> Append) -> Self {
        Self { number: Self::FIRST, create }
    }

    async fn arrive(&mut self, world: &dyn World, runs: u64) -> Verdict {
        for _ in 0..runs {
            self.number += 1;
            let initial = ["a", "m", "z"][self.number as usize % 3];
            let name = format!("{initial} {}", self.number);
            commits(world, &run(&name), &(self.create)(self.number)).await?;
        }
        Ok(())
    }
}

/// Claims one run at a time while three arrive for each, until all the old ones were given.
pub(super) async fn come(
    world: &Arc<dyn World>,
    old: &[String],
    arriving: &mut Arriving,
    claimers: &mut [Claimer],
    what: (Rule, &str),
) -> Verdict {
    let mut missing: Vec<_> = old.iter().map(String::as_str).collect();
    let mut given = 0;
    for claims in 0..CLAIMS_MAX {
        if missing.is_empty() {
            return Ok(());
        }
        // What was not enough for a World that looks into a shard at a time is no reason to add.
        if claims == given {
            arriving.arrive(world, 3).await?;
        }
        let claimer = claims % claimers.len();
        let leases = claimers[claimer].claim(1_000_000, u64::MAX, 1).await?;
        given += leases.len();
        missing.retain(|name| !leases.iter().any(|lease| lease.run.as_str() == *name));
    }
    Err(crate::Failure::broken(
        what.0,
        format!("{}: {CLAIMS_MAX} claims of one run gave {given}, and never {missing:?}", what.1),
    ))
}

/// Whether `old` runs come though others arrive.
pub(super) async fn starves_nobody(
    subject: &Subject,
    old: impl Fn(u64) -> Append,
    arriving: fn(u64) -> Append,
    what: &str,
) -> Verdict {
    let world = subject.open().await?;
    let names: Vec<_> = (1..=8).map(|number| format!("m {number}")).collect();
    for (number, name) in (1..).zip(&names) {
        commits(&world, &run(name), &old(number)).await?;
    }
    let claimers = &mut [Claimer::new(&world)];
    come(&world, &names, &mut Arriving::of(arriving), claimers, (L2, what)).await
}

pub(super) fn ready(time: u64) -> Append {
    create(Due::Now, time)
}

pub(super) fn timed(time: u64) -> Append {
    create(Due::At(at(time)), 0)
}

/// Its time lies before that of everything else.
fn timed_long_ago(time: u64) -> Append {
    create(Due::At(at(time % 7)), 0)
}

fn ready_long_ago(time: u64) -> Append {
    create(Due::Now, time % 7)
}

pub(super) fn ran_out(time: u64) -> Append {
    create_leased(1, at(time), 0)
}

fn ran_out_long_ago(time: u64) -> Append {
    create_leased(1, at(time % 7), 0)
}

async fn younger_ready_runs_do_not_starve_older_ones(subject: Subject) -> Verdict {
    let what = "8 ready runs, and three younger ones arrive for each claim";
    starves_nobody(&subject, ready, ready, what).await
}

async fn later_timed_runs_do_not_starve_earlier_ones(subject: Subject) -> Verdict {
    let what = "8 timed runs that are due, and three of later times arrive for each claim";
    starves_nobody(&subject, timed, timed, what).await?;
    let what = "8 leases that ran out, and three that ran out later come for each claim";
    starves_nobody(&subject.elsewhere()?, ran_out, ran_out, what).await
}

async fn ready_runs_do_not_starve_timed_ones(subject: Subject) -> Verdict {
    let what = "8 timed runs that are due, and three ready ones arrive for each claim";
    starves_nobody(&subject, timed, ready, what).await?;
    starves_nobody(&subject.elsewhere()?, |n| timed(n + 900_000), ready_long_ago, what).await
}

async fn timed_runs_do_not_starve_ready_ones(subject: Subject) -> Verdict {
    let what = "8 ready runs, and three timed ones that are due arrive for each claim";
    starves_nobody(&subject, ready, timed, what).await?;
    starves_nobody(&subject.elsewhere()?, |n| ready(n + 900_000), timed_long_ago, what).await
}

async fn ready_runs_do_not_starve_leases_that_ran_out(subject: Subject) -> Verdict {
    let what = "8 leases that ran out, and three ready runs arrive for each claim";
    starves_nobody(&subject, ran_out, ready, what).await?;
    starves_nobody(&subject.elsewhere()?, |n| ran_out(n + 900_000), ready_long_ago, what).await
}

async fn leases_that_ran_out_do_not_starve_ready_runs(subject: Subject) -> Verdict {
    let what = "8 ready runs, and three leases that ran out come for each claim";
    starves_nobody(&subject, ready, ran_out, what).await?;
    starves_nobody(&subject.elsewhere()?, |n| ready(n + 900_000), ran_out_long_ago, what).await
}

/// A run that rests until now goes behind those that were ready before.
async fn a_run_that_rested_does_not_starve_the_others(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for name in ["m 1", "a", "z"] {
        commits(&world, &run(name), &ready(1)).await?;
    }
    commits(&world, &run("last"), &ready(2)).await?;
    let claimer = Claimer::new(&world);
    for claims in 1..CLAIMS_MAX as u64 {
        for lease in claimer.claim(10, u64::MAX, 1).await? {
            if lease.run.as_str() == "last" {
                return Ok(());
            }
            let by = crate::claimer::rest_by(lease.ticket, Due::Now);
            commits(&world, &lease.run.into(), &append(1, &[], 10 + claims, by)).await?;
        }
    }
    Err(crate::Failure::broken(
        L2,
        format!(
            "{CLAIMS_MAX} claims gave three runs that rested until now after each, and never the \
             one that was ready all the time"
        ),
    ))
}

async fn a_run_that_is_woken_all_the_time_keeps_its_age(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    commits(&world, &run("m"), &ready(1)).await?;
    let claimer = Claimer::new(&world);
    let mut arriving = Arriving::of(ready);
    for claims in 1..=CLAIMS_MAX as u64 {
        arriving.arrive(&world, 3).await?;
        let now = arriving.number + 1;
        commits(&world, &run("m"), &append(claims, &["signal"], now, By::Outsider)).await?;
        let leases = claimer.claim(1_000_000, u64::MAX, 1).await?;
        if leases.iter().any(|lease| lease.run.as_str() == "m") {
            return Ok(());
        }
    }
    Err(crate::Failure::broken(
        L2,
        format!(
            "a ready run is woken before each claim, and three younger ones arrive: \
             {CLAIMS_MAX} claims of one run did not give it"
        ),
    ))
}

async fn a_hot_queue_does_not_starve_a_cold_one(subject: Subject) -> Verdict {
    for queues in [&["hot", "cold"], &["cold", "hot"]] {
        for due in [Due::Now, Due::At(at(1))] {
            for arriving in
                [(|time| create_in("hot", Due::Now, time)) as fn(u64) -> Append, |time| {
                    create_in("hot", Due::At(at(time)), 0)
                }]
            {
                let subject = subject.elsewhere()?;
                let world = subject.open().await?;
                commits(&world, &run("m"), &create_in("cold", due, 1)).await?;
                let mut arriving = Arriving::of(arriving);
                arriving.arrive(&world, 6).await?;
                let claimers = &mut [Claimer::of(&world, queues)];
                let what = format!(
                    "one run of a cold queue, and three of a hot one for each claim of {queues:?}"
                );
                come(&world, &["m".to_owned()], &mut arriving, claimers, (L2, &what)).await?;
            }
        }
    }
    Ok(())
}

async fn one_claimers_rhythm_starves_no_queue_of_another(subject: Subject) -> Verdict {
    for is_one_handle in [true, false] {
        let subject = subject.elsewhere()?;
        let left = subject.open().await?;
        let right = if is_one_handle { Arc::clone(&left) } else { subject.open().await? };
        // Two workers claim in turn. Where one flag says which kind of run goes first, and each
        // claim turns it, one worker gets ready runs only and the other timed ones.
        let mut names = Vec::new();
        for queue in ["left", "right"] {
            for (number, due) in
                [Due::Now, Due::At(at(1)), Due::Now, Due::At(at(2))].into_iter().enumerate()
            {
                let name = format!("m {queue} {number}");
                commits(&left, &run(&name), &create_in(queue, due, 1)).await?;
                names.push(name);
            }
        }
        let mut arriving = Arriving::of(|number| {
            let queue = if number / 2 % 2 == 0 { "left" } else { "right" };
            let due = if number % 2 == 0 { Due::Now } else { Due::At(at(number)) };
            create_in(queue, due, number)
        });
        let claimers = &mut [Claimer::of(&left, &["left"]), Claimer::of(&right, &["right"])];
        let what =
            "two workers with a queue each claim in turn, and runs of both kinds arrive in both";
        come(&left, &names, &mut arriving, claimers, (L2, what)).await?;
    }
    Ok(())
}

/// With claims of many, each kind has its part of every claim, or of every other one.
async fn large_claims_starve_nobody(subject: Subject) -> Verdict {
    for (old, new) in [(ready as fn(u64) -> Append, timed as fn(u64) -> Append), (timed, ready)] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        commits(&world, &run("m"), &old(1)).await?;
        let mut arriving = Arriving::of(new);
        let claimer = Claimer::new(&world);
        arriving.arrive(&world, 16).await?;
        let mut has_come = false;
        for _ in 0..CLAIMS_MAX {
            arriving.arrive(&world, 8).await?;
            let leases = claimer.claim(1_000_000, u64::MAX, 4).await?;
            has_come = leases.iter().any(|lease| lease.run.as_str() == "m");
            if has_come {
                break;
            }
        }
        ensure!(
            L2,
            has_come,
            "{CLAIMS_MAX} claims of 4 never gave it; 8 runs of the other kind arrive before each"
        );
    }
    Ok(())
}
