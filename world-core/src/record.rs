//! What a World stores, and the one write that stores it.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{KeyId, LogId, Position, Queue, RunId, TAGS_MAX, Tag, Timestamp, WorkflowName},
    lease::Ticket,
    world::Limits,
};

/// What kind of event a record holds: a number that is never reused, clear to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub u16);

/// Ciphertext: the only form in which a payload reaches a World.
///
/// Its bytes are opaque to a World. The engine makes and opens them, and no one else can.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(Bytes);

impl Sealed {
    /// Takes bytes as a store gave them back. Nothing is checked here: opening does that.
    #[must_use]
    pub fn from_stored(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(self.as_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(deserializer).map(Self::from_stored)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// One entry of a log, as a World keeps it: never changed once it is there (rule R2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its place in the log.
    pub position: Position,
    /// What it is, clear.
    pub kind: Kind,
    /// When its writer wrote it, by the writer's clock.
    pub at: Timestamp,
    /// The sealed payload.
    pub body: Sealed,
}

/// The one write: records, lease, due time and closing, all or nothing, at a stated head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The head the writer has seen; the append commits only there (rule A2).
    pub expected: Position,
    /// The records, at `expected + 1` and on without a gap.
    pub records: Vec<Record>,
    /// Now, by the writer's clock.
    pub at: Timestamp,
    /// Who writes, and what else changes with it.
    pub by: By,
}

/// Who appends, and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Makes a run; `expected` is 0.
    Creator(NewRun),
    /// Anyone, with at least one record. A run that is not leased becomes due (rule L4).
    Outsider,
    /// The worker that holds the run.
    Owner {
        /// Proves it; a replaced one is [`Appended::Fenced`].
        ticket: Ticket,
        /// Closes the run for good; needs a record.
        close: bool,
        /// Gives the lease back.
        rest: Option<Release>,
        /// Replaces the run's tags.
        tags: Option<Vec<Tag>>,
    },
}

/// What a store must know of a run to hand it to workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Where workers look for it.
    pub queue: Queue,
    /// What it runs.
    pub workflow: WorkflowName,
    /// When it first wants a worker; without meaning while `lease` holds.
    pub due: Due,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// At most [`TAGS_MAX`] tags.
    pub tags: Vec<Tag>,
    /// The master key that seals its log, for life.
    pub key: KeyId,
    /// A creator may hold the first lease, until the given time.
    pub lease: Option<(Ticket, Timestamp)>,
}

/// When a run next wants a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// At once.
    Now,
    /// From this time on.
    At(Timestamp),
    /// Not before an outsider appends: parked.
    Never,
}

/// How an owner gives its lease back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    /// When the run next wants a worker.
    pub due: Due,
    /// Whether the run was driven. Without it the claim counts as if it had not been made, and no
    /// record of the same append counts as progress (rule L5).
    pub driven: bool,
}

impl Release {
    /// Gives back a run that was driven: its claims are counted from 0 again.
    #[must_use]
    pub const fn driven(due: Due) -> Self {
        Self { due, driven: true }
    }

    /// Gives back a run that this owner could not drive: its claims count as before this one.
    ///
    /// An owner that then [excepts](crate::Claim::except) the run names a time, `Due::At(now)` for
    /// at once: a run that is due `Now` is given to it again (rule L6).
    #[must_use]
    pub const fn undriven(due: Due) -> Self {
        Self { due, driven: false }
    }
}

/// The ordinary answers to an append: values, not errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log, now or since an earlier try with the same bytes (rule A6).
    Committed {
        /// The log's head, which may lie beyond these records.
        head: Position,
    },
    /// The head is not the one stated; nothing changed.
    Conflict {
        /// The head there is.
        head: Position,
    },
    /// The ticket is not the current one; nothing changed.
    Fenced,
    /// The run is absent, closed or deleted; nothing changed.
    NotOpen,
}

/// A piece of a log, in order and without holes (rule R3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The records; empty only at the head. It may be fewer than asked for (about 1 MiB).
    pub records: Vec<Record>,
    /// The log's head when the page was read.
    pub head: Position,
}

impl Append {
    /// The head once this append has committed.
    #[must_use]
    pub fn head_after(&self) -> Position {
        self.expected.plus(self.records.len() as u64)
    }

    /// Checks what every World must refuse before it writes: the pairing of writer and log (rule
    /// T1), positions, and the limits (rule B1).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a pairing or shape that no World takes, [`ErrorKind::TooLarge`]
    /// for more than `limits`.
    pub fn check(&self, log: &LogId, limits: &Limits) -> Result<()> {
        let invalid =
            |what: &'static str| Err(Error::new(ErrorKind::Invalid, what).log(log.clone()));
        match (log, &self.by) {
            (LogId::Run(_), By::Creator(new)) => {
                if self.expected != Position::START || self.records.is_empty() {
                    return invalid("a creator appends the first records, at expected 0");
                }
                if new.tags.len() > TAGS_MAX {
                    return invalid("a run with more than 16 tags");
                }
            }
            (LogId::Run(_), By::Owner { close, rest, tags, .. }) => {
                if self.records.is_empty() && (*close || (rest.is_none() && tags.is_none())) {
                    return invalid("an owner's append without records may only rest or set tags");
                }
                if tags.as_ref().is_some_and(|tags| tags.len() > TAGS_MAX) {
                    return invalid("a run with more than 16 tags");
                }
            }
            (LogId::Stream(..), By::Owner { close: false, rest: None, tags: None, .. })
            | (LogId::Run(_) | LogId::Token(_), By::Outsider) => {
                if self.records.is_empty() {
                    return invalid("an append without records");
                }
            }
            (LogId::Stream(..), _) => {
                return invalid(
                    "a stream takes only its run's owner, and neither closes nor rests",
                );
            }
            (LogId::Token(_), _) => return invalid("a token log takes only outsiders"),
        }
        let mut position = self.expected;
        for record in &self.records {
            position = position.next();
            if record.position != position {
                return invalid("records whose positions do not follow the expected head");
            }
        }
        let too_large = |what: String| {
            Err(Error::new(ErrorKind::TooLarge, what)
                .log(log.clone())
                .position(self.expected.next())
                .help("store large data elsewhere and keep a reference to it in the log"))
        };
        if self.records.len() > limits.records_max {
            let (len, max) = (self.records.len(), limits.records_max);
            return too_large(format!("an append of {len} records, where {max} are the most"));
        }
        let mut total = 0;
        for record in &self.records {
            let (bytes, max) = (record.body.as_bytes().len(), limits.record_bytes_max);
            if bytes > max {
                return too_large(format!("a record of {bytes} bytes, where {max} are the most"));
            }
            total += bytes;
        }
        if total > limits.append_bytes_max {
            let max = limits.append_bytes_max;
            return too_large(format!("an append of {total} bytes, where {max} are the most"));
        }
        Ok(())
    }
}
