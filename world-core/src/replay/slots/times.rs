//! The effects of time on open operations: timers fire, waits end, attempts and steps run out of
//! time.
//!
//! Times in the log (the end of a sleep, the time of another attempt, a deadline) are times of the
//! wall clock. Waits that began in this process (an attempt, the wait before another) are measured
//! by the monotonic clock, so that they take as long as they should when somebody sets the wall
//! clock.

use std::time::Duration;

use super::{Body, Core, Deadline, OpId, Slot, StepWork, Work};
use crate::{
    event::{Event, Failure, FailureKind},
    ids::Timestamp,
    moment::Moment,
    replay::intents::Deposit,
};

/// When time next matters to a program, by each clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NextAlarm {
    pub(crate) wall: Option<Timestamp>,
    pub(crate) monotonic: Option<Duration>,
}

impl NextAlarm {
    /// The earlier of both, by the wall clock as it is now.
    pub(crate) fn due(self, now: Moment) -> Option<Timestamp> {
        let left = self.monotonic.map(|at| at.saturating_sub(now.monotonic));
        let monotonic = left.map(|left| now.wall.plus(left));
        [self.wall, monotonic].into_iter().flatten().min()
    }
}

impl Core {
    /// Moves the driver's time to `now`. The wall clock may have been set back meanwhile.
    #[inline]
    pub(in crate::replay) fn expire(&mut self, now: Moment, woken: &mut Vec<OpId>) {
        self.clock = now;
        self.begin_deadlines();
        let mut has_queued = false;
        while let Some((at, op)) = self.next_deadlines.first().copied()
            && at <= now.wall
        {
            self.next_deadlines.remove(&(at, op));
            has_queued |= self.end_overdue(op);
        }
        if has_queued {
            let slots = &self.slots;
            self.startable.retain(|op| slots.get(op).is_some_and(|slot| slot.queued));
        }
        while let Some((at, op)) = self.alarms.first().copied()
            && at <= now.wall
        {
            self.set_alarm(op, None);
            self.wait_is_over(op, woken);
        }
        while let Some((at, op)) = self.waits.first().copied()
            && at <= now.monotonic
        {
            self.set_wait(op, None);
            self.wait_is_over(op, woken);
        }
    }

    fn wait_is_over(&mut self, op: OpId, woken: &mut Vec<OpId>) {
        let Some(slot) = self.slots.get_mut(&op) else { return };
        match &mut slot.work {
            Work::Timer { fired, .. } => {
                *fired = true;
                let deposit = Deposit::Fired { key: slot.key.clone() };
                self.outbox.deposits.push(deposit);
            }
            Work::Step(step) if step.body == Body::Waiting => {
                step.body = Body::Idle;
                self.set_alarm(op, None);
                self.set_wait(op, None);
                self.enqueue(op);
            }
            Work::Step(step) => {
                step.timed_out = true;
                woken.push(op);
            }
        }
    }

    /// Gives a step so long from when the driver next looks, unless the log says until when.
    pub(super) fn time(&mut self, op: OpId, deadline: Duration) {
        if self.deadline(op).is_none() && self.slots.contains_key(&op) {
            self.deadlines.insert(op, Deadline::After(deadline));
            self.timed.push(op);
        }
    }

    /// The driver looks at the head of the log: deadlines that were asked for since count from
    /// now. Notes keep them, for whoever has the run next.
    #[inline]
    fn begin_deadlines(&mut self) {
        if self.timed.is_empty() {
            return;
        }
        for op in std::mem::take(&mut self.timed) {
            let Some(slot) = self.slots.get(&op).filter(|slot| slot.parked.is_none()) else {
                continue;
            };
            if let Some(Deadline::After(time)) = self.deadlines.get(&op) {
                let (key, at) = (slot.key.clone(), self.clock.wall.plus(*time));
                self.outbox.notes.push(Event::StepDeadline { key, at });
                self.set_deadline(op, at);
            }
        }
    }

    /// The log says until when a step must have ended. A step that has no deadline in the code as
    /// it is now is left alone.
    pub(in crate::replay) fn deadline_noted(&mut self, op: OpId, at: Timestamp) {
        if self.deadlines.contains_key(&op)
            && self.slots.get(&op).is_some_and(|slot| slot.parked.is_none())
            && !self.is_done(op)
        {
            self.set_deadline(op, at);
        }
    }

    /// Until when a step must have ended.
    pub(super) fn deadline(&self, op: OpId) -> Option<Timestamp> {
        match self.deadlines.get(&op)? {
            Deadline::At(at) => Some(*at),
            Deadline::After(_) => None,
        }
    }

    /// Ends a step whose deadline has passed, wherever its body is; true if it was queued. One
    /// that runs is not polled again, and dropped when the program takes the result.
    fn end_overdue(&mut self, op: OpId) -> bool {
        let claims = self.claims;
        let Some(Slot { key, work: Work::Step(step), .. }) = self.slots.get(&op) else {
            return false;
        };
        let runs = u32::from(step.body == Body::Running);
        let attempts = step.failed.saturating_add(if step.counted { 0 } else { claims });
        let (key, attempts) = (key.clone(), attempts.saturating_add(runs));
        let failure = Failure {
            kind: FailureKind::TimedOut,
            message: "the step's deadline has passed".to_owned(),
            causes: Vec::new(),
        };
        self.overdue.push((key.clone(), attempts));
        self.outbox.deposits.push(Deposit::Failed { key, failure, attempts });
        self.set_body(op, Body::Done);
        self.forget_times(op);
        let Some(slot) = self.slots.get_mut(&op) else { return false };
        slot.runnable = false;
        std::mem::take(&mut slot.queued)
    }

    fn is_done(&self, op: OpId) -> bool {
        self.slots
            .get(&op)
            .is_none_or(|slot| matches!(&slot.work, Work::Step(StepWork { body: Body::Done, .. })))
    }

    /// Time no longer matters to an operation: its end is there, or on its way.
    #[inline]
    pub(super) fn forget_times(&mut self, op: OpId) {
        let Some(slot) = self.slots.get_mut(&op) else { return };
        let (alarm, wait) = (slot.alarm.take(), slot.wait.take());
        self.unset(op, alarm, wait);
    }

    /// Takes the times out of the registers that its slot no longer holds.
    #[inline]
    pub(super) fn unset(&mut self, op: OpId, alarm: Option<Timestamp>, wait: Option<Duration>) {
        if let Some(at) = alarm {
            self.alarms.remove(&(at, op));
        }
        if let Some(at) = wait {
            self.waits.remove(&(at, op));
        }
        if !self.held_waits.is_empty() {
            self.held_waits.remove(&op);
        }
        if !self.deadlines.is_empty()
            && let Some(Deadline::At(at)) = self.deadlines.remove(&op)
        {
            self.next_deadlines.remove(&(at, op));
        }
    }

    /// Sets when the wall clock ends what an operation waits for.
    pub(super) fn set_alarm(&mut self, op: OpId, alarm: Option<Timestamp>) {
        let Some(slot) = self.slots.get_mut(&op) else { return };
        if slot.alarm == alarm {
            return;
        }
        if let Some(old) = std::mem::replace(&mut slot.alarm, alarm) {
            self.alarms.remove(&(old, op));
        }
        if let Some(new) = alarm {
            self.alarms.insert((new, op));
        }
    }

    /// Sets when the monotonic clock ends what an operation waits for.
    pub(super) fn set_wait(&mut self, op: OpId, wait: Option<Duration>) {
        let Some(slot) = self.slots.get_mut(&op) else { return };
        if slot.wait == wait {
            return;
        }
        if let Some(old) = std::mem::replace(&mut slot.wait, wait) {
            self.waits.remove(&(old, op));
        }
        if let Some(new) = wait {
            self.waits.insert((new, op));
        }
    }

    fn set_deadline(&mut self, op: OpId, at: Timestamp) {
        if let Some(Deadline::At(old)) = self.deadlines.insert(op, Deadline::At(at)) {
            self.next_deadlines.remove(&(old, op));
        }
        self.next_deadlines.insert((at, op));
    }

    /// When the driver's time next matters.
    pub(in crate::replay) fn next_alarm(&self) -> NextAlarm {
        let alarms = [self.alarms.first(), self.next_deadlines.first()];
        NextAlarm {
            wall: alarms.into_iter().flatten().map(|(at, _)| *at).min(),
            monotonic: self.waits.first().map(|(at, _)| *at),
        }
    }
}
