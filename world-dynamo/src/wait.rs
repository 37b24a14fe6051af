//! Waiting for a change: this handle's own is told, all others are looked for.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use futures::future::try_join_all;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};
use world_core::{LogId, Position, Queue, Result, Timestamp, Wait, head::Class};

use crate::{item::due, store::Store};

/// Those who wait, by what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    logs: Bells<LogId>,
    queues: Bells<Queue>,
}

impl Waiting {
    /// Tells those who wait for this log.
    pub(crate) fn tell_log(&self, log: &LogId) {
        self.logs.ring(log);
    }

    /// Tells those who wait for a ready run of this queue.
    pub(crate) fn tell_queue(&self, queue: &Queue) {
        self.queues.ring(queue);
    }
}

impl Store {
    /// Returns once something may have changed, or the time is up.
    pub(crate) async fn wait(&self, wait: &Wait) -> Result<()> {
        match Instant::now().checked_add(wait.at_most) {
            Some(deadline) => timeout_at(deadline, self.changed(wait)).await.unwrap_or(Ok(())),
            None => self.changed(wait).await,
        }
    }

    async fn changed(&self, wait: &Wait) -> Result<()> {
        let told = Arc::new(Notify::new());
        let logs = wait.logs.iter().map(|(log, _)| log.clone());
        let _logs = self.waiting.logs.join(logs, &told);
        let _queues = self.waiting.queues.join(wait.queues.iter().cloned(), &told);
        // The index may still show what was just claimed: then another look at once is for nothing.
        let mut is_early = !wait.queues.is_empty() && self.turns.is_stale.swap(false, Relaxed);
        loop {
            if !std::mem::take(&mut is_early) && self.has_come(wait).await? {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = told.notified() => return Ok(()),
                () = sleep(self.options.poll) => {}
            }
        }
    }

    /// Whether what is waited for has come already.
    async fn has_come(&self, wait: &Wait) -> Result<bool> {
        let logs = wait.logs.iter().map(|(log, seen)| async move {
            let head = self.seen(log).await?.map_or(Position::START, |item| item.head.head);
            Ok(head != *seen)
        });
        let first = &due((Class::Ready, Timestamp::ZERO));
        let last = &due((Class::Ready, Timestamp::MAX));
        let queues = wait.queues.iter().flat_map(|queue| {
            (0..self.shards).map(move |shard| async move {
                Ok(!self.due(shard, queue, first, last, 1).await?.0.is_empty())
            })
        });
        let (logs, queues) = futures::try_join!(try_join_all(logs), try_join_all(queues))?;
        Ok(logs.into_iter().chain(queues).any(|has_come| has_come))
    }
}

/// Who is to be told of what.
#[derive(Debug)]
struct Bells<K>(Mutex<HashMap<K, Vec<Arc<Notify>>>>);

impl<K> Default for Bells<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Bells<K> {
    fn ring(&self, of: &K) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.get(of).into_iter().flatten().for_each(|bell| bell.notify_one());
    }

    /// Listens from now on, until the answer is dropped.
    fn join(&self, of: impl Iterator<Item = K>, bell: &Arc<Notify>) -> Joined<'_, K> {
        let of: Vec<K> = of.collect();
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in &of {
            bells.entry(one.clone()).or_default().push(Arc::clone(bell));
        }
        Joined { bells: self, of, bell: Arc::clone(bell) }
    }
}

struct Joined<'a, K: Eq + Hash> {
    bells: &'a Bells<K>,
    of: Vec<K>,
    bell: Arc<Notify>,
}

impl<K: Eq + Hash> Drop for Joined<'_, K> {
    fn drop(&mut self) {
        let mut bells = self.bells.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in &self.of {
            if let Some(others) = bells.get_mut(one) {
                others.retain(|other| !Arc::ptr_eq(other, &self.bell));
                if others.is_empty() {
                    bells.remove(one);
                }
            }
        }
    }
}
