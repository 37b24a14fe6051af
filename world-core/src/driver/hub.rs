//! What the parts of one engine tell each other without asking the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{sync::Notify, time::timeout};

use super::{
    held::HeldLease,
    session::Session,
    stands::{Stand, Stands},
    suspects::Suspects,
    watchers::Watchers,
};
use crate::{
    event::Logged,
    ids::{RunId, Timestamp},
    lock::lock,
    moment::Moment,
    observe,
    replay::{LeaseWatch, Shared, Waits},
};

/// The most times at which runs that rested here are due that are kept.
const DUE_MAX: usize = 4096;

/// Tells the one that drives a run to look around.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) waker: AtomicWaker,
    /// What the program shares with its operations.
    program: Mutex<Weak<Shared>>,
    /// Where the drive stands, where somebody wants to know.
    pub(super) stand: Mutex<Stand>,
    /// The lease under which the run is driven.
    pub(super) lease: HeldLease,
    outside: AtomicBool,
    /// The owner's append has met others', and is on its way again.
    contended: AtomicBool,
    calm: Notify,
    /// A [`Stopping`].
    stop: AtomicU8,
    /// A [`Bodies`].
    bodies: AtomicU8,
    /// A [`Left`].
    left: AtomicU8,
    /// The epoch of the suspects in which the run came here, and in which it last made progress.
    pub(super) entered: u64,
    pub(super) progress: AtomicU64,
    /// It is a suspect, and waits to be driven.
    pub(super) waits: AtomicBool,
    /// The group of suspects with which it is driven, until it makes progress; or 0.
    pub(super) group: AtomicU64,
}

/// How far the shutdown of a run's worker has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stopping {
    /// The worker works.
    #[default]
    Not,
    /// No body begins; those that run may end.
    Draining,
    /// The run is given back as it is.
    Now,
}

/// Whether a stopping run's bodies were running when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Bodies {
    /// The drive has not looked: a body may block its thread.
    #[default]
    Unknown,
    Ended,
    Running,
}

/// How a drive left its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Left {
    /// Its lease was not given back: it runs out.
    #[default]
    Leased,
    GivenBack,
    Ended,
    /// Another worker has it, or it was over.
    Lost,
}

impl Signal {
    fn new(lease: HeldLease, entered: u64) -> Self {
        Self {
            waker: AtomicWaker::new(),
            program: Mutex::default(),
            stand: Mutex::default(),
            lease,
            outside: AtomicBool::default(),
            contended: AtomicBool::default(),
            calm: Notify::new(),
            stop: AtomicU8::default(),
            bodies: AtomicU8::default(),
            left: AtomicU8::default(),
            entered,
            progress: AtomicU64::default(),
            waits: AtomicBool::default(),
            group: AtomicU64::default(),
        }
    }

    /// What the program shares with its operations, once there is one.
    pub(super) fn program(&self) -> Option<Arc<Shared>> {
        lock(&self.program).upgrade()
    }

    /// Somebody else appended to the run's log.
    pub(super) fn tell_outside(&self) {
        self.outside.store(true, SeqCst);
        self.waker.wake();
    }

    pub(super) fn take_outside(&self) -> bool {
        self.outside.load(SeqCst) && self.outside.swap(false, SeqCst)
    }

    /// Says whether the owner's append meets others'.
    pub(super) fn contend(&self, contended: bool) {
        self.contended.store(contended, SeqCst);
        if !contended {
            self.calm.notify_waiters();
        }
    }

    /// The worker is to give the run back; what was told before stays, if it was more.
    pub(super) fn tell_stop(&self, stopping: Stopping) {
        self.stop.fetch_max(stopping as u8, SeqCst);
        self.waker.wake();
    }

    pub(super) fn stopping(&self) -> Stopping {
        match self.stop.load(SeqCst) {
            0 => Stopping::Not,
            1 => Stopping::Draining,
            _ => Stopping::Now,
        }
    }

    /// Notes whether bodies run, for the report of a shutdown.
    pub(super) fn note_bodies(&self, bodies: Bodies) {
        self.bodies.store(bodies as u8, SeqCst);
    }

    pub(super) fn bodies(&self) -> Bodies {
        match self.bodies.load(SeqCst) {
            0 => Bodies::Unknown,
            1 => Bodies::Ended,
            _ => Bodies::Running,
        }
    }

    /// Notes how the drive left its run, for the report of a shutdown.
    pub(super) fn note_left(&self, left: Left) {
        self.left.store(left as u8, SeqCst);
    }

    pub(super) fn left(&self) -> Left {
        match self.left.load(SeqCst) {
            0 => Left::Leased,
            1 => Left::GivenBack,
            2 => Left::Ended,
            _ => Left::Lost,
        }
    }

    /// Whether it would lose nothing that is new if the worker died now: it has made progress
    /// since, or is not being driven yet.
    pub(super) fn is_harmless_since(&self, epoch: u64) -> bool {
        self.waits.load(SeqCst) || self.progress.load(SeqCst) >= epoch
    }
}

impl LeaseWatch for Signal {
    fn holds(&self) -> bool {
        self.lease.holds()
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
        self.signal.contend(false);
        let mut state = self.hub.state();
        if state.driven.get(&self.run).is_some_and(|known| Arc::ptr_eq(known, &self.signal)) {
            state.driven.remove(&self.run);
        }
        drop(state);
        self.hub.watchers.left(&self.run);
        self.hub.suspects.left();
        self.hub.stands.change();
    }
}

/// What the parts of one engine tell each other.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    residents_max: usize,
    /// Held from a claim until its programs are taken, or all of them dropped: what a store has
    /// lost it says to one claim, and none after it is to take a program from before.
    pub(super) claiming: tokio::sync::Mutex<()>,
    /// A run may have become due.
    pub(super) work: Notify,
    pub(super) suspects: Suspects,
    /// Who waits for the ends of runs.
    pub(super) watchers: Arc<Watchers>,
    /// Where drives stand.
    pub(super) stands: Stands,
}

#[derive(Debug, Default)]
struct State {
    /// In an order of its own, for it is walked through.
    driven: BTreeMap<RunId, Arc<Signal>>,
    /// Programs of resting runs, each with the number under which `oldest` knows it.
    residents: HashMap<RunId, (u64, Session)>,
    oldest: BTreeMap<u64, RunId>,
    kept: u64,
    /// How often everything was dropped.
    generation: u64,
    due: BTreeSet<(Timestamp, RunId)>,
}

impl Hub {
    pub(super) fn new(residents_max: usize, lease: Duration) -> Self {
        Self {
            state: Mutex::default(),
            residents_max,
            claiming: tokio::sync::Mutex::default(),
            work: Notify::new(),
            suspects: Suspects::new(lease),
            watchers: Arc::default(),
            stands: Stands::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Says that this engine drives a run, for as long as the answer lives.
    pub(super) fn enter(self: &Arc<Self>, lease: HeldLease) -> Driven {
        let run = lease.run().clone();
        let signal = Arc::new(Signal::new(lease, self.suspects.epoch()));
        self.state().driven.insert(run.clone(), Arc::clone(&signal));
        Driven { hub: Arc::clone(self), run, signal }
    }

    /// Who drives a run here whose lease has less than `left` left.
    pub(super) fn overdue(&self, now: Moment, left: Duration) -> Vec<Arc<Signal>> {
        let mut driven: Vec<_> = self.state().driven.values().cloned().collect();
        driven.retain(|signal| now.reaches(signal.lease.moment_before_end(left)));
        driven
    }

    /// Whether this is so of all runs that are driven here.
    pub(super) fn all_driven(&self, is_so: impl Fn(&Signal) -> bool) -> bool {
        self.state().driven.values().all(|signal| is_so(signal))
    }

    /// Says which program a run that is driven here has.
    pub(super) fn shows(&self, run: &RunId, program: &Arc<Shared>) {
        let signal = self.state().driven.get(run).cloned();
        if let Some(signal) = signal {
            *lock(&signal.program) = Arc::downgrade(program);
        }
    }

    /// The runs that are driven here.
    pub(super) fn driven(&self) -> Vec<(RunId, Arc<Signal>)> {
        let state = self.state();
        state.driven.iter().map(|(run, signal)| (run.clone(), Arc::clone(signal))).collect()
    }

    /// What each run that is driven here waits for; those without a program are not there.
    pub(super) fn waits(&self) -> BTreeMap<RunId, Waits> {
        let waits = |(run, signal): (RunId, Arc<Signal>)| Some((run, signal.program()?.waits()));
        self.driven().into_iter().filter_map(waits).collect()
    }

    pub(super) fn is_driven(&self, run: &RunId) -> bool {
        self.state().driven.contains_key(run)
    }

    /// Lets the owner of a run that is driven here write first, if its append has met others'.
    pub(super) async fn let_owner_write(&self, run: &RunId) {
        /// The longest wait: the owner may have gone.
        const WAIT_MAX: Duration = Duration::from_secs(1);
        let Some(signal) = self.state().driven.get(run).cloned() else { return };
        let calm = signal.calm.notified();
        if signal.contended.load(SeqCst) {
            let _ = timeout(WAIT_MAX, calm).await; // then it tries all the same
        }
    }

    /// Says that something was appended to a run's log from outside.
    pub(super) fn appended(&self, run: &RunId) {
        let signal = self.state().driven.get(run).cloned();
        match signal {
            Some(signal) => signal.tell_outside(),
            None => self.work.notify_waiters(),
        }
    }

    /// Tells everyone who waits how a run ended.
    pub(super) fn ended(&self, run: &RunId, end: &Arc<Logged>) {
        self.left(run, Left::Ended);
        observe::ended(run, end);
        self.watchers.ended(run, end);
    }

    /// Keeps a resting run's program, for when it is claimed again.
    pub(super) fn keep(&self, session: Session, due: Timestamp) {
        self.rested(session.run(), due);
        let mut dropped = Vec::new();
        {
            let mut state = self.state();
            if session.generation() != state.generation {
                drop(state);
                return; // the store has lost something since the program began
            }
            state.kept += 1;
            let (number, run) = (state.kept, session.run().clone());
            state.oldest.insert(number, run.clone());
            if let Some((former, session)) = state.residents.insert(run, (number, session)) {
                state.oldest.remove(&former);
                dropped.push(session);
            }
            while state.residents.len() > self.residents_max
                && let Some((_, oldest)) = state.oldest.pop_first()
            {
                dropped.extend(state.residents.remove(&oldest).map(|(_, session)| session));
            }
        }
        drop(dropped); // user code: not under the lock
    }

    /// Drops all programs, also those in a turn once they come back: the store may have lost what
    /// they have seen.
    pub(super) fn drop_all(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.oldest.clear();
        let dropped = std::mem::take(&mut state.residents);
        drop(state);
        drop(dropped); // user code: not under the lock
    }

    /// How often all programs were dropped.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Notes how a run that is driven here was left.
    pub(super) fn left(&self, run: &RunId, left: Left) {
        let signal = self.state().driven.get(run).cloned();
        if let Some(signal) = signal {
            signal.note_left(left);
        }
    }

    /// Says that a run rests until a time. Of many such times the nearest are kept: a run that comes
    /// due without one is found when a worker next asks the store, as one that rested elsewhere is.
    pub(super) fn rested(&self, run: &RunId, due: Timestamp) {
        observe::rests(run, due);
        {
            let mut state = self.state();
            state.due.insert((due, run.clone()));
            if state.due.len() > DUE_MAX {
                state.due.pop_last();
            }
        }
        self.work.notify_waiters();
    }

    pub(super) fn take(&self, run: &RunId) -> Option<Session> {
        let mut state = self.state();
        let (number, session) = state.residents.remove(run)?;
        state.oldest.remove(&number);
        Some(session)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, LogId, MemoryWorld};

    async fn session(engine: &Engine, id: &str) -> Session {
        let (run, inner) = (RunId::new(id).unwrap(), engine.inner());
        let seal = inner.seal.fresh(LogId::Run(run.clone())).await.unwrap();
        Session::new(run, seal, inner, Vec::new())
    }

    #[tokio::test]
    async fn the_programs_that_rested_first_leave_and_nothing_else_piles_up() {
        let engine = Engine::builder(MemoryWorld::new()).without_encryption().build().unwrap();
        let hub = Hub::new(2, Duration::ZERO);
        let run = |id| RunId::new(id).unwrap();
        hub.keep(session(&engine, "b").await, Timestamp::ZERO);
        for _ in 0..10 {
            hub.keep(session(&engine, "a").await, Timestamp::ZERO);
            assert!(hub.take(&run("a")).is_some());
            hub.keep(session(&engine, "a").await, Timestamp::ZERO);
        }
        assert_eq!(hub.state().oldest.len(), 2);
        hub.keep(session(&engine, "c").await, Timestamp::ZERO);
        assert!(hub.take(&run("b")).is_none(), "it has rested longest");
        assert!(hub.take(&run("a")).is_some() && hub.take(&run("c")).is_some());
        assert!(hub.state().oldest.is_empty() && hub.state().residents.is_empty());
    }

    #[tokio::test]
    async fn a_program_from_before_everything_was_dropped_is_not_kept() {
        let engine = Engine::builder(MemoryWorld::new()).without_encryption().build().unwrap();
        let (hub, run) = (&engine.inner().hub, RunId::new("a").unwrap());
        hub.keep(session(&engine, "a").await, Timestamp::ZERO);
        let in_a_turn = session(&engine, "a").await;
        hub.drop_all();
        assert!(hub.take(&run).is_none());
        hub.keep(in_a_turn, Timestamp::ZERO);
        assert!(hub.take(&run).is_none() && hub.state().oldest.is_empty());
        hub.keep(session(&engine, "a").await, Timestamp::ZERO);
        assert!(hub.take(&run).is_some(), "it began after that");
    }

    #[test]
    fn the_nearest_due_times_are_kept_and_no_more_than_so_many() {
        let hub = Hub::new(0, Duration::ZERO);
        let far = 3 * DUE_MAX as u64;
        for millis in (0..far).rev() {
            let run = RunId::new(format!("run-{millis}")).unwrap();
            hub.rested(&run, Timestamp::from_millis(millis));
        }
        assert_eq!(hub.state().due.len(), DUE_MAX);
        assert_eq!(hub.next_due(), Some(Timestamp::ZERO));
        hub.rested(&RunId::new("far").unwrap(), Timestamp::from_millis(far));
        hub.pass(Timestamp::from_millis(DUE_MAX as u64));
        assert_eq!(hub.next_due(), None, "those that were far away are left to the store");
    }

    #[tokio::test]
    async fn no_program_is_kept_where_none_may_be() {
        let engine = Engine::builder(MemoryWorld::new()).without_encryption().build().unwrap();
        let hub = Hub::new(0, Duration::ZERO);
        hub.keep(session(&engine, "a").await, Timestamp::ZERO);
        assert!(hub.take(&RunId::new("a").unwrap()).is_none() && hub.state().oldest.is_empty());
    }
}
