//! Finds runs that stand still because what they wait for cannot begin here, and says so.
//!
//! A body that waits for another run keeps its place meanwhile, and so does its run. When such
//! bodies or runs have taken all places, what they wait for never begins. Nothing is broken then
//! that could be an error: so it is watched for, and a warning says what waits for what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    future::{Future, poll_fn},
    num::NonZeroU32,
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{drive::BODIES_A_RUN_MAX, engine::Inner};
use crate::{
    awaited,
    event::Event,
    ids::{LogId, Position, RunId},
    list::{List, PhaseKind},
    replay::Waits,
    world::World,
};

/// How long nothing moves before it is said.
pub(super) const STANDSTILL: Duration = Duration::from_secs(10);

/// The most runs that one warning names.
const SHOWN_MAX: usize = 16;

/// The most due runs that are looked at for one that could be driven here.
const DUE_MAX: NonZeroU32 = NonZeroU32::new(256).expect("256 is not 0");

/// What was found at the last look.
#[derive(Debug, Default)]
struct Watch {
    seen: BTreeMap<RunId, Waits>,
    /// It was said that no body, or no run, can begin.
    told: bool,
    /// Runs of which it was said that none of their further bodies can begin.
    told_of: BTreeSet<RunId>,
}

/// Watches the runs that an engine drives, in a worker with these places for runs, for as long as
/// it is polled.
pub(super) async fn watch(engine: &Inner, places: &Semaphore) {
    let mut watch = Watch::default();
    loop {
        engine.clock.pause(STANDSTILL).await;
        watch.look(engine, places).await;
    }
}

impl Watch {
    async fn look(&mut self, engine: &Inner, places: &Semaphore) {
        let now = engine.hub.waits();
        let before = std::mem::replace(&mut self.seen, now);
        let now = &self.seen;
        self.told_of.retain(|run| before.get(run).is_some_and(|waits| now.get(run) == Some(waits)));
        for (run, waits) in now {
            let is_full = waits.places >= BODIES_A_RUN_MAX && waits.queued > 0;
            if is_full && before.get(run) == Some(waits) && self.told_of.insert(run.clone()) {
                tracing::warn!(
                    target: "world::engine",
                    %run, running = waits.running, queued = waits.queued,
                    awaited = shown(bodies_that_wait(run, waits)),
                    "no further body of the run can begin: it has as many as one run may have, and \
                     none has ended for 10 s; bodies that wait for one another wait for ever"
                );
            }
        }
        if now.is_empty() || before != *now {
            self.told = false;
            return;
        }
        if self.told {
            return;
        }
        let all = || shown(now.iter().flat_map(|(run, waits)| bodies_that_wait(run, waits)));
        let has_room = |waits: &Waits| waits.places < BODIES_A_RUN_MAX;
        let queued = now.iter().filter(|(_, waits)| waits.queued > 0 && has_room(waits));
        let queued: Vec<_> = queued.map(|(run, _)| run).collect();
        if engine.bodies_free() == 0 && !queued.is_empty() {
            self.told = true;
            tracing::warn!(
                target: "world::engine",
                bodies_max = engine.options.bodies_max, waiting = shown(&queued), awaited = all(),
                "no step body can begin: bodies_max are running, and none has ended for 10 s; a body \
                 that waits for another run keeps its place meanwhile, so raise bodies_max, or do not \
                 wait for a run inside a body"
            );
        } else if places.available_permits() == 0 {
            let due = due(engine).await;
            if !due.is_empty() {
                self.told = true;
                tracing::warn!(
                    target: "world::engine",
                    runs_max = engine.options.runs_max, due = shown(&due), awaited = all(),
                    "no due run can begin: the worker drives runs_max runs, and none has moved for \
                     10 s; a run whose body waits for another run keeps its place meanwhile, so raise \
                     runs_max, or do not wait for a run inside a body"
                );
            }
        }
    }
}

/// Due runs that this engine could drive, and nobody does.
async fn due(engine: &Inner) -> Vec<RunId> {
    let list = List { phase: Some(PhaseKind::Ready), ..List::all(DUE_MAX) };
    // It is asked again at the next look.
    let Ok(page) = engine.world.list(&list).await else { return Vec::new() };
    let ours = page.runs.into_iter().filter(|meta| engine.knows(&meta.workflow));
    ours.map(|meta| meta.run).collect()
}

/// Each body of a run that waits for another run, in words.
pub(super) fn bodies_that_wait<'a>(
    run: &'a RunId,
    waits: &'a Waits,
) -> impl Iterator<Item = String> + use<'a> {
    waits.awaited.iter().map(move |(key, awaited)| format!("{run} ({key}) for {awaited}"))
}

/// Some of these, and how many more there are.
pub(super) fn shown<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    let mut all = all.into_iter();
    let first: Vec<_> = all.by_ref().take(SHOWN_MAX).map(|one| one.to_string()).collect();
    match all.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Waits for what tells how a run ended, and says once, after 10 s, if nobody has begun the run.
pub(super) async fn unless_begun<T>(
    engine: &Inner,
    run: &RunId,
    end: impl Future<Output = T>,
) -> T {
    tokio::pin!(end);
    let mut end = poll_fn(|cx| {
        let polled = end.as_mut().poll(cx);
        if polled.is_pending() {
            awaited::note(run);
        }
        polled
    });
    tokio::select! {
        biased;
        end = &mut end => return end,
        () = engine.clock.pause(STANDSTILL) => {}
    }
    tokio::select! {
        biased;
        end = &mut end => return end,
        () = tell_if_not_begun(engine, run) => {}
    }
    end.await
}

async fn tell_if_not_begun(engine: &Inner, run: &RunId) {
    if engine.hub.is_driven(run) {
        return;
    }
    let log = LogId::Run(run.clone());
    // Whatever fails here is the error of the wait itself.
    let Ok(page) = engine.world.read(&log, Position::START, super::ONE).await else { return };
    let Some(first) = page.records.first().filter(|_| page.head == Position::new(1)) else {
        return;
    };
    let Ok(seal) = engine.seal.of(log, &first.body).await else { return };
    let Ok(Event::RunCreated { workflow, .. }) = seal.open(first).map(|logged| logged.event) else {
        return;
    };
    let is_registered = engine.knows(&workflow);
    tracing::warn!(
        target: "world::engine",
        %run, %workflow, is_registered,
        "a run that is waited for has not begun within 10 s: no worker that has its workflow looks for \
         it, or all are full; register the workflow with an engine that has a worker"
    );
}
