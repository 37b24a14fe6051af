//! Decorators: Worlds around a World, each with one concern.
//!
//! A layer forwards all eight methods and keeps every rule of the contract that the World inside
//! keeps. They nest; from the outside in, this is the order that makes sense:
//!
//! ```
//! # use std::time::Duration;
//! use world_core::{MemoryWorld, layer::{RetryLayer, TimeoutLayer, TraceLayer}};
//! let world = TraceLayer::new(MemoryWorld::new()); // sees each try
//! let world = TimeoutLayer::new(world, Duration::from_secs(5)); // bounds each try
//! let world = RetryLayer::new(world); // tries again
//! # drop(world);
//! ```

mod count;
mod fault;
mod retry;
mod timeout;
mod trace;

use std::fmt;

pub use count::{CountLayer, Counts};
pub use fault::{Fault, FaultLayer, Gate, Seen};
pub use retry::{RetryBounds, RetryLayer};
pub use timeout::TimeoutLayer;
pub use trace::TraceLayer;

use crate::{error::ErrorKind, record::Append};

/// A method of a [`World`](crate::World) that does I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// [`World::append`](crate::World::append)
    Append,
    /// [`World::read`](crate::World::read)
    Read,
    /// [`World::claim`](crate::World::claim)
    Claim,
    /// [`World::renew`](crate::World::renew)
    Renew,
    /// [`World::list`](crate::World::list)
    List,
    /// [`World::delete`](crate::World::delete)
    Delete,
    /// [`World::wait`](crate::World::wait)
    Wait,
}

impl Method {
    /// Every method, in the trait's order.
    pub const ALL: [Self; 7] =
        [Self::Append, Self::Read, Self::Claim, Self::Renew, Self::List, Self::Delete, Self::Wait];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Wait => "wait",
        }
    }

    /// Whether it changes what is stored, so that a lost answer leaves its outcome open.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::Append | Self::Claim | Self::Renew | Self::Delete)
    }

    /// The kind of the error when its answer does not come.
    #[must_use]
    pub const fn unanswered(self) -> ErrorKind {
        if self.changes() { ErrorKind::Unknown } else { ErrorKind::Unavailable }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn body_bytes(append: &Append) -> usize {
    append.records.iter().map(|record| record.body.as_bytes().len()).sum()
}
