//! Where the driver's time comes from.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::{ids::Timestamp, lock::lock, moment::Moment};

/// A future that ends at a time.
pub type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the driver's time comes from: the machine's two clocks, or a test's.
///
/// Times that are stored, such as the end of a sleep or of a lease, are read from the wall clock,
/// which somebody may set while the engine runs. How long something has taken in this process (a
/// pause before another try, the time of an attempt, what is left of a lease) is read from the
/// monotonic clock, which nobody sets, and which may stop while the machine sleeps.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the time of the wall clock.
    fn now(&self) -> Timestamp;

    /// Ends once [`now`](Clock::now) is not before `until`.
    fn alarm(&self, until: Timestamp) -> Alarm;

    /// Returns the reading of the monotonic clock: the time since a moment that stays the same for
    /// as long as this clock lives. It never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends once [`monotonic`](Clock::monotonic) has gone on by `time`.
    fn pause(&self, time: Duration) -> Alarm;
}

/// Reads both clocks.
pub(super) fn moment(clock: &dyn Clock) -> Moment {
    Moment { wall: clock.now(), monotonic: clock.monotonic() }
}

/// The machine's clocks: the system's time, and tokio's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The moment from which the monotonic clock of this process counts.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

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

    fn monotonic(&self) -> Duration {
        let began = *BEGAN;
        Instant::now().saturating_duration_since(began)
    }

    fn pause(&self, time: Duration) -> Alarm {
        Box::pin(tokio::time::sleep(time))
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
    monotonic: Duration,
    next: u64,
    /// Those that wait for a time of the wall clock.
    alarms: BTreeMap<(Timestamp, u64), Waker>,
    /// Those that wait for a reading of the monotonic clock.
    pauses: BTreeMap<(Duration, u64), Waker>,
}

impl VirtualClock {
    /// A clock that says 2001-09-09T01:46:40Z.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self::default();
        clock.lock().now = Timestamp::from_millis(1_000_000_000_000);
        clock
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        self.move_on(|clock| (clock.now.plus(by), clock.monotonic.saturating_add(by)));
    }

    /// Moves the time to `now`, but never back.
    pub fn set(&self, now: Timestamp) {
        self.move_on(|clock| {
            let by = now.since(clock.now);
            (clock.now.plus(by), clock.monotonic.saturating_add(by))
        });
    }

    /// Sets the wall clock back, as somebody may set a machine's. The monotonic clock goes on.
    ///
    /// ```
    /// # use {world_core::{Clock, VirtualClock}, std::time::Duration};
    /// let clock = VirtualClock::new();
    /// let (wall, monotonic) = (clock.now(), clock.monotonic());
    /// clock.set_back(Duration::from_secs(3600));
    /// assert_eq!(wall.since(clock.now()), Duration::from_secs(3600));
    /// assert_eq!(clock.monotonic(), monotonic);
    /// ```
    pub fn set_back(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let mut clock = self.lock();
        clock.now = Timestamp::from_millis(clock.now.as_millis().saturating_sub(by));
    }

    /// Sets the wall clock forward while the monotonic clock stands still, as it does while a
    /// machine sleeps.
    pub fn set_forward(&self, by: Duration) {
        self.move_on(|clock| (clock.now.plus(by), clock.monotonic));
    }

    /// Moves both clocks to where `to` says, and wakes those that have waited for it.
    fn move_on(&self, to: impl FnOnce(&Virtual) -> (Timestamp, Duration)) {
        let (alarms, pauses) = {
            let mut clock = self.lock();
            (clock.now, clock.monotonic) = to(&clock);
            let next = (clock.now.next_milli(), 0);
            let later = clock.alarms.split_off(&next);
            let alarms = std::mem::replace(&mut clock.alarms, later);
            let next = (clock.monotonic.saturating_add(Duration::from_nanos(1)), 0);
            let later = clock.pauses.split_off(&next);
            (alarms, std::mem::replace(&mut clock.pauses, later))
        };
        alarms.into_values().chain(pauses.into_values()).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Virtual> {
        lock(&self.0)
    }

    fn wait(&self, until: Until) -> Alarm {
        Box::pin(VirtualAlarm { clock: self.clone(), until, id: None })
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        self.wait(Until::Wall(until))
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn pause(&self, time: Duration) -> Alarm {
        self.wait(Until::Monotonic(self.monotonic().saturating_add(time)))
    }
}

/// What a [`VirtualAlarm`] waits for.
#[derive(Clone, Copy)]
enum Until {
    Wall(Timestamp),
    Monotonic(Duration),
}

struct VirtualAlarm {
    clock: VirtualClock,
    until: Until,
    id: Option<u64>,
}

impl Future for VirtualAlarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = &mut *self;
        let waker = cx.waker().clone();
        let mut clock = alarm.clock.lock();
        let is_over = match alarm.until {
            Until::Wall(until) => until <= clock.now,
            Until::Monotonic(until) => until <= clock.monotonic,
        };
        if is_over {
            return Poll::Ready(());
        }
        let id = *alarm.id.get_or_insert(clock.next);
        clock.next = clock.next.max(id + 1);
        let old = match alarm.until {
            Until::Wall(until) => clock.alarms.insert((until, id), waker),
            Until::Monotonic(until) => clock.pauses.insert((until, id), waker),
        };
        drop(clock);
        drop(old);
        Poll::Pending
    }
}

impl Drop for VirtualAlarm {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut clock = self.clock.lock();
            let old = match self.until {
                Until::Wall(until) => clock.alarms.remove(&(until, id)),
                Until::Monotonic(until) => clock.pauses.remove(&(until, id)),
            };
            drop(clock);
            drop(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_pause_ends_by_the_monotonic_clock_and_an_alarm_by_the_wall_clock() {
        let clock = VirtualClock::new();
        let (mut pause, mut alarm) = (clock.pause(HOUR), clock.alarm(clock.now().plus(HOUR)));
        clock.set_back(HOUR);
        clock.advance(HOUR);
        assert!((&mut pause).now_or_never().is_some() && (&mut alarm).now_or_never().is_none());
        let mut pause = clock.pause(HOUR);
        clock.set_forward(HOUR);
        assert!((&mut pause).now_or_never().is_none() && (&mut alarm).now_or_never().is_some());
        clock.advance(HOUR);
        assert!((&mut pause).now_or_never().is_some());
    }
}
