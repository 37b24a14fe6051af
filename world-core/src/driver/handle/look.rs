//! What a handle reads of its run's log.

use std::num::NonZeroU32;

use super::{Asked, Known, Status};
use crate::{
    driver::ONE,
    error::{Error, ErrorKind, Result, WrongWorkflow},
    event::{Event, Logged},
    ids::{LogId, Position},
    lock::lock,
    record::{Kind, Page, Record},
    seal::LogSeal,
    world::World,
};

/// How many records a look takes at most: a short run, or a step that others made, in one read.
const LOOK: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

/// The most events at the end of a log that [`Asked::status`] passes over.
const PASSED_OVER_MAX: u64 = 1024;

/// What a look at a log has found.
pub(super) struct Look {
    /// How far it went: the head, a moment ago.
    pub(super) at: Position,
    /// The record there, unless it was seen before.
    pub(super) last: Option<Record>,
}

impl Asked {
    pub(super) fn log_id(&self) -> LogId {
        LogId::Run(self.run.clone())
    }

    pub(super) fn no_such_run(&self) -> Error {
        Error::new(ErrorKind::NotFound, "no such run").run(self.run.clone())
    }

    pub(super) fn known(&self) -> Known {
        *lock(&self.known)
    }

    /// Checks that the run is of the handle's workflow, by its first event, and remembers it.
    pub(super) fn check(&self, first: &Logged) -> Result<()> {
        let Event::RunCreated { workflow: found, .. } = &first.event else {
            let what = format!("a log that begins with {}", first.event.kind());
            return Err(Error::new(ErrorKind::Corrupt, what)
                .run(self.run.clone())
                .position(first.position));
        };
        if let Some(asked) = self.workflow.filter(|asked| *asked != found.as_str()) {
            let wrong = WrongWorkflow {
                run: self.run.clone(),
                asked: asked.to_owned(),
                found: found.clone(),
            };
            return Err(wrong.into_error());
        }
        lock(&self.known).is_checked = true;
        Ok(())
    }

    /// Opens and checks the first record, and gives the log's seal and head.
    pub(super) async fn open_first(&self) -> Result<(LogSeal, Position)> {
        let log = self.log_id();
        let page = self.engine.world.read(&log, Position::START, ONE).await?;
        Ok((self.open_first_of(&page).await?, page.head))
    }

    /// Opens and checks the first record of a log's first page, and gives the log's seal.
    async fn open_first_of(&self, page: &Page) -> Result<LogSeal> {
        let first = page.records.first().ok_or_else(|| self.no_such_run())?;
        let seal = self.engine.seal.of(self.log_id(), &first.body).await?;
        self.check(&seal.open(first)?)?;
        Ok(seal)
    }

    /// Looks at the end of the log: in one read if it holds at most a few records that were not
    /// seen before, in two otherwise.
    pub(super) async fn look(&self) -> Result<Look> {
        let (log, Known { is_checked, seen }) = (self.log_id(), self.known());
        let after = if is_checked { seen } else { Position::START };
        let mut page = self.engine.world.read(&log, after, LOOK).await?;
        if after == Position::START {
            self.open_first_of(&page).await?;
        }
        if page.records.last().map_or(after, |last| last.position) != page.head {
            // There is more, or less than was seen: a store may lose what it had.
            page = self.engine.world.read(&log, before(page.head, 1), ONE).await?;
            if page.records.is_empty() {
                return Err(self.no_such_run());
            }
        }
        let last = page.records.pop();
        let at = last.as_ref().map_or(after, |last| last.position);
        if !last.as_ref().is_some_and(|last| last.kind.is_end()) {
            lock(&self.known).seen = at;
        }
        Ok(Look { at, last })
    }

    /// Opens a record, under the key that it names.
    pub(super) async fn open(&self, record: &Record) -> Result<Logged> {
        self.engine.seal.of(self.log_id(), &record.body).await?.open(record)
    }

    /// Opens every record after a position, page by page, and keeps none. Gives the head.
    pub(super) async fn open_all_after(&self, mut after: Position) -> Result<Position> {
        let log = self.log_id();
        loop {
            let page = self.engine.world.read(&log, after, NonZeroU32::MAX).await?;
            let (Some(first), Some(last)) = (page.records.first(), page.records.last()) else {
                return Ok(after);
            };
            let seal = self.engine.seal.of(log.clone(), &first.body).await?;
            for record in &page.records {
                seal.open(record)?;
            }
            after = last.position;
            tokio::task::yield_now().await;
        }
    }

    /// Says where the run stands, by the last record that says it. A run whose last
    /// [`PASSED_OVER_MAX`] records or more say nothing about it is open.
    pub(super) async fn status(&self) -> Result<Status> {
        let Look { at: head, last } = self.look().await?;
        let (mut at, mut records) = match last {
            Some(last) => (before(head, 1), vec![last]),
            None => (head, Vec::new()),
        };
        loop {
            if let Some(last) = records.iter().rfind(|record| !says_nothing(record.kind)) {
                return self.status_at(last).await;
            }
            if at == Position::START || head.get() - at.get() >= PASSED_OVER_MAX {
                return Ok(Status::Open);
            }
            let from = before(at, u64::from(LOOK.get()));
            records = self.records_between(from, at).await?;
            at = from;
        }
    }

    /// Reads the records after one position up to another.
    async fn records_between(&self, mut after: Position, last: Position) -> Result<Vec<Record>> {
        let (log, mut records) = (self.log_id(), Vec::new());
        while after < last {
            let many = u32::try_from(last.get() - after.get()).unwrap_or(u32::MAX);
            let limit = NonZeroU32::new(many).unwrap_or(ONE);
            let page = self.engine.world.read(&log, after, limit).await?;
            after = page.records.last().ok_or_else(|| self.no_such_run())?.position;
            records.extend(page.records);
        }
        Ok(records)
    }

    /// Says where the run stands if this record decides it; only then is it opened.
    async fn status_at(&self, record: &Record) -> Result<Status> {
        if !record.kind.is_end() && record.kind != Kind::RUN_BLOCKED {
            return Ok(Status::Open);
        }
        Ok(match self.open(record).await?.event {
            Event::RunCompleted { .. } => Status::Completed,
            Event::RunFailed { failure } => Status::Failed(failure),
            Event::RunCancelled { reason } => Status::Cancelled { reason },
            Event::RunBlocked { why } => Status::Blocked { why },
            other => {
                let what = format!("a record of the kind {} holds {}", record.kind, other.kind());
                return Err(Error::new(ErrorKind::Corrupt, what)
                    .run(self.run.clone())
                    .position(record.position));
            }
        })
    }
}

/// The position that lies this many before another, or the start.
const fn before(position: Position, many: u64) -> Position {
    Position::new(position.get().saturating_sub(many))
}

/// Whether a record of this kind changes nothing about where a run stands: what somebody outside
/// asks for is nothing until it is answered, and neither is how the run is driven.
const fn says_nothing(kind: Kind) -> bool {
    matches!(kind, Kind::CANCEL_REQUESTED | Kind::HOOK_RECEIVED | Kind::RUN_ISOLATED)
}
