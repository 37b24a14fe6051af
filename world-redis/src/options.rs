//! How a World is opened, and the same as the options of a URL.

use std::time::Duration;

use world_core::{Error, ErrorKind, Result};

/// The option names a URL may carry.
const KNOWN: &str = "prefix, shards=1..1024, response_timeout_ms=1..600000, \
     connect_timeout_ms=1..600000, retention_hours=0..87600, wait_replicas=0..100, \
     wait_timeout_ms=1..600000, clock_check=on|off";

/// The most shards of a World.
pub const SHARDS_MAX: u16 = 1024;
/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;
/// The longest timeout that may be set.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// The longest time that closed runs can be kept, short of for ever: ten years.
pub const RETENTION_MAX: Duration = Duration::from_secs(87_600 * 3600);
/// The most replicas that an append can wait for.
pub const WAIT_REPLICAS_MAX: u8 = 100;

/// How a World is opened.
///
/// ```
/// # use {std::time::Duration, world_redis::Options};
/// let options = Options::new().prefix("app")?.response_timeout(Duration::from_secs(1));
/// assert_eq!(options, Options::parse("prefix=app&response_timeout_ms=1000")?);
/// # Ok::<(), world_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) prefix: String,
    pub(crate) shards: Option<u16>,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retention: Option<Duration>,
    pub(crate) wait_replicas: u8,
    pub(crate) wait_timeout: Duration,
    pub(crate) clock_check: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "world".to_owned(),
            shards: None,
            response_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            retention: Some(Duration::from_secs(7 * 24 * 3600)),
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
            clock_check: true,
        }
    }
}

impl Options {
    /// The defaults, as each method says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the names of all keys begin with, so that several Worlds can share a server:
    /// 1 to [`PREFIX_BYTES_MAX`] ASCII letters, digits, `-`, `_` and `.`. By default `world`.
    ///
    /// # Errors
    /// `Invalid` for another prefix.
    pub fn prefix(mut self, prefix: &str) -> Result<Self> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(is_good) {
            return Err(Error::new(ErrorKind::Invalid, "a prefix that keys cannot begin with")
                .help(format!("use 1 to {PREFIX_BYTES_MAX} letters, digits, - _ and .")));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// Sets into how many shards the runs are divided, 1 to [`SHARDS_MAX`]. It is decided when the
    /// World is made, by default 1 and on a Cluster 16, and stored; a World that was made with
    /// another number is refused. A shard lies in one slot of a Cluster.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = Some(shards.clamp(1, SHARDS_MAX));
        self
    }

    /// Sets how long an answer is waited for, at most [`TIMEOUT_MAX`]; by default 10 seconds. What
    /// was to be written may then have been written: `Unknown`. Set it well above the longest
    /// pause of a busy server (a fork, a slow disk, another's slow command): an answer that comes
    /// too late costs a new connection.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = within(timeout);
        self
    }

    /// Sets how long a connection may take, at most [`TIMEOUT_MAX`]; by default 5 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = within(timeout);
        self
    }

    /// Sets how long a closed run is kept before it is deleted, at most [`RETENTION_MAX`], by the
    /// server's clock; `None` keeps it for ever. By default 7 days. Workers delete, once a minute.
    #[must_use]
    pub fn retention(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention.map(|time| time.min(RETENTION_MAX));
        self
    }

    /// Sets how many replicas must have confirmed an append before it is answered (`WAIT`), at most
    /// [`WAIT_REPLICAS_MAX`]; by default 0. With fewer it is `Unknown`.
    #[must_use]
    pub fn wait_replicas(mut self, replicas: u8) -> Self {
        self.wait_replicas = replicas.min(WAIT_REPLICAS_MAX);
        self
    }

    /// Sets how long replicas are waited for, at most [`TIMEOUT_MAX`]; by default 1 second.
    #[must_use]
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = within(timeout);
        self
    }

    /// Sets whether the server compares the time of each claim with its own, and refuses the claim
    /// as `Unsuitable` if they differ by more than half of the lease that is asked for; by default
    /// it does. The same holds for a creator that takes a lease, if its clock is ahead. The leases
    /// of a worker whose clock is a day ahead would outlive it by a day, those of one that is
    /// behind would be over for the others when it gets them.
    ///
    /// Switch it off for tests and virtual clocks only: a real clock that is off is to be
    /// synchronised.
    ///
    /// ```
    /// # use world_redis::Options;
    /// let options = Options::new().clock_check(false);
    /// assert_eq!(options, Options::parse("clock_check=off")?);
    /// # Ok::<(), world_core::Error>(())
    /// ```
    #[must_use]
    pub fn clock_check(mut self, is_on: bool) -> Self {
        self.clock_check = is_on;
        self
    }

    /// Reads the options of a URL: what stands after its `?`.
    ///
    /// # Errors
    /// `Invalid` for an option that is unknown, repeated, or has a value that it does not take; the
    /// error lists those there are.
    pub fn parse(query: &str) -> Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        if query.contains('@') {
            return Err(Error::new(ErrorKind::Invalid, "an @ after the first ?")
                .help("in a password write ? as %3F"));
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(refuse(format!("the option {name:?} is there twice")));
            }
            seen.push(name);
            let number = |least: u64, most: u64| {
                let number = value.parse().ok().filter(|number| (least..=most).contains(number));
                number.ok_or_else(|| refuse(format!("{name}={value:?}")))
            };
            let millis = || number(1, 600_000).map(Duration::from_millis);
            let small = |least, most| {
                number(least, most).and_then(|number| {
                    u16::try_from(number).map_err(|_| refuse(format!("{name}={value:?}")))
                })
            };
            options = match name {
                "prefix" => options.prefix(value)?,
                "shards" => options.shards(small(1, u64::from(SHARDS_MAX))?),
                "response_timeout_ms" => options.response_timeout(millis()?),
                "connect_timeout_ms" => options.connect_timeout(millis()?),
                "retention_hours" => {
                    let hours = number(0, 87_600)?;
                    options.retention((hours > 0).then(|| Duration::from_secs(hours * 3600)))
                }
                "wait_replicas" => {
                    let replicas = small(0, u64::from(WAIT_REPLICAS_MAX))?;
                    options.wait_replicas(u8::try_from(replicas).unwrap_or(WAIT_REPLICAS_MAX))
                }
                "wait_timeout_ms" => options.wait_timeout(millis()?),
                "clock_check" => match value {
                    "on" => options.clock_check(true),
                    "off" => options.clock_check(false),
                    _ => return Err(refuse(format!("{name}={value:?}"))),
                },
                other => return Err(refuse(format!("no option is called {other:?}"))),
            };
        }
        Ok(options)
    }
}

fn within(timeout: Duration) -> Duration {
    timeout.clamp(Duration::from_millis(1), TIMEOUT_MAX)
}

fn refuse(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what).help(format!("the options are {KNOWN}"))
}
