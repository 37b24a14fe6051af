//! Whether a run that was disturbed has ended as if nothing had happened.

use world_core::{Residency, RunError};

use super::{BEGIN, Ended, Flow, Look, Process, Told, checked, told, unbroken};
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
    /// Runs it on the World under test.
    pub(crate) async fn run(
        subject: &Subject,
        look: &Look,
        flow: &Flow,
        residency: Residency,
    ) -> Verdict<Self> {
        let process =
            Process::begin(subject, look, &[&flow.sample], BEGIN, residency, unbroken()).await?;
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
