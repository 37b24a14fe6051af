//! The World under test, each of whose calls is watched.

use std::{
    fmt::{self, Write as _},
    future::Future,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use world_core::{
    Append, Appended, By, Claim, Deleted, Due, Lease, List, LogId, Page, Position, Release,
    Renewed, Result, RunPage, Timestamp, Wait, World, WorldInfo,
};

use super::Watch;
use crate::site::Site;

/// The World under test, watched.
pub(crate) struct Watched<W> {
    pub(crate) world: W,
    pub(crate) watch: Arc<Watch>,
    /// Where it keeps its data, for as long as it is open: fields are dropped in their order.
    pub(crate) _site: Site,
}

impl<W> Watched<W> {
    /// Watches a store call. It is made when it is awaited, so that a World that panics or blocks
    /// before it gives a future is seen too.
    async fn call<T>(
        &self,
        call: String,
        answering: impl Future<Output = T>,
        summary: impl FnOnce(&T) -> String,
    ) -> T {
        self.watch.count().await;
        self.watch.watched(call, Duration::ZERO, answering, summary).await
    }
}

impl<W: fmt::Debug> fmt::Debug for Watched<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.world.fmt(f)
    }
}

fn answered<T: fmt::Debug>(answer: &Result<T>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => error.to_string(),
    }
}

fn short<T>(answer: &Result<T>, summary: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(answer) => summary(answer),
        Err(error) => error.to_string(),
    }
}

fn of_append(log: &LogId, append: &Append) -> String {
    let by = match &append.by {
        By::Creator(new) if new.lease.is_some() => "creator with a lease".to_owned(),
        By::Creator(new) => format!("creator, {}", of_due(new.due)),
        By::Outsider => "outsider".to_owned(),
        By::Owner { close, rest, tags, .. } => {
            let mut by = "owner".to_owned();
            by.push_str(if *close { ", close" } else { "" });
            if let Some(Release { due, driven }) = rest {
                let how = if *driven { "rest" } else { "rest undriven" };
                let _ = write!(by, ", {how} {}", of_due(*due));
            }
            by.push_str(if tags.is_some() { ", tags" } else { "" });
            by
        }
    };
    let (records, expected) = (append.records.len(), append.expected);
    format!("append({log}, expected {expected}, {records} records, {by})")
}

fn of_due(due: Due) -> String {
    match due {
        Due::Now => "due now".to_owned(),
        Due::At(time) => format!("due at {}", time.as_millis()),
        Due::Never => "parked".to_owned(),
    }
}

#[async_trait]
impl<W: World> World for Watched<W> {
    fn info(&self) -> WorldInfo {
        self.watch.watched_now("info()", || self.world.info())
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let call = of_append(log, append);
        self.call(call, async { self.world.append(log, append).await }, answered).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let summary = |page: &Result<Page>| {
            short(page, |page| format!("{} records, head {}", page.records.len(), page.head))
        };
        let call = format!("read({log}, after {after}, limit {limit})");
        self.call(call, async { self.world.read(log, after, limit).await }, summary).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let call = format!(
            "claim({} queues, now {}, until {}, limit {})",
            claim.queues.len(),
            claim.now.as_millis(),
            claim.until.as_millis(),
            claim.limit
        );
        let summary = |leases: &Result<Vec<Lease>>| {
            short(leases, |leases| {
                let runs: Vec<_> = leases.iter().take(8).map(|lease| lease.run.as_str()).collect();
                format!("{} leases: {}", leases.len(), runs.join(" "))
            })
        };
        self.call(call, async { self.world.claim(claim).await }, summary).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let call = format!("renew({}, until {})", lease.run, until.as_millis());
        self.call(call, async { self.world.renew(lease, until).await }, answered).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let more = if list.after.is_some() { ", from a cursor" } else { "" };
        let call = format!("list(limit {}{more})", list.limit);
        let summary = |page: &Result<RunPage>| {
            short(page, |page| {
                let more = if page.next.is_some() { ", more follow" } else { "" };
                format!("{} runs{more}", page.runs.len())
            })
        };
        self.call(call, async { self.world.list(list).await }, summary).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let call = format!("delete({log}, head {head})");
        self.call(call, async { self.world.delete(log, head).await }, answered).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let (queues, logs) = (wait.queues.len(), wait.logs.len());
        let at_most = Duration::from_millis(u64::try_from(wait.at_most.as_millis()).unwrap_or(0));
        let call = format!("wait({queues} queues, {logs} logs, at most {at_most:?})");
        self.watch.count().await;
        let answering = async { self.world.wait(wait).await };
        self.watch.watched(call, wait.at_most, answering, answered).await
    }
}
