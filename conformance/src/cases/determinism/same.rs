//! The corpus leaves the logs that it leaves on the World in memory.

use std::sync::Arc;

use world_core::{MemoryWorld, Residency};

use crate::{
    case::{Case, case},
    corpus::{Sample, corpus},
    failure::{Failure, Verdict},
    flows::{Look, Undisturbed, at_once, short_samples},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Determinism [] every_workflow_leaves_the_log_that_it_leaves_in_memory),
        case!(Determinism [] every_workflow_executed_anew_for_every_turn_leaves_the_same_log),
    ]
}

async fn every_workflow_leaves_the_log_that_it_leaves_in_memory(subject: Subject) -> Verdict {
    leave_the_same(&subject, corpus(), Residency::Resident).await
}

async fn every_workflow_executed_anew_for_every_turn_leaves_the_same_log(
    subject: Subject,
) -> Verdict {
    leave_the_same(&subject, short_samples(), Residency::Replay).await
}

async fn leave_the_same(subject: &Subject, corpus: Vec<Sample>, residency: Residency) -> Verdict {
    let here = Look::at(subject).await?;
    at_once(&corpus, |sample| leaves_the_same(&here, sample, residency)).await
}

async fn leaves_the_same(here: &Look, sample: &Sample, residency: Residency) -> Verdict {
    let memory = Look::on(Arc::new(MemoryWorld::new()))?;
    let wanted = Undisturbed::run(&memory, sample, Residency::Resident).await?;
    let doing = |failure: Failure| failure.while_doing(format!("{}, {residency:?}", sample.name));
    let seen = Undisturbed::run(here, sample, residency).await.map_err(doing)?;
    match seen.told.objection(sample, &wanted.told) {
        Some(objection) => {
            let what = format!("not the log that it leaves in memory: {objection}");
            Err(doing(Failure::failed(what)))
        }
        None => Ok(()),
    }
}
