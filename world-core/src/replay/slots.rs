//! What a program and its operations share: a slot for each open operation.
//!
//! No user code (wakers, closures, drops of bodies) runs while the lock is held.

mod bodies;
mod dropped;
mod log;
mod shared;
mod times;
mod waits;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use dropped::Dropped;
pub(crate) use shared::{Identity, Shared};
pub(crate) use times::NextAlarm;
pub(crate) use waits::Waits;

use super::{Blocked, Key, intents::Outbox, wakers::Mode};
use crate::{
    event::{Event, Logged},
    ids::{Position, RunId, Timestamp},
    moment::Moment,
};

/// Names an open operation within one program; never reused.
pub(crate) type OpId = u64;

/// Spreads operation ids, which are consecutive, over a table.
#[derive(Default)]
pub(crate) struct OpHasher(u64);

impl Hasher for OpHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type OpMap<T> = HashMap<OpId, T, BuildHasherDefault<OpHasher>>;

/// What stands behind an open operation.
#[derive(Debug)]
pub(crate) enum Work {
    /// A durable sleep.
    Timer {
        /// Until when.
        until: Timestamp,
        /// Whether its end is on the way into the log.
        fired: bool,
    },
    /// A step and where its body is.
    Step(StepWork),
}

/// Where a step's body is.
#[derive(Debug, Default)]
pub(crate) struct StepWork {
    pub(crate) body: Body,
    /// Attempts that are known to have failed.
    pub(crate) failed: u32,
    /// Of an at-most-once step: who has announced its body.
    pub(crate) announced: Announced,
    /// Whether `failed` counts the claims without progress already.
    pub(crate) counted: bool,
    /// The attempt's time is up.
    pub(crate) timed_out: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    /// It has not begun, or another attempt may begin.
    #[default]
    Idle,
    /// It waits for a time, or for its announcement to be committed.
    Waiting,
    /// It has been polled and is not done.
    Running,
    /// Its outcome is on the way into the log.
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Announced {
    #[default]
    Not,
    /// By this program; the body waits for the commit.
    Here,
    /// By this program, and committed.
    Committed,
    /// By an earlier one, which may have run the body.
    Before,
}

/// Until when a step must have ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// So long after the driver first sees that the program asks for the step.
    After(Duration),
    /// A time that the log holds, or is to hold.
    At(Timestamp),
}

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: Key,
    pub(crate) work: Work,
    shielded: bool,
    waker: Option<Waker>,
    parked: Option<(Order, Parcel)>,
    /// Its body may be polled on the next poll for bodies.
    runnable: bool,
    /// It stands in the queue of bodies that may begin.
    queued: bool,
    /// When the wall clock ends what it waits for: a sleep, or the time before another attempt.
    alarm: Option<Timestamp>,
    /// When the monotonic clock does: the time of an attempt, or before another one.
    wait: Option<Duration>,
    /// Its body runs, and the program does not poll it: it was woken and is not polled, or its
    /// result is there and is not taken.
    starved: bool,
    warned: bool,
}

/// How many operations were ever asked for, how many are open, the hash of those, and how many
/// branches and random numbers were drawn.
pub(super) type Mark = (OpId, usize, u64, u64);

/// Where a result stands among the others: by position, and among operations that one event ends
/// (a cancellation) by key.
type Order = (Position, Key);

/// A result on its way to its operation.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// What the log says.
    Logged(Arc<Logged>),
    /// The run was asked to end.
    Cancelled,
}

/// What an operation may do now that it has been polled.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Wait.
    Pending,
    /// Poll the body.
    Run(Run),
    /// End with this.
    Take(Parcel),
}

/// The state in which a body is polled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) now: Moment,
    pub(crate) timed_out: bool,
    /// The number of the attempt, from 1, if this poll begins one.
    pub(crate) attempt: u32,
    pub(crate) announced: Announced,
}

/// Says whether the lease holds under which a program is driven.
pub(crate) trait LeaseWatch: std::fmt::Debug + Send + Sync {
    /// Whether nobody else can have the run now.
    fn holds(&self) -> bool;
}

#[derive(Debug, Default)]
pub(crate) struct Core {
    slots: OpMap<Slot>,
    by_key: BTreeMap<Key, OpId>,
    /// Asked for and dropped before its result came.
    dropped: Dropped,
    next: OpId,
    /// How many branches and random numbers the program has drawn.
    pub(super) drawn: u64,
    pub(super) visible: Option<OpId>,
    pub(super) tries: BTreeMap<Order, OpId>,
    startable: VecDeque<OpId>,
    /// Bodies that were woken while their steps were held, and whose steps are polled again.
    again: Vec<OpId>,
    alarms: BTreeSet<(Timestamp, OpId)>,
    waits: BTreeSet<(Duration, OpId)>,
    /// When the attempts of starved bodies are out of time.
    held_waits: OpMap<Duration>,
    /// Until when steps must have ended; few have a deadline.
    deadlines: OpMap<Deadline>,
    /// Those of them that the log holds, or is to hold, by time.
    next_deadlines: BTreeSet<(Timestamp, OpId)>,
    /// Steps whose deadlines count from when the driver next looks.
    timed: Vec<OpId>,
    /// Steps that a deadline has ended since the driver last looked, with their attempts.
    pub(super) overdue: Vec<(Key, u32)>,
    pub(super) outbox: Outbox,
    pub(super) open_hash: u64,
    /// Where the program stands in the log.
    pub(super) position: Position,
    /// The driver's time.
    clock: Moment,
    /// Claims without progress before this one.
    pub(super) claims: u32,
    /// The lease under which the program is driven.
    pub(super) lease: Option<Arc<dyn LeaseWatch>>,
    /// At-most-once steps whose bodies begin once the lease is confirmed.
    unconfirmed: Vec<OpId>,
    running: usize,
    /// Of those that run: how many are starved.
    starved: usize,
    pub(super) bodies_max: usize,
    /// No body begins but those that are announced: the worker stops.
    draining: bool,
    /// A body did not begin because of that.
    pub(super) held_back: bool,
    cancelled: Option<Position>,
    pub(super) cancel_reason: String,
    /// The runs that bodies wait for.
    awaited: BTreeMap<OpId, RunId>,
    pub(super) finished: bool,
    pub(super) blocked: Option<Blocked>,
}

impl Core {
    pub(super) fn block(&mut self, blocked: impl Into<Blocked>) {
        self.blocked.get_or_insert(blocked.into());
    }

    #[inline]
    fn open(&mut self, key: Key, work: Work, shielded: bool) -> OpId {
        let op = self.next;
        self.next += 1;
        self.open_hash = self.open_hash.wrapping_add(key.stable_hash());
        let alarm = match work {
            Work::Timer { until: at, .. } => {
                let set = Event::TimerSet { key: key.clone(), at };
                self.outbox.ask(key.clone(), self.position, set);
                Some(at)
            }
            Work::Step(_) => None,
        };
        let parked = self
            .cancelled
            .filter(|_| !shielded)
            .map(|position| ((position, key.clone()), Parcel::Cancelled));
        self.by_key.insert(key.clone(), op);
        let slot = Slot {
            key,
            work,
            shielded,
            waker: None,
            parked,
            runnable: false,
            queued: false,
            alarm,
            wait: None,
            starved: false,
            warned: false,
        };
        self.slots.insert(op, slot);
        if let Some(at) = alarm {
            self.alarms.insert((at, op));
        }
        op
    }

    #[inline]
    fn close(&mut self, op: OpId) -> Option<Slot> {
        self.fed(op);
        let slot = self.slots.remove(&op)?;
        self.awaited.remove(&op);
        self.by_key.remove(&slot.key);
        self.open_hash = self.open_hash.wrapping_sub(slot.key.stable_hash());
        if let Some((order, parcel)) = &slot.parked {
            self.tries.remove(order);
            if matches!(parcel, Parcel::Cancelled) {
                self.dropped.insert(slot.key.clone(), self.position);
            }
        }
        self.unset(op, slot.alarm, slot.wait);
        if matches!(&slot.work, Work::Step(StepWork { body: Body::Running, .. })) {
            self.running -= 1;
        }
        Some(slot)
    }

    fn abandon(&mut self, op: OpId) -> Option<Slot> {
        let slot = self.close(op)?;
        if slot.parked.is_none() {
            self.dropped.insert(slot.key.clone(), self.position);
            if !self.finished && matches!(slot.work, Work::Step(_)) {
                self.outbox.abandon(slot.key.clone());
            }
        }
        Some(slot)
    }

    #[inline]
    fn polled(&mut self, op: OpId, mode: Mode) -> Turn {
        // A body whose step has its result already is not polled again.
        if self.starved > 0 && self.slots.get(&op).is_some_and(|slot| slot.parked.is_none()) {
            self.fed(op);
        }
        let (clock, claims) = (self.clock, self.claims);
        let Some(slot) = self.slots.get_mut(&op) else { return Turn::Pending };
        if let Some((order, _)) = &slot.parked {
            self.tries.insert(order.clone(), op);
            return Turn::Pending;
        }
        let Work::Step(step) = &mut slot.work else { return Turn::Pending };
        if mode == Mode::Delivery {
            if std::mem::take(&mut slot.runnable) {
                self.again.push(op);
            }
            if step.body == Body::Idle && !slot.queued {
                if self.draining && step.announced != Announced::Committed {
                    self.held_back = true;
                } else {
                    slot.queued = true;
                    self.startable.push_back(op);
                }
            }
            return Turn::Pending;
        }
        if !std::mem::take(&mut slot.runnable) {
            return Turn::Pending;
        }
        let run = Run {
            now: clock,
            timed_out: std::mem::take(&mut step.timed_out),
            attempt: step.failed.saturating_add(if step.counted { 1 } else { claims + 1 }),
            announced: step.announced,
        };
        if step.body != Body::Running {
            step.body = Body::Running;
            self.running += 1;
        }
        Turn::Run(run)
    }

    fn step(&mut self, op: OpId) -> Option<&mut StepWork> {
        match &mut self.slots.get_mut(&op)?.work {
            Work::Step(step) => Some(step),
            Work::Timer { .. } => None,
        }
    }

    #[inline]
    fn set_body(&mut self, op: OpId, body: Body) {
        self.fed(op);
        let Some(step) = self.step(op) else { return };
        let before = std::mem::replace(&mut step.body, body);
        match (before == Body::Running, body == Body::Running) {
            (true, false) => self.running -= 1,
            (false, true) => self.running += 1,
            _ => {}
        }
    }
}
