//! What a program waits for, for those who look for runs that stand still.

use super::{Body, Core, OpId, Shared, Work};
use crate::{
    ids::{Position, RunId},
    replay::Key,
};

/// What a program waits for. It is the same at two moments between which the program did nothing
/// that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    position: Position,
    asked: OpId,
    /// How many bodies run.
    pub(crate) running: usize,
    /// How many bodies wait for a place.
    pub(crate) queued: usize,
    /// How many bodies may run at once.
    pub(crate) places: usize,
    /// Whether something is on its way into the log.
    pub(crate) writes: bool,
    /// The steps whose bodies wait for the ends of runs, with the runs.
    pub(crate) awaited: Vec<(Key, RunId)>,
}

impl Shared {
    /// What the program waits for now.
    pub(crate) fn waits(&self) -> Waits {
        let core = self.core();
        let runs = |op: &OpId| {
            let slot = core.slots.get(op)?;
            matches!(&slot.work, Work::Step(step) if step.body == Body::Running)
                .then(|| slot.key.clone())
        };
        Waits {
            position: core.position,
            asked: core.next,
            running: core.running,
            queued: core.startable.len(),
            places: core.bodies_max,
            writes: core.outbox.is_pressing(),
            awaited: core
                .awaited
                .iter()
                .filter_map(|(op, run)| Some((runs(op)?, run.clone())))
                .collect(),
        }
    }
}

impl Core {
    /// Notes which run the body of an operation waits for, if it does.
    pub(super) fn note_awaited(&mut self, op: OpId, run: Option<RunId>) {
        match run {
            Some(run) => {
                self.awaited.insert(op, run);
            }
            None if !self.awaited.is_empty() => {
                self.awaited.remove(&op);
            }
            None => {}
        }
    }
}
