//! Durable execution on any append-only log.

mod awaited;
pub mod codec;
mod context;
mod driver;
mod entropy;
mod error;
pub mod event;
#[cfg(test)]
mod golden;
pub mod head;
mod ids;
pub mod layer;
mod lease;
mod list;
mod lock;
mod memory;
mod moment;
mod observe;
mod record;
pub mod replay;
pub mod seal;
pub mod testing;
mod text;
pub mod transacted;
mod world;

pub use context::{
    Attempt, Ctx, Fatal, Frozen, Retry, RetryAfter, Sleep, Step, StepError, Workflow,
};
pub use driver::{
    Alarm, Client, Clock, Engine, EngineBuilder, Residency, RunError, RunHandle, Shutdown, Start,
    Status, SystemClock, VirtualClock, Worker,
};
pub use error::{Error, ErrorKind, Result, WrongWorkflow};
pub use ids::{
    EventId, KeyId, LogId, NAME_BYTES_MAX, Position, Queue, RunId, StreamName, TAGS_MAX, Tag,
    Timestamp, Token, WorkflowName,
};
pub use lease::{Claim, Lease, Renewed, Ticket};
pub use list::{Cursor, Deleted, List, Phase, PhaseKind, RunMeta, RunPage};
pub use memory::MemoryWorld;
pub use record::{Append, Appended, By, Due, Kind, NewRun, Page, Record, Release, Sealed};
pub use world::{Limits, Wait, World, WorldExt, WorldInfo};
