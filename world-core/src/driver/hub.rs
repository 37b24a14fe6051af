//! What the parts of one engine tell each other without asking the store.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use futures::task::AtomicWaker;
use tokio::sync::{Notify, oneshot};

use super::session::Session;
use crate::{
    event::Logged,
    ids::{RunId, Timestamp},
};

/// Tells the one that drives a run to look around.
#[derive(Debug, Default)]
pub(super) struct Signal {
    pub(super) waker: AtomicWaker,
    outside: AtomicBool,
    stop: AtomicBool,
}

impl Signal {
    /// Somebody else appended to the run's log.
    pub(super) fn tell_outside(&self) {
        self.outside.store(true, SeqCst);
        self.waker.wake();
    }

    pub(super) fn take_outside(&self) -> bool {
        self.outside.load(SeqCst) && self.outside.swap(false, SeqCst)
    }

    /// The worker is to give the run back.
    pub(super) fn tell_stop(&self) {
        self.stop.store(true, SeqCst);
        self.waker.wake();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }
}

/// Says that a run is driven here. It ends however the drive does, also when its task is aborted.
#[derive(Debug)]
pub(super) struct Driven {
    hub: Arc<Hub>,
    run: RunId,
    signal: Arc<Signal>,
}

impl Driven {
    pub(super) const fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if state.driven.get(&self.run).is_some_and(|known| Arc::ptr_eq(known, &self.signal)) {
            state.driven.remove(&self.run);
        }
    }
}

/// What the parts of one engine tell each other.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    residents_max: usize,
    /// A run may have become due.
    pub(super) work: Notify,
}

#[derive(Debug, Default)]
struct State {
    driven: HashMap<RunId, Arc<Signal>>,
    watchers: HashMap<RunId, Vec<oneshot::Sender<Arc<Logged>>>>,
    residents: HashMap<RunId, Session>,
    oldest: VecDeque<RunId>,
    due: BTreeSet<(Timestamp, RunId)>,
}

impl Hub {
    pub(super) fn new(residents_max: usize) -> Self {
        Self { state: Mutex::default(), residents_max, work: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that this engine drives a run, for as long as the answer lives.
    pub(super) fn enter(self: &Arc<Self>, run: &RunId) -> Driven {
        let signal = Arc::new(Signal::default());
        self.state().driven.insert(run.clone(), Arc::clone(&signal));
        Driven { hub: Arc::clone(self), run: run.clone(), signal }
    }

    pub(super) fn is_driven(&self, run: &RunId) -> bool {
        self.state().driven.contains_key(run)
    }

    /// Says that something was appended to a run's log from outside.
    pub(super) fn appended(&self, run: &RunId) {
        let signal = self.state().driven.get(run).cloned();
        match signal {
            Some(signal) => signal.tell_outside(),
            None => self.work.notify_waiters(),
        }
    }

    /// Waits for a run's end, from now on.
    pub(super) fn watch(&self, run: &RunId) -> oneshot::Receiver<Arc<Logged>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let watchers = state.watchers.entry(run.clone()).or_default();
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.push(sender);
        receiver
    }

    /// Nobody may wait for this run any more.
    pub(super) fn unwatch(&self, run: &RunId) {
        let mut state = self.state();
        if let Some(watchers) = state.watchers.get_mut(run) {
            watchers.retain(|watcher| !watcher.is_closed());
            if watchers.is_empty() {
                state.watchers.remove(run);
            }
        }
    }

    /// Tells everyone who waits how a run ended.
    pub(super) fn ended(&self, run: &RunId, end: &Arc<Logged>) {
        let watchers = self.state().watchers.remove(run).unwrap_or_default();
        for watcher in watchers {
            let _ = watcher.send(Arc::clone(end)); // one that no longer waits needs no answer
        }
    }

    /// Keeps a resting run's program, for when it is claimed again.
    pub(super) fn keep(&self, session: Session, due: Timestamp) {
        self.rested(session.run(), due);
        let mut dropped = Vec::new();
        {
            let mut state = self.state();
            let run = session.run().clone();
            if self.residents_max > 0 {
                state.oldest.push_back(run.clone());
                dropped.extend(state.residents.insert(run, session));
            }
            while state.residents.len() > self.residents_max
                && let Some(oldest) = state.oldest.pop_front()
            {
                dropped.extend(state.residents.remove(&oldest));
            }
            if state.oldest.len() > 2 * self.residents_max {
                let State { residents, oldest, .. } = &mut *state;
                oldest.retain(|run| residents.contains_key(run));
            }
        }
        drop(dropped); // user code: not under the lock
    }

    /// Says that a run rests until a time.
    pub(super) fn rested(&self, run: &RunId, due: Timestamp) {
        self.state().due.insert((due, run.clone()));
        self.work.notify_waiters();
    }

    pub(super) fn take(&self, run: &RunId) -> Option<Session> {
        self.state().residents.remove(run)
    }

    /// When a run that rested here is next due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.state().due.first().map(|(due, _)| *due)
    }

    /// Forgets the times up to `now`: their runs are claimed by whoever comes first.
    pub(super) fn pass(&self, now: Timestamp) {
        let mut state = self.state();
        while state.due.first().is_some_and(|(due, _)| *due <= now) {
            state.due.pop_first();
        }
    }
}
