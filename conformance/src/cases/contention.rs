//! Many writers and claimers at once: pairs of calls interleaved in every order, and crowds.

mod claimers;
mod creators;
mod pairs;
mod readers;
mod takeovers;
mod writers;

use std::{future::Future, sync::Arc};

use tokio::sync::Barrier;
use world_core::{Append, Appended, ErrorKind, LogId, World};

use crate::{case::Case, failure::Verdict, subject::Subject};

pub(super) fn cases() -> Vec<Case> {
    [
        pairs::cases(),
        writers::cases(),
        creators::cases(),
        claimers::cases(),
        takeovers::cases(),
        readers::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How often a call is sent that the World is too busy for.
const SENDS_MAX: usize = 1_000;

/// Runs tasks that begin together, and gives what they come to.
async fn together<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = Verdict<T>> + Send + 'static>,
) -> Verdict<Vec<T>> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let start = Arc::new(Barrier::new(tasks.len()));
    let spawned: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in spawned {
        answers.push(task.await??);
    }
    Ok(answers)
}

/// So many handles on one site; two stores that know nothing of each other but through it.
async fn handles(subject: &Subject, count: usize) -> Verdict<Vec<Arc<dyn World>>> {
    let two = [subject.open().await?, subject.open().await?];
    Ok((0..count).map(|number| Arc::clone(&two[number % 2])).collect())
}

/// Appends, sending the same bytes again where the World says that it was too busy, or that it
/// does not know: rule A6 makes that harmless.
async fn sent(world: &dyn World, log: &LogId, append: &Append) -> Verdict<Appended> {
    let again = [ErrorKind::Unavailable, ErrorKind::Busy, ErrorKind::Unknown];
    until_answered(|| world.append(log, append), &again).await
}

/// Claims or renews, again where the World says that it was too busy and did nothing.
async fn asked<T, F>(call: impl Fn() -> F) -> Verdict<T>
where
    F: Future<Output = world_core::Result<T>>,
{
    until_answered(call, &[ErrorKind::Unavailable, ErrorKind::Busy]).await
}

async fn until_answered<T, F>(call: impl Fn() -> F, again: &[ErrorKind]) -> Verdict<T>
where
    F: Future<Output = world_core::Result<T>>,
{
    for _ in 1..SENDS_MAX {
        match call().await {
            Err(error) if again.contains(&error.kind()) => tokio::task::yield_now().await,
            answer => return Ok(answer?),
        }
    }
    Ok(call().await?)
}
