//! Whether a run that was disturbed has ended as if nothing had happened.

use std::slice::from_ref;

use world_core::{Residency, RunError, Timestamp, layer::Fault};

use super::{
    BEGIN, Ended, Flow, LATER, Look, Process, Told, broken_at, checked, clock_at, told, unbroken,
};
use crate::{
    corpus::Sample,
    failure::{Failure, Verdict},
    subject::Subject,
};

/// A run of a sample that nobody disturbed.
#[derive(Debug)]
pub(crate) struct Undisturbed {
    /// What its log tells.
    pub(crate) told: Told,
    /// How many calls its process made.
    pub(crate) calls: u64,
}

impl Undisturbed {
    /// Runs it on the World that is looked at.
    pub(crate) async fn run(look: &Look, sample: &Sample, residency: Residency) -> Verdict<Self> {
        let flow = &Flow::new(sample, &format!("{}-undisturbed", sample.name))?;
        let (world, clock) = (look.world.clone(), clock_at(BEGIN));
        let process = Process::on(world, look, from_ref(sample), clock, residency, unbroken())?;
        let ended = process.drive(flow).await?;
        let told = survived(look, flow, &ended, None).await?;
        Ok(Self { told, calls: process.calls() })
    }
}

/// Checks a run that has ended: its log, its end, and that it tells what an undisturbed one does.
pub(crate) async fn survived(
    look: &Look,
    flow: &Flow,
    ended: &Ended,
    wanted: Option<&Told>,
) -> Verdict<Told> {
    let Ended::Run(ended) = ended else {
        return Err(Failure::failed(format!("{} is driven by nobody any more", flow.run)));
    };
    let log = look.log(flow).await?;
    checked(&flow.sample, &flow.run, &log)?;
    let told = Told::of(&log);
    if let Some(objection) = objection(&flow.sample, ended, wanted.is_some()) {
        let outline = told::outline(&log);
        return Err(Failure::failed(format!("{objection}; the log of {}:{outline}", flow.run)));
    }
    let wanted = wanted.filter(|_| !flow.sample.counts_deaths());
    match wanted.and_then(|wanted| told.objection(&flow.sample, wanted)) {
        Some(objection) => Err(Failure::failed(format!("{}: {objection}", flow.run))),
        None => Ok(told),
    }
}

fn objection(sample: &Sample, ended: &Result<String, RunError>, disturbed: bool) -> Option<String> {
    let objection = sample.objection(ended)?;
    if !disturbed {
        return Some(objection);
    }
    // A worker that died counts as an attempt, and the error says how many there were.
    let forgiven = match ended {
        Err(RunError::Failed { run, failure }) => {
            let message = told::without_attempts(failure);
            let failure = world_core::event::Failure { message, ..failure.clone() };
            sample.objection(&Err(RunError::Failed { run: run.clone(), failure })).is_none()
        }
        _ => false,
    };
    (!forgiven && !sample.counts_deaths()).then_some(objection)
}

/// The processes that a run goes through, one after the other: all but the last die.
#[derive(Debug)]
pub(crate) struct Lives {
    pub(crate) residency: Residency,
    /// At which call of its own each dies, and how.
    pub(crate) deaths: Vec<(u64, Fault)>,
    /// When the next begins, from when the last died.
    pub(crate) begins: fn(Timestamp) -> Timestamp,
}

/// Past every lease of the process that died.
pub(crate) fn later(died: Timestamp) -> Timestamp {
    died.plus(LATER)
}

impl Lives {
    /// Drives a run through them and checks it; says how many died.
    pub(crate) async fn of(
        self,
        subject: &Subject,
        look: &Look,
        flow: &Flow,
        wanted: &Undisturbed,
    ) -> Verdict<u64> {
        let (mut at, mut died) = (BEGIN, 0);
        let mut plans: Vec<_> =
            self.deaths.into_iter().map(|(call, death)| broken_at(call, death)).collect();
        plans.push(unbroken());
        for plan in plans {
            let process =
                Process::begin(subject, look, from_ref(&flow.sample), at, self.residency, plan)
                    .await?;
            let ended = process.drive(flow).await?;
            if matches!(ended, Ended::Run(_)) {
                survived(look, flow, &ended, Some(&wanted.told)).await?;
                return Ok(died);
            }
            died += 1;
            at = (self.begins)(process.now());
        }
        Err(Failure::failed(format!("{} was left by a process that nobody killed", flow.run)))
    }
}
