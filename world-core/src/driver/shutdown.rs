//! The end of a worker: how long it may take, and what it reports.

use std::{sync::mpsc, thread, time::Duration};

use tokio::sync::oneshot;

use super::hub::{Bodies, Left, Signal};
use crate::ids::RunId;

/// How long bodies may go on after a worker was told to stop, unless the caller says otherwise:
/// with [`RELEASE_WITHIN`] less than the 30 s after which orchestrators kill a process.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// How long a worker waits after the grace for the store to take its runs back.
pub(super) const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// What became of the runs that a worker had when it was told to stop.
///
/// Given by [`Worker::shutdown`](crate::Worker::shutdown).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// How many ended while the worker stopped.
    pub finished: usize,
    /// How many were given back after all that ran of them was recorded.
    pub given_back: usize,
    /// The runs of which a body was dropped, or its result not recorded: it runs again when another
    /// worker takes the run. An at-most-once step does not, and ends as
    /// [`Interrupted`](crate::StepError::Interrupted).
    pub cut_off: Vec<RunId>,
    /// The runs, among those cut off or not, whose lease could not be given back in time: other
    /// workers take them when it has run out.
    pub still_leased: Vec<RunId>,
}

impl Shutdown {
    /// Counts a run whose drive is over.
    pub(super) fn count(&mut self, run: RunId, signal: &Signal) {
        let left = signal.left();
        match left {
            Left::Ended => {
                self.finished += 1;
                return;
            }
            Left::Lost => return,
            Left::Leased | Left::GivenBack => {}
        }
        if left == Left::Leased {
            tracing::warn!(%run, "a worker that stops could not give a run back");
            self.still_leased.push(run.clone());
        }
        match signal.bodies() {
            // It was given back before its drive saw a body.
            Bodies::Unknown if left == Left::GivenBack => self.given_back += 1,
            Bodies::Unknown | Bodies::Running => {
                tracing::warn!(%run, "a worker that stops cut off what ran of a run");
                self.cut_off.push(run);
            }
            Bodies::Ended if left == Left::GivenBack => self.given_back += 1,
            Bodies::Ended => {}
        }
    }
}

/// A time after which a shutdown returns even where every thread that would drive the runtime's
/// timers is blocked by a body: a thread of its own counts it.
#[derive(Debug)]
pub(super) struct Backstop {
    reached: oneshot::Receiver<()>,
    /// Ends the thread when it is dropped.
    _needed: mpsc::Sender<()>,
}

impl Backstop {
    pub(super) fn set(after: Duration) -> Self {
        let (tell, reached) = oneshot::channel();
        let (needed, is_needed) = mpsc::channel::<()>();
        let wait = move || {
            if is_needed.recv_timeout(after) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = tell.send(()); // a shutdown that is over needs no end
            }
        };
        // Without a thread the runtime's own timers are all there is.
        let _ = thread::Builder::new().name("world-shutdown".to_owned()).spawn(wait);
        Self { reached, _needed: needed }
    }

    /// Returns once the time is over; never if there is no thread.
    pub(super) async fn reached(self) {
        if self.reached.await.is_err() {
            std::future::pending().await
        }
    }
}
