//! What a program does with the slots as it is given its log.

use std::task::Waker;

use super::{Announced, Body, Core, Mark, OpId, Parcel, Slot, Work};
use crate::{
    event::Seen,
    ids::{Position, Timestamp},
    replay::{Divergence, Key},
};

impl Core {
    #[inline]
    pub(in crate::replay) fn find(&self, key: &Key) -> Option<(OpId, &Slot)> {
        let op = *self.by_key.get(key)?;
        Some((op, self.slots.get(&op)?))
    }

    /// Takes note that a dropped operation's result has come; false if it was never asked for.
    pub(in crate::replay) fn was_dropped(&self, key: &Key) -> bool {
        self.dropped.contains(key)
    }

    /// How many dropped operations are remembered.
    #[cfg(test)]
    pub(in crate::replay) fn dropped_count(&self) -> usize {
        self.dropped.len()
    }

    /// Takes note of what a decision says its writer knew, which ends the wait for results of
    /// operations that were dropped long before.
    #[inline]
    pub(in crate::replay) fn decided(&mut self, seen: Seen) {
        self.dropped.decided(seen.after);
    }

    pub(in crate::replay) fn open_keys(&self) -> Vec<Key> {
        self.by_key.keys().cloned().collect()
    }

    /// The open keys that an error shows.
    pub(in crate::replay) fn shown_keys(&self) -> Vec<Key> {
        let mut keys = self.open_keys();
        keys.truncate(Divergence::SHOWN_MAX);
        keys
    }

    pub(in crate::replay) fn open_count(&self) -> usize {
        self.slots.len()
    }

    /// How many operations have ever been asked for.
    pub(in crate::replay) const fn asked(&self) -> OpId {
        self.next
    }

    /// What changes whenever the program asks for an operation, a branch or a random number, takes
    /// a result or drops an operation.
    pub(in crate::replay) fn mark(&self) -> Mark {
        (self.next, self.open_count(), self.open_hash, self.drawn)
    }

    /// Parks a result for its operation, unless a cancellation was first. False for a second
    /// result, which no log holds.
    #[inline]
    pub(in crate::replay) fn park(&mut self, op: OpId, position: Position, parcel: Parcel) -> bool {
        let Some(slot) = self.slots.get_mut(&op) else { return true };
        match &slot.parked {
            None => {}
            Some((_, Parcel::Cancelled)) => return true,
            Some((_, Parcel::Logged(_))) => return matches!(parcel, Parcel::Cancelled),
        }
        let order = (position, slot.key.clone());
        slot.parked = Some((order.clone(), parcel));
        let runs = matches!(&slot.work, Work::Step(step) if step.body == Body::Running);
        let (alarm, wait) = (slot.alarm.take(), slot.wait.take());
        if slot.waker.is_some() {
            self.tries.insert(order, op);
        }
        self.unset(op, alarm, wait);
        if runs {
            self.starve(op); // its body is not polled again, even if nobody takes the result
        }
        true
    }

    pub(in crate::replay) fn cancel(&mut self, position: Position, reason: &str) {
        if self.cancelled.is_some() {
            return;
        }
        reason.clone_into(&mut self.cancel_reason);
        self.cancelled = Some(position);
        let ops: Vec<OpId> =
            self.slots.iter().filter(|(_, slot)| !slot.shielded).map(|(op, _)| *op).collect();
        for op in ops {
            self.park(op, position, Parcel::Cancelled);
        }
    }

    pub(in crate::replay) const fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Makes the lowest untried result visible; its waker is to be woken.
    #[inline]
    pub(in crate::replay) fn show_next(&mut self) -> Option<Option<Waker>> {
        let (_, op) = self.tries.pop_first()?;
        self.visible = Some(op);
        Some(self.slots.get_mut(&op).and_then(|slot| slot.waker.take()))
    }

    /// The wakers of at most this many operations, which ones depends on `chance`.
    pub(in crate::replay) fn some_wakers(&self, chance: u64, max: usize) -> Vec<Waker> {
        let spare = self.slots.len().saturating_sub(max) as u64;
        let skipped = usize::try_from(chance % (spare + 1)).unwrap_or(0);
        let wakers = self.slots.values().skip(skipped).filter_map(|slot| slot.waker.clone());
        wakers.take(max).collect()
    }

    /// Sets a timer to the time that the log says, unless it has fired meanwhile.
    pub(in crate::replay) fn retime(&mut self, op: OpId, at: Timestamp) {
        if let Some(Slot { work: Work::Timer { until, fired: false }, .. }) =
            self.slots.get_mut(&op)
        {
            *until = at;
            self.set_alarm(op, Some(at));
        }
    }

    /// An announcement stands in the log.
    pub(in crate::replay) fn announced(&mut self, op: OpId) {
        let Some(step) = self.step(op) else { return };
        if step.announced == Announced::Here {
            step.announced = Announced::Committed;
            // A deadline may have passed meanwhile.
            if step.body != Body::Done {
                self.set_body(op, Body::Idle);
                self.enqueue(op);
            }
        } else {
            step.announced = Announced::Before;
        }
    }

    /// A failed attempt stands in the log.
    pub(in crate::replay) fn retrying(&mut self, op: OpId, attempt: u32, retry_at: Timestamp) {
        let Some(step) = self.step(op) else { return };
        let is_latest = step.failed <= attempt;
        step.failed = step.failed.max(attempt);
        if step.body == Body::Idle || (step.body == Body::Waiting && is_latest) {
            step.body = Body::Waiting;
            self.set_alarm(op, Some(retry_at));
        }
    }
}
