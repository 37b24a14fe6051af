//! When the clock of a test moves, and how far.

use std::{num::NonZeroU32, time::Duration};

use super::TestEngine;
use crate::{
    driver::{Clock, Drives},
    error::Result,
    ids::{LogId, Position, RunId, Timestamp},
    list::{List, Phase, RunMeta},
    record::Kind,
    world::World,
};

/// How many records a look at the end of a log takes at most.
const LOOK: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

/// The longest real time to wait for a body that is about to go on before it is looked for again.
const SOON: Duration = Duration::from_secs(1);

/// Where a log ended when it was last looked at.
#[derive(Default)]
pub(super) struct LogEnd {
    at: Position,
    kind: Option<Kind>,
}

/// What became of an attempt to move the clock.
pub(super) enum Passed {
    /// It has moved, or something goes on without it.
    On,
    /// It will never move by itself; these bodies wait for runs.
    Never {
        /// In words.
        awaited: String,
    },
}

impl TestEngine {
    /// The kind of a run's last record, read from where its log ended before.
    pub(super) async fn last_kind(&self, run: &RunId, end: &mut LogEnd) -> Result<Option<Kind>> {
        let log = LogId::Run(run.clone());
        let mut page = self.world.read(&log, end.at, LOOK).await?;
        if page.records.last().map_or(end.at, |last| last.position) != page.head {
            let before = Position::new(page.head.get().saturating_sub(1));
            page = self.world.read(&log, before, NonZeroU32::MIN).await?;
        }
        if let Some(last) = page.records.last() {
            *end = LogEnd { at: last.position, kind: Some(last.kind) };
        }
        Ok(end.kind)
    }

    /// Moves the clock to the next due time of this run, if it has one.
    pub(super) async fn pass_time_of(&self, run: &RunId) -> Result<()> {
        let mut next = None;
        self.each_run(|meta| {
            if meta.run == *run {
                next = self.due(meta);
            }
        })
        .await?;
        match next {
            Some(next) => self.move_to(next).await,
            None => Ok(()),
        }
    }

    /// Moves the clock to the next due time of any run, or of a drive that waits.
    pub(super) async fn pass_time(&self) -> Result<Passed> {
        let engine = self.engine()?;
        let changed = engine.drives_changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let drives = engine.drives();
        let Drives { driven, mut awaited, mut next, waiting, told, .. } = drives.clone();
        let mut leased = false;
        self.each_run(|meta| {
            next = [next, self.due(meta)].into_iter().flatten().min();
            leased |= meta.phase == Phase::Leased && !driven.contains(&meta.run);
            if meta.phase != Phase::Closed {
                awaited.remove(&meta.run);
            }
        })
        .await?;
        // A body goes on, or is about to: the run that it waits for has ended.
        if waiting < driven.len() || !awaited.is_empty() {
            let _ = tokio::time::timeout(SOON, changed).await; // either way it is looked for again
            return Ok(Passed::On);
        }
        // Nobody works, so who holds a lease has died; it runs out some time.
        let tick = leased.then(|| self.clock.now().plus(Self::LEASE_TICK));
        let Some(next) = [next, tick].into_iter().flatten().min() else {
            return Ok(Passed::Never { awaited: told });
        };
        if engine.stands_as(&drives) {
            self.move_to(next).await?;
        }
        Ok(Passed::On)
    }

    /// Moves the clock; runs that are driven here keep their leases.
    async fn move_to(&self, time: Timestamp) -> Result<()> {
        self.engine()?.prolong_leases(time.since(self.clock.now())).await?;
        self.clock.set(time);
        Ok(())
    }

    /// When a run that waits for a time is due.
    fn due(&self, meta: &RunMeta) -> Option<Timestamp> {
        match meta.phase {
            Phase::Waiting(time) => {
                let retries_at = self.engine().ok()?.retries_at(&meta.run);
                Some(retries_at.map_or(time, |at| time.max(at)))
            }
            Phase::Leased | Phase::Ready | Phase::Parked | Phase::Closed => None,
        }
    }

    /// Looks at every run.
    async fn each_run(&self, mut look: impl FnMut(&RunMeta)) -> Result<()> {
        let mut list = List::all(Self::CLAIM_MAX);
        loop {
            let page = self.world.list(&list).await?;
            page.runs.iter().for_each(&mut look);
            list.after = page.next;
            if list.after.is_none() {
                return Ok(());
            }
        }
    }
}
