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
};

use super::{engine::Inner, hub::Signal, session::Session, turn};
use crate::{
    ids::Queue,
    lease::{Lease, Renewed},
    lock::lock,
    world::{Wait, World},
};

/// The most runs of one claim.
const CLAIM_MAX: usize = 64;

/// How long a worker waits after a claim that failed.
const CLAIM_RETRY: Duration = Duration::from_millis(500);

/// Claims due runs and drives them, until it is shut down, aborted or dropped. A worker that is
/// dropped finishes what it is writing and gives its runs back, in the background.
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
    stop: Notify,
    next_task: AtomicU64,
    tasks: Mutex<BTreeMap<u64, Task>>,
}

/// How a task is stopped: at once, or by telling it.
type Task = (AbortHandle, Option<Arc<Signal>>);

impl Crew {
    /// A worker that has room for a run, with the room.
    pub(super) fn with_room(&self) -> Option<(Arc<Hands>, OwnedSemaphorePermit)> {
        let mut crew = lock(&self.0);
        crew.retain(|hands| hands.strong_count() > 0);
        crew.iter().filter_map(Weak::upgrade).find_map(|hands| {
            let free = !hands.stopping.load(SeqCst);
            let room = free.then(|| Arc::clone(&hands.runs).try_acquire_owned().ok())??;
            Some((hands, room))
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
            stop: Notify::new(),
            next_task: AtomicU64::new(0),
            tasks: Mutex::default(),
        });
        lock(&engine.crew.0).push(Arc::downgrade(&hands));
        let claiming = Arc::clone(&hands);
        hands.spawn(None, async move { claiming.claim_until_stopped().await });
        let keeping = Arc::clone(&hands);
        hands.spawn(None, async move { keeping.keep_until_stopped().await });
        Self { hands }
    }

    /// Stops claiming, lets every run finish what it is writing, gives the runs back, and ends.
    /// Bodies that run are dropped; they run again elsewhere.
    pub async fn shutdown(self) {
        self.hands.begin_stop();
        let all = u32::try_from(self.hands.engine.options.runs_max).unwrap_or(u32::MAX);
        let _ = self.hands.runs.acquire_many(all).await; // it is never closed
    }

    /// Stops at once, as if the process had died: leases run out by themselves.
    pub fn abort(self) {
        // The runs are not told to stop: they would give their leases back.
        let tasks = std::mem::take(&mut *lock(&self.hands.tasks));
        tasks.into_values().for_each(|(task, _)| task.abort());
        self.hands.begin_stop();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.hands.begin_stop();
    }
}

impl Hands {
    fn begin_stop(&self) {
        self.stopping.store(true, SeqCst);
        self.stop.notify_waiters();
        let signals: Vec<_> =
            lock(&self.tasks).values().filter_map(|(_, signal)| signal.clone()).collect();
        signals.iter().for_each(|signal| signal.tell_stop());
    }

    fn spawn(
        self: &Arc<Self>,
        signal: Option<Arc<Signal>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let hands = Arc::clone(self);
        let id = self.next_task.fetch_add(1, SeqCst);
        let mut tasks = lock(&self.tasks);
        // The program and its bodies are polled outside tokio's cooperative budget: a budget that
        // runs out in the middle of a delivery would make replay depend on it.
        let task = self.runtime.spawn(tokio::task::unconstrained(async move {
            work.await;
            lock(&hands.tasks).remove(&id);
        }));
        tasks.insert(id, (task.abort_handle(), signal));
    }

    /// Drives a run in a task of its own.
    pub(super) fn drive(
        self: &Arc<Self>,
        lease: Lease,
        room: OwnedSemaphorePermit,
        session: Option<Session>,
    ) {
        let engine = Arc::clone(&self.engine);
        let driven = engine.hub.enter(&lease.run);
        if self.stopping.load(SeqCst) {
            driven.signal().tell_stop();
        }
        let told = Arc::clone(driven.signal());
        self.spawn(Some(told), async move {
            turn::take(&engine, lease, driven.signal(), session).await;
            drop(driven);
            drop(room);
        });
    }

    /// Renews the leases of runs that do not come to it themselves, since a body of theirs blocks
    /// its thread: the worker lives, so nobody else is to begin the body again.
    async fn keep_until_stopped(self: &Arc<Self>) {
        let (engine, lease) = (&self.engine, self.engine.options.lease);
        while !self.stopping.load(SeqCst) {
            let stopped = self.stop.notified();
            let now = engine.clock.now();
            let until = now.plus(lease);
            // A run renews with two thirds of its lease left: half is late.
            for (signal, kept) in engine.hub.overdue(now.plus(lease / 2)) {
                if let Ok(Renewed::Held { .. }) = engine.world.renew(&kept, until).await {
                    signal.holds(&Lease { until, ..kept });
                }
            }
            tokio::select! {
                biased;
                () = stopped => return,
                () = engine.clock.alarm(now.plus(lease / 6)) => {}
            }
        }
    }

    async fn claim_until_stopped(self: &Arc<Self>) {
        let queues = self.engine.queues.clone();
        while !self.stopping.load(SeqCst) {
            let stopped = self.stop.notified();
            let idle = tokio::select! {
                biased;
                () = stopped => return,
                room = Arc::clone(&self.runs).acquire_owned() => match room {
                    Ok(room) => self.claim(room).await,
                    Err(_) => return,
                },
            };
            if idle && !self.stopping.load(SeqCst) {
                self.wait(&queues).await;
            }
        }
    }

    /// Claims as many runs as there is room for; true when there are no more.
    async fn claim(self: &Arc<Self>, room: OwnedSemaphorePermit) -> bool {
        let engine = &self.engine;
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
                drop(rooms);
                engine.clock.alarm(engine.clock.now().plus(CLAIM_RETRY)).await;
                return false;
            }
        };
        let full = claimed.len() == asked;
        for ((lease, session), room) in claimed.into_iter().zip(rooms) {
            self.drive(lease, room, session);
        }
        !full
    }

    async fn wait(&self, queues: &[Queue]) {
        let engine = &self.engine;
        let work = engine.hub.work.notified();
        let stopped = self.stop.notified();
        let until = engine.clock.now().plus(engine.options.poll);
        let until = engine.hub.next_due().map_or(until, |due| due.min(until));
        let wait = Wait { queues: queues.to_vec(), logs: Vec::new(), at_most: engine.options.poll };
        // Whichever comes first, the caller looks again.
        tokio::select! {
            biased;
            () = stopped => {}
            () = work => {}
            () = engine.clock.alarm(until) => {}
            waited = engine.world.wait(&wait) => {
                if let Err(error) = waited {
                    tracing::warn!(%error, "waiting for work failed");
                    engine.clock.alarm(engine.clock.now().plus(CLAIM_RETRY)).await;
                }
            }
        }
    }
}
