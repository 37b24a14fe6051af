//! Workflows whose client dies at any store call.

use world_core::{Residency, layer::Fault};

use crate::{
    case::{Case, case},
    corpus::Sample,
    failure::Verdict,
    flows::{Flow, Lives, Look, Undisturbed, later, samples, short_samples},
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
        let wanted = Undisturbed::run(&look, &sample, residency).await?;
        for call in 1..=CALLS_MAX {
            let flow = Flow::new(&sample, &format!("{}-{call}", sample.name))?;
            let deaths = vec![(call, death.clone())];
            let died = Lives { residency, deaths, begins: later }
                .of(subject, &look, &flow, &wanted)
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

async fn every_workflow_survives_several_deaths_at_random(subject: Subject) -> Verdict {
    let seeds = subject.seeds(1);
    // What comes of some tells how often their workers died, so they have nothing to equal.
    for sample in short_samples().into_iter().filter(|sample| !sample.counts_deaths()) {
        let look = Look::at(&subject).await?;
        let wanted = Undisturbed::run(&look, &sample, Residency::Resident).await?;
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
    let flow = Flow::new(sample, &format!("{}-{seed}", sample.name))?;
    let draw =
        |what: &str, end: u64| crate::corpus::pick(seed, &format!("{} {what}", sample.name), end);
    let deaths = (0..2 + draw("deaths", 3))
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
    let died = Lives { residency, deaths, begins: later }.of(subject, look, &flow, wanted).await?;
    subject.injected(died);
    Ok(())
}
