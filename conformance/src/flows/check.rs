//! What must hold of the log of a run that has ended, whatever happened to its clients.

use std::collections::BTreeSet;

use world_core::{
    RunId,
    event::{Event, Logged},
    testing::Replay,
};

use super::told::outline;
use crate::{
    corpus::Sample,
    failure::{Failure, Verdict},
};

/// Looks at the log alone, then replays it with the sample's code.
pub(crate) fn checked(sample: &Sample, run: &RunId, log: &[Logged]) -> Verdict {
    if let Some(wrong) = objection(log) {
        return Err(Failure::failed(format!("{wrong}; the log of {run}:{}", outline(log))));
    }
    let replay = Replay::of(log.to_vec()).run(run).with(sample.workflow(), sample.function());
    replay.check().map_err(|error| {
        Failure::failed(format!(
            "the log of {run} does not replay: {error}; the log:{}",
            outline(log)
        ))
    })
}

fn objection(log: &[Logged]) -> Option<String> {
    let (mut decided, mut set, mut fired) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (logged, position) in log.iter().zip(1_u64..) {
        let key = || logged.event.key().map(ToString::to_string).unwrap_or_default();
        if logged.position.get() != position {
            return Some(format!("position {} stands where {position} should", logged.position));
        }
        if (position == 1) != matches!(logged.event, Event::RunCreated { .. }) {
            return Some(format!("{} stands at position {position}", logged.event.kind()));
        }
        if logged.event.is_end() != (position == log.len() as u64) {
            return Some(format!("{} stands at {position} of {}", logged.event.kind(), log.len()));
        }
        let first = match &logged.event {
            Event::StepCompleted { .. } | Event::StepFailed { .. } => decided.insert(key()),
            Event::TimerSet { .. } => set.insert(key()),
            Event::TimerFired { .. } if !set.contains(&key()) => {
                return Some(format!("the timer {} fired and was never set", key()));
            }
            Event::TimerFired { .. } => fired.insert(key()),
            Event::RunBlocked { why } => return Some(format!("the run was blocked: {why}")),
            _ => true,
        };
        if !first {
            return Some(format!("{} {} stands in the log twice", logged.event.kind(), key()));
        }
    }
    log.is_empty().then(|| "the log is empty".to_owned())
}
