//! When a failed attempt is followed by another.

use std::time::Duration;

/// How often a step is tried, and how long it waits between attempts.
///
/// The waits grow as stated, and each is shortened at random by up to a half, so that runs that
/// failed together do not come back together. An attempt that dies with its worker counts.
///
/// ```
/// # use {world_core::Retry, std::time::Duration};
/// let retry = Retry::exponential(5).max_delay(Duration::from_secs(60));
/// assert_eq!(retry.attempts_max(), 5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts_max: u32,
    first_delay: Duration,
    factor: u32,
    max_delay: Duration,
    jitter: bool,
}

impl Retry {
    /// At most `attempts_max` attempts (at least 1); waits of 1 s, 2 s, 4 s … up to 5 minutes.
    #[must_use]
    pub const fn exponential(attempts_max: u32) -> Self {
        Self {
            attempts_max: if attempts_max == 0 { 1 } else { attempts_max },
            first_delay: Duration::from_secs(1),
            factor: 2,
            max_delay: Duration::from_secs(300),
            jitter: true,
        }
    }

    /// At most `attempts_max` attempts (at least 1), always `delay` apart.
    #[must_use]
    pub const fn fixed(attempts_max: u32, delay: Duration) -> Self {
        let retry = Self::exponential(attempts_max);
        Self { first_delay: delay, factor: 1, max_delay: delay, jitter: false, ..retry }
    }

    /// The wait after the first attempt.
    #[must_use]
    pub const fn first_delay(self, delay: Duration) -> Self {
        Self { first_delay: delay, ..self }
    }

    /// The longest wait.
    #[must_use]
    pub const fn max_delay(self, delay: Duration) -> Self {
        Self { max_delay: delay, ..self }
    }

    /// Waits exactly as long as stated.
    #[must_use]
    pub const fn without_jitter(self) -> Self {
        Self { jitter: false, ..self }
    }

    /// The most attempts, the first included.
    #[must_use]
    pub const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// The wait after this attempt, from 1; `random` shortens it.
    pub(crate) fn delay(&self, attempt: u32, random: u64) -> Duration {
        let factor = self.factor.saturating_pow(attempt.saturating_sub(1));
        let delay = self.first_delay.saturating_mul(factor).min(self.max_delay);
        if !self.jitter {
            return delay;
        }
        let share = u32::try_from(random >> 32).unwrap_or(u32::MAX);
        let cut = (delay / 2).as_nanos().saturating_mul(u128::from(share)) >> 32;
        delay.saturating_sub(Duration::from_nanos(u64::try_from(cut).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_lose_at_most_half() {
        let retry = Retry::exponential(9).max_delay(Duration::from_secs(3));
        assert_eq!(retry.delay(1, 0), Duration::from_secs(1));
        assert_eq!(retry.delay(2, 0), Duration::from_secs(2));
        assert_eq!(retry.delay(3, 0), Duration::from_secs(3));
        assert_eq!(retry.delay(u32::MAX, 0), Duration::from_secs(3));
        let shortest = retry.delay(2, u64::MAX);
        assert!(shortest >= Duration::from_secs(1) && shortest < Duration::from_millis(1001));
        assert_eq!(retry.without_jitter().delay(2, u64::MAX), Duration::from_secs(2));
    }
}
