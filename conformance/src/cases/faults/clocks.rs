//! Clocks that are wrong.

use std::{ops::Range, slice::from_ref, time::Duration};

use world_core::{Residency, Timestamp, layer::Fault};

use crate::{
    case::{Case, case},
    corpus::{Sample, pick},
    failure::{Failure, Verdict},
    flows::{
        BEGIN, Ended, Flow, Lives, Look, Process, Standing, Undisturbed, at_once, samples,
        survived, unbroken,
    },
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Faults [] workers_whose_clocks_differ_by_minutes_take_turns),
        case!(Faults [] a_clock_that_steps_back_between_processes_changes_no_end),
    ]
}

/// What rests often, so that it changes hands often.
const RESTING: &[&str] = &[
    "sleeps_and_steps",
    "retried",
    "timers_in_branches",
    "retry_beats_timer",
    "orders_at_once",
    "poll_until_done",
    "cancelled_with_shield",
];

/// How far the clocks of two workers are apart.
const SKEW: Duration = Duration::from_secs(7 * 60);

/// How far a clock steps back: to before the lease of the process that died was given.
const BACK: u64 = 90_000;

/// The most turns of one run.
const TURNS_MAX: usize = 2_000;

async fn workers_whose_clocks_differ_by_minutes_take_turns(subject: Subject) -> Verdict {
    let (look, resting) = (Look::at(&subject).await?, samples(RESTING)?);
    at_once(&resting, |sample| skewed(&subject, &look, sample)).await
}

async fn skewed(subject: &Subject, look: &Look, sample: &Sample) -> Verdict {
    let wanted = Undisturbed::run(look, sample, Residency::Resident).await?;
    let flow = Flow::new(sample, &format!("{}-skewed", sample.name))?;
    let (behind, ahead) = (
        begin(subject, look, &flow, BEGIN, Residency::Resident).await?,
        begin(subject, look, &flow, BEGIN.plus(SKEW), Residency::Replay).await?,
    );
    in_turns(look, &flow, &behind, &ahead, &wanted)
        .await
        .map_err(|failure| failure.while_doing(format!("{} on two clocks", sample.name)))
}

async fn begin(
    subject: &Subject,
    look: &Look,
    flow: &Flow,
    at: Timestamp,
    residency: Residency,
) -> Verdict<Process> {
    Process::begin(subject, look, from_ref(&flow.sample), at, residency, unbroken()).await
}

/// Lets two workers take turns: time passes by the clock of one and of the other.
async fn in_turns(
    look: &Look,
    flow: &Flow,
    behind: &Process,
    ahead: &Process,
    wanted: &Undisturbed,
) -> Verdict {
    behind.start(flow).await?;
    for turn in 0..TURNS_MAX {
        let worker = if turn % 2 == 0 { ahead } else { behind };
        worker.turn().await?;
        match look.standing(flow).await? {
            Standing::Ended => {
                let ended = Ended::Run(look.outcome(flow).await);
                return survived(look, flow, &ended, Some(&wanted.told)).await.map(drop);
            }
            Standing::ToBeCancelled => worker.cancel(flow).await?,
            Standing::Open => {
                worker.pass_time(flow).await?;
                let now = behind.now().max(Timestamp::from_millis(
                    ahead.now().as_millis().saturating_sub(SKEW.as_millis() as u64),
                ));
                behind.engine.clock().set(now);
                ahead.engine.clock().set(now.plus(SKEW));
            }
        }
    }
    Err(Failure::failed(format!("{} has not ended after {TURNS_MAX} turns", flow.run)))
}

async fn a_clock_that_steps_back_between_processes_changes_no_end(subject: Subject) -> Verdict {
    let (look, resting) = (Look::at(&subject).await?, samples(RESTING)?);
    let seeds = subject.seeds(2);
    at_once(&resting, |sample| steps_back(&subject, &look, sample, seeds.clone())).await
}

async fn steps_back(subject: &Subject, look: &Look, sample: &Sample, seeds: Range<u64>) -> Verdict {
    let wanted = Undisturbed::run(look, sample, Residency::Resident).await?;
    for seed in seeds {
        let flow = Flow::new(sample, &format!("{}-{seed}", sample.name))?;
        let deaths = (0..2)
            .map(|n| {
                let call = pick(seed, &format!("{} {n}", sample.name), wanted.calls.max(1));
                (1 + call, Fault::CrashAfter)
            })
            .collect();
        let lives = Lives { residency: Residency::Resident, deaths, begins: earlier };
        let died = lives.of(subject, look, &flow, &wanted).await.map_err(|failure| {
            failure.while_doing(format!("{}, whose clock steps back", sample.name)).at_seed(seed)
        })?;
        subject.injected(died);
    }
    Ok(())
}

fn earlier(died: Timestamp) -> Timestamp {
    Timestamp::from_millis(died.as_millis().saturating_sub(BACK))
}
