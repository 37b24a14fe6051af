//! The one async bridge: claim, read, drive, append.

mod batch;
mod builder;
mod client;
mod clock;
mod drive;
mod engine;
mod handle;
mod held;
mod hub;
mod isolation;
mod options;
mod session;
mod shutdown;
mod standing_back;
mod stands;
mod standstill;
mod suspects;
mod turn;
mod watchers;
mod worker;

pub use builder::EngineBuilder;
pub use client::{Client, Start};
pub use clock::{Alarm, Clock, SystemClock, VirtualClock};
pub use engine::Engine;
pub use handle::{RunError, RunHandle, Status};
pub use options::Residency;
pub use shutdown::Shutdown;
pub(crate) use stands::Drives;
pub use worker::Worker;

/// A page of one record.
const ONE: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;
