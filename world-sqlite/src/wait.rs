//! Waiting for a change: told within a World, looked for across processes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use world_core::{LogId, Queue, Wait};

/// The first pause between two looks for another process's commits; each next one is twice as long.
pub(crate) const LOOK_MIN: Duration = Duration::from_millis(10);
/// The longest pause between two looks for another process's commits.
pub(crate) const LOOK_MAX: Duration = Duration::from_millis(100);

/// Something that may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// A log has grown.
    Log(LogId),
    /// A run of the queue has become ready.
    Queue(Queue),
}

/// Who waits for what in this World.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<Topic, Vec<Arc<Notify>>>>);

impl Waiters {
    /// Tells all who wait for one of these, which are taken out.
    pub(crate) fn tell(&self, topics: &mut Vec<Topic>) {
        let waiting = self.lock();
        if waiting.is_empty() {
            topics.clear();
            return;
        }
        for topic in topics.drain(..) {
            waiting.get(&topic).into_iter().flatten().for_each(|waiter| waiter.notify_one());
        }
    }

    /// Waits from now on, until the answer is dropped.
    pub(crate) fn join(&self, wait: &Wait) -> Waiting<'_> {
        let logs = wait.logs.iter().map(|(log, _)| Topic::Log(log.clone()));
        let topics: Vec<Topic> =
            wait.queues.iter().cloned().map(Topic::Queue).chain(logs).collect();
        let told = Arc::new(Notify::new());
        let mut waiting = self.lock();
        for topic in &topics {
            waiting.entry(topic.clone()).or_default().push(Arc::clone(&told));
        }
        Waiting { waiters: self, topics, told }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, Vec<Arc<Notify>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    waiters: &'a Waiters,
    topics: Vec<Topic>,
    told: Arc<Notify>,
}

impl Waiting<'_> {
    /// Returns once one of the topics was told since this began.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        for topic in &self.topics {
            if let Some(others) = waiting.get_mut(topic) {
                others.retain(|other| !Arc::ptr_eq(other, &self.told));
                if others.is_empty() {
                    waiting.remove(topic);
                }
            }
        }
    }
}
