//! Where the driver's time comes from.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{ids::Timestamp, lock::lock};

/// A future that ends at a time.
pub type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the driver's time comes from: the machine's clock, or a test's.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Ends once `now` is not before `until`.
    fn alarm(&self, until: Timestamp) -> Alarm;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let clock = *self;
        Box::pin(async move {
            // The machine's clock may be set while we sleep, so look again.
            while clock.now() < until {
                tokio::time::sleep(until.since(clock.now())).await;
            }
        })
    }
}

/// A clock that stands still until a test moves it. Clones are the same clock.
///
/// ```
/// # use {world_core::{Clock, VirtualClock}, std::time::Duration};
/// let clock = VirtualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().since(before), Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<Mutex<Virtual>>);

#[derive(Debug, Default)]
struct Virtual {
    now: Timestamp,
    next: u64,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
}

impl VirtualClock {
    /// A clock that says 2001-09-09T01:46:40Z.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self::default();
        clock.set(Timestamp::from_millis(1_000_000_000_000));
        clock
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }

    /// Moves the time to `now`, but never back.
    pub fn set(&self, now: Timestamp) {
        let woken = {
            let mut clock = self.lock();
            clock.now = clock.now.max(now);
            let next = clock.now.next_milli();
            let later = clock.sleepers.split_off(&(next, 0));
            std::mem::replace(&mut clock.sleepers, later)
        };
        woken.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Virtual> {
        lock(&self.0)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        Box::pin(VirtualAlarm { clock: self.clone(), until, id: None })
    }
}

struct VirtualAlarm {
    clock: VirtualClock,
    until: Timestamp,
    id: Option<u64>,
}

impl Future for VirtualAlarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = &mut *self;
        let waker = cx.waker().clone();
        let mut clock = alarm.clock.lock();
        if alarm.until <= clock.now {
            return Poll::Ready(());
        }
        let id = *alarm.id.get_or_insert(clock.next);
        clock.next = clock.next.max(id + 1);
        let old = clock.sleepers.insert((alarm.until, id), waker);
        drop(clock);
        drop(old);
        Poll::Pending
    }
}

impl Drop for VirtualAlarm {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let old = self.clock.lock().sleepers.remove(&(self.until, id));
            drop(old);
        }
    }
}
