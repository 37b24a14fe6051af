//! Sees every store call of a case, so that a failure can say what led to it and a hang where.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write as _},
    future::Future,
    num::NonZeroU32,
    panic::AssertUnwindSafe,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::FutureExt;
use world_core::{
    Append, Appended, By, Claim, Deleted, Due, Lease, List, LogId, Page, Position, Renewed, Result,
    RunPage, Timestamp, Wait, World, WorldInfo,
};

use crate::failure::panic_text;

/// What a case has called, and what of it has not answered.
#[derive(Debug)]
pub(crate) struct Watch {
    calls: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: BTreeMap<u64, (String, Instant)>,
    last: VecDeque<String>,
    panicked: Option<String>,
    on_panic: Option<std::sync::mpsc::Sender<String>>,
}

impl Watch {
    /// How many calls a failure shows.
    const SHOWN: usize = 12;

    /// `on_panic` is told when the World panics in a call.
    pub(crate) fn new(on_panic: std::sync::mpsc::Sender<String>) -> Self {
        let state = State { on_panic: Some(on_panic), ..State::default() };
        Self { calls: AtomicU64::new(0), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls there have been.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// The last calls with their answers, oldest first, a line each.
    pub(crate) fn last_calls(&self) -> Vec<String> {
        self.state().last.iter().cloned().collect()
    }

    /// The calls that have not answered, the oldest first, a line each; waiting is not hanging.
    pub(crate) fn under_way(&self) -> Vec<String> {
        let line = |(call, since): &(String, Instant)| {
            format!("{call} has not answered for {:.1} s", since.elapsed().as_secs_f64())
        };
        self.state().under_way.values().map(line).collect()
    }

    /// Watches a call to the World or its factory; the answer is shown by its summary.
    pub(crate) async fn watched<T>(
        &self,
        call: String,
        answering: impl Future<Output = T>,
        summary: impl FnOnce(&T) -> String,
    ) -> T {
        let number = self.calls.fetch_add(1, Relaxed);
        self.state().under_way.insert(number, (call.clone(), Instant::now()));
        let under_way = UnderWay { watch: self, number, call };
        let answer = AssertUnwindSafe(answering).catch_unwind().await;
        match answer {
            Ok(answer) => {
                under_way.ended(&summary(&answer));
                answer
            }
            Err(panic) => {
                let said = format!("panicked in {}: {}", under_way.call, panic_text(&*panic));
                under_way.ended("panicked");
                let mut state = self.state();
                if let Some(on_panic) = &state.on_panic {
                    let _ = on_panic.send(said.clone()); // the case may be over
                }
                state.panicked.get_or_insert(said);
                drop(state);
                std::panic::resume_unwind(panic)
            }
        }
    }
}

/// A call that has not answered; dropped, it never will.
struct UnderWay<'a> {
    watch: &'a Watch,
    number: u64,
    call: String,
}

impl UnderWay<'_> {
    fn ended(&self, answer: &str) {
        let mut state = self.watch.state();
        if state.under_way.remove(&self.number).is_some() {
            if state.last.len() == Watch::SHOWN {
                state.last.pop_front();
            }
            state.last.push_back(format!("{} -> {answer}", self.call));
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.ended("dropped by the case before it answered");
    }
}

/// The World under test, watched.
pub(crate) struct Watched<W> {
    pub(crate) world: W,
    pub(crate) watch: std::sync::Arc<Watch>,
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
            if let Some(due) = rest {
                let _ = write!(by, ", rest {}", of_due(*due));
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
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let call = of_append(log, append);
        self.watch.watched(call, self.world.append(log, append), answered).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let summary = |page: &Result<Page>| {
            short(page, |page| format!("{} records, head {}", page.records.len(), page.head))
        };
        let call = format!("read({log}, after {after}, limit {limit})");
        self.watch.watched(call, self.world.read(log, after, limit), summary).await
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
        self.watch.watched(call, self.world.claim(claim), summary).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let call = format!("renew({}, until {})", lease.run, until.as_millis());
        self.watch.watched(call, self.world.renew(lease, until), answered).await
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
        self.watch.watched(call, self.world.list(list), summary).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let call = format!("delete({log}, head {head})");
        self.watch.watched(call, self.world.delete(log, head), answered).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let (queues, logs) = (wait.queues.len(), wait.logs.len());
        let at_most = Duration::from_millis(u64::try_from(wait.at_most.as_millis()).unwrap_or(0));
        let call = format!("wait({queues} queues, {logs} logs, at most {at_most:?})");
        self.watch.watched(call, self.world.wait(wait), answered).await
    }
}
