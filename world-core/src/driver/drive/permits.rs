//! The engine's permits to run bodies: a run holds as many as it has bodies.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Boxed;

/// The most bodies of one run at once.
pub(in crate::driver) const BODIES_A_RUN_MAX: usize = 256;

/// The permits that a run holds, and the one it waits for.
pub(super) struct Permits {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    waits: Option<Boxed<Option<OwnedSemaphorePermit>>>,
}

impl Permits {
    pub(super) const fn of(all: Arc<Semaphore>) -> Self {
        Self { all, held: None, waits: None }
    }

    /// How many bodies may run.
    pub(super) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Whether this many bodies want more than is held.
    pub(super) fn lacks(&self, bodies: usize) -> bool {
        bodies.min(BODIES_A_RUN_MAX) > self.held()
    }

    /// Gives all of them back.
    pub(super) fn release(&mut self) {
        (self.held, self.waits) = (None, None);
    }

    /// Takes as many as there are bodies, as far as there are any, and gives back what is spare;
    /// true while it waits for one.
    pub(super) fn fit(&mut self, bodies: usize, cx: &mut Context<'_>) -> bool {
        if let Some(held) = &mut self.held {
            let spare = held.num_permits().saturating_sub(bodies.max(1));
            if spare > 0 {
                drop(held.split(spare));
            }
        }
        while self.lacks(bodies) {
            let got = match &mut self.waits {
                Some(wait) => match wait.as_mut().poll(cx) {
                    Poll::Ready(got) => got,
                    Poll::Pending => return true,
                },
                None => self.take_free(bodies.min(BODIES_A_RUN_MAX) - self.held()),
            };
            self.waits = None;
            match (&mut self.held, got) {
                (Some(held), Some(got)) => held.merge(got),
                (held @ None, Some(got)) => *held = Some(got),
                // Some bodies run already: they make room when they end.
                (Some(_), None) => return true,
                (None, None) => {
                    let all = Arc::clone(&self.all);
                    self.waits = Some(Box::pin(async move { all.acquire_owned().await.ok() }));
                }
            }
        }
        self.waits = None;
        false
    }

    fn take_free(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        let many = u32::try_from(wanted.min(self.all.available_permits())).ok()?;
        if many == 0 {
            return None;
        }
        Arc::clone(&self.all).try_acquire_many_owned(many).ok()
    }
}
