//! The keys of a table's items.
//!
//! A run, its streams and all their records share a partition key, and so does a token with its
//! records. What a log has lived through is named by its [`Life`]: what is left of a log that was
//! deleted can never be taken for that of a later one with its name.

use std::fmt;

use world_core::{LogId, Position, Queue, RunId, StreamName};

/// The partition key.
pub(crate) const PK: &str = "pk";
/// The sort key.
pub(crate) const SK: &str = "sk";
/// The index of due runs: its name, its partition key (shard and queue) and its sort key.
pub(crate) const INDEX: &str = "due";
pub(crate) const QUEUE: &str = "queue";
pub(crate) const DUE: &str = "due";
/// What the service deletes an item by, once the time has come.
pub(crate) const EXPIRES: &str = "expires";

/// The sort key of the head item of a run or a token, and of what says how the World was made.
pub(crate) const HEAD: &str = "head";
/// The partition key of what says how the World was made.
pub(crate) const META: &str = "world";

const RUN: &str = "run/";
const TOKEN: &str = "token/";

/// Tells a log from another one of its name: random, and drawn when it is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) [u8; 8]);

impl Life {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Life({self})")
    }
}

/// The partition key of a log.
pub(crate) fn partition(log: &LogId) -> String {
    match log {
        LogId::Run(run) | LogId::Stream(run, _) => format!("{RUN}{}", run.as_str()),
        LogId::Token(token) => format!("{TOKEN}{}", token.as_str()),
    }
}

/// The run whose partition key this is.
pub(crate) fn run_of(partition: &str) -> Option<RunId> {
    RunId::new(partition.strip_prefix(RUN)?).ok()
}

/// What the partition key of every run begins with.
pub(crate) const fn runs() -> &'static str {
    RUN
}

/// What the sort keys of the streams of a run of this life begin with.
pub(crate) fn streams(run: Life) -> String {
    format!("s/{run}/")
}

/// The sort key of a stream's head item; its run is of this life.
pub(crate) fn stream(run: Life, stream: &StreamName) -> String {
    format!("{}{}", streams(run), stream.as_str())
}

/// What the sort keys of all batches of a log of this life begin with.
pub(crate) fn batches(life: Life) -> String {
    format!("b/{life}/")
}

/// The sort key of the batch that ends with this position, in a log of this life.
pub(crate) fn batch(life: Life, last: Position) -> String {
    format!("{}{:020}", batches(life), last.get())
}

/// The last position of a batch, from its sort key.
pub(crate) fn last_of(batch: &str) -> Option<Position> {
    let digits = batch.rsplit('/').next().filter(|digits| digits.len() == 20)?;
    digits.parse().ok().map(Position::new)
}

/// The partition key in the index of due runs.
pub(crate) fn queue(shard: u16, queue: &Queue) -> String {
    format!("{shard}/{}", queue.as_str())
}
