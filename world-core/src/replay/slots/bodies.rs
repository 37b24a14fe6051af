//! What the driver does with the bodies behind the slots.

use std::task::Waker;

use super::{Announced, Body, Core, OpId, Slot, StepWork, Work};
use crate::replay::Key;

impl Core {
    /// Queues a body to begin when there is room.
    pub(super) fn enqueue(&mut self, op: OpId) {
        let Some(slot) = self.slots.get_mut(&op) else { return };
        if slot.waker.is_none() || slot.queued {
            return;
        }
        if self.draining && !is_announced(slot) {
            self.held_back = true;
            return;
        }
        slot.queued = true;
        self.startable.push_back(op);
    }

    /// Begins no body from now on. One that the log has announced still begins: to whoever has
    /// the run next it would look as if it had run.
    pub(in crate::replay) fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let Self { startable, slots, .. } = self;
        let queued = startable.len();
        startable.retain(|op| {
            let Some(slot) = slots.get_mut(op) else { return false };
            slot.queued = is_announced(slot);
            slot.queued
        });
        self.held_back |= self.startable.len() < queued;
    }

    /// Lets bodies be polled: those that were woken, and as many more as may begin. Returns them
    /// with the wakers to wake.
    #[inline]
    pub(in crate::replay) fn make_runnable(
        &mut self,
        woken: &[OpId],
        runnable: &mut Vec<(OpId, Option<Waker>)>,
    ) {
        let again = std::mem::take(&mut self.again);
        for op in woken.iter().chain(&again) {
            if let Some(slot) = self.slots.get_mut(op)
                && matches!(&slot.work, Work::Step(step) if step.body == Body::Running)
                && slot.parked.is_none()
                && !std::mem::replace(&mut slot.runnable, true)
            {
                runnable.push((*op, slot.waker.clone()));
            }
        }
        let mut free = self.bodies_max.saturating_sub(self.polled_running());
        while free > 0
            && let Some(op) = self.startable.pop_front()
        {
            let Some(slot) = self.slots.get_mut(&op) else { continue };
            slot.queued = false;
            if matches!(&slot.work, Work::Step(step) if step.body == Body::Idle)
                && slot.parked.is_none()
            {
                slot.runnable = true;
                free -= 1;
                runnable.push((op, slot.waker.clone()));
            }
        }
    }

    /// Finds bodies that were woken and that the program did not poll. They make room for others
    /// until it does: what the program waits for may be one of those.
    #[inline]
    pub(in crate::replay) fn find_starved(
        &mut self,
        runnable: &[(OpId, Option<Waker>)],
        starved: &mut Vec<Key>,
    ) {
        for (op, _) in runnable {
            let Some(slot) = self.slots.get_mut(op) else { continue };
            if !slot.runnable {
                continue;
            }
            if !std::mem::replace(&mut slot.warned, true) {
                starved.push(slot.key.clone());
            }
            self.starve(*op);
        }
    }

    /// The program does not poll this operation. If its body runs, that makes room for others and
    /// keeps nobody waiting, nor does the end of its attempt's time, until it is polled again.
    pub(super) fn starve(&mut self, op: OpId) {
        let Some(slot) = self.slots.get_mut(&op) else { return };
        let runs = matches!(&slot.work, Work::Step(step) if step.body == Body::Running);
        if runs && !std::mem::replace(&mut slot.starved, true) {
            self.starved += 1;
            if let Some(wait) = slot.wait {
                self.held_waits.insert(op, wait);
                self.set_wait(op, None);
            }
        }
    }

    /// The program polls this operation, or has done with it.
    #[inline]
    pub(super) fn fed(&mut self, op: OpId) {
        if self.starved > 0
            && let Some(slot) = self.slots.get_mut(&op)
            && std::mem::take(&mut slot.starved)
        {
            self.starved -= 1;
            if let Some(wait) = self.held_waits.remove(&op) {
                self.set_wait(op, Some(wait));
            }
        }
    }

    /// How many bodies run, but for those that are starved.
    pub(in crate::replay) const fn polled_running(&self) -> usize {
        self.running - self.starved
    }

    /// How many bodies run or could begin, but for those that are starved.
    pub(in crate::replay) fn wanted(&self) -> usize {
        self.polled_running() + self.startable.len()
    }

    /// Whether a body runs that the program polls, or one could begin. Those that it does not poll
    /// come to nothing before a delivery makes it poll them.
    pub(in crate::replay) fn has_bodies(&self) -> bool {
        self.wanted() > 0
    }

    pub(in crate::replay) const fn running(&self) -> usize {
        self.running
    }

    /// Whether the body of an at-most-once step is announced by this program, and has not ended.
    pub(in crate::replay) fn has_announced(&self) -> bool {
        self.slots.values().any(is_announced_here)
    }

    /// The same, but for bodies that the program does not poll.
    pub(in crate::replay) fn awaits_announced(&self) -> bool {
        self.slots.values().any(|slot| is_announced_here(slot) && !slot.starved)
    }

    /// Whether the body of an at-most-once step waits until the lease is confirmed.
    pub(in crate::replay) const fn wants_lease(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// The lease holds: the bodies that waited for it may begin.
    pub(in crate::replay) fn confirm_lease(&mut self) {
        for op in std::mem::take(&mut self.unconfirmed) {
            if self.step(op).is_some_and(|step| step.body == Body::Waiting) {
                self.set_body(op, Body::Idle);
                self.enqueue(op);
            }
        }
    }
}

/// Whether this program has announced its body, which has not ended.
fn is_announced_here(slot: &Slot) -> bool {
    matches!(
        &slot.work,
        Work::Step(StepWork { announced: Announced::Here | Announced::Committed, body, .. })
            if *body != Body::Done
    )
}

fn is_announced(slot: &Slot) -> bool {
    matches!(&slot.work, Work::Step(StepWork { announced: Announced::Committed, .. }))
}
