//! Who waits for what: told by what the scripts publish.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;

use crate::{keys::Key, server::Link};

/// The channels that stay subscribed though nobody waits, since somebody soon does again.
const IDLE_MAX: usize = 64;

/// Those who wait in this World, by the channel that tells them.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    waiting: Mutex<HashMap<Key, Vec<Arc<Notify>>>>,
    subscribed: tokio::sync::Mutex<Subscribed>,
}

/// The channels that the connection of this number is subscribed to.
#[derive(Debug, Default)]
struct Subscribed {
    number: u64,
    channels: HashSet<Key>,
}

impl Listeners {
    /// Tells those whom something that has arrived concerns.
    pub(crate) fn hear(&self, push: &PushInfo) {
        let waiting = self.lock();
        match (&push.kind, push.data.first()) {
            (PushKind::Message, Some(Value::BulkString(channel))) => {
                waiting.get(channel).into_iter().flatten().for_each(|one| one.notify_one());
            }
            // What was said meanwhile is lost: all look for themselves.
            (PushKind::Disconnection, _) => {
                waiting.values().flatten().for_each(|one| one.notify_one());
            }
            _ => {}
        }
    }

    /// Waits from now on, until the answer is dropped.
    pub(crate) fn join(&self, channels: Vec<Key>) -> Waiting<'_> {
        let told = Arc::new(Notify::new());
        let mut waiting = self.lock();
        for channel in &channels {
            waiting.entry(channel.clone()).or_default().push(Arc::clone(&told));
        }
        Waiting { listeners: self, channels, told }
    }

    /// Subscribes a connection to these channels, and no more to those that nobody waits for once
    /// there are many. It is not to be dropped half-way: what is subscribed would not be known.
    pub(crate) async fn subscribe(&self, link: &mut Link, channels: &[Key]) -> RedisResult<()> {
        let mut subscribed = self.subscribed.lock().await;
        if subscribed.number != link.number {
            *subscribed = Subscribed { number: link.number, channels: HashSet::new() };
        }
        let idle = self.idle(&subscribed.channels);
        if idle.len() > IDLE_MAX {
            link.unsubscribe(&idle).await?;
            for channel in &idle {
                subscribed.channels.remove(channel);
            }
        }
        let missing: Vec<Key> =
            channels.iter().filter(|one| !subscribed.channels.contains(*one)).cloned().collect();
        if !missing.is_empty() {
            link.subscribe(&missing).await?;
            subscribed.channels.extend(missing);
        }
        Ok(())
    }

    fn idle(&self, channels: &HashSet<Key>) -> Vec<Key> {
        if channels.len() <= IDLE_MAX {
            return Vec::new();
        }
        let waiting = self.lock();
        channels.iter().filter(|channel| !waiting.contains_key(*channel)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Notify>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    listeners: &'a Listeners,
    pub(crate) channels: Vec<Key>,
    told: Arc<Notify>,
}

impl Waiting<'_> {
    /// Returns once something was published on one of the channels since this began.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.listeners.lock();
        for channel in &self.channels {
            if let Some(others) = waiting.get_mut(channel) {
                others.retain(|other| !Arc::ptr_eq(other, &self.told));
                if others.is_empty() {
                    waiting.remove(channel);
                }
            }
        }
    }
}
