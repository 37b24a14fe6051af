//! What a World keeps of a run, and whose turn it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Position, RunId, Timestamp},
    lease::Ticket,
    list::{Phase, RunMeta},
    record::{Due, Kind, NewRun},
};

/// What a World keeps of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// As its creator gave it; `tags` as last set, `due` and `lease` as created. Shared, since it
    /// hardly ever changes while the rest does with every append.
    pub new: Arc<NewRun>,
    /// When it was created.
    pub created: Timestamp,
    /// The kind of its last record.
    pub last: Kind,
    /// Whether it takes no more records.
    pub closed: bool,
    /// Claims since the last progress or rest, the one under way included and those that were given
    /// back undriven left out (rule L5).
    pub attempt: u32,
    /// Who has it, or when it wants someone.
    pub turn: Turn,
}

/// Who has a run, or when it wants a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// A lease, current until another replaces it; due again once it has run out.
    Leased {
        /// What proves it.
        ticket: Ticket,
        /// When it runs out.
        until: Timestamp,
    },
    /// Due since this time, by its writer's clock: an order among the ready, never a condition.
    Ready {
        /// When it became so.
        since: Timestamp,
    },
    /// Due from this time on.
    Waiting(Timestamp),
    /// Not due until an outsider appends.
    Parked,
}

/// The two classes of runs that want a worker, now or later; neither starves the other (rule L2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Due now, whatever the time.
    Ready = 1,
    /// Due from a time on: when a wait ends or a lease runs out.
    Timed = 2,
}

/// Where a run stands in an index of due runs: its class, and the time that orders it there.
pub type Place = (Class, Timestamp);

impl Turn {
    /// The place in an index of due runs; `None` for a parked run, which no index holds.
    ///
    /// An index by (queue, class, time, run) answers a claim without a look at any other run.
    #[must_use]
    pub fn place(self) -> Option<Place> {
        match self {
            Self::Ready { since } => Some((Class::Ready, since)),
            Self::Waiting(time) | Self::Leased { until: time, .. } => Some((Class::Timed, time)),
            Self::Parked => None,
        }
    }

    pub(super) const fn rest(due: Due, at: Timestamp) -> Self {
        match due {
            Due::Now => Self::Ready { since: at },
            Due::At(time) => Self::Waiting(time),
            Due::Never => Self::Parked,
        }
    }

    /// Whether a claim at `now` may have it (rules L1, L2).
    #[must_use]
    pub fn is_due(self, now: Timestamp) -> bool {
        match self {
            Self::Leased { until, .. } => until <= now,
            Self::Ready { .. } => true,
            Self::Waiting(time) => time <= now,
            Self::Parked => false,
        }
    }
}

impl Run {
    /// What a listing shows of it.
    #[must_use]
    pub fn meta(&self, run: RunId, head: Position) -> RunMeta {
        RunMeta {
            run,
            workflow: self.new.workflow.clone(),
            queue: self.new.queue.clone(),
            parent: self.new.parent.clone(),
            tags: self.new.tags.clone(),
            created: self.created,
            head,
            last: self.last,
            key: self.new.key.clone(),
            phase: match self.turn {
                _ if self.closed => Phase::Closed,
                Turn::Leased { .. } => Phase::Leased,
                Turn::Ready { .. } => Phase::Ready,
                Turn::Waiting(time) => Phase::Waiting(time),
                Turn::Parked => Phase::Parked,
            },
        }
    }

    /// The ticket of the lease, run out or not (rule L3).
    #[must_use]
    pub fn ticket(&self) -> Option<Ticket> {
        match self.turn {
            Turn::Leased { ticket, .. } => Some(ticket),
            _ => None,
        }
    }
}
