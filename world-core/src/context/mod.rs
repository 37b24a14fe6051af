//! What a workflow sees: its context, steps, timers, and the errors they end with.

mod ctx;
mod error;
mod frozen;
mod retry;
mod sleep;
mod step;
mod workflow;

pub use ctx::Ctx;
pub(crate) use error::{BoxError, failure_of, is_cancellation};
pub use error::{Fatal, RetryAfter, StepError};
pub use frozen::Frozen;
pub use retry::Retry;
pub use sleep::Sleep;
pub use step::{Attempt, Step};
pub(crate) use workflow::Registered;
pub use workflow::Workflow;
