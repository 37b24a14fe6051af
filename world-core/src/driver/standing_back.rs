//! The runs that this engine could not drive, and claims no more for a while: others may be able
//! to, so such a run is given back at once and excepted from the engine's claims.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Mutex, time::Duration};

use super::{
    engine::Inner,
    held::HeldLease,
    turn::{self, Written},
};
use crate::{
    error::Result,
    ids::{LogId, Position, RunId, Timestamp},
    lease::Claim,
    lock::lock,
    record::{Due, Kind, Release},
    world::World,
};

/// The most runs that are remembered; a claim excepts no more. A run for which there is no place
/// is given back with a time instead, before which nobody gets it.
const RUNS_MAX: usize = Claim::EXCEPT_MAX;

/// The first and the longest time for which a run is excepted; it doubles with each try.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The runs that this engine could not drive.
#[derive(Debug, Default)]
pub(super) struct StandingBack(Mutex<BTreeMap<RunId, Refused>>);

/// A run that could not be driven.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// Until when it is excepted.
    pub(super) until: Timestamp,
    /// How often in a row it could not be driven.
    pub(super) tries: u32,
    /// The head of its log then.
    head: Position,
    /// A request to end is for this engine to answer: the run is blocked, and says so.
    ends_when_asked: bool,
}

impl StandingBack {
    /// The runs that claims except now.
    pub(super) fn excepted(&self, now: Timestamp) -> Vec<RunId> {
        let runs = lock(&self.0);
        runs.iter().filter(|(_, run)| now < run.until).map(|(run, _)| run.clone()).collect()
    }

    /// Remembers a run that could not be driven; none if there is no place for it. Progress since
    /// the last time begins its back-off anew.
    pub(super) fn remember(
        &self,
        run: &RunId,
        now: Timestamp,
        head: Position,
        progressed: bool,
    ) -> Option<Refused> {
        let mut runs = lock(&self.0);
        let before = runs.get(run).filter(|_| !progressed).copied();
        if runs.len() >= RUNS_MAX && !runs.contains_key(run) {
            // The one whose time has been over for longest makes room.
            let oldest = runs.iter().min_by_key(|(_, run)| run.until);
            let (oldest, _) = oldest.filter(|(_, run)| run.until <= now)?;
            let oldest = oldest.clone();
            runs.remove(&oldest);
        }
        let tries = before.map_or(1, |before| before.tries.saturating_add(1));
        let delay = BACK_OFF.0.saturating_mul(1 << (tries - 1).min(16)).min(BACK_OFF.1);
        let ends_when_asked = before.is_some_and(|before| before.ends_when_asked);
        let refused = Refused { until: now.plus(delay), tries, head, ends_when_asked };
        runs.insert(run.clone(), refused);
        Some(refused)
    }

    /// Says that the run's log tells that it is blocked.
    pub(super) fn noted(&self, run: &RunId) {
        if let Some(refused) = lock(&self.0).get_mut(run) {
            refused.ends_when_asked = true;
        }
    }

    /// Says that a run was driven here.
    pub(super) fn forget(&self, run: &RunId) {
        lock(&self.0).remove(run);
    }

    /// Until when a run is excepted.
    pub(crate) fn until(&self, run: &RunId) -> Option<Timestamp> {
        lock(&self.0).get(run).map(|run| run.until)
    }
}

/// Gives a run back at once that was claimed although it is excepted, if nothing has happened to
/// it but what comes from outside: that is no progress. None if it is to be looked at.
pub(super) async fn give_back(engine: &Inner, lease: &HeldLease) -> Option<Written> {
    let now = engine.clock.now();
    let refused = lock(&engine.standing_back.0).get(lease.run()).copied()?;
    if now >= refused.until || !is_unchanged(engine, lease, refused).await.unwrap_or(true) {
        return None;
    }
    let release = Release::undriven(Due::At(now));
    Some(turn::write(engine, lease, None, lease.head(), None, release).await)
}

/// Whether the log has since got nothing that this engine could do something about.
async fn is_unchanged(engine: &Inner, lease: &HeldLease, refused: Refused) -> Result<bool> {
    if lease.head() <= refused.head {
        return Ok(lease.head() == refused.head);
    }
    let log = LogId::Run(lease.run().clone());
    let page = engine.world.read(&log, refused.head, NonZeroU32::MAX).await?;
    let is_all = page.records.last().is_some_and(|last| last.position >= lease.head());
    let mut kinds = page.records.iter().map(|record| record.kind);
    Ok(is_all
        && kinds.all(|kind| {
            is_no_progress(kind) && !(refused.ends_when_asked && kind == Kind::CANCEL_REQUESTED)
        }))
}

/// Whether a record of this kind says nothing of how far the run has got.
pub(super) fn is_no_progress(kind: Kind) -> bool {
    kind.is_external() || matches!(kind, Kind::RUN_BLOCKED | Kind::RUN_ISOLATED)
}
