//! Rule L2, in what order: no due run starves for what it is, or was.

use world_core::{Append, By, Due};

use super::fairness::{Arriving, come, ran_out, ready, starves_nobody, timed};
use crate::{
    case::{Case, case},
    claimer::{Claimer, commits},
    failure::Verdict,
    kit::*,
    rule::Rule::L2,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L2] sleepers_do_not_starve_leases_that_ran_out),
        case!(Contract [L2] leases_that_ran_out_do_not_starve_sleepers),
        case!(Contract [L2] open_runs_do_not_starve_closed_ones),
        case!(Contract [L2] new_runs_do_not_starve_those_of_many_attempts),
    ]
}

async fn sleepers_do_not_starve_leases_that_ran_out(subject: Subject) -> Verdict {
    let what = "8 leases that ran out, and three sleepers wake later for each claim";
    starves_nobody(&subject, ran_out, timed, what).await
}

async fn leases_that_ran_out_do_not_starve_sleepers(subject: Subject) -> Verdict {
    let what = "8 sleepers that are due, and three leases run out later for each claim";
    starves_nobody(&subject, timed, ran_out, what).await
}

/// How a run came to be closed and due: what its owner's close says, and whose lease it had.
fn closes() -> [(&'static str, u64, By); 3] {
    [
        ("ready", u64::MAX, close(1, Some(Due::Now))),
        ("due from 5 on", u64::MAX, close(1, Some(Due::At(at(5))))),
        ("left by its worker", 5, close(1, None)),
    ]
}

async fn open_runs_do_not_starve_closed_ones(subject: Subject) -> Verdict {
    for (how, until, by) in closes() {
        for arriving in [ready as fn(u64) -> Append, timed, ran_out] {
            let subject = subject.elsewhere()?;
            let world = subject.open().await?;
            let names: Vec<_> = (1..=4).map(|number| format!("m {number}")).collect();
            for name in &names {
                commits(&world, &run(name), &create_leased(1, at(until), 1)).await?;
                commits(&world, &run(name), &append(1, &["end"], 3, by.clone())).await?;
            }
            let what = format!("4 closed runs, {how}, and three open ones for each claim");
            let arriving = &mut Arriving::of(arriving);
            come(&world, &names, arriving, &mut [Claimer::new(&world)], (L2, &what)).await?;
        }
    }
    Ok(())
}

/// More attempts than a World might have patience with.
const ATTEMPTS: u64 = 40;

async fn new_runs_do_not_starve_those_of_many_attempts(subject: Subject) -> Verdict {
    for arriving in [ready as fn(u64) -> Append, timed, ran_out] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        commits(&world, &run("m"), &ready(1)).await?;
        let mut claimer = Claimer::new(&world);
        for attempt in 1..=ATTEMPTS {
            let times = (attempt * 10, attempt * 10 + 10);
            claimer.takes(L2, "m", times, "its lease ran out").await?;
        }
        let what = format!("a run of {ATTEMPTS} attempts, and three new ones for each claim");
        let (names, arriving) = (["m".to_owned()], &mut Arriving::of(arriving));
        come(&world, &names, arriving, &mut [claimer], (L2, &what)).await?;
    }
    Ok(())
}
