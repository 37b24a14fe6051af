//! The right to drive a run until a time, and the ticket that proves it.

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{Position, Queue, RunId, Timestamp},
};

/// 128 random bits that prove a lease: whoever replaces them fences the one before out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(#[serde(with = "serde_bytes")] [u8; 16]);

impl Ticket {
    /// The ticket with these bytes; take them from a cryptographic source.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// Asks for due runs of some queues.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Where to look.
    pub queues: Vec<Queue>,
    /// The ticket of every lease this claim gets; fresh for each claim.
    pub ticket: Ticket,
    /// Now, by the claimer's clock.
    pub now: Timestamp,
    /// When the leases run out.
    pub until: Timestamp,
    /// The most leases to give; there may be fewer, though more are due (rule L2).
    pub limit: NonZeroU32,
    /// Runs that the claimer stands back from, for it could not drive them: at most
    /// [`Claim::EXCEPT_MAX`], in any order. They are passed over until an outsider makes them
    /// ready (rule L6).
    pub except: Vec<RunId>,
}

impl Claim {
    /// The most runs that one claim excepts.
    pub const EXCEPT_MAX: usize = 256;

    /// Checks what every World must refuse before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for more than [`Claim::EXCEPT_MAX`] runs in `except`.
    pub fn check(&self) -> Result<()> {
        if self.except.len() > Self::EXCEPT_MAX {
            let (len, max) = (self.except.len(), Self::EXCEPT_MAX);
            let what = format!("a claim that excepts {len} runs, where {max} are the most");
            return Err(Error::new(ErrorKind::Invalid, what)
                .help("except the runs that failed last, and let the others be claimed again"));
        }
        Ok(())
    }
}

/// The right to drive one run until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// What proves it.
    pub ticket: Ticket,
    /// How often the run has been claimed since its last progress or rest, this time included and
    /// those that were given back undriven left out: above 1, workers have died with it (rule L5).
    pub attempt: u32,
    /// When it runs out, unless it is renewed.
    pub until: Timestamp,
    /// The run's head when it was claimed; 0 in the renewal of an owner that begins anew.
    pub head: Position,
    /// Whether the run is closed, and wants a worker only to pay its debts or to be deleted.
    pub closed: bool,
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The lease holds until the new time.
    Held {
        /// The run's head, so that an owner learns what came from outside.
        head: Position,
    },
    /// Someone else holds it, or nobody; nothing changed (rule L3).
    Lost,
}
