//! The same writes with no engine around them: what the store alone takes.

mod dynamo;
mod memory;
mod redis;
mod sqlite;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    args::{Case, CaseArgs, TextKind, WorldName},
    store::Sizes,
};

/// What one measurement of the raw store found.
#[derive(Debug)]
pub(crate) struct Limit {
    /// One write a step.
    pub(crate) wall: Duration,
    /// All writes together, as few as they fit in; w2 only.
    pub(crate) batch: Option<Duration>,
    /// Bytes of a write, on average.
    pub(crate) bytes: f64,
}

/// Measures as many writes as the engine made for results, of the same sizes.
pub(crate) async fn measure(case: &CaseArgs, dir: &Path, sizes: &Sizes) -> Result<Limit> {
    let bodies = Arc::new(Bodies::new(case, sizes));
    let (wall, batch) = match case.world {
        WorldName::Memory => memory::measure(case, &bodies).await?,
        WorldName::Sqlite => sqlite::measure(case, dir, &bodies)?,
        // A task on the runtime, as the engine's are: there an answer finds who waits for it.
        WorldName::Redis => {
            let (case, bodies) = (case.clone(), Arc::clone(&bodies));
            tokio::spawn(async move { redis::measure(&case, &bodies).await }).await??
        }
        WorldName::Dynamo => {
            let (case, bodies) = (case.clone(), Arc::clone(&bodies));
            tokio::spawn(async move { dynamo::measure(&case, &bodies).await }).await??
        }
    };
    Ok(Limit { wall, batch, bytes: bodies.mean() })
}

/// The bodies to write, run by run: random, as what is sealed looks random.
struct Bodies(Vec<Vec<Vec<u8>>>);

impl Bodies {
    fn new(case: &CaseArgs, sizes: &Sizes) -> Self {
        let mut random = StdRng::seed_from_u64(5);
        let mut body = |(index, bytes): (usize, &usize)| {
            let bytes = match (case.case, case.text) {
                // What a store writes that does not compress.
                (Case::W4, TextKind::Compressible) => {
                    usize::try_from(case.bytes).unwrap_or(usize::MAX)
                }
                _ => *bytes,
            };
            let mut body = vec![0; bytes.max(NUMBER_BYTES)];
            random.fill_bytes(&mut body);
            body[..NUMBER_BYTES].copy_from_slice(&(index as u64 + 1).to_be_bytes());
            body
        };
        let mut bodies = |run: &Vec<usize>| run.iter().enumerate().map(&mut body).collect();
        Self(sizes.runs.iter().map(&mut bodies).collect())
    }

    fn mean(&self) -> f64 {
        let (count, bytes) = self
            .0
            .iter()
            .flatten()
            .fold((0, 0), |(count, bytes), body| (count + 1, bytes + body.len()));
        bytes as f64 / f64::from(count.max(1))
    }

    /// The only run's.
    fn first(&self) -> Result<&[Vec<u8>]> {
        Ok(self.0.first().context("nothing to write")?)
    }

    /// In the order in which runs that go on side by side write: run and body.
    fn interleaved(&self) -> impl Iterator<Item = (usize, usize, &[u8])> {
        let longest = self.0.iter().map(Vec::len).max().unwrap_or(0);
        (0..longest).flat_map(move |step| {
            let runs = self.0.iter().enumerate();
            runs.filter_map(move |(run, bodies)| Some((run, step, bodies.get(step)?.as_slice())))
        })
    }
}

/// A body begins with its number, which w5 decodes.
const NUMBER_BYTES: usize = 8;

fn number(body: &[u8]) -> Result<u64> {
    let number = body.first_chunk::<NUMBER_BYTES>().context("a body that is cut short")?;
    Ok(u64::from_be_bytes(*number))
}
