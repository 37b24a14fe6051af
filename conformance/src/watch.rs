//! Sees every store call of a case, so that a failure can say what led to it and a hang where.

mod world;

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;

use crate::{
    failure::{Failure, panic_text},
    pace::stretched,
};

pub(crate) use world::Watched;

/// What a case has called, and what of it has not answered.
pub(crate) struct Watch {
    calls: AtomicU64,
    calls_max: u64,
    call_bound: Duration,
    is_over: AtomicBool,
    state: Mutex<State>,
    on_end: Box<dyn Fn(Failure) + Send + Sync>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    under_way: BTreeMap<u64, UnderWay>,
    last: VecDeque<String>,
}

#[derive(Debug)]
struct UnderWay {
    call: String,
    since: Instant,
    bound: Duration,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Watch {
    /// How many calls a failure shows.
    const SHOWN: usize = 12;

    /// `on_end` is told of what ends the case at once: a World that panics in a call, or answers
    /// that keep the case calling for ever, which is more often than `calls_max`.
    pub(crate) fn new(
        call_bound: Duration,
        calls_max: u64,
        on_end: impl Fn(Failure) + Send + Sync + 'static,
    ) -> Self {
        Self {
            calls: AtomicU64::new(0),
            calls_max,
            call_bound,
            is_over: AtomicBool::new(false),
            state: Mutex::default(),
            on_end: Box::new(on_end),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many store calls there have been.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Says that the case is over: what is left of it calls in vain.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Counts a store call. It never returns once the case is over, so that nothing of it goes on.
    pub(crate) async fn count(&self) {
        let calls = self.calls.fetch_add(1, Relaxed) + 1;
        if calls > self.calls_max && !self.is_over.swap(true, Relaxed) {
            let max = self.calls_max;
            (self.on_end)(Failure::hung(format!(
                "it has made {max} store calls and goes on: answers without an end keep it going"
            )));
        }
        if self.is_over.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// The last calls with their answers, oldest first, a line each.
    pub(crate) fn last_calls(&self) -> Vec<String> {
        self.state().last.iter().cloned().collect()
    }

    /// The calls that have not answered, the oldest first, a line each.
    pub(crate) fn under_way(&self) -> Vec<String> {
        self.state().under_way.values().map(UnderWay::line).collect()
    }

    /// When the first of the calls under way has taken too long, on a machine that is slowed down
    /// so many times.
    pub(crate) fn first_overdue(&self, slowdown: f64) -> Option<Instant> {
        self.state().under_way.values().filter_map(|call| call.end(slowdown)).min()
    }

    /// A call that has taken too long, on a machine that is slowed down so many times.
    pub(crate) fn overdue(&self, slowdown: f64) -> Option<String> {
        let now = Instant::now();
        let is_over = |call: &&UnderWay| call.end(slowdown).is_some_and(|end| end <= now);
        self.state().under_way.values().find(is_over).map(UnderWay::line)
    }

    /// Watches a call to the World, its factory or what else may hang, which may take the bound
    /// of a call and `longer`; the answer is shown by its summary.
    pub(crate) async fn watched<T>(
        &self,
        call: String,
        longer: Duration,
        answering: impl Future<Output = T>,
        summary: impl FnOnce(&T) -> String,
    ) -> T {
        let call = self.begin(call, longer);
        match AssertUnwindSafe(answering).catch_unwind().await {
            Ok(answer) => {
                call.ended(&summary(&answer));
                answer
            }
            Err(panic) => call.panicked(panic),
        }
    }

    /// Watches a call that answers without a future.
    pub(crate) fn watched_now<T>(&self, call: &str, answering: impl FnOnce() -> T) -> T {
        let call = self.begin(call.to_owned(), Duration::ZERO);
        match catch_unwind(AssertUnwindSafe(answering)) {
            Ok(answer) => {
                call.ended("answered");
                answer
            }
            Err(panic) => call.panicked(panic),
        }
    }

    fn begin(&self, call: String, longer: Duration) -> Watching<'_> {
        let bound = self.call_bound.saturating_add(longer);
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let under_way = UnderWay { call, since: Instant::now(), bound };
        state.under_way.insert(number, under_way);
        Watching { watch: self, number }
    }
}

impl UnderWay {
    fn end(&self, slowdown: f64) -> Option<Instant> {
        self.since.checked_add(stretched(self.bound, slowdown))
    }

    fn line(&self) -> String {
        format!("{} has not answered for {:.1} s", self.call, self.since.elapsed().as_secs_f64())
    }
}

/// A call that has not answered; dropped, it never will.
struct Watching<'a> {
    watch: &'a Watch,
    number: u64,
}

impl Watching<'_> {
    fn ended(&self, answer: &str) -> Option<String> {
        let mut state = self.watch.state();
        let UnderWay { call, .. } = state.under_way.remove(&self.number)?;
        if state.last.len() == Watch::SHOWN {
            state.last.pop_front();
        }
        state.last.push_back(format!("{call} -> {answer}"));
        Some(call)
    }

    fn panicked(self, panic: Box<dyn std::any::Any + Send>) -> ! {
        let call = self.ended("panicked").unwrap_or_default();
        let said = format!("the World panicked in {call}: {}", panic_text(&*panic));
        (self.watch.on_end)(Failure::new(crate::failure::Cause::Panicked, said));
        resume_unwind(panic)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.ended("dropped by the case before it answered");
    }
}
