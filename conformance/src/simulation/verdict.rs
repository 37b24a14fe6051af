//! What must hold when all is over: of each log alone, of the logs and the bodies, of the store.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use world_core::{
    Engine, List, LogId, RunError, RunId, RunMeta, World, WorldExt, codec,
    event::{Event, FailureKind, Logged},
    testing::Replay,
};

use super::{
    cold,
    fleet::Fleet,
    ledger::{self, Site},
    life::Told,
    plan::What,
    program::{self, PROGRAM},
    witness::Witness,
};
use crate::{
    audit::{Standing, audit},
    corpus::Sample,
};

/// Judges a simulation whose runs have all ended.
pub(super) async fn judge(fleet: &Arc<Fleet>) -> Result<(), String> {
    let witness = Witness {
        who: "verdict".to_owned(),
        world: Arc::clone(&fleet.store),
        book: Arc::clone(&fleet.book),
    };
    let runs: Vec<RunId> = fleet.book.state().runs.keys().cloned().collect();
    for run in &runs {
        // The witness holds what it reads against what was committed.
        let page = witness.read_all(&LogId::Run(run.clone())).await;
        page.map_err(|error| format!("{run}: it cannot be read: {error}"))?;
        judge_run(fleet, run).await?;
    }
    let mut listed = Vec::new();
    let mut list = List::all(NonZeroU32::MIN);
    loop {
        let page = witness.list(&list).await.map_err(|error| format!("no listing: {error}"))?;
        listed.extend(page.runs);
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    check_listing(fleet, &listed, true);
    let deleted: Vec<RunId> = {
        let state = fleet.book.state();
        let deleted = state.runs.iter().filter(|(_, book)| book.deleted);
        deleted.map(|(run, _)| run.clone()).collect()
    };
    for run in deleted {
        stays_spent(fleet, Arc::clone(&fleet.store), &run).await?;
    }
    Ok(())
}

async fn judge_run(fleet: &Arc<Fleet>, run: &RunId) -> Result<(), String> {
    let book = match fleet.book.state().runs.remove(run) {
        Some(book) => book,
        None => return Ok(()),
    };
    let judged = judge_book(fleet, run, &book).await;
    fleet.book.state().runs.insert(run.clone(), book);
    judged
}

async fn judge_book(
    fleet: &Arc<Fleet>,
    run: &RunId,
    book: &super::book::RunBook,
) -> Result<(), String> {
    let log = cold::opened(fleet, run, book).await?;
    let judged = async {
        match audit(&log).map_err(|objection| format!("{run}: {objection}"))? {
            Standing::Ended => {}
            Standing::Open => return Err(format!("{run}: it is closed, and its log has no end")),
        }
        for logged in &log {
            if let Event::RunBlocked { why } = &logged.event {
                return Err(format!("{run}: it was blocked at {}: {why}", logged.position));
            }
        }
        let objection = ledger::objection(&fleet.book.state(), run, book, &log);
        objection.map_or(Ok(()), Err)?;
        replays(fleet, run, &log)?;
        if !was_given_up(&log) {
            cold::ends_the_same(fleet, run, book, &log, |builder| builder).await?;
        }
        Ok(())
    };
    judged.await.inspect_err(|_| {
        for logged in &log {
            fleet.book.trace.note("log", format_args!("{run} {logged:?}"));
        }
    })
}

/// Replays the log without a World, with spurious polls.
fn replays(fleet: &Arc<Fleet>, run: &RunId, log: &[Logged]) -> Result<(), String> {
    let site = Site { who: "replay".to_owned(), book: Arc::clone(&fleet.book), is_cold: true };
    let site = Arc::new(site);
    let replay = Replay::of(log.to_vec()).run(run);
    let check = match log.first().map(|logged| &logged.event) {
        Some(Event::RunCreated { workflow, .. }) if workflow.as_str() == PROGRAM.name() => {
            replay.with(PROGRAM, program::function(site))
        }
        Some(Event::RunCreated { workflow, .. }) => {
            let nth = fleet.samples.iter().position(|sample| sample.name == workflow.as_str());
            let nth = nth.ok_or_else(|| format!("{run}: it runs {workflow}"))?;
            let sample = fleet.paced(nth, &site);
            replay.with(sample.workflow(), sample.function())
        }
        _ => return Err(format!("{run}: it has no first event")),
    };
    let check = if log.len() < 40 { check.every_prefix().jitter(2) } else { check.jitter(1) };
    check.check().map_err(|error| format!("{run}: {error}"))
}

fn was_given_up(log: &[Logged]) -> bool {
    matches!(log.last().map(|last| &last.event),
        Some(Event::RunFailed { failure }) if failure.kind == FailureKind::Poisoned)
}

/// Each run that was created and not deleted is listed once, and no other.
pub(super) fn check_listing(fleet: &Fleet, listed: &[RunMeta], is_over: bool) {
    let objection = {
        let state = fleet.book.state();
        let mut seen = BTreeSet::new();
        let twice = listed.iter().find(|meta| !seen.insert(&meta.run)).map(|meta| &meta.run);
        let unknown = seen.iter().find(|run| !state.runs.contains_key(**run));
        let missed = state.runs.iter().find(|(run, book)| !book.deleted && !seen.contains(run));
        match (twice, unknown, missed) {
            (Some(run), ..) => Some(format!("{run} is listed twice (R4)")),
            (None, Some(run), _) => Some(format!("{run} is listed, and is not (R4)")),
            (None, None, Some((run, _))) if is_over => Some(format!("{run} is not listed (R4)")),
            _ => None,
        }
    };
    if let Some(what) = objection {
        fleet.book.objects(what);
    }
}

/// What clients were told must be what the logs say.
pub(super) async fn check_told(fleet: &Arc<Fleet>, told: Vec<Told>) -> Result<(), String> {
    for Told { run, end } in told {
        let book = fleet.book.state().runs.remove(&run);
        let Some(book) = book else {
            return Err(format!("{run}: a client was told of its end, and it is not"));
        };
        let log = cold::opened(fleet, &run, &book).await;
        fleet.book.state().runs.insert(run.clone(), book);
        let log = log?;
        let last = log.last().map(|last| &last.event);
        let agrees = match (&end, last) {
            (Ok(output), Some(Event::RunCompleted { output: logged })) => {
                codec::encode_value(output).is_ok_and(|output| codec::same_tree(&output, logged))
            }
            (Err(RunError::Failed { failure, .. }), Some(Event::RunFailed { failure: logged })) => {
                failure == logged
            }
            (
                Err(RunError::Cancelled { reason, .. }),
                Some(Event::RunCancelled { reason: logged }),
            ) => reason == logged,
            _ => false,
        };
        if !agrees {
            return Err(format!("{run}: a client was told {end:?}, and its log ends {last:?}"));
        }
        if let Some(sample) = sample_of(fleet, &log)
            && !is_disturbed(sample, &log)
            && let Some(objection) = sample.objection(&end)
        {
            return Err(format!("{run}: {objection}"));
        }
    }
    Ok(())
}

fn sample_of<'a>(fleet: &'a Fleet, log: &[Logged]) -> Option<&'a Sample> {
    let Some(Event::RunCreated { workflow, .. }) = log.first().map(|first| &first.event) else {
        return None;
    };
    let known = fleet.plan.runs.iter().any(|run| matches!(run.what, What::Sample(_)));
    fleet.samples.iter().find(|sample| known && sample.name == workflow.as_str())
}

/// Whether the run may have come to something else than what the corpus says: it was cancelled
/// unexpectedly, a worker died in its last attempt, or a clock was wrong.
fn is_disturbed(sample: &Sample, log: &[Logged]) -> bool {
    // How late a timer fires depends on who is alive.
    sample.name == "sleep"
        || log.iter().any(|logged| match &logged.event {
            Event::CancelRequested { .. } => !sample.cancel,
            // Attempts that died with their worker are counted in the message.
            Event::StepFailed { attempts: 2.., .. } => true,
            Event::StepFailed { failure, .. } | Event::RunFailed { failure } => matches!(
                failure.kind,
                FailureKind::Interrupted | FailureKind::TimedOut | FailureKind::Poisoned
            ),
            _ => false,
        })
}

/// An id whose run was deleted names no other.
async fn stays_spent(fleet: &Fleet, store: Arc<dyn World>, run: &RunId) -> Result<(), String> {
    let engine = Engine::builder(store).key(fleet.key.clone()).build();
    let engine = engine.map_err(|error| format!("no engine: {error}"))?;
    match engine.client().start(PROGRAM, 0).id(run.as_str()).await {
        Ok(_) => Err(format!("{run} was deleted, and is started again (D2)")),
        Err(_) => Ok(()),
    }
}
