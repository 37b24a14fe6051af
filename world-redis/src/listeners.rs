//! Who waits for what: told by what the scripts publish.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use crate::keys::Key;

/// The channels that stay subscribed though nobody waits, since somebody soon does again.
const IDLE_MAX: usize = 64;

/// Those who wait in this World, by the channel that tells them.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    waiting: Mutex<HashMap<Key, Vec<Arc<Notify>>>>,
    /// The channels that a connection is subscribed to.
    pub(crate) subscribed: tokio::sync::Mutex<Subscribed>,
}

/// The channels that the connection of this number is subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Subscribed {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Notify>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_awaited(&self, channel: &Key) -> bool {
        self.lock().contains_key(channel)
    }
}

impl Subscribed {
    /// Those of these channels that the connection of this number has yet to subscribe to.
    pub(crate) fn missing(&mut self, number: u64, channels: &[Key]) -> Vec<Key> {
        if self.number != number {
            self.channels.clear();
            self.number = number;
        }
        channels.iter().filter(|channel| !self.channels.contains(*channel)).cloned().collect()
    }

    pub(crate) fn add(&mut self, channels: Vec<Key>) {
        self.channels.extend(channels);
    }

    /// The channels that nobody waits for any more, once there are many; they are taken out.
    pub(crate) fn idle(&mut self, listeners: &Listeners) -> Vec<Key> {
        if self.channels.len() <= IDLE_MAX {
            return Vec::new();
        }
        let idle: Vec<Key> =
            self.channels.iter().filter(|one| !listeners.is_awaited(one)).cloned().collect();
        if idle.len() <= IDLE_MAX {
            return Vec::new();
        }
        self.channels.retain(|channel| listeners.is_awaited(channel));
        idle
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
