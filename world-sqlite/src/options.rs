//! How a World is opened, and the same as the options of a URL.

use std::time::Duration;

use world_core::{Error, ErrorKind, Result};

/// The option names a URL may carry.
const KNOWN: &str = "synchronous=full|normal, busy_timeout_ms=0..600000";

/// The longest wait for another process's write that may be asked for.
pub const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// What a power failure may take; see the layout page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Nothing that was acknowledged: every commit is synced.
    #[default]
    Full,
    /// The last commits; never the end of a process, and never the file's integrity.
    Normal,
}

/// How a World is opened.
///
/// ```
/// # use {std::time::Duration, world_sqlite::{Options, Synchronous}};
/// let options = Options::new().synchronous(Synchronous::Normal);
/// assert_eq!(options.busy_timeout(Duration::from_secs(1)), Options::parse("synchronous=normal&busy_timeout_ms=1000")?);
/// # Ok::<(), world_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) synchronous: Synchronous,
    pub(crate) busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, busy_timeout: Duration::from_secs(5) }
    }
}

impl Options {
    /// The defaults: every commit is synced, and another process's write is waited for 5 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what a power failure may take.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Sets how long a write waits while another process writes, at most [`BUSY_TIMEOUT_MAX`].
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout.min(BUSY_TIMEOUT_MAX);
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
            options = match (name, value) {
                ("synchronous", "full") => options.synchronous(Synchronous::Full),
                ("synchronous", "normal") => options.synchronous(Synchronous::Normal),
                ("busy_timeout_ms", millis) => options.busy_timeout(
                    millis
                        .parse()
                        .ok()
                        .map(Duration::from_millis)
                        .filter(|timeout| *timeout <= BUSY_TIMEOUT_MAX)
                        .ok_or_else(|| refuse(format!("busy_timeout_ms={millis:?}")))?,
                ),
                ("synchronous", other) => return Err(refuse(format!("synchronous={other:?}"))),
                (other, _) => return Err(refuse(format!("no option is called {other:?}"))),
            };
        }
        Ok(options)
    }
}

fn refuse(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what).help(format!("the options are {KNOWN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_an_error_that_lists_the_known_ones() {
        for query in [
            "sync=full",
            "synchronous=off",
            "synchronous",
            "busy_timeout_ms=-1",
            "busy_timeout_ms=600001",
            "=",
            "synchronous=full&synchronous=full",
        ] {
            let error = Options::parse(query).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{query}");
            assert!(error.to_string().contains(KNOWN), "{error}");
        }
    }

    #[test]
    fn options_left_out_keep_their_defaults() {
        assert_eq!(Options::parse("").unwrap(), Options::default());
        assert_eq!(
            Options::parse("busy_timeout_ms=7").unwrap(),
            Options::new().busy_timeout(Duration::from_millis(7))
        );
    }
}
