//! What operations, bodies and the driver may ask of a program, each under its lock.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use super::{Announced, Body, Core, OpId, Turn, Work};
use crate::{
    event::{Event, Seed},
    ids::{RunId, Timestamp},
    lock::lock,
    replay::{
        Blocked, Key, Violation,
        hydration::Hydration,
        intents::Deposit,
        wakers::{At, Mode},
    },
};

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
    pub(in crate::replay) root_woken: AtomicBool,
    pub(in crate::replay) woken_from_outside: AtomicBool,
    pub(in crate::replay) woken_by_body: AtomicBool,
}

impl Shared {
    pub(in crate::replay) fn new(identity: Identity, hydration: Option<Arc<Hydration>>) -> Self {
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

    #[inline]
    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    #[inline]
    pub(in crate::replay) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// The latest time that was delivered to the program.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(SeqCst))
    }

    pub(in crate::replay) fn advance_now(&self, at: Timestamp) {
        self.now.fetch_max(at.as_millis(), SeqCst);
    }

    #[inline]
    pub(in crate::replay) fn set_driver(&self, waker: &Waker) {
        let mut driver = lock(&self.driver);
        if driver.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    pub(in crate::replay) fn wake_driver(&self) {
        let waker = lock(&self.driver).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(in crate::replay) fn body_woken(&self, op: OpId) {
        lock(&self.ready).push(op);
        self.any_ready.store(true, SeqCst);
        self.wake_driver();
    }

    /// Takes the bodies that were woken.
    #[inline]
    pub(in crate::replay) fn take_ready(&self) -> Vec<OpId> {
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
        let bytes = key.as_str().len();
        if bytes > Key::BYTES_MAX {
            core.block(Violation::NameTooLong { begins: key.beginning(), bytes });
        }
        let op = core.open(key, work, shielded);
        drop(core);
        if !inside {
            self.wake_driver();
        }
        op
    }

    /// Takes note of a call whose answer depends on how many there were before: of a branch, or of a
    /// random number.
    pub(crate) fn draw(&self, call: &'static str, branch: &str) {
        let inside = At::here(self.id()) == Mode::Delivery;
        let mut core = self.core();
        core.drawn += 1;
        if !inside {
            let branch = branch.trim_end_matches('/').to_owned();
            core.block(Violation::DrawnOutside { call, branch });
        }
        drop(core);
        if !inside {
            self.wake_driver();
        }
    }

    /// Where an operation stands when it is polled.
    pub(crate) fn poll(&self, op: OpId, key: &Key, cx: &Context<'_>) -> Turn {
        let mode = At::here(self.id());
        if !matches!(mode, Mode::Delivery | Mode::Bodies) {
            self.core().block(Violation::PolledOutside { key: key.clone() });
            self.wake_driver();
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

    /// Says that a body was polled and has not ended, and which run it waits for. Its attempt is
    /// out of time at `until`, by the monotonic clock.
    pub(crate) fn body_pending(&self, op: OpId, until: Option<Duration>, awaited: Option<RunId>) {
        let mut core = self.core();
        core.set_wait(op, until);
        core.note_awaited(op, awaited);
    }

    /// Gives a step so long from when the driver next looks, unless the log says until when.
    pub(crate) fn set_deadline(&self, op: OpId, deadline: Duration) {
        self.core().time(op, deadline);
    }

    /// Until when a step must have ended, if it has a deadline.
    pub(crate) fn deadline(&self, op: OpId) -> Option<Timestamp> {
        self.core().deadline(op)
    }

    /// Finds out whether this step's body, just polled or dropped, has woken the workflow.
    #[inline]
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
    #[inline]
    pub(crate) fn deposit(&self, op: OpId, deposit: Deposit) {
        let mut core = self.core();
        core.set_body(op, Body::Done);
        core.forget_times(op);
        core.outbox.deposits.push(deposit);
    }

    /// Notes a failed attempt; the next may begin at `retry_at`.
    pub(crate) fn retry(
        &self,
        op: OpId,
        note: Event,
        attempt: u32,
        delay: Duration,
        retry_at: Timestamp,
    ) {
        /// A longer delay is worth an append of its own, so that a takeover keeps to it; and so are
        /// notes that have waited for longer, so that a takeover counts the attempts.
        const OWN_APPEND_FROM: Duration = Duration::from_secs(5);
        let mut core = self.core();
        core.set_body(op, Body::Waiting);
        core.set_alarm(op, Some(retry_at));
        // Whichever comes first: the log's time, or so long by the clock that nobody sets.
        let wait = core.clock.monotonic.saturating_add(delay);
        core.set_wait(op, Some(wait));
        if let Some(step) = core.step(op) {
            step.failed = attempt;
            step.counted = true;
        }
        let now = core.clock.monotonic;
        let waited = core.outbox.note_retry(op, note, now);
        core.outbox.urgent |= delay.max(waited) > OWN_APPEND_FROM;
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

    /// Whether the lease holds under which a body is about to begin. A program without a driver
    /// has none that it could lose.
    pub(crate) fn lease_holds(&self) -> bool {
        let lease = self.core().lease.clone();
        lease.is_none_or(|lease| lease.holds())
    }

    /// Puts the body of an announced step off until the lease is confirmed.
    pub(crate) fn await_lease(&self, op: OpId) {
        let mut core = self.core();
        core.set_body(op, Body::Waiting);
        core.unconfirmed.push(op);
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
