//! Redis: one script a step, as the peers'.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;

use super::{Bodies, NUMBER_BYTES, number};
use crate::{
    args::{Case, CaseArgs},
    redis::{self, Raw},
};

/// Measures the raw writes of a case.
pub(super) async fn measure(
    case: &CaseArgs,
    bodies: &Arc<Bodies>,
) -> Result<(Duration, Option<Duration>)> {
    let url = case.redis.as_deref().context("no Redis server")?;
    redis::empty(url)?;
    let mut raw = Raw::connect(url).await?;
    if case.case == Case::W5 {
        return Ok((resume(case, raw, url, bodies.first()?).await?, None));
    }
    let runs: Vec<String> = (0..bodies.0.len()).map(|run| format!("r{run}")).collect();
    for run in runs.iter().map(String::as_str).chain(["warm", "batch"]) {
        raw.begin(run).await?;
    }
    for step in 0..3 {
        raw.step("warm", step, &[0; NUMBER_BYTES]).await?;
    }
    let start = Instant::now();
    match case.case {
        Case::W2 => raw.fan(&runs[0], bodies.first()?).await?,
        _ => {
            let tasks = runs.iter().cloned().enumerate().map(|(index, run)| {
                let (mut raw, bodies) = (raw.clone(), Arc::clone(bodies));
                let steps = async move {
                    for (step, body) in bodies.0[index].iter().enumerate() {
                        raw.step(&run, step, body).await?;
                    }
                    anyhow::Ok(())
                };
                async { tokio::spawn(steps).await? }
            });
            try_join_all(tasks).await?;
        }
    }
    let wall = start.elapsed();
    let mut count = 0;
    for run in &runs {
        count += raw.count(run).await?;
    }
    ensure!(count == case.steps(), "the limit wrote {count} entries");

    let batch = if case.case == Case::W2 {
        let start = Instant::now();
        for (index, bodies) in bodies.first()?.chunks(BATCH).enumerate() {
            raw.steps("batch", index * BATCH, bodies).await?;
        }
        Some(start.elapsed())
    } else {
        None
    };
    Ok((wall, batch))
}

/// The entries that one script adds, as many as one append of the World may hold.
const BATCH: usize = 1024;

/// Connects, reads and decodes every entry, and adds one.
async fn resume(
    case: &CaseArgs,
    mut before: Raw,
    url: &str,
    bodies: &[Vec<u8>],
) -> Result<Duration> {
    before.begin("r").await?;
    before.fan("r", bodies).await?;
    drop(before);
    let start = Instant::now();
    let mut raw = Raw::connect(url).await?;
    let mut sum = 0;
    let add = |body: &[u8]| {
        sum += number(body)?;
        Ok(())
    };
    raw.read("r", add).await?;
    raw.step("r", bodies.len(), b"the last").await?;
    let wall = start.elapsed();
    ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other entries than it wrote");
    Ok(wall)
}
