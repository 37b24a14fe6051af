//! What a replay has found.

use std::fmt;

use crate::replay::{Blocked, Key};

/// Where and how the code does not agree with the log, or with itself.
///
/// It shows as a diff, with the seed that makes it happen again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayError {
    /// The seed of the spurious polls; `None` for the replay without any.
    pub seed: Option<u64>,
    /// How many events had been delivered, the one it is about included.
    pub prefix: usize,
    /// How many events the log has.
    pub events: usize,
    /// What is wrong.
    pub why: Box<Blocked>,
    /// Operations that this replay does not have open or asked for, and the first one did.
    pub missing: Vec<Key>,
    /// Operations that this replay has open or asked for, and the first one did not.
    pub unexpected: Vec<Key>,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, prefix, events, why, missing, unexpected } = self;
        write!(f, "replay of the first {prefix} of {events} events")?;
        match seed {
            Some(seed) => write!(f, " with jitter, seed {seed}: ")?,
            None => f.write_str(" without jitter: ")?,
        }
        if missing.is_empty() && unexpected.is_empty() {
            return why.fmt(f);
        }
        f.write_str("the same events lead to other operations")?;
        for key in missing {
            write!(f, "\n  - first replay: {key}")?;
        }
        for key in unexpected {
            write!(f, "\n  + this replay:  {key}")?;
        }
        f.write_str(
            "\n  let nothing depend on how often a future is polled, on chance or on what the log \
             does not hold: write `biased;` in tokio's select! and join!, and use ctx.random() and ctx.now()",
        )
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.why)
    }
}
