//! A durable sleep.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::StepError;
use crate::{
    ids::Timestamp,
    replay::{Key, OpId, Parcel, Shared, Turn, Work},
};

/// A durable sleep; made by [`Ctx::sleep`](crate::Ctx::sleep).
///
/// Awaiting it gives `Err(StepError::Cancelled)` when the run is asked to end, and no other error.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    shared: Arc<Shared>,
    op: OpId,
    key: Key,
    done: bool,
}

impl Sleep {
    pub(super) fn new(shared: &Arc<Shared>, key: Key, until: Timestamp, shielded: bool) -> Self {
        let op = shared.ask(key.clone(), Work::Timer { until, fired: false }, shielded);
        Self { shared: Arc::clone(shared), op, key, done: false }
    }
}

impl Future for Sleep {
    type Output = Result<(), StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.shared.poll(self.op, &self.key, cx) {
            Turn::Take(parcel) => {
                self.done = true;
                Poll::Ready(match parcel {
                    Parcel::Cancelled => Err(StepError::Cancelled),
                    Parcel::Logged(_) => Ok(()),
                })
            }
            Turn::Pending | Turn::Run(_) => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if !self.done {
            self.shared.dropped(self.op);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sleep").field(&self.key).finish()
    }
}
