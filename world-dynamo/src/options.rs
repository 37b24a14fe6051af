//! How a World is opened, and the same as the options of a URL.

use std::time::Duration;

use world_core::{Error, ErrorKind, Result};

/// The option names a URL may carry.
const KNOWN: &str = "region, endpoint, shards=1..256, timeout_ms=1..600000, poll_ms=1..60000";

/// The most shards of a World.
pub const SHARDS_MAX: u16 = 256;
/// The longest timeout that may be set.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// The longest pause between two looks that may be set.
pub const POLL_MAX: Duration = Duration::from_secs(60);

/// How a World is opened.
///
/// ```
/// # use {std::time::Duration, world_dynamo::Options};
/// let options = Options::new().shards(16).timeout(Duration::from_secs(5));
/// assert_eq!(options, Options::parse("shards=16&timeout_ms=5000")?);
/// # Ok::<(), world_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) shards: Option<u16>,
    pub(crate) timeout: Duration,
    pub(crate) poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            shards: None,
            timeout: Duration::from_secs(10),
            poll: Duration::from_millis(500),
        }
    }
}

impl Options {
    /// The shards of a World that is made without a number: a claim asks each of them.
    pub(crate) const SHARDS: u16 = 4;

    /// The defaults, as each method says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the region, in place of the one that the environment names. It says nothing to a World
    /// that is opened with a client of one's own.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Sets the address of the service, `http://127.0.0.1:8000` for one on this machine. It says
    /// nothing to a World that is opened with a client of one's own.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }

    /// Sets into how many shards each queue is divided, 1 to [`SHARDS_MAX`], by default 4. It is
    /// decided when the World is made, and stored; a World that was made with another number is
    /// refused. A shard takes about 250 drives a second of one queue, from claim to rest; each look for
    /// work asks all shards.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = Some(shards.clamp(1, SHARDS_MAX));
        self
    }

    /// Sets how long an answer is waited for, with all tries that it takes: at most [`TIMEOUT_MAX`],
    /// by default 10 seconds. What was to be written may then have been written: `Unknown`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), TIMEOUT_MAX);
        self
    }

    /// Sets the pause between two looks of one who waits, at most [`POLL_MAX`], by default half a
    /// second. What this handle itself has written is told without a look.
    #[must_use]
    pub fn poll(mut self, pause: Duration) -> Self {
        self.poll = pause.clamp(Duration::from_millis(1), POLL_MAX);
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
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(refuse(format!("the option {name:?} is there twice")));
            }
            seen.push(name);
            let number = |most: u64| {
                let number = value.parse().ok().filter(|number| (1..=most).contains(number));
                number.ok_or_else(|| refuse(format!("{name} with a value that it does not take")))
            };
            let millis = |most: Duration| {
                let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
                number(most).map(Duration::from_millis)
            };
            options = match name {
                "region" if is_region(value) => options.region(value),
                "region" => return Err(refuse("a region that is none".to_owned())),
                "endpoint" if is_endpoint(value) => options.endpoint(value),
                "endpoint" => {
                    return Err(refuse("an endpoint that is no http: or https: URL".to_owned()));
                }
                "shards" => {
                    let shards = number(u64::from(SHARDS_MAX))?;
                    options.shards(u16::try_from(shards).unwrap_or(SHARDS_MAX))
                }
                "timeout_ms" => options.timeout(millis(TIMEOUT_MAX)?),
                "poll_ms" => options.poll(millis(POLL_MAX)?),
                other => return Err(refuse(format!("no option is called {other:?}"))),
            };
        }
        Ok(options)
    }
}

fn is_region(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_good)
}

/// Scheme, host and port, and no user.
fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@')
    })
}

fn refuse(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what).help(format!("the options are {KNOWN}"))
}
