//! What most programs use: `use world::prelude::*;`.

pub use world_core::{
    Attempt, Client, Clock, Ctx, Engine, Fatal, MemoryWorld, Retry, RetryAfter, RunError,
    RunHandle, RunId, Status, Step, StepError, Timestamp, Worker, Workflow, World, WorldExt,
    seal::Key,
};
#[cfg(feature = "sqlite")]
pub use world_sqlite::SqliteWorld;

// The function alone: its module has the same name.
pub use crate::{DAY, HOUR, MINUTE, SECOND, connect::connect};
