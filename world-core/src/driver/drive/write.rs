//! What a drive writes: batches of what the program has for its log.

use std::{sync::Arc, time::Duration};

use super::{Boxed, Drive};
use crate::{
    context::{failure_of, is_cancellation},
    driver::{batch::Batch, session::Halt},
    error::{Error, ErrorKind, Result},
    event::{Event, FailureKind},
    ids::Timestamp,
    record::{Appended, By, Due, Release},
    world::World,
};

/// An append on its way, with the events it was made of.
pub(super) struct Flight {
    pub(super) batch: Batch,
    pub(super) answer: Boxed<Result<Appended>>,
    /// When it is sent, if not at once.
    pub(super) not_before: Option<Timestamp>,
}

impl Flight {
    /// Whether it gives the lease back.
    pub(super) fn rests(&self) -> bool {
        matches!(self.batch.append.by, By::Owner { rest: Some(_), .. })
    }
}

impl Drive<'_> {
    pub(super) fn write_what_presses(&mut self) -> Result<(), Halt> {
        let program = self.session.program()?;
        let ended = program.output().is_some();
        if self.pending.is_empty() {
            if !ended && !program.is_pressing() {
                return Ok(());
            }
            program.take_batch(&mut self.pending);
            if ended {
                let end = self.end()?;
                self.pending.push_back(end);
            }
        }
        // What is left of an earlier batch goes first: it lacks what was asked for since.
        let ends = self.pending.back().is_some_and(Event::is_end);
        let (ticket, engine) = (self.signal.lease.ticket(), self.engine);
        self.launch(|took_all, now| {
            let close = ends && took_all;
            let rest = close.then(|| Release::driven(engine.rest_of_closed(now)));
            By::Owner { ticket, close, rest, tags: None }
        })
    }

    /// Gives the lease back, with whatever intents and notes wait.
    pub(super) fn write_rest(&mut self, due: Due) -> Result<(), Halt> {
        if self.pending.is_empty() {
            self.session.program()?.take_batch(&mut self.pending);
        }
        let ticket = self.signal.lease.ticket();
        self.launch(|took_all, _| By::Owner {
            ticket,
            close: false,
            rest: took_all.then_some(Release::driven(due)),
            tags: None,
        })
    }

    pub(super) fn end(&mut self) -> Result<Event, Halt> {
        let program = self.session.program()?;
        let cancelled = program.is_cancelled();
        Ok(match program.output() {
            Some(Ok(output)) => Event::RunCompleted { output: output.clone() },
            Some(Err(error)) if cancelled && is_cancellation(&**error) => {
                Event::RunCancelled { reason: program.cancel_reason() }
            }
            Some(Err(error)) => {
                Event::RunFailed { failure: failure_of(FailureKind::Error, &**error) }
            }
            None => return Err(Error::new(ErrorKind::Invalid, "a run that has not ended").into()),
        })
    }

    pub(super) fn launch(&mut self, by: impl FnOnce(bool, Timestamp) -> By) -> Result<(), Halt> {
        let (at, limits) = (self.engine.clock.now(), &self.engine.limits);
        let (position, seal) = (self.session.position(), self.session.seal());
        let by = |took_all| by(took_all, at);
        let batch = Batch::fill(&mut self.pending, position, at, seal, limits, by)?;
        self.send(batch, None);
        Ok(())
    }

    pub(super) fn send(&mut self, batch: Batch, pause: Option<Duration>) {
        let (engine, log) = (Arc::clone(self.engine), self.session.log());
        let append = Arc::clone(&batch.append);
        let not_before = pause.map(|pause| engine.clock.now().plus(pause));
        let answer = Box::pin(async move {
            if let Some(pause) = pause {
                engine.clock.pause(pause).await;
            }
            engine.world.append(&log, &append).await
        });
        self.flight = Some(Flight { batch, answer, not_before });
    }
}
