//! What each event of the log does to the program.

use std::sync::Arc;

use super::Program;
use crate::{
    event::{Event, Logged, Seen},
    ids::Timestamp,
    replay::{
        Blocked, Divergence, Key, Mismatch,
        slots::{Core, Parcel, Slot, Work},
    },
};

impl Program {
    /// Delivers the next event of the log, and polls to quiescence.
    pub(crate) fn deliver(&mut self, logged: &Arc<Logged>) -> Result<(), Blocked> {
        self.probe()?;
        let position = self.position;
        if logged.position != position.next() {
            return Err(misplaced(logged).into());
        }
        match &logged.event {
            Event::StepCompleted { key, seen, .. } | Event::StepFailed { key, seen, .. } => {
                self.check_seen(logged, *seen)?;
                self.decide(logged, key, "step")?;
            }
            Event::TimerFired { key, seen } => {
                self.check_seen(logged, *seen)?;
                self.decide(logged, key, "timer")?;
            }
            Event::CancelRequested { reason } => {
                self.shared.advance_now(logged.at);
                self.shared.core().cancel(logged.position, reason);
            }
            Event::TimerSet { key, at } => self.confirm(logged, key, *at)?,
            Event::StepStarted { key } => {
                let mut core = self.shared.core();
                if let Some((op, _)) = core.find(key) {
                    core.announced(op);
                }
            }
            Event::StepRetrying { key, attempt, retry_at, .. } => {
                let mut core = self.shared.core();
                if let Some((op, _)) = core.find(key) {
                    core.retrying(op, *attempt, *retry_at);
                }
            }
            Event::StepDeadline { key, at } => {
                let mut core = self.shared.core();
                if let Some((op, _)) = core.find(key) {
                    core.deadline_noted(op, *at);
                }
            }
            Event::StepAbandoned { key } => self.shared.core().outbox.confirm_abandoned(key),
            Event::RunBlocked { .. } | Event::RunIsolated { .. } => {}
            Event::RunCompleted { .. } | Event::RunFailed { .. } | Event::RunCancelled { .. } => {}
            Event::RunCreated { .. } => return Err(misplaced(logged).into()),
        }
        self.position = logged.position;
        self.shared.core().position = logged.position;
        self.settle_all()?;
        self.remember();
        Ok(())
    }

    fn decide(
        &mut self,
        logged: &Arc<Logged>,
        key: &Key,
        kind: &'static str,
    ) -> Result<(), Blocked> {
        self.shared.advance_now(logged.at);
        let mut core = self.shared.core();
        let why = match core.find(key) {
            Some((op, slot)) if work_name(slot) == kind => {
                if core.park(op, logged.position, Parcel::Logged(Arc::clone(logged))) {
                    return Ok(());
                }
                Mismatch::Misplaced
            }
            Some((_, slot)) => Mismatch::OtherKind { asked: work_name(slot) },
            None if core.was_dropped(key) => return Ok(()),
            None => Mismatch::NeverAsked,
        };
        Err(diverged(&core, logged, why).into())
    }

    fn confirm(&mut self, logged: &Logged, key: &Key, at: Timestamp) -> Result<(), Blocked> {
        let mut core = self.shared.core();
        if !core.outbox.confirm(key) {
            return Err(diverged(&core, logged, Mismatch::UnexpectedIntent).into());
        }
        if let Some((op, _)) = core.find(key) {
            core.retime(op, at);
        }
        Ok(())
    }

    /// Compares what the program knew when a decision was written with what it knows.
    fn check_seen(&mut self, logged: &Logged, seen: Seen) -> Result<(), Blocked> {
        let mut core = self.shared.core();
        if let Some(key) = core.outbox.missing(seen.after) {
            let key = key.clone();
            return Err(diverged(&core, logged, Mismatch::MissingIntent { key }).into());
        }
        while self.history.front().is_some_and(|(position, _)| *position < seen.after) {
            self.history.pop_front();
        }
        if self.history.front().is_some_and(|known| *known != (seen.after, seen.open)) {
            self.warnings.push(diverged(&core, logged, Mismatch::OtherOpen));
        }
        core.decided(seen);
        Ok(())
    }

    pub(super) fn remember(&mut self) {
        let core = self.shared.core();
        self.history.push_back((core.position, core.open_hash));
    }
}

fn work_name(slot: &Slot) -> &'static str {
    match slot.work {
        Work::Timer { .. } => "timer",
        Work::Step(_) => "step",
    }
}

fn diverged(core: &Core, logged: &Logged, why: Mismatch) -> Divergence {
    Divergence {
        position: logged.position,
        kind: logged.event.kind(),
        key: logged.event.key().cloned(),
        why,
        open: core.shown_keys(),
    }
}

pub(super) fn misplaced(logged: &Logged) -> Divergence {
    Divergence {
        position: logged.position,
        kind: logged.event.kind(),
        key: logged.event.key().cloned(),
        why: Mismatch::Misplaced,
        open: Vec::new(),
    }
}
