//! The replay core: one result visible at a time, in log order, polled to quiescence before the
//! next. No I/O, no clock, no runtime.

mod divergence;
mod hydration;
mod intents;
mod key;
mod program;
mod slots;
mod wakers;

pub use divergence::{Blocked, Divergence, Mismatch, Violation};
pub use hydration::{Hydration, HydrationCounters, HydrationCounts, STRING_BYTES_MAX};
pub(crate) use intents::Deposit;
pub use key::Key;
pub(crate) use key::Namer;
pub(crate) use program::{Jitter, Program, WorkflowFuture, guarded};
pub(crate) use slots::{
    Announced, LeaseWatch, NextAlarm, OpId, Parcel, Run, Shared, StepWork, Turn, Waits, Work,
};
pub(crate) use wakers::{At, BodySignal, Mode, is_in_a_body};
