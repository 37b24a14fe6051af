//! Workflows whose client dies at any store call.

use std::ops::Range;

use world_core::{Residency, layer::Fault};

use crate::{
    case::{Case, case},
    corpus::{self, Sample},
    failure::Verdict,
    flows::{Flow, Lives, Look, Undisturbed, at_once, later, samples, short_samples},
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
    let (look, core) = (Look::at(subject).await?, samples(CORE)?);
    at_once(&core, |sample| dies_at_each(subject, &look, sample, when, death)).await
}

async fn dies_at_each(
    subject: &Subject,
    look: &Look,
    sample: &Sample,
    when: &str,
    death: &Fault,
) -> Verdict {
    let residency = either(corpus::pick(1, sample.name, 3) == 0);
    let wanted = Undisturbed::run(look, sample, residency).await?;
    for call in 1..=CALLS_MAX {
        let flow = Flow::new(sample, &format!("{}-{call}", sample.name))?;
        let deaths = vec![(call, death.clone())];
        let lives = Lives { residency, deaths, begins: later };
        let died = lives.of(subject, look, &flow, &wanted).await.map_err(|failure| {
            let name = sample.name;
            failure.while_doing(format!("{name}, whose client died {when} call {call}"))
        })?;
        if died == 0 {
            break; // it makes fewer calls
        }
        subject.injected(died);
    }
    Ok(())
}

const fn either(replays: bool) -> Residency {
    if replays { Residency::Replay } else { Residency::Resident }
}

async fn every_workflow_survives_several_deaths_at_random(subject: Subject) -> Verdict {
    let (look, seeds) = (Look::at(&subject).await?, subject.seeds(1));
    at_once(&short_samples(), |sample| dies_at_seeds(&subject, &look, sample, seeds.clone())).await
}

async fn dies_at_seeds(
    subject: &Subject,
    look: &Look,
    sample: &Sample,
    seeds: Range<u64>,
) -> Verdict {
    let wanted = Undisturbed::run(look, sample, Residency::Resident).await?;
    for seed in seeds {
        dies_at_random(subject, look, sample, &wanted, seed).await.map_err(|failure| {
            failure.while_doing(format!("{} under deaths", sample.name)).at_seed(seed)
        })?;
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
    let draw = |what: &str, end: u64| corpus::pick(seed, &format!("{} {what}", sample.name), end);
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
    let residency = either(draw("residency", 2) == 0);
    let died = Lives { residency, deaths, begins: later }.of(subject, look, &flow, wanted).await?;
    subject.injected(died);
    Ok(())
}
