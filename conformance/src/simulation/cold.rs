//! Replays of a run's log by engines that have seen nothing of it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use world_core::{
    Append, Appended, By, Due, Engine, EngineBuilder, Error, LogId, MemoryWorld, NewRun, Record,
    Release, RunHandle, RunId, Ticket, Timestamp, World, event::Logged, seal::Key,
};

use crate::corpus::Sample;

use super::{book::RunBook, clock::SkewedClock, fleet::Fleet, ledger::Site, program::PROGRAM};

/// How long a replay may take: it has nothing to wait for.
const AT_MOST: Duration = Duration::from_secs(600);

/// The run's log, opened, from what was committed.
pub(super) async fn opened(
    fleet: &Fleet,
    run: &RunId,
    book: &RunBook,
) -> Result<Vec<Logged>, String> {
    let open = async {
        let world = copied(&fleet.key, run, book, book.records.len()).await?;
        let engine = Engine::builder(world).key(fleet.key.clone()).build()?;
        handle(fleet, &engine, run, book)?.log().await
    };
    open.await.map_err(|error| format!("{run}: its log does not open: {error}"))
}

/// Lets a new engine have the log without its end: it must come to the same end, without a body
/// begun and without anything else written.
pub(super) async fn ends_the_same(
    fleet: &Fleet,
    run: &RunId,
    book: &RunBook,
    log: &[Logged],
    alter: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> Result<(), String> {
    let failed = |error: Error| format!("{run}: it is not replayed: {error}");
    let kept = book.records.len().saturating_sub(1);
    let world = copied(&fleet.key, run, book, kept).await.map_err(failed)?;
    let site = Site { who: "replay".to_owned(), book: Arc::clone(&fleet.book), is_cold: true };
    let builder =
        Engine::builder(world).key(fleet.key.clone()).clock(SkewedClock::new(fleet.began, 0));
    let engine = fleet.register(alter(builder), &Arc::new(site)).build().map_err(failed)?;
    let worker = engine.spawn_worker();
    let handle = handle(fleet, &engine, run, book).map_err(failed)?;
    let ended = timeout(AT_MOST, handle.output()).await;
    worker.shutdown().await;
    let again = handle.log().await.map_err(failed)?;
    let ends = [log, &again].map(|log| log.last().map(|last| &last.event));
    if ended.is_err() || again.len() != log.len() || ends[0] != ends[1] {
        return Err(format!(
            "{run}: replayed without its end, {} records become {} and end with {:?}, not {:?}",
            kept,
            again.len(),
            ends[1],
            ends[0]
        ));
    }
    Ok(())
}

fn handle(
    fleet: &Fleet,
    engine: &Engine,
    run: &RunId,
    book: &RunBook,
) -> world_core::Result<RunHandle<String>> {
    let name = book.new.workflow.as_str();
    let sample = fleet.samples.iter().find(|sample| sample.name == name);
    engine.client().run(sample.map_or(PROGRAM, Sample::workflow), run.as_str())
}

/// A World with one run and its first records; the run is due.
async fn copied(
    key: &Key,
    run: &RunId,
    book: &RunBook,
    records: usize,
) -> world_core::Result<MemoryWorld> {
    let (world, log) = (MemoryWorld::new(), LogId::Run(run.clone()));
    let ticket = Ticket::from_bytes([9; 16]);
    let lease = Some((ticket, Timestamp::MAX));
    let new = NewRun { due: Due::Now, lease, key: key.id().clone(), ..book.new.clone() };
    let owner = |rest| By::Owner { ticket, close: false, rest, tags: None };
    for (nth, (record, _)) in book.records.iter().take(records).enumerate() {
        let by = if nth == 0 { By::Creator(new.clone()) } else { owner(None) };
        append(&world, &log, book, nth, vec![record.clone()], by).await?;
    }
    append(&world, &log, book, records, Vec::new(), owner(Some(Release::driven(Due::Now)))).await?;
    Ok(world)
}

async fn append(
    world: &MemoryWorld,
    log: &LogId,
    book: &RunBook,
    head: usize,
    records: Vec<Record>,
    by: By,
) -> world_core::Result<()> {
    let expected = world_core::Position::new(head as u64);
    let append = Append { expected, records, at: book.created, by };
    match world.append(log, &append).await? {
        Appended::Committed { .. } => Ok(()),
        other => {
            let what = format!("a copy was refused: {other:?}");
            Err(Error::new(world_core::ErrorKind::Invalid, what))
        }
    }
}
