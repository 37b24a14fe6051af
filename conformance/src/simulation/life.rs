//! One run as its clients see it: started, started again, cancelled, awaited, deleted.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use world_core::{Client, Error, ErrorKind, RunError, RunHandle, RunId, Workflow};

use super::{
    fleet::Fleet,
    plan::{RunPlan, What},
    program::PROGRAM,
};

/// How long a client waits for a run's end before another is asked.
const ANOTHER_AFTER: Duration = Duration::from_secs(10);

/// What a client was told of a run's end.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) run: RunId,
    pub(super) end: Result<String, RunError>,
}

/// Who asks, and where what they learn is kept.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) fleet: Arc<Fleet>,
    pub(super) plan: RunPlan,
    pub(super) client: Client,
    /// Who starts the run: the client, or a worker's own.
    pub(super) starter: Client,
}

impl Life {
    fn workflow(&self) -> Workflow<u64, String> {
        match self.plan.what {
            What::Program => PROGRAM,
            What::Sample(nth) => self.fleet.samples[nth].workflow(),
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.fleet.book.trace.note("client", what);
    }

    async fn pause(&self) {
        sleep(self.fleet.plan.lease / 2 + Duration::from_millis(7)).await;
    }

    /// What the run goes through, until its end is known.
    pub(super) async fn live(self) -> Vec<Told> {
        sleep(self.plan.start).await;
        let Some(handle) = self.start().await else { return Vec::new() };
        let run = handle.id().clone();
        self.note(format_args!("has started {run}"));
        let mut asked = JoinSet::new();
        for at in self.plan.cancels.clone() {
            asked.spawn(self.clone().cancel(run.clone(), at));
        }
        if matches!(self.plan.what, What::Sample(nth) if self.fleet.samples[nth].cancel) {
            asked.spawn(self.clone().cancel(run.clone(), self.fleet.plan.lease / 3));
        }
        for (at, other) in self.plan.again.clone() {
            asked.spawn(self.clone().start_again(run.clone(), at, other));
        }
        let mut told = Vec::from_iter(self.end(&run, Some(handle)).await);
        asked.join_all().await;
        if let Some(after) = self.plan.delete {
            sleep(after).await;
            self.delete(&run).await;
        } else {
            told.extend(self.end(&run, None).await);
        }
        told
    }

    /// Starts the run, however often it takes.
    async fn start(&self) -> Option<RunHandle<String>> {
        let mut by = &self.starter;
        loop {
            let start = by.start(self.workflow(), self.plan.input);
            let started = match &self.plan.id {
                Some(id) => start.id(id.as_str()).await,
                None => start.await,
            };
            match started {
                Ok(handle) => return Some(handle),
                Err(error) if may_pass(&error) => {}
                Err(error) if is_gone(&error) && self.may_be_deleted() => return None,
                Err(error) => {
                    self.fleet.book.objects(format!("a start was refused: {error}"));
                    return None;
                }
            }
            // Whoever was to start it may be dead.
            by = &self.client;
            self.pause().await;
        }
    }

    /// Starting it again gives the same run, and with another input an error.
    async fn start_again(self, run: RunId, at: Duration, other: bool) {
        sleep(at).await;
        let input = self.plan.input ^ u64::from(other);
        loop {
            let started = self.client.start(self.workflow(), input).id(run.as_str()).await;
            match started {
                Ok(_) if other => {
                    let what = format!("{run} was started again with another input");
                    return self.fleet.book.objects(what);
                }
                Ok(_) => return,
                Err(error) if may_pass(&error) => self.pause().await,
                Err(error) if other && error.kind() == ErrorKind::Conflict => return,
                Err(error) if is_gone(&error) && self.may_be_deleted() => return,
                Err(error) => {
                    let what = format!("{run} was not started again: {error}");
                    return self.fleet.book.objects(what);
                }
            }
        }
    }

    async fn cancel(self, run: RunId, at: Duration) {
        sleep(at).await;
        loop {
            let Ok(handle) = self.client.run(self.workflow(), run.as_str()) else { return };
            match handle.cancel("no longer wanted").await {
                Ok(()) => return self.note(format_args!("has cancelled {run}")),
                Err(error) if may_pass(&error) => self.pause().await,
                // It has ended.
                Err(error) if error.kind() == ErrorKind::Ended => return,
                Err(error) if is_gone(&error) && self.may_be_deleted() => return,
                Err(error) => {
                    let what = format!("{run} was not cancelled: {error}");
                    return self.fleet.book.objects(what);
                }
            }
        }
    }

    /// How the run ends, as a client is told. One whose process is dead waits for ever: after a
    /// while another is asked.
    async fn end(&self, run: &RunId, handle: Option<RunHandle<String>>) -> Option<Told> {
        let mut next = handle;
        loop {
            let handle = match next.take() {
                Some(handle) => handle,
                None => self.client.run(self.workflow(), run.as_str()).ok()?,
            };
            let Ok(end) = timeout(ANOTHER_AFTER, handle.output()).await else { continue };
            match end {
                Err(RunError::World(error)) if may_pass(&error) => self.pause().await,
                Err(RunError::World(error)) if is_gone(&error) && self.may_be_deleted() => {
                    return None;
                }
                end => return Some(Told { run: run.clone(), end }),
            }
        }
    }

    async fn delete(&self, run: &RunId) {
        loop {
            match self.client.delete(run).await {
                Ok(()) => return self.note(format_args!("has deleted {run}")),
                Err(error) if may_pass(&error) => self.pause().await,
                Err(error) if is_gone(&error) && self.may_be_deleted() => return,
                Err(error) => {
                    let what = format!("{run} was not deleted: {error}");
                    return self.fleet.book.objects(what);
                }
            }
        }
    }

    fn may_be_deleted(&self) -> bool {
        self.fleet.plan.retention.is_some() || self.plan.delete.is_some()
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Busy)
}

/// Whether the error is that of a run that was deleted.
fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Ended)
}
