//! Runs one case on one World, within a bound, whatever the World does.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::Case,
    claimer::with_own_tickets,
    factory::Factory,
    failure::{Failure, Verdict},
    pace::{self, stretched},
    settings::Settings,
    subject::{Subject, Tally},
    watch::Watch,
};

/// What came of a case, and what it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it passed.
    pub verdict: Verdict,
    /// The last store calls before it failed, oldest first; empty when it passed.
    pub last_calls: Vec<String>,
    /// How many store calls it made.
    pub store_calls: u64,
    /// How many seeds it tried.
    pub seeds: u64,
    /// How many faults it injected.
    pub faults: u64,
    /// How long it took.
    pub took: Duration,
}

/// The most store calls of a case, at the usual effort: far more than any makes of a World whose
/// answers come to an end.
const CALLS_MAX: u64 = 400_000;

/// Runs a case in a thread and a runtime of its own. A World that hangs keeps the thread.
pub(crate) fn run(case: &Arc<Case>, factory: &Factory, settings: &Arc<Settings>) -> Outcome {
    let (end, ended) = mpsc::channel();
    let at_once = end.clone();
    let calls_max = CALLS_MAX.saturating_mul(settings.effort);
    let watch = Arc::new(Watch::new(settings.call_bound, calls_max, move |failure| {
        let _ = at_once.send(Err(failure)); // the case may be over
    }));
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let running = {
        let (case, factory, settings) = (Arc::clone(case), factory.clone(), Arc::clone(settings));
        let (watch, tally) = (Arc::clone(&watch), Arc::clone(&tally));
        move || {
            let verdict = catch_unwind(AssertUnwindSafe(|| {
                watch.watched_now("the check of what the suite needs", || {
                    factory.needs_met(&settings)
                })?;
                in_runtime(&case, Subject::new(factory, settings, watch, tally)?)
            }));
            let verdict = verdict.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)));
            let _ = end.send(verdict); // nobody waits for one that took too long
        }
    };
    let started = thread::Builder::new().name(case.name().to_owned()).spawn(running);
    let verdict = match started {
        Err(error) => Err(Failure::failed(format!("no thread: {error}"))),
        Ok(_) => the_end(&ended, &watch, settings, began),
    };
    watch.end();
    Outcome {
        last_calls: if verdict.is_ok() { Vec::new() } else { watch.last_calls() },
        verdict,
        store_calls: watch.calls(),
        seeds: tally.seeds.load(Relaxed),
        faults: tally.faults.load(Relaxed),
        took: began.elapsed(),
    }
}

fn in_runtime(case: &Case, subject: Subject) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let verdict =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(with_own_tickets(case.run(subject)))));
    runtime.shutdown_background(); // a task that hangs is left behind
    verdict.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))
}

/// Waits for the case's verdict, until it or one of its store calls has taken too long for the
/// pace at which the machine works.
fn the_end(
    ended: &Receiver<Verdict>,
    watch: &Watch,
    settings: &Settings,
    began: Instant,
) -> Verdict {
    let mut slowdown = 1.0;
    loop {
        let bound = stretched(settings.bound, slowdown);
        let (now, left) = (Instant::now(), bound.saturating_sub(began.elapsed()));
        // A call that begins while we wait is overdue no sooner than after the bound of a call.
        let end = watch.first_overdue(slowdown);
        let until_overdue = end.map(|end| end.saturating_duration_since(now));
        let wait = left.min(settings.call_bound).min(until_overdue.unwrap_or(Duration::MAX));
        if let Ok(verdict) = ended.recv_timeout(wait) {
            return verdict;
        }
        if watch.overdue(slowdown).is_none() && began.elapsed() < bound {
            continue;
        }
        slowdown = pace::slowdown();
        if let Some(call) = watch.overdue(slowdown) {
            return Err(Failure::hung(format!("{call} ({} sets the bound)", Settings::CALL_BOUND)));
        }
        if began.elapsed() >= stretched(settings.bound, slowdown) {
            return Err(hung(watch, began.elapsed()));
        }
    }
}

fn hung(watch: &Watch, after: Duration) -> Failure {
    let under_way = watch.under_way();
    let calls = if under_way.is_empty() {
        "no store call is under way".to_owned()
    } else {
        under_way.join("; ")
    };
    let (after, variable) = (after.as_secs_f64(), Settings::BOUND);
    Failure::hung(format!(
        "it has not ended within {after:.1} s ({variable} sets the bound): {calls}"
    ))
}
