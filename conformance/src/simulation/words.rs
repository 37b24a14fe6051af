//! Calls and answers in few words, each byte of them in the digest.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher},
};

use world_core::{Append, Appended, By, Deleted, Lease, LogId, Renewed, Result, RunPage};

/// A hash of bytes, the same in every process.
pub(super) fn bytes_hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish() & 0xFFFF_FFFF
}

/// An append, with a hash of each body.
pub(super) fn append_words<'a>(log: &'a LogId, append: &'a Append) -> AppendWords<'a> {
    AppendWords(log, append)
}

pub(super) struct AppendWords<'a>(&'a LogId, &'a Append);

impl fmt::Display for AppendWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(log, append) = self;
        write!(f, "{log} @{}", append.expected)?;
        for record in &append.records {
            write!(f, " +{} {:x}", record.kind, bytes_hash(record.body.as_bytes()))?;
        }
        match &append.by {
            By::Creator(new) => {
                let lease = new.lease.map(|(ticket, _)| bytes_hash(ticket.as_bytes()));
                write!(f, " by its creator, lease {lease:x?}")
            }
            By::Outsider => f.write_str(" by an outsider"),
            By::Owner { ticket, close, rest, .. } => {
                write!(f, " by {:x}", bytes_hash(ticket.as_bytes()))?;
                if *close {
                    f.write_str(" close")?;
                }
                rest.map_or(Ok(()), |release| {
                    let how = if release.driven { "rest" } else { "rest undriven" };
                    write!(f, " {how} {:?}", release.due)
                })
            }
        }
    }
}

/// An answer.
pub(super) struct Answer<'a, T>(pub(super) &'a Result<T>);

impl<T: Words> fmt::Display for Answer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(answer) => answer.words(f),
            Err(error) => write!(f, "{:?}", error.kind()),
        }
    }
}

/// What is told of an answer.
pub(super) trait Words {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Words for Appended {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed { head } => write!(f, "committed, head {head}"),
            Self::Conflict { head } => write!(f, "conflict, head {head}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Words for Vec<Lease> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for lease in self {
            write!(f, "{} claim {} head {},", lease.run, lease.attempt, lease.head)?;
        }
        f.write_str("]")
    }
}

impl Words for RunPage {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for run in &self.runs {
            write!(f, "{} {:?} head {},", run.run, run.phase, run.head)?;
        }
        f.write_str("]")
    }
}

impl Words for Renewed {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Words for Deleted {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
