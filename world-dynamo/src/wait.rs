//! Waiting for a change: this handle's own is told, all others are looked for.

use std::{
    collections::{HashMap, HashSet},
    future::ready,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use world_core::{LogId, Position, Queue, Result, Timestamp, Wait, head::Class};

use crate::{claim::AT_ONCE_MAX, item::due, store::Store};

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
        // A claim has just looked: what the index shows all the same is not to be had at the moment.
        let looked = self.turns.looked(&wait.queues).filter(|_| wait.logs.is_empty());
        let mut look = looked.map_or_else(Instant::now, |looked| looked + self.options.poll);
        loop {
            tokio::select! {
                biased;
                () = told.notified() => return Ok(()),
                () = sleep_until(look) => {}
            }
            if self.has_come(wait).await? {
                return Ok(());
            }
            look = Instant::now() + self.options.poll;
        }
    }

    /// Whether what is waited for has come already.
    async fn has_come(&self, wait: &Wait) -> Result<bool> {
        let mut looks = Vec::new();
        for (log, seen) in &wait.logs {
            looks.push(self.has_moved(log, *seen).boxed());
        }
        for queue in &wait.queues {
            for shard in 0..self.shards {
                looks.push(self.has_ready(shard, queue).boxed());
            }
        }
        let looks = stream::iter(looks).buffer_unordered(AT_ONCE_MAX);
        looks.try_fold(false, |one, other| ready(Ok(one || other))).await
    }

    async fn has_moved(&self, log: &LogId, seen: Position) -> Result<bool> {
        let head = self.seen(log).await?.map_or(Position::START, |item| item.head.head);
        Ok(head != seen)
    }

    async fn has_ready(&self, shard: u16, queue: &Queue) -> Result<bool> {
        let first = due((Class::Ready, Timestamp::ZERO));
        let last = due((Class::Ready, Timestamp::MAX));
        Ok(!self.due(shard, queue, &first, &last, 1, &HashSet::new()).await?.0.is_empty())
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
