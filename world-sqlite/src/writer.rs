//! Group commit: many writers, one connection, no thread hop for a writer that is alone.
//!
//! A write that finds nobody else writing runs at once on its caller's thread. Others queue;
//! whoever holds the connection commits them together, a bounded group a transaction. A writer
//! that has just seen another run's write lets the other ready tasks queue first (one yield), so
//! that groups form on a single-threaded runtime too. Only the writer's own thread ever waits for
//! another process, and it takes what is left over when a caller has done its group.
//!
//! A member that fails before it wrote anything has only itself failed. Any later failure undoes
//! the group, whose members then run one by one; so does a commit that certainly did not happen.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;
use world_core::{Error, ErrorKind, Result, RunId};

use crate::{
    error::Fault,
    job::{Entry, Queued},
    store::{Begun, Store, Write},
    wait::Waiters,
};

/// The most writes in one transaction.
const GROUP_MAX: usize = 128;
/// A group takes no further write once it holds this many payload bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// The most writes that may wait.
const QUEUED_MAX: usize = 1 << 16;

/// Does writes, alone or in groups.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    queue: Mutex<Queue>,
    /// Told when the thread is wanted.
    work: Condvar,
    waiters: Arc<Waiters>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Entry>,
    /// Whether the thread is to do what is queued.
    wanted: bool,
    closing: bool,
    /// Which run wrote last, as a hash; whoever differs has company.
    last: u64,
}

impl Writer {
    pub(crate) fn start(store: Store, waiters: Arc<Waiters>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            store: Mutex::new(store),
            queue: Mutex::default(),
            work: Condvar::new(),
            waiters,
        });
        let on_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("world-sqlite".to_owned())
            .spawn(move || on_thread.work())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The connection that writes, waited for.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    /// How many writes wait.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        lock(&self.shared.queue).jobs.len()
    }

    /// Commits a group of what waits.
    #[cfg(test)]
    pub(crate) fn lead(&self) {
        self.shared.lead();
    }

    /// Does a write and answers once it is committed.
    ///
    /// `run` is whose write it is; without, it is taken to have no company.
    pub(crate) async fn submit<W: Write>(&self, run: Option<&RunId>, write: W) -> Result<W::Reply> {
        let (company, mut answer) = match self.shared.enter(run, write) {
            Entered::Done(outcome) => return outcome,
            Entered::Queued { company, answer } => (company, answer),
        };
        if company {
            tokio::task::yield_now().await;
            // Whoever was answered meanwhile leaves the next group to those who wait for it.
            if let Ok(outcome) = answer.try_recv() {
                return outcome;
            }
            self.shared.lead();
        }
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unknown, "the writer ended before it answered")
                .help("send the same bytes again"))
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared.queue).closing = true;
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer's thread panicked");
        }
    }
}

enum Entered<R> {
    Done(Result<R>),
    Queued { company: bool, answer: oneshot::Receiver<Result<R>> },
}

impl Shared {
    /// Does the write at once if nobody else is writing, else queues it.
    fn enter<W: Write>(&self, run: Option<&RunId>, write: W) -> Entered<W::Reply> {
        let whom = run.map(hash);
        let mut queue = lock(&self.queue);
        let company = whom.is_some_and(|whom| queue.last != whom);
        let is_first = queue.jobs.is_empty();
        queue.last = whom.unwrap_or(queue.last);
        drop(queue);

        let mut busy = false;
        if is_first
            && !company
            && let Some(mut store) = try_lock(&self.store)
        {
            let done = self.at_once(&mut store, &write);
            drop(store);
            self.hand_over();
            match done {
                Some(outcome) => return Entered::Done(outcome),
                None => busy = true,
            }
        }
        let (sender, answer) = oneshot::channel();
        let job = Queued::new(write, sender);
        let mut queue = lock(&self.queue);
        if queue.jobs.len() >= QUEUED_MAX {
            let full = Error::new(ErrorKind::Unavailable, "too many writes wait for the database")
                .help("try again later");
            return Entered::Done(Err(full));
        }
        queue.jobs.push_back(Entry { job: Box::new(job), alone: false });
        drop(queue);
        if busy {
            self.want();
        } else if !company {
            self.lead();
        }
        Entered::Queued { company, answer }
    }

    /// Does one write in a transaction of its own; `None` when another process is writing.
    fn at_once<W: Write>(&self, store: &mut Store, write: &W) -> Option<Result<W::Reply>> {
        match store.begin() {
            Ok(Begun::Yes) => {}
            Ok(Begun::Busy) => return None,
            Err(fault) => return Some(Err(fault.error())),
        }
        let applied = store.tx().map_err(Error::from).and_then(|mut tx| write.apply(&mut tx));
        Some(match applied {
            Ok(reply) => store.commit(&self.waiters).map(|()| reply).map_err(Error::from),
            Err(error) => {
                store.undo();
                Err(error)
            }
        })
    }

    /// Commits a group of what is queued, unless somebody else has the connection and will.
    fn lead(&self) {
        let Some(mut store) = try_lock(&self.store) else { return };
        if lock(&self.queue).jobs.is_empty() {
            return;
        }
        match store.begin() {
            Ok(Begun::Yes) => self.commit_group(&mut store),
            Ok(Begun::Busy) => {}
            Err(fault) => self.fail_all(&fault),
        }
        drop(store);
        self.hand_over();
    }

    /// After the connection was given back: whoever queued meanwhile found it taken.
    fn hand_over(&self) {
        let mut queue = lock(&self.queue);
        if !queue.jobs.is_empty() {
            queue.wanted = true;
            self.work.notify_one();
        }
    }

    fn want(&self) {
        lock(&self.queue).wanted = true;
        self.work.notify_one();
    }

    /// The writer's thread: does what is queued whenever it is wanted.
    fn work(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while !(queue.wanted || queue.closing) {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            queue.wanted = false;
            if queue.closing && queue.jobs.is_empty() {
                return;
            }
            drop(queue);
            let mut store = lock(&self.store);
            while !lock(&self.queue).jobs.is_empty() {
                match store.begin_patiently(|| lock(&self.queue).closing) {
                    Ok(()) => self.commit_group(&mut store),
                    Err(fault) => self.fail_all(&fault),
                }
            }
            drop(store);
            self.hand_over();
        }
    }

    /// Takes a group from the queue and commits it in the open transaction.
    fn commit_group(&self, store: &mut Store) {
        let mut group = self.next_group();
        let outcome = if apply_all(store, &mut group) {
            store.commit(&self.waiters)
        } else {
            store.undo();
            if group.len() > 1 {
                return self.put_back(group);
            }
            // Its own error is its answer.
            Ok(())
        };
        match outcome {
            Ok(()) => group.into_iter().for_each(|entry| entry.job.answer()),
            Err(fault) if fault.kind != ErrorKind::Unknown && group.len() > 1 => {
                self.put_back(group);
            }
            Err(fault) => group.into_iter().for_each(|entry| entry.job.fail(&fault)),
        }
    }

    /// Queues the members of an undone group again, first, to run one by one.
    fn put_back(&self, group: Vec<Entry>) {
        let mut queue = lock(&self.queue);
        for entry in group.into_iter().rev() {
            queue.jobs.push_front(Entry { alone: true, ..entry });
        }
    }

    fn next_group(&self) -> Vec<Entry> {
        let mut queue = lock(&self.queue);
        let mut group: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            if !group.is_empty() && queue.jobs.front().is_some_and(|next| next.alone) {
                break;
            }
            let Some(entry) = queue.jobs.pop_front() else { break };
            if entry.job.is_abandoned() {
                continue;
            }
            bytes += entry.job.bytes();
            let alone = entry.alone;
            group.push(entry);
            if alone {
                break;
            }
        }
        group
    }

    fn fail_all(&self, fault: &Fault) {
        let jobs = std::mem::take(&mut lock(&self.queue).jobs);
        jobs.into_iter().for_each(|entry| entry.job.fail(fault));
    }
}

/// Applies every member; `false` when one failed in a way that undoes the group.
fn apply_all(store: &mut Store, group: &mut [Entry]) -> bool {
    for entry in group {
        let Ok(mut tx) = store.tx() else { return false };
        if !entry.job.apply(&mut tx) && (tx.wrote || tx.conn.is_autocommit()) {
            return false;
        }
    }
    true
}

fn hash(run: &RunId) -> u64 {
    let mut hasher = DefaultHasher::new();
    run.hash(&mut hasher);
    hasher.finish()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
