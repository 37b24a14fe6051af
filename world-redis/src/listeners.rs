//! Who waits for what: told by what the scripts publish.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use world_core::Result;

use crate::{
    error::{Stage, explain, no_answer},
    keys::Key,
    server::{Link, One, is_broken},
};

/// The channels that stay subscribed though nobody waits, since somebody soon does again.
const IDLE_MAX: usize = 64;

/// How long the connection that listens may be silent before it is asked whether it lives.
const SILENT: Duration = Duration::from_secs(10);
/// How long its answer is waited for; whoever waits looks for himself meanwhile.
const ANSWER: Duration = Duration::from_secs(1);

/// Those who wait in this World, by the channel that tells them.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    waiting: Mutex<HashMap<Key, Vec<Arc<Notify>>>>,
    subscribed: tokio::sync::Mutex<Subscribed>,
}

/// The channels that the connection of this number is subscribed to, and when it last answered.
#[derive(Debug)]
struct Subscribed {
    number: u64,
    channels: HashSet<Key>,
    heard: Instant,
}

impl Default for Subscribed {
    fn default() -> Self {
        Self { number: 0, channels: HashSet::new(), heard: Instant::now() }
    }
}

impl Subscribed {
    fn to(link: &Link) -> Self {
        Self { number: link.number, ..Self::default() }
    }
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

    /// Subscribes the connection that listens to these channels, and no more to those that nobody
    /// waits for once there are many. One that has been silent for long is asked whether it still
    /// lives: nothing else would tell. It is not to be dropped half-way: what is subscribed would
    /// not be known.
    pub(crate) async fn subscribe(&self, ear: &One, channels: &[Key]) -> Result<()> {
        let Ok(mut subscribed) = timeout(ANSWER, self.subscribed.lock()).await else {
            return Err(no_answer()); // to others, who are before this one
        };
        let mut link = ear.link().await?;
        if subscribed.number != link.number {
            *subscribed = Subscribed::to(&link);
        }
        let missing: Vec<Key> =
            channels.iter().filter(|one| !subscribed.channels.contains(*one)).cloned().collect();
        if missing.is_empty() && subscribed.heard.elapsed() < SILENT {
            return Ok(());
        }
        let idle = self.idle(&subscribed.channels);
        let asked = async {
            if missing.is_empty() {
                link.send(&redis::cmd("PING")).await?;
            } else {
                link.subscribe(&missing).await?;
            }
            if !idle.is_empty() {
                link.unsubscribe(&idle).await?;
            }
            Ok(())
        };
        let answer: RedisResult<()> = match timeout(ANSWER, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        if let Err(error) = answer {
            if is_broken(&error) {
                ear.give_up(&link);
            }
            return Err(explain(Stage::Read, error));
        }
        subscribed.heard = Instant::now();
        for channel in &idle {
            subscribed.channels.remove(channel);
        }
        subscribed.channels.extend(missing);
        Ok(())
    }

    /// The channels that nobody waits for, once there are many.
    fn idle(&self, channels: &HashSet<Key>) -> Vec<Key> {
        let waiting = self.lock();
        if channels.len() <= waiting.len() + IDLE_MAX {
            return Vec::new();
        }
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
