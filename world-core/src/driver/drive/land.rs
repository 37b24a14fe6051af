//! What the World answers to an append, and what follows from it.

use std::{sync::Arc, time::Duration};

use super::{Drive, Rest, Stop, write::Flight};
use crate::{
    driver::{batch::Batch, session::Halt},
    error::{Error, ErrorKind, Result},
    event::Logged,
    ids::Position,
    record::{Appended, By, Due},
};

/// How often an append that meets others' is sent again before the run is given back as busy.
const CONFLICTS_MAX: u32 = 64;

/// The longest wait between two tries of an append whose store does not answer.
const RESEND_DELAY_MAX: Duration = Duration::from_secs(5);

impl Drive<'_> {
    pub(super) async fn landed(&mut self, answer: Result<Appended>) -> Result<Option<Rest>, Stop> {
        let Some(Flight { batch, .. }) = self.flight.take() else { return Ok(None) };
        match answer {
            Ok(Appended::Committed { head }) => self.committed(batch, head).await,
            Ok(Appended::Conflict { head }) => {
                self.conflicted(batch, head)?;
                Ok(None)
            }
            Ok(Appended::Fenced | Appended::NotOpen) => Err(Stop::Lost),
            Err(error) if matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Unavailable) => {
                let delay = Duration::from_millis(50) * 2_u32.pow(self.resends.min(8));
                let delay = delay.min(RESEND_DELAY_MAX);
                self.resends += 1;
                tracing::warn!(run = %self.signal.lease.run(), %error, "an append is sent again");
                if self.signal.lease.left() <= delay {
                    return Err(Halt::Error(error).into());
                }
                self.send(batch, Some(delay));
                Ok(None)
            }
            Err(error) => Err(Halt::Error(error).into()),
        }
    }

    pub(super) async fn committed(
        &mut self,
        batch: Batch,
        head: Position,
    ) -> Result<Option<Rest>, Stop> {
        self.conflicts = 0;
        self.resends = 0;
        self.head = self.head.max(head).max(batch.append.head_after());
        // What was missed stands before what we wrote.
        while self.session.position() < batch.append.expected {
            let expected = batch.append.expected;
            self.read_some(Some(expected)).await?;
        }
        if !batch.events.is_empty() {
            self.signal.lease.progressed();
            self.engine.hub.suspects.made_progress(&self.signal);
        }
        let Batch { append, events } = batch;
        let (closes, rests) = match &append.by {
            By::Owner { close, rest, .. } => (*close, rest.map(|release| release.due)),
            By::Creator(_) | By::Outsider => (false, None),
        };
        for (record, event) in append.records.iter().zip(events) {
            let logged = Arc::new(Logged { position: record.position, at: record.at, event });
            if closes && logged.event.is_end() {
                self.engine.hub.ended(self.signal.lease.run(), &logged);
            } else {
                self.session.keep(&logged);
                self.session.deliver(self.engine, &logged, Some(record)).await?;
            }
        }
        Ok(match rests {
            _ if closes => Some(Rest::Closed),
            Some(Due::At(time)) => Some(Rest::Resting(time)),
            Some(Due::Now | Due::Never) => Some(Rest::GivenBack),
            None => None,
        })
    }

    pub(super) fn conflicted(&mut self, batch: Batch, head: Position) -> Result<(), Stop> {
        if head < batch.append.expected {
            return Err(Stop::Regressed);
        }
        self.conflicts += 1;
        if self.conflicts > CONFLICTS_MAX {
            let error = Error::new(ErrorKind::Busy, "64 appends met others' appends")
                .run(self.signal.lease.run().clone())
                .position(head)
                .help("it is tried again when the lease runs out");
            return Err(Halt::Error(error).into());
        }
        self.head = self.head.max(head);
        if let By::Owner { close: false, rest: None, .. } = batch.append.by {
            // A finished step does not depend on what was missed.
            let batch = batch.reseal(head, self.engine.clock.now(), self.session.seal())?;
            self.send(batch, None);
            return Ok(());
        }
        // An end or a rest does; the rest of what was to be written is kept.
        for event in batch.events.into_iter().rev() {
            if !event.is_end() {
                self.pending.push_front(event);
            }
        }
        Ok(())
    }

    /// A violation stops the program, not what it has already sent.
    pub(super) async fn land_before_halting(&mut self) {
        while let Some(Flight { batch, answer }) = self.flight.take() {
            match answer.await {
                Ok(Appended::Committed { head }) => self.head = self.head.max(head),
                Ok(Appended::Conflict { head }) if self.conflicts < CONFLICTS_MAX => {
                    let _ = self.conflicted(batch, head); // the program is over; what counts was tried
                }
                _ => {}
            }
        }
    }
}
