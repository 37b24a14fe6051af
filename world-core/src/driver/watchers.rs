//! The handles of this engine that wait for runs to end, told by the drives of the same engine.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::{Notify, futures::Notified};

use crate::{event::Logged, ids::RunId, lock::lock};

/// The fewest entries for which memory that is no longer used is given back.
const SHRINK_FROM: usize = 1024;

/// The watched runs. An entry lives as long as somebody watches its run.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    watched: Mutex<HashMap<RunId, Weak<Watch>>>,
}

/// What is said about one run while somebody watches it; all who watch the run share it.
#[derive(Debug)]
pub(super) struct Watch {
    watchers: Arc<Watchers>,
    run: RunId,
    end: OnceLock<Arc<Logged>>,
    unreadable: AtomicU64,
    changed: Notify,
}

impl Watchers {
    /// Watches a run from now on, until the answer is dropped.
    pub(super) fn watch(self: &Arc<Self>, run: &RunId) -> Arc<Watch> {
        let mut watched = lock(&self.watched);
        if let Some(watch) = watched.get(run).and_then(Weak::upgrade) {
            return watch;
        }
        let watch = Arc::new(Watch {
            watchers: Arc::clone(self),
            run: run.clone(),
            end: OnceLock::new(),
            unreadable: AtomicU64::new(0),
            changed: Notify::new(),
        });
        watched.insert(run.clone(), Arc::downgrade(&watch));
        watch
    }

    /// Says how a run ended.
    pub(super) fn ended(&self, run: &RunId, end: &Arc<Logged>) {
        if let Some(watch) = self.watch_of(run) {
            let _ = watch.end.set(Arc::clone(end)); // a run has one end: who came first said the same
            watch.changed.notify_waiters();
        }
    }

    /// Says that this engine no longer drives a run.
    pub(super) fn left(&self, run: &RunId) {
        if let Some(watch) = self.watch_of(run) {
            watch.changed.notify_waiters();
        }
    }

    /// Says that this engine could not read a run's log: a wait for its end may be in vain.
    pub(super) fn unreadable(&self, run: &RunId) {
        if let Some(watch) = self.watch_of(run) {
            watch.unreadable.fetch_add(1, SeqCst);
            watch.changed.notify_waiters();
        }
    }

    // The map's lock is free again before what this gives is dropped, which takes it.
    fn watch_of(&self, run: &RunId) -> Option<Arc<Watch>> {
        lock(&self.watched).get(run).and_then(Weak::upgrade)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.watched).len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        lock(&self.watched).capacity()
    }
}

impl Watch {
    /// Waits for the next thing that is said; begin to wait before looking.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// How the run ended, if that was said.
    pub(super) fn end(&self) -> Option<&Arc<Logged>> {
        self.end.get()
    }

    /// How often the run's log could not be read.
    pub(super) fn times_unreadable(&self) -> u64 {
        self.unreadable.load(SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = lock(&self.watchers.watched);
        // Somebody may have begun a new watch meanwhile.
        if watched.get(&self.run).is_some_and(|known| std::ptr::eq(known.as_ptr(), self)) {
            watched.remove(&self.run);
            let (len, capacity) = (watched.len(), watched.capacity());
            if capacity > SHRINK_FROM && len < capacity / 8 {
                watched.shrink_to(capacity / 4);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> RunId {
        RunId::new(id).unwrap()
    }

    #[test]
    fn watches_of_one_run_share_an_entry_that_the_last_one_removes() {
        let watchers = Arc::new(Watchers::default());
        let (first, second) = (watchers.watch(&run("a")), watchers.watch(&run("a")));
        assert_eq!(watchers.len(), 1);
        drop(first);
        assert_eq!(watchers.len(), 1);
        drop(second);
        assert_eq!(watchers.len(), 0);
    }

    #[test]
    fn memory_of_many_ended_watches_is_given_back() {
        let watchers = Arc::new(Watchers::default());
        let watch = |n: u32| watchers.watch(&run(&format!("run-{n}")));
        let watches: Vec<_> = (0..100_000).map(watch).collect();
        assert_eq!(watchers.len(), 100_000);
        drop(watches);
        assert_eq!(watchers.len(), 0);
        assert!(watchers.capacity() <= 2 * SHRINK_FROM, "{}", watchers.capacity());
    }
}
