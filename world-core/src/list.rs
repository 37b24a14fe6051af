//! Listing runs.

use std::{fmt, num::NonZeroU32, ops::Range};

use crate::{
    ids::{KeyId, Position, Queue, RunId, Tag, Timestamp, WorkflowName},
    record::Kind,
};

/// Which runs to list; every filter left out lets all pass.
#[derive(Clone, Debug)]
pub struct List {
    /// Only runs of this queue.
    pub queue: Option<Queue>,
    /// Only runs of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only runs in this phase.
    pub phase: Option<PhaseKind>,
    /// Only runs whose last record is of this kind.
    pub last: Option<Kind>,
    /// Only runs that carry all of these.
    pub tags: Vec<Tag>,
    /// Only runs created in this span.
    pub created: Option<Range<Timestamp>>,
    /// Goes on after an earlier page.
    pub after: Option<Cursor>,
    /// The most runs of the page; there may be fewer, though more follow.
    pub limit: NonZeroU32,
}

impl List {
    /// Lists every run, up to `limit` a page.
    #[must_use]
    pub const fn all(limit: NonZeroU32) -> Self {
        Self {
            queue: None,
            workflow: None,
            phase: None,
            last: None,
            tags: Vec::new(),
            created: None,
            after: None,
            limit,
        }
    }

    /// Whether a run passes every filter; the cursor and the limit are the World's affair.
    #[must_use]
    pub fn matches(&self, run: &RunMeta) -> bool {
        self.queue.as_ref().is_none_or(|queue| *queue == run.queue)
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
            && self.phase.is_none_or(|phase| phase == run.phase.kind())
            && self.last.is_none_or(|last| last == run.last)
            && self.tags.iter().all(|tag| run.tags.contains(tag))
            && self.created.as_ref().is_none_or(|span| span.contains(&run.created))
    }
}

/// Where a listing goes on; its bytes are the World's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(Box<[u8]>);

impl Cursor {
    /// The cursor with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes the World put there.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct RunPage {
    /// The runs, in an order of the World's own.
    pub runs: Vec<RunMeta>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What a World knows of a run without opening anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMeta {
    /// The run.
    pub run: RunId,
    /// What it runs.
    pub workflow: WorkflowName,
    /// Where workers look for it.
    pub queue: Queue,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// When it was created.
    pub created: Timestamp,
    /// Its head.
    pub head: Position,
    /// The kind of its last record: how it ended, once it is closed.
    pub last: Kind,
    /// The master key its log is sealed with.
    pub key: KeyId,
    /// What it is waiting for.
    pub phase: Phase,
}

/// What a run is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A worker.
    Ready,
    /// A time.
    Waiting(Timestamp),
    /// Something from outside.
    Parked,
    /// Nothing: a worker has it, or had it when its lease ran out.
    Leased,
    /// Nothing: it has ended.
    Closed,
}

/// A [`Phase`] without its time, to filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PhaseKind {
    /// See [`Phase::Ready`].
    Ready,
    /// See [`Phase::Waiting`].
    Waiting,
    /// See [`Phase::Parked`].
    Parked,
    /// See [`Phase::Leased`].
    Leased,
    /// See [`Phase::Closed`].
    Closed,
}

impl Phase {
    /// The phase without its time.
    #[must_use]
    pub const fn kind(self) -> PhaseKind {
        match self {
            Self::Ready => PhaseKind::Ready,
            Self::Waiting(_) => PhaseKind::Waiting,
            Self::Parked => PhaseKind::Parked,
            Self::Leased => PhaseKind::Leased,
            Self::Closed => PhaseKind::Closed,
        }
    }
}

/// The answer to a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, now or since an earlier try; its id stays spent (rule D2).
    Done,
    /// It is open, or its head is not the one stated; nothing changed (rule D1).
    Open,
    /// There never was such a log, or its tombstone has run out.
    Absent,
}
