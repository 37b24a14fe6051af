//! DynamoDB: one conditional `PutItem` a step, through the same SDK.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Bodies, NUMBER_BYTES, number};
use crate::{
    args::{Case, CaseArgs},
    dynamo::{self, Place, Raw},
};

/// Measures the raw writes of a case, in a table of their own.
pub(super) async fn measure(
    case: &CaseArgs,
    bodies: &Arc<Bodies>,
) -> Result<(Duration, Option<Duration>)> {
    let place = Place::new(case.dynamo.as_deref().context("no DynamoDB server")?, None);
    let place = place.away(case.away());
    let raw = Raw::make(&place).await?;
    let measured = match case.case {
        Case::W5 => resume(case, raw, &place, bodies).await.map(|wall| (wall, None)),
        _ => writes(case, &raw, bodies).await,
    };
    // Also of one that has failed: the server may be somebody's.
    let removed = place.remove().await;
    let measured = measured?;
    removed.map(|()| measured)
}

async fn writes(
    case: &CaseArgs,
    raw: &Raw,
    bodies: &Arc<Bodies>,
) -> Result<(Duration, Option<Duration>)> {
    for step in 0..3 {
        raw.step("warm", step, &[0; NUMBER_BYTES]).await?;
    }
    let start = Instant::now();
    match case.case {
        Case::W2 => raw.fan(&run_name(0), bodies.first()?).await?,
        _ => runs(raw, bodies).await?,
    }
    let wall = start.elapsed();
    let mut count = 0;
    let mut add = |_: &[u8]| {
        count += 1;
        Ok(())
    };
    for run in 0..bodies.0.len() {
        raw.read(&run_name(run), &mut add).await?;
    }
    ensure!(count == case.steps(), "the limit wrote {count} items");

    let batch = if case.case == Case::W2 {
        let start = Instant::now();
        raw.together("batch", bodies.first()?).await?;
        Some(start.elapsed())
    } else {
        None
    };
    Ok((wall, batch))
}

/// The steps of each run one after the other.
async fn runs(raw: &Raw, bodies: &Arc<Bodies>) -> Result<()> {
    dynamo::tasks((0..bodies.0.len()).map(|run| {
        let (raw, bodies) = (raw.clone(), Arc::clone(bodies));
        async move {
            for (step, body) in bodies.0[run].iter().enumerate() {
                raw.step(&run_name(run), step, body).await?;
            }
            Ok(())
        }
    }))
    .await
}

fn run_name(run: usize) -> String {
    format!("r{run}")
}

/// Connects, reads and decodes every item, and puts one.
async fn resume(case: &CaseArgs, before: Raw, place: &Place, bodies: &Bodies) -> Result<Duration> {
    let bodies = bodies.first()?;
    before.fan("r", bodies).await?;
    drop(before);
    let start = Instant::now();
    let raw = Raw::open(place);
    let mut sum = 0;
    let add = |body: &[u8]| {
        sum += number(body)?;
        Ok(())
    };
    raw.read("r", add).await?;
    raw.step("r", bodies.len(), b"the last").await?;
    let wall = start.elapsed();
    ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other items than it wrote");
    Ok(wall)
}
