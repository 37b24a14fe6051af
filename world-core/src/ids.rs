//! The names of things: runs, logs, positions, queues, keys, times.
//!
//! Every name is opaque (rule I1): a World keeps its bytes exactly, NUL and emoji included. The
//! types here refuse what no World could keep (an empty name, one over [`NAME_BYTES_MAX`]), so
//! that a World need not.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The longest name or id, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Makes a ", $what, " of 1 to [`NAME_BYTES_MAX`] bytes, kept exactly as given.")]
            ///
            /// # Errors
            /// [`ErrorKind::Invalid`] when the text is empty or too long.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self> {
                let text = text.into();
                if text.is_empty() || text.len() > NAME_BYTES_MAX {
                    return Err(Error::new(
                        ErrorKind::Invalid,
                        format!("a {} of {} bytes", $what, text.len()),
                    )
                    .help(format!("use 1 to {NAME_BYTES_MAX} bytes")));
                }
                Ok(Self(text))
            }

            /// The text, exactly as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.escape_debug())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// One execution of a workflow: `wrun_` and a ULID, or what the caller chose; then it is the
    /// idempotency key.
    RunId,
    "run id"
);
name!(
    /// Where a worker looks for runs; by default a workflow's name.
    Queue,
    "queue name"
);
name!(
    /// The name a workflow is registered under.
    WorkflowName,
    "workflow name"
);
name!(
    /// The name of one of a run's streams.
    StreamName,
    "stream name"
);
name!(
    /// The address of a hook.
    Token,
    "token"
);
name!(
    /// Names a master key, never the key itself.
    KeyId,
    "key id"
);

impl KeyId {
    /// An id that the crate makes: neither empty nor too long.
    pub(crate) fn made(text: String) -> Self {
        debug_assert!(Self::new(text.as_str()).is_ok());
        Self(text.into())
    }
}

impl RunId {
    /// Makes a fresh id: `wrun_` and a [ULID](https://github.com/ulid/spec) of `at` and 80 random bits.
    ///
    /// ```
    /// # use world_core::{RunId, Timestamp};
    /// let id = RunId::generate(Timestamp::from_millis(1_700_000_000_000), &[7; 10]);
    /// assert_eq!(id.as_str(), "wrun_01HF7YAT000W3GE1R70W3GE1R7");
    /// ```
    #[must_use]
    pub fn generate(at: Timestamp, random: &[u8; 10]) -> Self {
        const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut low = [0u8; 16];
        low[6..].copy_from_slice(random);
        let bits = (u128::from(at.as_millis() & 0xFFFF_FFFF_FFFF) << 80) | u128::from_be_bytes(low);
        let mut text = String::with_capacity(31);
        text.push_str("wrun_");
        for digit in (0..26).rev() {
            text.push(char::from(CROCKFORD[(bits >> (5 * digit)) as usize & 31]));
        }
        Self(text.into())
    }
}

/// A place in a log: 1, 2, 3 … without gaps; 0 is the place before the first record.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first record; the head of an empty log.
    pub const START: Self = Self(0);

    /// The position with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The position `count` further on; it stops at the largest.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A position as it is shown to people: `evnt_` and 26 digits, which sort as the log does.
///
/// ```
/// # use world_core::*;
/// assert_eq!(EventId(Position::new(42)).to_string(), "evnt_00000000000000000000000042");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub Position);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evnt_{:026}", self.0.get())
    }
}

/// Which log: a run's own, one of its streams, or a token's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogId {
    /// A run's event log.
    Run(RunId),
    /// A stream of a run; it lives and dies with the run.
    Stream(RunId, StreamName),
    /// The log that says which run a user-named token belongs to.
    Token(Token),
}

impl LogId {
    /// The run this log belongs to; a token log belongs to none.
    #[must_use]
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Self::Run(run) | Self::Stream(run, _) => Some(run),
            Self::Token(_) => None,
        }
    }

    /// The shard of the log among so many, of which there is at least one: that of its run or its
    /// token. It is FNV-1a of the name, mixed as MurmurHash3 ends (names that differ in their last
    /// digit would go together), and never becomes another function: stores are divided by it.
    ///
    /// ```
    /// # use world_core::{LogId, RunId};
    /// assert_eq!(LogId::Run(RunId::new("order-7")?).shard(1024), 330);
    /// # Ok::<(), world_core::Error>(())
    /// ```
    #[must_use]
    pub fn shard(&self, shards: u16) -> u16 {
        let name = match self {
            Self::Run(run) | Self::Stream(run, _) => run.as_str(),
            Self::Token(token) => token.as_str(),
        };
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        u16::try_from((hash ^ hash >> 33) % u64::from(shards.max(1))).unwrap_or_default()
    }

    /// A key for a store: a number for what it is (1 a run's own log, 2 a stream, 3 a token's), the
    /// name of the run or token, and the name of the stream or nothing. Two logs never share one,
    /// and a store may keep it: the numbers stay as they are.
    #[must_use]
    pub fn key(&self) -> (u8, &str, &str) {
        match self {
            Self::Run(run) => (1, run.as_str(), ""),
            Self::Stream(run, stream) => (2, run.as_str(), stream.as_str()),
            Self::Token(token) => (3, token.as_str(), ""),
        }
    }
}

impl From<RunId> for LogId {
    fn from(run: RunId) -> Self {
        Self::Run(run)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::Stream(run, stream) => write!(f, "stream {stream} of run {run}"),
            Self::Token(token) => write!(f, "token {token}"),
        }
    }
}

/// Milliseconds since the Unix epoch, from 0 to the end of the year 9999.
///
/// Times are always arguments: no World reads a clock, and none orders by one.
///
/// ```
/// # use world_core::*;
/// let at = Timestamp::from_millis(1_700_000_000_000);
/// assert_eq!(at.to_string(), "2023-11-14T22:13:20.000Z");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

impl TryFrom<u64> for Timestamp {
    type Error = Error;

    /// The time this many milliseconds after the epoch; `Invalid` beyond [`Timestamp::MAX`].
    fn try_from(millis: u64) -> Result<Self> {
        let time = Self::from_millis(millis);
        if time.0 == millis {
            return Ok(time);
        }
        Err(Error::new(ErrorKind::Invalid, "a time after the year 9999"))
    }
}

impl From<Timestamp> for u64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z, which a double still holds exactly.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);

    /// The time this many milliseconds after the epoch, at most [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > Self::MAX.0 { Self::MAX.0 } else { millis })
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `duration`, rounded up to a millisecond, at most [`Timestamp::MAX`].
    ///
    /// ```
    /// # use {world_core::Timestamp, std::time::Duration};
    /// let at = Timestamp::from_millis(5).plus(Duration::from_micros(1));
    /// assert_eq!(at.as_millis(), 6);
    /// assert_eq!(at.plus(Duration::MAX), Timestamp::MAX);
    /// ```
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self::from_millis(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// The millisecond after this one.
    pub(crate) const fn next_milli(self) -> Self {
        Self(self.0 + 1)
    }

    /// The time from `earlier` to this, zero when this is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
        let z = days + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let year = yoe + era * 400 + u64::from(month <= 2);
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1_000)
    }
}

/// An equality-only search tag: an HMAC of its name and value, of which a store learns nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(#[serde(with = "serde_bytes")] [u8; 16]);

/// The most tags a run may carry.
pub const TAGS_MAX: usize = 16;

impl Tag {
    /// The tag with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:032x})", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn i1_a_name_is_kept_exactly_or_refused() {
        for text in ["a", "\0", "👩‍🚀", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(RunId::new(text).unwrap().as_str(), text);
        }
        for text in ["", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(RunId::new(text).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn times_are_shown_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_799_000, "2000-02-29T23:59:59.000Z"),
            (Timestamp::MAX.as_millis(), "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
    }

    #[test]
    fn an_event_id_is_26_digits() {
        assert_eq!(EventId(Position::new(42)).to_string(), "evnt_00000000000000000000000042");
    }
    fn shards(names: impl Iterator<Item = String>, shards: u16) -> HashMap<u16, usize> {
        let mut found = HashMap::new();
        for name in names {
            *found.entry(LogId::Run(RunId::new(name).unwrap()).shard(shards)).or_default() += 1;
        }
        found
    }

    #[test]
    fn names_that_are_alike_are_spread_over_all_shards() {
        for (count, digits) in [(2, 3), (16, 3), (64, 5)] {
            let found = shards((0..10_000).map(|n| format!("order-{n:0digits$}")), count);
            let even = 10_000 / usize::from(count);
            assert_eq!(found.len(), usize::from(count));
            assert!(found.values().all(|n| *n > even * 7 / 10 && *n < even * 13 / 10), "{found:?}");
        }
    }

    #[test]
    fn a_name_has_the_shard_that_it_always_had() {
        let shard = |name: &str| LogId::Token(Token::new(name).unwrap()).shard(1024);
        assert_eq!(["a", "order-7", "wrun_01HF7YAT000W3GE1R70W3GE1R7"].map(shard), [603, 330, 791]);
    }
}
