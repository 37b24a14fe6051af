//! A worker's clock: it runs with virtual time, is ahead or behind, and may step forwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use world_core::{Alarm, Clock, Timestamp};

/// What a clock that is right says when a simulation begins: 2023-11-14T22:13:20Z.
const START: u64 = 1_700_000_000_000;

/// A clock that may be wrong. Clones are the same clock.
#[derive(Clone, Debug)]
pub(super) struct SkewedClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// By how many milliseconds it is ahead; below 0 it is behind.
    ahead: AtomicI64,
    stepped: Notify,
}

impl SkewedClock {
    pub(super) fn new(began: Instant, ahead_millis: i64) -> Self {
        Self(Arc::new(Inner { began, ahead: AtomicI64::new(ahead_millis), stepped: Notify::new() }))
    }

    /// Steps forwards, as when a machine's clock is set.
    pub(super) fn step(&self, by: Duration) {
        self.0.ahead.fetch_add(by.as_millis() as i64, SeqCst);
        self.0.stepped.notify_waiters();
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let right = START + self.0.began.elapsed().as_millis() as u64;
        Timestamp::from_millis(right.saturating_add_signed(self.0.ahead.load(SeqCst)))
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let stepped = clock.0.stepped.notified();
                let now = clock.now();
                if now >= until {
                    return;
                }
                tokio::select! {
                    biased;
                    () = stepped => {}
                    () = sleep(until.since(now)) => {}
                }
            }
        })
    }

    fn monotonic(&self) -> Duration {
        self.0.began.elapsed()
    }

    fn pause(&self, time: Duration) -> Alarm {
        Box::pin(sleep(time))
    }
}
