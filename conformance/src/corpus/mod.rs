//! Small workflows, each with what it may come to, for tests of worlds and engines.
//!
//! Each workflow takes a seed, by which its bodies take longer or shorter, and returns text. What
//! a body does between its beginning and its end is the [`Pace`], which a test may replace, to
//! kill the process there for instance.
//!
//! ```
//! use conformance::corpus::corpus;
//! use world_core::testing::TestEngine;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let corpus = corpus();
//! let sample = corpus.iter().find(|sample| sample.name == "sequence").ok_or(anyhow::anyhow!("no"))?;
//! let t = TestEngine::new().configure(|builder| sample.register(builder));
//! let ended = t.run(sample.workflow(), 3).await;
//! assert_eq!(sample.objection(&ended), None);
//! # Ok(())
//! # }
//! ```

mod combine;
mod cross;
mod decided;
mod nested;
mod single;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use world_core::{Ctx, EngineBuilder, RunError, StepError, Workflow};

pub use decided::Decided;
pub use nested::{Combinator, nest};

/// Where bodies wait: called in each with the step's name and the run's seed.
pub type Wait = dyn Fn(&str, u64) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// How long the bodies of a run take.
#[derive(Clone)]
pub struct Pace {
    seed: u64,
    wait: Arc<Wait>,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Pace {
    /// Bodies of a run with this seed wait so.
    #[must_use]
    pub fn new(seed: u64, wait: Arc<Wait>) -> Self {
        Self { seed, wait }
    }

    /// Returns when this body may end.
    pub async fn at(&self, name: &str) {
        (self.wait)(name, self.seed).await;
    }

    /// A body that takes its time and returns this.
    pub async fn give<T>(&self, name: &str, value: T) -> Result<T, StepError> {
        self.at(name).await;
        Ok(value)
    }
}

type Running = Pin<Box<dyn Future<Output = anyhow::Result<String>> + Send>>;
type Function = dyn Fn(Ctx, Pace) -> Running + Send + Sync;

/// What a workflow may come to.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// This output.
    Output(&'static str),
    /// One of these outputs.
    OneOf(&'static [&'static str]),
    /// An output of this many characters.
    Length(usize),
    /// A failure whose message contains this.
    Fails(&'static str),
    /// The run gives way to its cancellation.
    Cancelled,
}

/// One workflow.
#[derive(Clone)]
pub struct Sample {
    /// Its name, in the corpus and as a workflow.
    pub name: &'static str,
    /// What it may come to.
    pub expected: Expected,
    /// Whether the run is to be asked to end as soon as it has come to rest.
    pub cancel: bool,
    function: Arc<Function>,
    wait: Arc<Wait>,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample({}, {:?})", self.name, self.expected)
    }
}

impl Sample {
    fn new<F, Fut>(name: &'static str, expected: Expected, function: F) -> Self
    where
        F: Fn(Ctx, Pace) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<String>> + Send + 'static,
    {
        let function = move |ctx, pace| -> Running { Box::pin(function(ctx, pace)) };
        let wait = |name: &str, seed: u64| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(turns(pick(seed, name, 5)))
        };
        let (function, wait) = (Arc::new(function), Arc::new(wait));
        Self { name, expected, cancel: false, function, wait }
    }

    const fn cancelled(mut self) -> Self {
        self.cancel = true;
        self
    }

    /// The same workflow, whose bodies wait otherwise.
    #[must_use]
    pub fn paced(mut self, wait: Arc<Wait>) -> Self {
        self.wait = wait;
        self
    }

    /// The declaration: start it with a seed.
    #[must_use]
    pub const fn workflow(&self) -> Workflow<u64, String> {
        Workflow::new(self.name)
    }

    /// The function, to register or to replay with.
    pub fn function(&self) -> impl Fn(Ctx, u64) -> Running + Clone + Send + Sync + 'static {
        let (function, wait) = (Arc::clone(&self.function), Arc::clone(&self.wait));
        move |ctx, seed| function(ctx, Pace::new(seed, Arc::clone(&wait)))
    }

    /// Registers it.
    #[must_use]
    pub fn register(&self, builder: EngineBuilder) -> EngineBuilder {
        builder.workflow(self.workflow(), self.function())
    }

    /// What is wrong with how a run of it ended, if anything is.
    #[must_use]
    pub fn objection(&self, ended: &Result<String, RunError>) -> Option<String> {
        let fine = match (self.expected, ended) {
            (Expected::Output(expected), Ok(output)) => output == expected,
            (Expected::OneOf(expected), Ok(output)) => expected.contains(&output.as_str()),
            (Expected::Length(expected), Ok(output)) => output.len() == expected,
            (Expected::Fails(expected), Err(RunError::Failed { failure, .. })) => {
                failure.to_string().contains(expected)
            }
            (Expected::Cancelled, Err(RunError::Cancelled { .. })) => true,
            _ => false,
        };
        (!fine).then(|| {
            let ended = match ended {
                Ok(output) => output.chars().take(200).collect(),
                Err(error) => error.to_string(),
            };
            format!("{}: expected {:?}, not {ended:?}", self.name, self.expected)
        })
    }
}

/// All of them.
#[must_use]
pub fn corpus() -> Vec<Sample> {
    let mut corpus = single::cases();
    corpus.extend(combine::cases());
    corpus.extend(cross::cases());
    corpus.extend(nested::cases());
    corpus
}

/// A number from a seed and a name (SplitMix64; Steele, Lea, Flood 2014).
#[must_use]
pub fn pick(seed: u64, name: &str, end: u64) -> u64 {
    let mut z =
        name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % end
}

/// Lets other tasks run this many times.
pub async fn turns(n: u64) {
    for _ in 0..n {
        tokio::task::yield_now().await;
    }
}
