//! The one async bridge: claim, read, drive, append.

mod batch;
mod client;
mod clock;
mod drive;
mod engine;
mod handle;
mod hub;
mod session;
mod turn;
mod worker;

pub use client::{Client, Start};
pub use clock::{Alarm, Clock, SystemClock, VirtualClock};
pub use engine::{Engine, EngineBuilder, Residency};
pub use handle::{RunError, RunHandle, Status};
pub use worker::Worker;

/// A page of one record.
const ONE: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;
