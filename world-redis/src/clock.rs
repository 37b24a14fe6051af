//! Comparing the time of one who takes a lease with the server's.
//!
//! A lease ends at a time of its owner's wall clock, and the others judge it by theirs. One that is
//! given by a clock which is a day ahead lasts a day longer than its owner, should that die. So the
//! scripts that give leases look at the server's clock first, on which all workers can agree.

use std::time::Duration;

use tokio::time::Instant;
use world_core::{Error, ErrorKind, Timestamp};

/// The comparison for one claim, or for a creator that takes the first lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockCheck {
    /// The time by the clock of who takes it.
    now: Timestamp,
    /// The most milliseconds by which the server's time may differ from it.
    most: u64,
    /// When that time was read, or soon after.
    began: Instant,
}

impl ClockCheck {
    /// Begins before anything is sent. The clocks may differ by half of the lease.
    pub(crate) fn begin(now: Timestamp, until: Timestamp) -> Self {
        let lease = until.as_millis().saturating_sub(now.as_millis());
        Self { now, most: lease / 2, began: Instant::now() }
    }

    /// By how many milliseconds the clocks may differ, for a script.
    pub(crate) fn most(self) -> String {
        self.most.to_string()
    }

    /// The least time by the server's clock of which the worker's is not too far ahead, for a script.
    pub(crate) fn least(self) -> String {
        self.now.as_millis().saturating_sub(self.most).to_string()
    }

    /// Says whether the clocks may agree for all that, since the script was late: its server stood
    /// still, or the connection had to be made. Both times are cut to whole milliseconds.
    pub(crate) fn was_late(self, server: u64) -> bool {
        let late = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ahead = server.saturating_sub(self.now.as_millis());
        ahead > self.most && ahead <= self.most.saturating_add(late).saturating_add(1)
    }

    /// Refuses the lease, by the server's time.
    pub(crate) fn refuse(self, server: u64, address: &str) -> Error {
        let now = self.now.as_millis();
        let (by, most) =
            (Duration::from_millis(now.abs_diff(server)), Duration::from_millis(self.most));
        let direction = if now > server { "ahead of" } else { "behind" };
        Error::new(
            ErrorKind::Unsuitable,
            format!(
                "this machine's clock is {by:?} {direction} that of the Redis server {address}, more \
                 than half of the lease ({most:?}): no lease is given"
            ),
        )
        .help("synchronise the clock of this machine, or the server's, and try again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    /// The comparison for a lease of 15 seconds that was asked for so long ago.
    fn check(ago: Duration) -> ClockCheck {
        let [now, until] = [NOW, NOW + 15_000].map(Timestamp::from_millis);
        let check = ClockCheck::begin(now, until);
        ClockCheck { began: check.began - ago, ..check }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_script_counts_against_no_clock() {
        let second = Duration::from_secs(1);
        assert!(!check(Duration::ZERO).was_late(NOW + 8_000));
        assert!(check(second).was_late(NOW + 8_000));
        assert!(!check(second).was_late(NOW + 9_000), "a second explains no more than a second");
        assert!(
            !check(second).was_late(NOW - 8_000),
            "a clock that is ahead is so whatever the delay"
        );
    }

    #[test]
    fn a_refusal_says_by_how_much_in_which_direction_of_which_server_and_what_to_do() {
        let text = |server| check(Duration::ZERO).refuse(server, "10.0.0.1:6379").to_string();
        let ahead = text(NOW - 86_400_000);
        for words in [
            "86400s ahead of that of the Redis server 10.0.0.1:6379",
            "half of the lease (7.5s)",
            "; synchronise the clock of this machine",
        ] {
            assert!(ahead.contains(words), "not {words:?}: {ahead}");
        }
        assert!(text(NOW + 8_000).contains("8s behind that of the Redis server"));
    }
}
