//! Runs one case on one World, within a bound, whatever the World does.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::Case,
    factory::Factory,
    failure::{Cause, Failure, Verdict},
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

/// What ends the waiting for a case.
enum End {
    Case(Verdict),
    Panic(String),
}

/// Runs a case in a thread and a runtime of its own. A World that hangs keeps the thread.
pub(crate) fn run(case: &Arc<Case>, factory: &Factory, settings: &Arc<Settings>) -> Outcome {
    let (end, ended) = mpsc::channel();
    let (on_panic, panicked) = mpsc::channel();
    let forwarded = end.clone();
    // One waits for the case's end and for a panic of the World in any of its tasks.
    thread::spawn(move || {
        if let Ok(said) = panicked.recv() {
            let _ = forwarded.send(End::Panic(said)); // the case may be over
        }
    });
    let watch = Arc::new(Watch::new(on_panic));
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let running = {
        let (case, factory, settings) = (Arc::clone(case), factory.clone(), Arc::clone(settings));
        let (watch, tally) = (Arc::clone(&watch), Arc::clone(&tally));
        move || {
            let verdict = catch_unwind(AssertUnwindSafe(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
                let subject = Subject::new(factory, settings, watch, tally)?;
                let verdict = runtime.block_on(case.run(subject));
                runtime.shutdown_background();
                verdict
            }));
            let verdict = verdict.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)));
            let _ = end.send(End::Case(verdict)); // nobody waits for one that took too long
        }
    };
    let started = thread::Builder::new().name(case.name().to_owned()).spawn(running);
    let verdict = match started {
        Err(error) => Err(Failure::failed(format!("no thread: {error}"))),
        Ok(_) => match ended.recv_timeout(settings.bound) {
            Ok(End::Case(verdict)) => verdict,
            Ok(End::Panic(said)) => Err(Failure::new(Cause::Panicked, said)),
            Err(_) => Err(hung(&watch, settings.bound)),
        },
    };
    Outcome {
        last_calls: if verdict.is_ok() { Vec::new() } else { watch.last_calls() },
        verdict,
        store_calls: watch.calls(),
        seeds: tally.seeds.load(Relaxed),
        faults: tally.faults.load(Relaxed),
        took: began.elapsed(),
    }
}

fn hung(watch: &Watch, bound: Duration) -> Failure {
    let under_way = watch.under_way();
    let calls = if under_way.is_empty() {
        "no store call is under way".to_owned()
    } else {
        under_way.join("; ")
    };
    let bound = bound.as_secs();
    Failure::new(
        Cause::Hung,
        format!("it has not ended within {bound} s ({} sets the bound): {calls}", Settings::BOUND),
    )
}
