//! A seeded simulation: workers, a store and clients in one thread, under virtual time.
//!
//! Everything is drawn from one number, the seed: which workflows run, how many workers there are,
//! what their clocks say, what happens to their calls, when they crash, and what the clients ask
//! for. The same seed gives the same simulation, byte for byte, in any process. When the worst is
//! over, all runs must end; then each log is [audited](crate::audit), replayed, and held against
//! the bodies that ran.
//!
//! ```
//! use conformance::simulation::{Options, simulate};
//!
//! let first = simulate(7, &Options::default());
//! assert!(first.objections.is_empty(), "{:?}", first.objections);
//! let second = simulate(7, &Options::default());
//! assert_eq!(first.digest, second.digest);
//! ```

mod book;
mod clock;
mod cold;
mod conductor;
mod flaw;
mod fleet;
mod ledger;
mod life;
mod panics;
mod plan;
mod program;
mod rng;
mod trace;
mod verdict;
mod voices;
mod wire;
mod witness;
mod words;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use world_core::{layer::Method, testing::Predictable};

pub use flaw::Flaw;
pub use panics::watch_panics;

/// How a simulation is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether the trace is kept in words.
    pub trace: bool,
    /// What is wrong with the store, to see whether it is found.
    pub flaw: Option<Flaw>,
}

/// What a simulation came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// A hash of the whole trace: each call with its arguments, answer and virtual time.
    pub digest: u64,
    /// What was broken, the first first; empty when all was well.
    pub objections: Vec<String>,
    /// The trace in words, if it was asked for.
    pub trace: Vec<String>,
    /// What happened how often.
    pub counts: Counts,
    /// How much virtual time passed.
    pub virtual_time: Duration,
}

/// What happened how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs that were created.
    pub runs: u64,
    /// Bodies that began.
    pub bodies: u64,
    /// Calls that reached the store, in the order of [`Method::ALL`].
    pub calls: [u64; Method::ALL.len()],
    /// What went wrong, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds those of another simulation.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.bodies += other.bodies;
        for (sum, calls) in self.calls.iter_mut().zip(other.calls) {
            *sum += calls;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

/// Simulates what a seed stands for, on this thread and in a runtime of its own.
///
/// A panic of the engine is an objection too, if [`watch_panics`] was called.
#[must_use]
pub fn simulate(seed: u64, options: &Options) -> Outcome {
    let _predictable = Predictable::from_seed(rng::mix(seed));
    let failed = |objection: String| Outcome {
        seed,
        digest: 0,
        objections: vec![objection],
        trace: Vec::new(),
        counts: Counts::default(),
        virtual_time: Duration::ZERO,
    };
    panics::begin();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            panics::end();
            return failed(format!("no runtime: {error}"));
        }
    };
    let simulated =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(conductor::conduct(seed, options))));
    let mut outcome = match simulated {
        Ok(outcome) => outcome,
        Err(_) => failed("the simulation panicked".to_owned()),
    };
    drop(runtime);
    outcome.objections.extend(panics::end());
    outcome
}

/// Takes the lock. What it guards is left whole by every holder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
