//! A worker: claims due runs and drives each in a task of its own.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    engine::Inner,
    held::HeldLease,
    hub::{Signal, Stopping},
    session::Session,
    shutdown::{Backstop, GRACE, RELEASE_WITHIN, Shutdown},
    standstill,
    suspects::{Admission, Suspects},
    turn,
};
use crate::{
    ids::{Queue, RunId},
    lock::lock,
    world::{Wait, World},
};

/// The most runs of one claim.
const CLAIM_MAX: usize = 64;

/// How long a worker waits after a claim that failed.
const CLAIM_RETRY: Duration = Duration::from_millis(500);

/// Claims due runs and drives them, until it is shut down, aborted or dropped. A worker that is
/// dropped finishes what it is writing and gives its runs back, in the background; bodies that run
/// are dropped. [`shutdown`](Self::shutdown) lets them end first: call it before a process ends.
///
/// ```
/// # use world_core::*;
/// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
/// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
/// # let worker = engine.spawn_worker();
/// let second = engine.spawn_worker(); // of the same engine, or of one in another process
/// second.shutdown().await; // gives its runs back
/// # worker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    hands: Arc<Hands>,
}

/// The workers of an engine, so that a client can hand them what it has just created.
#[derive(Debug, Default)]
pub(super) struct Crew(Mutex<Vec<Weak<Hands>>>);

/// What a worker works with.
#[derive(Debug)]
pub(super) struct Hands {
    engine: Arc<Inner>,
    /// Where it was spawned; a client of another runtime hands it runs too.
    runtime: Handle,
    /// A permit for each run that it may drive.
    runs: Arc<Semaphore>,
    stopping: AtomicBool,
    /// It stops, and its runs are given back whatever runs.
    cut: AtomicBool,
    stop: Notify,
    next_task: AtomicU64,
    tasks: Mutex<Tasks>,
}

/// The tasks of a worker, and what became of those that ended while it stopped.
#[derive(Debug, Default)]
struct Tasks {
    /// In an order of its own, for it is walked through.
    all: BTreeMap<u64, Task>,
    report: Shutdown,
}

/// How a task is stopped: at once, or by telling the one that drives a run.
#[derive(Debug)]
struct Task {
    abort: AbortHandle,
    driven: Option<Told>,
}

/// The run that a task drives, and how it is told.
type Told = (RunId, Arc<Signal>);

/// Room for a run with a worker, who may begin to drive it.
#[derive(Debug)]
pub(super) struct Room {
    hands: Arc<Hands>,
    permit: OwnedSemaphorePermit,
    admission: Admission,
}

impl Room {
    /// Drives the run.
    pub(super) fn drive(self, lease: HeldLease, session: Session) {
        let Self { hands, permit, admission } = self;
        hands.drive(lease, permit, Some(session));
        drop(admission);
    }
}

impl Crew {
    /// A worker that has room for a run, with the room. None has, while suspects are driven apart
    /// from the others.
    pub(super) fn with_room(&self, engine: &Inner) -> Option<Room> {
        let mut crew = lock(&self.0);
        crew.retain(|hands| hands.strong_count() > 0);
        crew.iter().filter_map(Weak::upgrade).find_map(|hands| {
            let free = !hands.stopping.load(SeqCst);
            let permit = free.then(|| Arc::clone(&hands.runs).try_acquire_owned().ok())??;
            let admission = Suspects::admission(&engine.hub, engine.clock.monotonic())?;
            Some(Room { hands, permit, admission })
        })
    }
}

impl Worker {
    pub(super) fn spawn(engine: &Arc<Inner>) -> Self {
        let hands = Arc::new(Hands {
            engine: Arc::clone(engine),
            runtime: Handle::current(),
            runs: Arc::new(Semaphore::new(engine.options.runs_max)),
            stopping: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            stop: Notify::new(),
            next_task: AtomicU64::new(0),
            tasks: Mutex::default(),
        });
        lock(&engine.crew.0).push(Arc::downgrade(&hands));
        let claiming = Arc::clone(&hands);
        hands.spawn(None, async move {
            claiming.claim_until_stopped().await;
            None
        });
        let keeping = Arc::clone(&hands);
        hands.spawn(None, async move {
            keeping.keep_until_cut().await;
            None
        });
        let watching = Arc::clone(&hands);
        hands.spawn(None, async move {
            watching.watch_until_stopped().await;
            None
        });
        Self { hands }
    }

    /// Lets the step bodies that run end, for at most 20 s, gives all runs back, and ends: as
    /// [`shutdown_within`](Self::shutdown_within) does. It returns within 25 s.
    pub async fn shutdown(self) -> Shutdown {
        self.shutdown_within(GRACE).await
    }

    /// Lets the step bodies that run end, for at most `grace`, gives all runs back, and ends.
    ///
    /// - From now on the worker claims nothing, takes nothing from a client, and begins no body but
    ///   that of an at-most-once step which the log has announced already.
    /// - A run none of whose bodies run is given back at once. Any other one is when its bodies have
    ///   ended and what they left is recorded.
    /// - At the end of the grace the bodies that still run are dropped, and their runs given back:
    ///   they run again elsewhere, but for at-most-once steps, which end as
    ///   [`Interrupted`](crate::StepError::Interrupted).
    /// - It returns 5 s after the end of the grace at the latest, also when the store does not
    ///   answer or a body blocks its thread. (Where all threads of the runtime are blocked, nothing
    ///   can return that is awaited on one of them.) A lease that was not given back by then runs
    ///   out by itself.
    ///
    /// The grace is measured by the runtime's clock, not by the engine's.
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::time::Duration;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// let shutdown = worker.shutdown_within(Duration::from_secs(60)).await;
    /// for run in &shutdown.cut_off {
    ///     eprintln!("a body of {run} took longer and begins again elsewhere");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown_within(self, grace: Duration) -> Shutdown {
        let hands = &self.hands;
        let backstop = Backstop::set(grace.saturating_add(RELEASE_WITHIN));
        hands.begin_stop(Stopping::Draining);
        let drained = async {
            if timeout(grace, hands.all_ended()).await.is_err() {
                hands.begin_stop(Stopping::Now);
                // What is left then is cut off: the caller is told.
                let _ = timeout(RELEASE_WITHIN, hands.all_ended()).await;
            }
        };
        tokio::select! {
            biased;
            () = drained => {}
            () = backstop.reached() => {}
        }
        hands.end()
    }

    /// Stops at once, as if the process had died: leases run out by themselves.
    pub fn abort(self) {
        // The runs are not told to stop: they would give their leases back.
        self.hands.abort_all();
        self.hands.begin_stop(Stopping::Now);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.hands.begin_stop(Stopping::Now);
    }
}

impl Hands {
    fn begin_stop(&self, stopping: Stopping) {
        self.stopping.store(true, SeqCst);
        self.cut.fetch_or(stopping == Stopping::Now, SeqCst);
        self.stop.notify_waiters();
        let told: Vec<_> =
            lock(&self.tasks).all.values().filter_map(|task| task.driven.clone()).collect();
        told.iter().for_each(|(_, signal)| signal.tell_stop(stopping));
    }

    /// Returns once no run is driven and none can be.
    async fn all_ended(&self) {
        let all = u32::try_from(self.engine.options.runs_max).unwrap_or(u32::MAX);
        let _ = self.runs.acquire_many(all).await; // it is never closed
    }

    fn abort_all(&self) -> BTreeMap<u64, Task> {
        let tasks = std::mem::take(&mut lock(&self.tasks).all);
        tasks.values().for_each(|task| task.abort.abort());
        tasks
    }

    /// Aborts what is left of a worker that stops, and reports.
    fn end(&self) -> Shutdown {
        let left = self.abort_all();
        let mut report = std::mem::take(&mut lock(&self.tasks).report);
        for (run, signal) in left.into_values().filter_map(|task| task.driven) {
            report.count(run, &signal);
        }
        report
    }

    fn spawn(
        self: &Arc<Self>,
        driven: Option<Told>,
        work: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static,
    ) {
        let hands = Arc::clone(self);
        let id = self.next_task.fetch_add(1, SeqCst);
        let mut tasks = lock(&self.tasks);
        // The program and its bodies are polled outside tokio's cooperative budget: a budget that
        // runs out in the middle of a delivery would make replay depend on it.
        let task = self.runtime.spawn(tokio::task::unconstrained(async move {
            let room = work.await;
            hands.ended(id);
            drop(room); // only now that it is counted: a shutdown waits for the rooms
        }));
        tasks.all.insert(id, Task { abort: task.abort_handle(), driven });
    }

    /// Forgets a task that has ended, but for the report of a worker that stops.
    fn ended(&self, id: u64) {
        let mut tasks = lock(&self.tasks);
        if let Some((run, signal)) = tasks.all.remove(&id).and_then(|task| task.driven)
            && self.stopping.load(SeqCst)
        {
            tasks.report.count(run, &signal);
        }
    }

    /// Drives a run in a task of its own.
    fn drive(
        self: &Arc<Self>,
        lease: HeldLease,
        room: OwnedSemaphorePermit,
        session: Option<Session>,
    ) {
        let engine = Arc::clone(&self.engine);
        let driven = engine.hub.enter(lease);
        let signal = Arc::clone(driven.signal());
        let told = (signal.lease.run().clone(), Arc::clone(&signal));
        self.tell_if_stopping(&signal); // before it begins,
        self.spawn(Some(told), async move {
            turn::take(&engine, driven.signal(), session).await;
            drop(driven);
            Some(room)
        });
        self.tell_if_stopping(&signal); // and in case the others were told meanwhile
    }

    fn tell_if_stopping(&self, signal: &Signal) {
        if self.stopping.load(SeqCst) {
            signal.tell_stop(if self.cut.load(SeqCst) {
                Stopping::Now
            } else {
                Stopping::Draining
            });
        }
    }

    /// Renews the leases of runs that do not come to it themselves, since a body of theirs blocks
    /// its thread: the worker lives, so nobody else is to begin the body again.
    /// A worker that stops keeps them while bodies may still end.
    async fn keep_until_cut(self: &Arc<Self>) {
        let (engine, lease) = (&self.engine, self.engine.options.lease);
        while !self.cut.load(SeqCst) {
            let stopped = self.stop.notified();
            let pause = engine.clock.pause(lease / 6);
            // A run renews with two thirds of its lease left: half is late.
            for signal in engine.hub.overdue(engine.moment(), lease / 2) {
                let held = &signal.lease;
                // One that is lost or not answered is its drive's to deal with.
                let _ = engine.renew(held, lease, held.head()).await;
            }
            tokio::select! {
                biased;
                () = stopped => {}
                () = pause => {}
            }
        }
    }

    /// Watches for runs that stand still.
    async fn watch_until_stopped(&self) {
        let stopped = self.stop.notified();
        if !self.stopping.load(SeqCst) {
            tokio::select! {
                biased;
                () = stopped => {}
                () = standstill::watch(&self.engine, &self.runs) => {}
            }
        }
    }

    async fn claim_until_stopped(self: &Arc<Self>) {
        let queues = self.engine.queues.clone();
        loop {
            let stopped = self.stop.notified();
            if self.stopping.load(SeqCst) {
                return;
            }
            let room = tokio::select! {
                biased;
                () = stopped => return,
                room = Arc::clone(&self.runs).acquire_owned() => room,
            };
            let Ok(room) = room else { return }; // it is never closed
            let idle = tokio::select! {
                biased;
                idle = self.claim(room) => idle,
                // An answer that comes would be given back; one that is lost is a lost lease.
                () = self.stopped_for(RELEASE_WITHIN) => return,
            };
            if idle && !self.stopping.load(SeqCst) {
                self.wait(&queues).await;
            }
        }
    }

    /// Returns once the worker has been stopping for this long.
    async fn stopped_for(&self, time: Duration) {
        let stopped = self.stop.notified();
        if !self.stopping.load(SeqCst) {
            stopped.await;
        }
        sleep(time).await;
    }

    /// Claims as many runs as there is room for; true when there are no more.
    async fn claim(self: &Arc<Self>, room: OwnedSemaphorePermit) -> bool {
        let engine = &self.engine;
        let Some(admission) = Suspects::admission(&engine.hub, engine.clock.monotonic()) else {
            drop(room);
            self.wait_for_admission().await;
            return false;
        };
        let mut rooms = vec![room];
        while rooms.len() < CLAIM_MAX
            && let Ok(room) = Arc::clone(&self.runs).try_acquire_owned()
        {
            rooms.push(room);
        }
        let asked = rooms.len();
        let limit = NonZeroU32::new(asked as u32).unwrap_or(NonZeroU32::MIN);
        let claimed = match engine.claim(limit).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "a claim failed");
                drop((rooms, admission));
                engine.clock.pause(CLAIM_RETRY).await;
                return false;
            }
        };
        let full = claimed.len() == asked;
        for ((lease, session), room) in claimed.into_iter().zip(rooms) {
            self.drive(lease, room, session);
        }
        drop(admission);
        !full
    }

    /// Waits until runs may be claimed again, or the worker stops.
    async fn wait_for_admission(&self) {
        let stopped = self.stop.notified();
        if self.stopping.load(SeqCst) {
            return;
        }
        tokio::select! {
            biased;
            () = stopped => {}
            () = self.engine.hub.suspects.opened(&*self.engine.clock) => {}
        }
    }

    async fn wait(&self, queues: &[Queue]) {
        let engine = &self.engine;
        let work = engine.hub.work.notified();
        let stopped = self.stop.notified();
        let pause = engine.clock.pause(engine.options.poll);
        let due = engine.hub.next_due().map(|due| engine.clock.alarm(due));
        let due = async {
            match due {
                Some(alarm) => alarm.await,
                None => std::future::pending().await,
            }
        };
        let wait = Wait { queues: queues.to_vec(), logs: Vec::new(), at_most: engine.options.poll };
        // Whichever comes first, the caller looks again.
        tokio::select! {
            biased;
            () = stopped => {}
            () = work => {}
            () = pause => {}
            () = due => {}
            waited = engine.world.wait(&wait) => {
                if let Err(error) = waited {
                    tracing::warn!(%error, "waiting for work failed");
                    engine.clock.pause(CLAIM_RETRY).await;
                }
            }
        }
    }
}
