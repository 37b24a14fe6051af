//! Bounds how long a call may take.

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    record::{Append, Appended, Page},
    world::{Wait, World, WorldInfo},
};

use super::Method;

/// A World that gives a call up after a while.
///
/// The call is dropped, which leaves it open whether it took effect. So what changes something
/// (`append`, `claim`, `renew`, `delete`) fails as `Unknown`, and what does not (`read`, `list`,
/// `wait`) as `Unavailable`. The error names the call and the bound. A `wait` is given up only so
/// long after its own time is over.
#[derive(Clone, Debug)]
pub struct TimeoutLayer<W> {
    world: W,
    call_max: Duration,
}

impl<W: World> TimeoutLayer<W> {
    /// Gives calls to `world` up that take longer than `call_max`.
    #[must_use]
    pub fn new(world: W, call_max: Duration) -> Self {
        Self { world, call_max }
    }

    async fn bound<T>(
        &self,
        method: Method,
        call_max: Duration,
        log: Option<&LogId>,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        timeout(call_max, call).await.unwrap_or_else(|_| {
            let kind = method.unanswered();
            let what = format!("{method} took longer than {} ms", call_max.as_millis());
            let mut error = Error::new(kind, what);
            if let Some(log) = log {
                error = error.log(log.clone());
            }
            Err(error.help(match (method, kind) {
                (Method::Claim, _) => "claim anew with another ticket; what this one took runs out",
                (_, ErrorKind::Unknown) => "it may have happened: send the same bytes again",
                _ => "try again, or allow more time",
            }))
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<W: World> World for TimeoutLayer<W> {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let call = self.world.append(log, append);
        self.bound(Method::Append, self.call_max, Some(log), call).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let call = self.world.read(log, after, limit);
        self.bound(Method::Read, self.call_max, Some(log), call).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let call = self.world.claim(claim);
        self.bound(Method::Claim, self.call_max, None, call).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        let call = self.world.renew(lease, until);
        self.bound(Method::Renew, self.call_max, Some(&log), call).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.bound(Method::List, self.call_max, None, self.world.list(list)).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let call = self.world.delete(log, head);
        self.bound(Method::Delete, self.call_max, Some(log), call).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let call_max = self.call_max.saturating_add(wait.at_most);
        self.bound(Method::Wait, call_max, None, self.world.wait(wait)).await
    }
}
