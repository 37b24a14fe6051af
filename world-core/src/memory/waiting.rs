//! Who waits for which queues and logs.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use crate::{
    ids::{LogId, Queue},
    lock::lock,
    world::Wait,
};

use super::state::State;

/// The waiters, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    logs: HashMap<LogId, Vec<Arc<Notify>>>,
    queues: HashMap<Queue, Vec<Arc<Notify>>>,
}

impl Waiting {
    /// Wakes who waits for this log.
    pub(super) fn changed(&self, log: &LogId) {
        wake(&self.logs, log);
    }

    /// Wakes who waits for this queue.
    pub(super) fn ready(&self, queue: &Queue) {
        wake(&self.queues, queue);
    }
}

fn wake<K: Eq + Hash>(waiting: &HashMap<K, Vec<Arc<Notify>>>, key: &K) {
    // Hashing a key costs more than an append does when nobody waits.
    if !waiting.is_empty()
        && let Some(waiters) = waiting.get(key)
    {
        waiters.iter().for_each(|waiter| waiter.notify_one());
    }
}

fn forget<K: Eq + Hash>(waiting: &mut HashMap<K, Vec<Arc<Notify>>>, key: &K, waiter: &Arc<Notify>) {
    if let Some(waiters) = waiting.get_mut(key) {
        waiters.retain(|other| !Arc::ptr_eq(other, waiter));
        if waiters.is_empty() {
            waiting.remove(key);
        }
    }
}

/// A waiter among the others; dropping it takes it out again.
pub(super) struct Registered<'a> {
    state: &'a Mutex<State>,
    wait: &'a Wait,
    waiter: Arc<Notify>,
}

impl<'a> Registered<'a> {
    /// Starts to wait; `None` when something has changed already. Looking and registering are
    /// one step under the lock, so no change falls between them.
    pub(super) fn new(state: &'a Mutex<State>, wait: &'a Wait) -> Option<Self> {
        let mut locked = lock(state);
        if wait.queues.iter().any(|queue| locked.due.has_ready(queue))
            || wait.logs.iter().any(|(log, seen)| locked.head_of(log) != *seen)
        {
            return None;
        }
        let waiter = Arc::new(Notify::new());
        for (log, _) in &wait.logs {
            locked.waiting.logs.entry(log.clone()).or_default().push(waiter.clone());
        }
        for queue in &wait.queues {
            locked.waiting.queues.entry(queue.clone()).or_default().push(waiter.clone());
        }
        drop(locked);
        Some(Self { state, wait, waiter })
    }

    /// Returns once something has changed.
    pub(super) async fn woken(&self) {
        self.waiter.notified().await;
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut locked = lock(self.state);
        for (log, _) in &self.wait.logs {
            forget(&mut locked.waiting.logs, log, &self.waiter);
        }
        for queue in &self.wait.queues {
            forget(&mut locked.waiting.queues, queue, &self.waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::{Position, Token};

    #[test]
    fn a_dropped_waiter_leaves_nothing_behind_and_takes_no_other_with_it() {
        let state = Mutex::new(State::default());
        let wait = Wait {
            queues: vec![Queue::new("queue").unwrap(), Queue::new("queue").unwrap()],
            logs: vec![(LogId::Token(Token::new("token").unwrap()), Position::START)],
            at_most: Duration::ZERO,
        };
        let (first, second) = (Registered::new(&state, &wait), Registered::new(&state, &wait));
        drop(first.unwrap());
        assert_eq!(state.lock().unwrap().waiting.logs.len(), 1);
        drop(second.unwrap());
        let waiting = &state.lock().unwrap().waiting;
        assert!(waiting.logs.is_empty() && waiting.queues.is_empty());
    }
}
