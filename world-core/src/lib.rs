//! Durable execution on any append-only log.

pub mod codec;
mod error;
pub mod event;
#[cfg(test)]
mod golden;
pub mod head;
mod ids;
mod lease;
mod list;
mod record;
pub mod replay;
pub mod seal;
mod world;

pub use error::{Error, ErrorKind, Result};
pub use ids::{
    EventId, KeyId, LogId, NAME_BYTES_MAX, Position, Queue, RunId, StreamName, TAGS_MAX, Tag,
    Timestamp, Token, WorkflowName,
};
pub use lease::{Claim, Lease, Renewed, Ticket};
pub use list::{Cursor, Deleted, List, Phase, PhaseKind, RunMeta, RunPage};
pub use record::{Append, Appended, By, Due, Kind, NewRun, Page, Record, Sealed};
pub use world::{Limits, Wait, World, WorldExt, WorldInfo};
