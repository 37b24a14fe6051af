//! Workflows whose client dies at any store call.

use world_core::{Residency, layer::Fault};

use crate::{
    case::{Case, case},
    corpus::Sample,
    failure::Verdict,
    flows::{
        BEGIN, Ended, Flow, LATER, Look, Process, Undisturbed, broken_at, samples, short_samples,
        survived, unbroken,
    },
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Crash [] a_client_that_dies_before_any_one_call_changes_nothing_of_how_a_run_ends),
        case!(Crash [] a_client_that_dies_after_any_one_call_changes_nothing_of_how_a_run_ends),
        case!(Crash [] a_client_that_dies_in_the_middle_of_any_one_call_changes_nothing_of_how_a_run_ends),
        case!(Crash [] every_workflow_survives_several_deaths_at_random),
    ]
}

/// What is tried exhaustively: each kind of event, append and end once.
const CORE: &[&str] = &[
    "one_step",
    "same_name",
    "all",
    "nested_branches",
    "retried",
    "sleeps_and_steps",
    "step_wins",
    "cancelled_with_shield",
    "error_not_caught",
    "retry_beats_timer",
    "race_of_branches",
    "timers_in_branches",
    "undone_by_hand",
    "orders_at_once",
];

/// The most calls of one process that are tried.
const CALLS_MAX: u64 = 500;

async fn a_client_that_dies_before_any_one_call_changes_nothing_of_how_a_run_ends(
    subject: Subject,
) -> Verdict {
    dies_at_every_call(&subject, "before", &Fault::CrashBefore).await
}

async fn a_client_that_dies_after_any_one_call_changes_nothing_of_how_a_run_ends(
    subject: Subject,
) -> Verdict {
    dies_at_every_call(&subject, "after", &Fault::CrashAfter).await
}

async fn a_client_that_dies_in_the_middle_of_any_one_call_changes_nothing_of_how_a_run_ends(
    subject: Subject,
) -> Verdict {
    dies_at_every_call(&subject, "in the middle of", &Fault::CrashMidway(1)).await
}

async fn dies_at_every_call(subject: &Subject, when: &str, death: &Fault) -> Verdict {
    for (number, sample) in samples(CORE)?.into_iter().enumerate() {
        let look = Look::at(subject).await?;
        let residency = if number % 3 == 0 { Residency::Replay } else { Residency::Resident };
        let flow = Flow::new(&sample, &format!("{}-undisturbed", sample.name), 3)?;
        let wanted = Undisturbed::run(subject, &look, &flow, residency).await?;
        for call in 1..=CALLS_MAX {
            let flow = Flow::new(&sample, &format!("{}-{call}", sample.name), 3)?;
            let deaths = [(call, death.clone())];
            let died = lives_through(subject, &look, &flow, residency, &deaths, &wanted)
                .await
                .map_err(|failure| {
                    let name = sample.name;
                    failure.while_doing(format!("{name}, whose client died {when} call {call}"))
                })?;
            if died == 0 {
                break; // it makes fewer calls
            }
            subject.injected(died);
        }
    }
    Ok(())
}

/// Drives a run through processes that die at these calls, each of its own, and one that does
/// not; says how many died.
async fn lives_through(
    subject: &Subject,
    look: &Look,
    flow: &Flow,
    residency: Residency,
    deaths: &[(u64, Fault)],
    wanted: &Undisturbed,
) -> Verdict<u64> {
    let (mut at, mut died) = (BEGIN, 0);
    let mut plans: Vec<_> =
        deaths.iter().map(|(call, death)| broken_at(*call, death.clone())).collect();
    plans.push(unbroken());
    for plan in plans {
        let process = Process::begin(subject, look, &[&flow.sample], at, residency, plan).await?;
        let ended = process.drive(flow).await?;
        if matches!(ended, Ended::Run(_)) {
            survived(look, flow, &ended, Some(&wanted.told)).await?;
            return Ok(died);
        }
        died += 1;
        at = process.now().plus(LATER);
    }
    survived(look, flow, &Ended::Died, None).await.map(|_| died)
}

async fn every_workflow_survives_several_deaths_at_random(subject: Subject) -> Verdict {
    let seeds = subject.seeds(1);
    // What comes of some tells how often their workers died, so they have nothing to equal.
    for sample in short_samples().into_iter().filter(|sample| !sample.counts_deaths()) {
        let look = Look::at(&subject).await?;
        let flow = Flow::new(&sample, &format!("{}-undisturbed", sample.name), 3)?;
        let wanted = Undisturbed::run(&subject, &look, &flow, Residency::Resident).await?;
        for seed in seeds.clone() {
            dies_at_random(&subject, &look, &sample, &wanted, seed).await.map_err(|failure| {
                failure.while_doing(format!("{} under deaths", sample.name)).at_seed(seed)
            })?;
        }
    }
    Ok(())
}

async fn dies_at_random(
    subject: &Subject,
    look: &Look,
    sample: &Sample,
    wanted: &Undisturbed,
    seed: u64,
) -> Verdict {
    let flow = Flow::new(sample, &format!("{}-{seed}", sample.name), 3)?;
    let draw =
        |what: &str, end: u64| crate::corpus::pick(seed, &format!("{} {what}", sample.name), end);
    let deaths: Vec<_> = (0..2 + draw("deaths", 3))
        .map(|n| {
            let call = 1 + draw(&format!("call {n}"), wanted.calls.max(1));
            let death = match draw(&format!("kind {n}"), 3) {
                0 => Fault::CrashBefore,
                1 => Fault::CrashAfter,
                _ => Fault::CrashMidway(1 + draw(&format!("polls {n}"), 3) as u32),
            };
            (call, death)
        })
        .collect();
    let residency = if draw("residency", 2) == 0 { Residency::Resident } else { Residency::Replay };
    let died = lives_through(subject, look, &flow, residency, &deaths, wanted).await?;
    subject.injected(died);
    Ok(())
}
