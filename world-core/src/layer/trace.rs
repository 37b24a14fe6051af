//! Says what is called, on which log, and what came of it.

use std::{fmt::Debug, num::NonZeroU32};

use async_trait::async_trait;
use tracing::{Instrument, Span, debug, debug_span, warn};

use crate::{
    error::Result,
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    record::{Append, Appended, By, Page},
    world::{Wait, World, WorldInfo},
};

use super::body_bytes;

/// A World that puts each call in a `tracing` span and its outcome in an event.
///
/// Spans and outcomes are at `DEBUG`, errors at `WARN`, all under the target `world`. They carry
/// the World's name, the log's id, positions, counts and times; never a payload, sealed or not,
/// a ticket or a tag.
#[derive(Clone, Debug)]
pub struct TraceLayer<W> {
    world: W,
    name: &'static str,
}

impl<W: World> TraceLayer<W> {
    /// Traces the calls to `world`.
    #[must_use]
    pub fn new(world: W) -> Self {
        let name = world.info().name;
        Self { world, name }
    }
}

async fn traced<T>(
    span: Span,
    call: impl Future<Output = Result<T>> + Send,
    outcome: impl FnOnce(&T) + Send,
) -> Result<T> {
    async {
        let answer = call.await;
        match &answer {
            Ok(answer) => outcome(answer),
            Err(error) => warn!(target: "world", kind = %error.kind(), %error, "failed"),
        }
        answer
    }
    .instrument(span)
    .await
}

fn outcome(answer: &impl Debug) {
    debug!(target: "world", outcome = ?answer, "answered");
}

const fn writer(by: &By) -> &'static str {
    match by {
        By::Creator(_) => "creator",
        By::Outsider => "outsider",
        By::Owner { .. } => "owner",
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<W: World> World for TraceLayer<W> {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let span = debug_span!(
            target: "world", "append", world = self.name, %log, by = writer(&append.by),
            expected = append.expected.get(), records = append.records.len(),
            bytes = body_bytes(append),
        );
        traced(span, self.world.append(log, append), outcome).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let span = debug_span!(
            target: "world", "read", world = self.name, %log, after = after.get(), limit,
        );
        traced(span, self.world.read(log, after, limit), |page| {
            let (records, head) = (page.records.len(), page.head.get());
            debug!(target: "world", records, head, "answered");
        })
        .await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let span = debug_span!(
            target: "world", "claim", world = self.name, queues = claim.queues.len(),
            now = %claim.now, until = %claim.until, limit = claim.limit,
        );
        traced(span, self.world.claim(claim), |leases| {
            for Lease { run, attempt, head, closed, .. } in leases {
                debug!(target: "world", %run, attempt, head = head.get(), closed, "leased");
            }
            debug!(target: "world", leases = leases.len(), "answered");
        })
        .await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let span = debug_span!(
            target: "world", "renew", world = self.name, run = %lease.run, %until,
        );
        traced(span, self.world.renew(lease, until), outcome).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let span = debug_span!(target: "world", "list", world = self.name, limit = list.limit);
        traced(span, self.world.list(list), |page| {
            let has_more = page.next.is_some();
            debug!(target: "world", runs = page.runs.len(), has_more, "answered");
        })
        .await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let span = debug_span!(
            target: "world", "delete", world = self.name, %log, head = head.get(),
        );
        traced(span, self.world.delete(log, head), outcome).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let span = debug_span!(
            target: "world", "wait", world = self.name, queues = wait.queues.len(),
            logs = wait.logs.len(), at_most = ?wait.at_most,
        );
        traced(span, self.world.wait(wait), outcome).await
    }
}
