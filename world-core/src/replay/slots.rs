//! What a program and its operations share: a slot for each open operation.
//!
//! No user code (wakers, closures, drops of bodies) runs while the lock is held.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use super::{
    Blocked, Divergence, Key, Violation,
    hydration::Hydration,
    intents::{Deposit, Outbox},
    wakers::{At, Mode},
};
use crate::{
    event::{Event, Logged, Seed},
    ids::{Position, RunId, Timestamp},
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
    alarm: Option<Timestamp>,
    warned: bool,
}

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
    pub(crate) now: Timestamp,
    pub(crate) timed_out: bool,
    /// The number of the attempt, from 1, if this poll begins one.
    pub(crate) attempt: u32,
    pub(crate) announced: Announced,
}

/// Who a program is, for its random numbers and ids.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) run: RunId,
    pub(crate) seed: Seed,
}

/// What a program, its operations and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) hydration: Option<Arc<Hydration>>,
    core: Mutex<Core>,
    ready: Mutex<Vec<OpId>>,
    any_ready: AtomicBool,
    driver: Mutex<Option<Waker>>,
    now: AtomicU64,
    pub(super) root_woken: AtomicBool,
    pub(super) woken_from_outside: AtomicBool,
    pub(super) woken_by_body: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct Core {
    slots: OpMap<Slot>,
    by_key: BTreeMap<Key, OpId>,
    /// Asked for and dropped before its result came.
    dropped: HashSet<Key>,
    next: OpId,
    pub(super) visible: Option<OpId>,
    pub(super) tries: BTreeMap<Order, OpId>,
    startable: VecDeque<OpId>,
    /// Bodies that were woken while their steps were held, and whose steps are polled again.
    again: Vec<OpId>,
    alarms: BTreeSet<(Timestamp, OpId)>,
    pub(super) outbox: Outbox,
    pub(super) open_hash: u64,
    /// Where the program stands in the log.
    pub(super) position: Position,
    /// The driver's time.
    clock: Timestamp,
    /// Claims without progress before this one.
    pub(super) claims: u32,
    running: usize,
    pub(super) bodies_max: usize,
    cancelled: Option<Position>,
    pub(super) cancel_reason: String,
    pub(super) finished: bool,
    pub(super) blocked: Option<Blocked>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(identity: Identity, hydration: Option<Arc<Hydration>>) -> Self {
        Self {
            identity,
            hydration,
            core: Mutex::default(),
            ready: Mutex::default(),
            any_ready: AtomicBool::new(false),
            driver: Mutex::default(),
            now: AtomicU64::new(0),
            root_woken: AtomicBool::new(true),
            woken_from_outside: AtomicBool::new(false),
            woken_by_body: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// The latest time that was delivered to the program.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(SeqCst))
    }

    pub(super) fn advance_now(&self, at: Timestamp) {
        self.now.fetch_max(at.as_millis(), SeqCst);
    }

    pub(super) fn set_driver(&self, waker: &Waker) {
        let mut driver = lock(&self.driver);
        if driver.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    pub(super) fn wake_driver(&self) {
        let waker = lock(&self.driver).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn body_woken(&self, op: OpId) {
        lock(&self.ready).push(op);
        self.any_ready.store(true, SeqCst);
        self.wake_driver();
    }

    /// Takes the bodies that were woken.
    pub(super) fn take_ready(&self) -> Vec<OpId> {
        if !self.any_ready.load(SeqCst) || !self.any_ready.swap(false, SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *lock(&self.ready))
    }

    /// Opens an operation. Nothing is ready on the poll that creates it.
    pub(crate) fn ask(&self, key: Key, work: Work, shielded: bool) -> OpId {
        let inside = At::here(self.id()) == Mode::Delivery;
        let mut core = self.core();
        if !inside {
            core.block(Violation::AskedOutside { key: key.clone() });
        }
        core.open(key, work, shielded)
    }

    /// Where an operation stands when it is polled.
    pub(crate) fn poll(&self, op: OpId, key: &Key, cx: &Context<'_>) -> Turn {
        let mode = At::here(self.id());
        if !matches!(mode, Mode::Delivery | Mode::Bodies) {
            self.core().block(Violation::PolledOutside { key: key.clone() });
            return Turn::Pending;
        }
        // Cloned before the lock is taken: a waker may be user code.
        let waker = cx.waker().clone();
        let mut core = self.core();
        if core.visible == Some(op) {
            core.visible = None;
            let slot = core.close(op);
            drop(core);
            return match slot.and_then(|slot| slot.parked) {
                Some((_, parcel)) => Turn::Take(parcel),
                None => Turn::Pending,
            };
        }
        let turn = core.polled(op, mode);
        let old = match core.slots.get_mut(&op) {
            Some(slot) if slot.waker.as_ref().is_none_or(|old| !old.will_wake(&waker)) => {
                slot.waker.replace(waker)
            }
            _ => Some(waker),
        };
        drop(core);
        drop(old);
        turn
    }

    /// Says that a body was polled and has not ended.
    pub(crate) fn body_pending(&self, op: OpId, alarm: Option<Timestamp>) {
        self.core().set_alarm(op, alarm);
    }

    /// Finds out whether this step's body, just polled or dropped, has woken the workflow.
    pub(crate) fn blame_wake(&self, key: &Key) {
        if !self.woken_by_body.load(SeqCst) || !self.woken_by_body.swap(false, SeqCst) {
            return;
        }
        let mut core = self.core();
        if !core.finished {
            core.block(Violation::WokenByBody { key: key.clone() });
        }
    }

    /// Puts a step's outcome on its way into the log.
    pub(crate) fn deposit(&self, op: OpId, deposit: Deposit) {
        let mut core = self.core();
        core.set_body(op, Body::Done);
        core.set_alarm(op, None);
        core.outbox.deposits.push(deposit);
    }

    /// Notes a failed attempt; the next may begin at `retry_at`.
    pub(crate) fn retry(&self, op: OpId, note: Event, attempt: u32, retry_at: Timestamp) {
        /// A longer delay is worth an append of its own, so that a takeover keeps to it.
        const OWN_APPEND_FROM: Duration = Duration::from_secs(5);
        let mut core = self.core();
        core.set_body(op, Body::Waiting);
        core.set_alarm(op, Some(retry_at));
        if let Some(step) = core.step(op) {
            step.failed = attempt;
            step.counted = true;
        }
        core.outbox.urgent |= retry_at.since(core.clock) > OWN_APPEND_FROM;
        core.outbox.notes.push(note);
    }

    /// Announces the body of an at-most-once step; it begins once that is committed.
    pub(crate) fn announce(&self, op: OpId, key: Key) {
        let mut core = self.core();
        core.set_body(op, Body::Waiting);
        if let Some(step) = core.step(op) {
            step.announced = Announced::Here;
        }
        core.outbox.urgent = true;
        core.outbox.notes.push(Event::StepStarted { key });
    }

    /// Blocks the run.
    pub(crate) fn block(&self, blocked: impl Into<Blocked>) {
        self.core().block(blocked);
    }

    /// Closes an operation that the program dropped.
    pub(crate) fn dropped(&self, op: OpId) {
        let slot = {
            let mut core = self.core();
            core.abandon(op)
        };
        drop(slot);
    }
}

impl Core {
    pub(super) fn block(&mut self, blocked: impl Into<Blocked>) {
        self.blocked.get_or_insert(blocked.into());
    }

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
            alarm: None,
            warned: false,
        };
        self.slots.insert(op, slot);
        self.set_alarm(op, alarm);
        op
    }

    fn close(&mut self, op: OpId) -> Option<Slot> {
        let slot = self.slots.remove(&op)?;
        self.by_key.remove(&slot.key);
        self.open_hash = self.open_hash.wrapping_sub(slot.key.stable_hash());
        if let Some((order, parcel)) = &slot.parked {
            self.tries.remove(order);
            if matches!(parcel, Parcel::Cancelled) {
                self.dropped.insert(slot.key.clone());
            }
        }
        if let Some(at) = slot.alarm {
            self.alarms.remove(&(at, op));
        }
        if matches!(&slot.work, Work::Step(StepWork { body: Body::Running, .. })) {
            self.running -= 1;
        }
        Some(slot)
    }

    fn abandon(&mut self, op: OpId) -> Option<Slot> {
        let slot = self.close(op)?;
        self.dropped.insert(slot.key.clone());
        if !self.finished && slot.parked.is_none() && matches!(slot.work, Work::Step(_)) {
            self.outbox.abandon(slot.key.clone());
        }
        Some(slot)
    }

    fn polled(&mut self, op: OpId, mode: Mode) -> Turn {
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
                slot.queued = true;
                self.startable.push_back(op);
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

    fn set_body(&mut self, op: OpId, body: Body) {
        let Some(step) = self.step(op) else { return };
        let before = std::mem::replace(&mut step.body, body);
        match (before == Body::Running, body == Body::Running) {
            (true, false) => self.running -= 1,
            (false, true) => self.running += 1,
            _ => {}
        }
    }

    fn set_alarm(&mut self, op: OpId, alarm: Option<Timestamp>) {
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

    // ---- what the program does with its log ----

    pub(super) fn find(&self, key: &Key) -> Option<(OpId, &Slot)> {
        let op = *self.by_key.get(key)?;
        Some((op, self.slots.get(&op)?))
    }

    /// Takes note that a dropped operation's result has come; false if it was never asked for.
    pub(super) fn was_dropped(&self, key: &Key) -> bool {
        self.dropped.contains(key)
    }

    pub(super) fn open_keys(&self) -> Vec<Key> {
        self.by_key.keys().cloned().collect()
    }

    /// The open keys that an error shows.
    pub(super) fn shown_keys(&self) -> Vec<Key> {
        let mut keys = self.open_keys();
        keys.truncate(Divergence::SHOWN_MAX);
        keys
    }

    pub(super) fn open_count(&self) -> usize {
        self.slots.len()
    }

    /// How many operations have ever been asked for.
    pub(super) const fn asked(&self) -> OpId {
        self.next
    }

    pub(super) fn park(&mut self, op: OpId, position: Position, parcel: Parcel) {
        self.set_alarm(op, None);
        let Some(slot) = self.slots.get_mut(&op) else { return };
        if slot.parked.is_some() {
            return; // a cancellation was first
        }
        let order = (position, slot.key.clone());
        slot.parked = Some((order.clone(), parcel));
        if slot.waker.is_some() {
            self.tries.insert(order, op);
        }
    }

    pub(super) fn cancel(&mut self, position: Position, reason: &str) {
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

    pub(super) const fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Makes the lowest untried result visible; its waker is to be woken.
    pub(super) fn show_next(&mut self) -> Option<Option<Waker>> {
        let (_, op) = self.tries.pop_first()?;
        self.visible = Some(op);
        Some(self.slots.get_mut(&op).and_then(|slot| slot.waker.take()))
    }

    /// The wakers of at most this many operations, which ones depends on `chance`.
    pub(super) fn some_wakers(&self, chance: u64, max: usize) -> Vec<Waker> {
        let spare = self.slots.len().saturating_sub(max) as u64;
        let skipped = usize::try_from(chance % (spare + 1)).unwrap_or(0);
        let wakers = self.slots.values().skip(skipped).filter_map(|slot| slot.waker.clone());
        wakers.take(max).collect()
    }

    /// Sets a timer to the time that the log says, unless it has fired meanwhile.
    pub(super) fn retime(&mut self, op: OpId, at: Timestamp) {
        if let Some(Slot { work: Work::Timer { until, fired: false }, .. }) =
            self.slots.get_mut(&op)
        {
            *until = at;
            self.set_alarm(op, Some(at));
        }
    }

    /// An announcement stands in the log.
    pub(super) fn announced(&mut self, op: OpId) {
        let Some(step) = self.step(op) else { return };
        if step.announced == Announced::Here {
            step.announced = Announced::Committed;
            self.set_body(op, Body::Idle);
            self.enqueue(op);
        } else {
            step.announced = Announced::Before;
        }
    }

    /// A failed attempt stands in the log.
    pub(super) fn retrying(&mut self, op: OpId, attempt: u32, retry_at: Timestamp) {
        let Some(step) = self.step(op) else { return };
        step.failed = step.failed.max(attempt);
        if step.body == Body::Idle {
            step.body = Body::Waiting;
            self.set_alarm(op, Some(retry_at));
        }
    }

    fn enqueue(&mut self, op: OpId) {
        if let Some(slot) = self.slots.get_mut(&op)
            && slot.waker.is_some()
            && !slot.queued
        {
            slot.queued = true;
            self.startable.push_back(op);
        }
    }

    // ---- what the driver does with its bodies ----

    /// Moves the driver's time on: timers fire, waits end, attempts time out.
    pub(super) fn expire(&mut self, now: Timestamp, woken: &mut Vec<OpId>) {
        self.clock = self.clock.max(now);
        while let Some((at, op)) = self.alarms.first().copied()
            && at <= self.clock
        {
            self.set_alarm(op, None);
            let Some(slot) = self.slots.get_mut(&op) else { continue };
            match &mut slot.work {
                Work::Timer { fired, .. } => {
                    *fired = true;
                    let deposit = Deposit::Fired { key: slot.key.clone() };
                    self.outbox.deposits.push(deposit);
                }
                Work::Step(step) if step.body == Body::Waiting => {
                    step.body = Body::Idle;
                    self.enqueue(op);
                }
                Work::Step(step) => {
                    step.timed_out = true;
                    woken.push(op);
                }
            }
        }
    }

    /// Lets bodies be polled: those that were woken, and as many more as may begin. Returns them
    /// with the wakers to wake.
    pub(super) fn make_runnable(
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
        let mut free = self.bodies_max.saturating_sub(self.running);
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

    /// Finds bodies that were woken and that the program did not poll.
    pub(super) fn find_starved(
        &mut self,
        runnable: &[(OpId, Option<Waker>)],
        starved: &mut Vec<Key>,
    ) {
        for (op, _) in runnable {
            let Some(slot) = self.slots.get_mut(op) else { continue };
            if slot.runnable && !std::mem::replace(&mut slot.warned, true) {
                starved.push(slot.key.clone());
            }
        }
    }

    /// How many bodies run or could begin.
    pub(super) fn wanted(&self) -> usize {
        self.running + self.startable.len()
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// Whether the body of an at-most-once step is announced by this program, and has not ended.
    pub(super) fn has_announced(&self) -> bool {
        self.slots.values().any(|slot| {
            matches!(
                &slot.work,
                Work::Step(StepWork { announced: Announced::Here | Announced::Committed, body, .. })
                    if *body != Body::Done
            )
        })
    }

    /// When the driver's time next matters.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }
}
