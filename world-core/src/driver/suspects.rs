//! Runs that may be what brings their workers down: each waits until the others have made
//! progress, and is then driven apart from them.
//!
//! "The worker" that dies is the engine of this process, with all its workers: they go down
//! together. Engines of other processes, and others in this one, know nothing of this queue.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    clock::{Alarm, Clock},
    hub::{Hub, Signal, Stopping},
};
use crate::lock::lock;

/// How many suspects are driven together at most, by how often they were driven apart before. Most
/// suspects are innocent, and their bodies take the time of one when they run together. A group
/// whose worker dies is divided; from the third round on, each run is alone.
const GROUPS: [usize; 3] = [16, 4, 1];

/// How long the first in the queue waits for the others to make progress before it is driven all
/// the same: the least, and the most. It doubles with each round, so that a run that kills its
/// workers makes room for long bodies. There must be an end, as another's body may wait for the
/// suspect.
const WAIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3_600));

/// Where a suspect stands in the queue: by its rounds so far, then by when it came. So what has
/// killed a worker that drove it apart comes last.
type Place = (u32, u64);

/// The queue of suspects of one engine, and the gate that holds new runs back meanwhile.
#[derive(Debug)]
pub(super) struct Suspects {
    /// Whether there are any: while there are none, nothing else is looked at.
    any: AtomicBool,
    /// Raised when the first in the queue begins to wait; progress is dated by it.
    epoch: AtomicU64,
    state: Mutex<State>,
    /// The gate may have opened.
    opened: Notify,
    /// How long the gate stays shut at most, both while the first waits for the last of the
    /// others and while suspects are driven: a worker that dies in that time has died of what it
    /// drives, and one long body is not to keep it from everything else for longer.
    shut_max: Duration,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Place, Arc<Signal>>,
    next: u64,
    first: Option<First>,
    apart: Option<Apart>,
    groups: u64,
    /// Claims and starts under way, whose runs are about to be driven.
    entering: usize,
}

/// The first in the queue.
#[derive(Debug)]
struct First {
    place: Place,
    since: Duration,
    /// Since when the gate is shut for it.
    shut: Option<Duration>,
}

/// The suspects that are being driven apart.
#[derive(Debug)]
struct Apart {
    group: u64,
    /// How many of them have neither made progress nor left.
    left: usize,
    until: Duration,
}

/// What the one who asks for its turn is told.
enum Turn {
    /// Drive it now; alone, or with others of its group or what has made no progress.
    Go { alone: bool },
    /// Wait to be woken, at the latest at this time.
    Wait(Option<Duration>),
}

/// Leave to begin driving runs, of a claim or a start; the gate does not shut behind its back.
#[derive(Debug)]
pub(super) struct Admission(Arc<Hub>);

impl Drop for Admission {
    fn drop(&mut self) {
        let suspects = &self.0.suspects;
        suspects.state().entering -= 1;
        suspects.wake_first();
    }
}

/// A suspect, from when it waits until its turn with the worker is over.
#[derive(Debug)]
pub(super) struct Suspect {
    hub: Arc<Hub>,
    signal: Arc<Signal>,
    place: Place,
}

impl Drop for Suspect {
    fn drop(&mut self) {
        let suspects = &self.hub.suspects;
        let mut state = suspects.state();
        if state.waiting.remove(&self.place).is_some() {
            state.first.take_if(|first| first.place == self.place);
            suspects.any.store(state.is_any(), SeqCst);
        }
        drop(state);
        self.signal.waits.store(false, SeqCst);
        suspects.leave(self.signal.group.swap(0, SeqCst));
    }
}

impl State {
    fn is_any(&self) -> bool {
        !self.waiting.is_empty() || self.apart.is_some()
    }

    /// Takes the next group from the queue.
    fn begin_group(&mut self, until: Duration) -> Vec<Arc<Signal>> {
        let Some(round) = self.waiting.first_key_value().map(|(place, _)| place.0) else {
            return Vec::new();
        };
        let size = GROUPS.get(round as usize).copied().unwrap_or(1);
        let of_round = || self.waiting.keys().take_while(|place| place.0 == round);
        // Half of them at most, or a death would say nothing.
        let half = of_round().take(2 * size).count().div_ceil(2);
        let places: Vec<_> = of_round().take(size.min(half)).copied().collect();
        self.groups += 1;
        let signals: Vec<_> =
            places.iter().filter_map(|place| self.waiting.remove(place)).collect();
        for signal in &signals {
            signal.group.store(self.groups, SeqCst);
            signal.waits.store(false, SeqCst);
        }
        self.first = None;
        self.apart = Some(Apart { group: self.groups, left: signals.len(), until });
        signals
    }

    /// Until when the gate is shut, unless it is opened before.
    fn shut_until(&self, now: Duration, shut_max: Duration) -> Option<Duration> {
        let apart = self.apart.as_ref().filter(|apart| apart.left > 0).map(|apart| apart.until);
        let first = self.first.as_ref().and_then(|first| first.shut);
        let until = apart.max(first.map(|shut| shut.saturating_add(shut_max)));
        until.filter(|until| now < *until)
    }
}

impl Suspects {
    pub(super) fn new(shut_max: Duration) -> Self {
        Self {
            any: AtomicBool::new(false),
            epoch: AtomicU64::new(1),
            state: Mutex::default(),
            opened: Notify::new(),
            shut_max,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The number by which progress is dated.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Leave to begin driving runs; none while suspects are driven apart.
    pub(super) fn admission(hub: &Arc<Hub>, now: Duration) -> Option<Admission> {
        let suspects = &hub.suspects;
        let mut state = suspects.state();
        if state.shut_until(now, suspects.shut_max).is_some() {
            return None;
        }
        state.entering += 1;
        Some(Admission(Arc::clone(hub)))
    }

    /// Waits until the gate may be open.
    pub(super) async fn opened(&self, clock: &dyn Clock) {
        let opened = self.opened.notified();
        tokio::pin!(opened);
        opened.as_mut().enable();
        let until = self.state().shut_until(clock.monotonic(), self.shut_max);
        if let Some(until) = until {
            tokio::select! {
                biased;
                () = opened => {}
                () = clock.pause(until.saturating_sub(clock.monotonic())) => {}
            }
        }
    }

    /// Says that a run has made progress: an append of its own has been committed.
    pub(super) fn made_progress(&self, signal: &Signal) {
        if !self.any.load(SeqCst) {
            return;
        }
        let epoch = self.epoch();
        let is_first_since = signal.progress.swap(epoch, SeqCst) < epoch;
        let group = signal.group.swap(0, SeqCst);
        if group != 0 {
            self.leave(group);
        } else if is_first_since {
            self.wake_first();
        }
    }

    /// Says that a run is no longer driven here.
    pub(super) fn left(&self) {
        if self.any.load(SeqCst) {
            self.wake_first();
        }
    }

    /// One of the suspects that are driven apart is no longer watched.
    fn leave(&self, group: u64) {
        let mut state = self.state();
        if let Some(apart) = state.apart.as_mut().filter(|apart| apart.group == group) {
            apart.left -= 1;
            if apart.left == 0 {
                state.apart = None;
                self.any.store(state.is_any(), SeqCst);
            }
        }
        drop(state);
        self.wake_first();
        self.opened.notify_waiters();
    }

    fn wake_first(&self) {
        let first = self.state().waiting.first_key_value().map(|(_, signal)| Arc::clone(signal));
        if let Some(signal) = first {
            signal.waker.wake();
        }
    }

    /// Looks whether this suspect's turn has come; if so, others of its group are told as well.
    fn look(&self, hub: &Hub, place: Place, now: Duration) -> Turn {
        let mut guard = self.state();
        let state = &mut *guard;
        if !state.waiting.contains_key(&place) {
            return Turn::Go { alone: false }; // the first of its group took it along
        }
        if state.waiting.first_key_value().is_none_or(|(first, _)| *first != place) {
            return Turn::Wait(None);
        }
        if let Some(apart) = state.apart.as_ref().filter(|apart| now < apart.until) {
            return Turn::Wait(Some(apart.until));
        }
        state.apart = None;
        if state.first.as_ref().is_none_or(|first| first.place != place) {
            state.first = Some(First { place, since: now, shut: None });
            self.epoch.fetch_add(1, SeqCst);
            self.opened.notify_waiters();
        }
        let (epoch, entering) = (self.epoch(), state.entering);
        let Some(first) = &mut state.first else { return Turn::Wait(None) };
        let end = first.since.saturating_add(wait_at_most(place.0));
        if now < end {
            // First those that were there before; then, with the gate shut, whoever came since.
            let is_there = |signal: &Signal| signal.entered < epoch;
            let progress = |signal: &Signal| signal.is_harmless_since(epoch);
            if first.shut.is_none() && hub.all_driven(|run| !is_there(run) || progress(run)) {
                first.shut = Some(now);
            }
            let Some(shut) = first.shut else { return Turn::Wait(Some(end)) };
            let open_again = shut.saturating_add(self.shut_max);
            if entering > 0 || !hub.all_driven(progress) {
                if now < open_again {
                    return Turn::Wait(Some(end.min(open_again)));
                }
                first.shut = None;
                self.epoch.fetch_add(1, SeqCst);
                self.opened.notify_waiters();
                return Turn::Wait(Some(end));
            }
        }
        let woken = state.begin_group(now.saturating_add(self.shut_max));
        drop(guard);
        // The first of them is the one that asks.
        woken.iter().skip(1).for_each(|signal| signal.waker.wake());
        Turn::Go { alone: woken.len() == 1 && now < end }
    }
}

impl Suspect {
    /// Puts a run that has been driven apart so often into the queue.
    pub(super) fn enter(hub: &Arc<Hub>, signal: &Arc<Signal>, rounds: u32) -> Self {
        let suspects = &hub.suspects;
        let mut state = suspects.state();
        let place = (rounds, state.next);
        state.next += 1;
        state.waiting.insert(place, Arc::clone(signal));
        signal.waits.store(true, SeqCst);
        suspects.any.store(true, SeqCst);
        drop(state);
        suspects.wake_first();
        Self { hub: Arc::clone(hub), signal: Arc::clone(signal), place }
    }

    /// Waits until this run is to be driven, and says whether it is alone; none if the worker
    /// stops.
    pub(super) async fn turn(&self, clock: &dyn Clock) -> Option<bool> {
        let mut alarm: Option<(Duration, Alarm)> = None;
        poll_fn(|cx| {
            self.signal.waker.register(cx.waker());
            if self.signal.stopping() != Stopping::Not {
                return Poll::Ready(None);
            }
            let at = match self.hub.suspects.look(&self.hub, self.place, clock.monotonic()) {
                Turn::Go { alone } => return Poll::Ready(Some(alone)),
                Turn::Wait(None) => return Poll::Pending,
                Turn::Wait(Some(at)) => at,
            };
            if alarm.as_ref().is_none_or(|(set, _)| *set != at) {
                alarm = Some((at, clock.pause(at.saturating_sub(clock.monotonic()))));
            }
            if let Some((_, waits)) = &mut alarm
                && waits.as_mut().poll(cx).is_ready()
            {
                alarm = None;
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }
}

fn wait_at_most(round: u32) -> Duration {
    WAIT.0.saturating_mul(1 << round.min(16)).min(WAIT.1)
}
