//! Appends until the process is killed.

use std::sync::Arc;

use futures::future::try_join_all;
use world_core::{Appended, World};

use super::{draw, durable, killed_after, lane::Lane, look};
use crate::{
    failure::{Failure, Verdict},
    part::Stage,
    subject::Subject,
};

pub(super) const PART: &str = "appends";

/// How often the second process is killed.
const KILLS: u64 = 6;

pub(super) async fn one_run_keeps_what_was_acknowledged(subject: Subject) -> Verdict {
    killed_while_appending(&subject, 1).await
}

pub(super) async fn many_runs_keep_what_was_acknowledged(subject: Subject) -> Verdict {
    killed_while_appending(&subject, 8).await
}

/// The lanes of a case, from 1.
fn lanes(seed: u64, count: u64) -> Vec<Lane> {
    (1..=u8::try_from(count).unwrap_or(u8::MAX)).map(|number| Lane { seed, number }).collect()
}

/// Kills a second process again and again on the same data. What it told is kept; of what it
/// had begun, each append is there whole or not at all.
async fn killed_while_appending(subject: &Subject, count: u64) -> Verdict {
    durable(subject).await?;
    let first = subject.settings().seed;
    let lanes = lanes(first, count);
    let mut acknowledged = vec![0; lanes.len()];
    for seed in subject.seeds(KILLS) {
        let at_seed = |failure: Failure| failure.at_seed(first);
        let handles = 1 + draw(seed, 0) % 2;
        let player = subject.play(PART, &[first, count, handles])?;
        let until = 1 + draw(seed, 1) % 60;
        for line in killed_after(player, until).await? {
            note(&line, &mut acknowledged);
        }
        subject.injected(1);
        let world = subject.open().await?;
        for (lane, acknowledged) in lanes.iter().zip(&mut acknowledged) {
            *acknowledged = lane.check(&*world, *acknowledged).await.map_err(at_seed)?;
        }
    }
    Ok(())
}

/// Takes note of `appended <lane> <how many>`.
fn note(line: &str, acknowledged: &mut [u64]) {
    let mut words = line.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
    if let (Some(lane), Some(appends)) = (words.next(), words.next())
        && let Some(known) = acknowledged.get_mut((lane as usize).wrapping_sub(1))
    {
        *known = appends.max(*known);
    }
}

/// Appends to every lane at once, as fast as it can, and tells of each answer.
pub(super) async fn play(stage: Stage) -> Verdict {
    let (seed, count, handles) = (stage.argument(0), stage.argument(1), stage.argument(2));
    let mut worlds = Vec::new();
    for _ in 0..handles.max(1) {
        worlds.push(stage.open().await?);
    }
    let tasks = lanes(seed, count).into_iter().zip(worlds.iter().cycle()).map(|(lane, world)| {
        let world = Arc::clone(world);
        async move { tokio::spawn(append_for_ever(world, lane)).await? }
    });
    try_join_all(tasks).await.map(drop)
}

async fn append_for_ever(world: Arc<dyn World>, lane: Lane) -> Verdict {
    let log = lane.log();
    let mut head = look::head(&*world, &log).await?;
    let mut n = lane
        .appends_at(head)
        .ok_or_else(|| Failure::failed(format!("{log}: its head {head} is inside an append")))?;
    loop {
        match world.append(&log, &lane.append(n, head)).await? {
            Appended::Committed { head: now } => head = now.get(),
            answer => {
                let what = format!("{log}: the append at {head} by its only writer: {answer:?}");
                return Err(Failure::failed(what));
            }
        }
        n += 1;
        Stage::tell(format!("appended {} {n}", lane.number));
    }
}
