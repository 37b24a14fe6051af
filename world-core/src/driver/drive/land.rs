//! What the World answers to an append, and what follows from it.

use std::{sync::Arc, time::Duration};

use super::{Drive, Rest, Stop, write::Flight};
use crate::{
    context::is_cancellation,
    driver::{batch::Batch, session::Halt},
    error::{Error, ErrorKind, Result},
    event::Logged,
    ids::Position,
    record::{Appended, By, Due},
};

/// How often in a row a World may report a conflict at the very head that was stated.
const SAME_HEAD_MAX: u32 = 64;

/// After so many conflicts in a row other tasks get a turn.
const CONFLICTS_A_TURN: u32 = 16;

/// The longest wait between two tries of an append whose store does not answer.
const RESEND_DELAY_MAX: Duration = Duration::from_secs(5);

impl Drive<'_> {
    pub(super) async fn landed(&mut self, answer: Result<Appended>) -> Result<Option<Rest>, Stop> {
        let Some(Flight { batch, .. }) = self.flight.take() else { return Ok(None) };
        match answer {
            Ok(Appended::Committed { head }) => self.committed(batch, head).await,
            Ok(Appended::Conflict { head }) => {
                self.conflicted(batch, head).await?;
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
        if self.conflicts > 0 {
            (self.conflicts, self.same_head) = (0, 0);
            self.signal.contend(false);
        }
        self.resends = 0;
        self.head = self.head.max(head).max(batch.append.head_after());
        let (closes, rests) = match &batch.append.by {
            By::Owner { close, rest, .. } => (*close, rest.map(|release| release.due)),
            By::Creator(_) | By::Outsider => (false, None),
        };
        if closes || rests == Some(Due::Now) {
            // The program is over, or whoever comes next replays it: it need not hear of this.
            return Ok(Some(if closes { self.closed(batch) } else { Rest::GivenBack }));
        }
        // What was missed stands before what we wrote.
        while self.session.position() < batch.append.expected {
            let expected = batch.append.expected;
            self.read_some(Some(expected)).await?;
        }
        if !batch.events.is_empty() {
            self.signal.lease.progressed();
            self.progressed = true;
            self.engine.hub.suspects.made_progress(&self.signal);
        }
        let Batch { append, events } = batch;
        for (record, event) in append.records.iter().zip(events) {
            let logged = Arc::new(Logged { position: record.position, at: record.at, event });
            self.session.keep(&logged);
            self.session.deliver(self.engine, &logged, Some(record)).await?;
        }
        Ok(rests.map(|due| match due {
            Due::At(time) => Rest::Resting(time),
            Due::Now | Due::Never => Rest::GivenBack,
        }))
    }

    /// Tells those who wait how the run ended.
    fn closed(&self, batch: Batch) -> Rest {
        let Batch { append, events } = batch;
        let end = append.records.iter().zip(events).find(|(_, event)| event.is_end());
        if let Some((record, event)) = end {
            let logged = Arc::new(Logged { position: record.position, at: record.at, event });
            self.engine.hub.ended(self.signal.lease.run(), &logged);
        }
        Rest::Closed
    }

    /// Sends an append that met others' again, at the head that the World reported, for as long as
    /// the lease lasts: what has run must not run again because others write. If it depends on what
    /// was missed, it is put back instead, to be written anew once that is delivered.
    pub(super) async fn conflicted(&mut self, batch: Batch, head: Position) -> Result<(), Stop> {
        let expected = batch.append.expected;
        if head < expected {
            return Err(Stop::Regressed);
        }
        self.same_head = if head == expected { self.same_head + 1 } else { 0 };
        if self.same_head > SAME_HEAD_MAX {
            let what = "a World that reports conflicts at the head that was stated";
            let error = Error::new(ErrorKind::Invalid, what).run(self.signal.lease.run().clone());
            let error = error
                .position(head)
                .help("it breaks its contract: run the conformance suite on it");
            return Err(Halt::Error(error).into());
        }
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts.is_multiple_of(CONFLICTS_A_TURN) {
            tokio::task::yield_now().await;
        }
        self.head = self.head.max(head);
        if self.stands_whatever_was_missed(&batch)? {
            let batch = batch.reseal(head, self.engine.clock.now(), self.session.seal())?;
            self.send(batch, None);
            self.signal.contend(true);
            return Ok(());
        }
        self.signal.contend(false);
        for event in batch.events.into_iter().rev() {
            if !event.is_end() {
                self.pending.push_front(event);
            }
        }
        Ok(())
    }

    /// Whether an append says the same at a later head, whatever others have written before it.
    fn stands_whatever_was_missed(&mut self, batch: &Batch) -> Result<bool, Halt> {
        Ok(match &batch.append.by {
            // A workflow that has returned hears nothing more; only whether an error is the answer
            // to a cancellation depends on there being one.
            By::Owner { close: true, .. } => {
                let program = self.session.program()?;
                match program.output() {
                    Some(Err(error)) => program.is_cancelled() || !is_cancellation(&**error),
                    Some(Ok(_)) | None => true,
                }
            }
            // A run that waits for a time hears of what was missed first; one that is due at once
            // hears of it from its next worker.
            By::Owner { rest: Some(release), .. } => release.due == Due::Now,
            // A finished step does not depend on what was missed.
            By::Owner { rest: None, .. } => true,
            By::Creator(_) | By::Outsider => false, // a drive sends neither
        })
    }

    /// A violation stops the program, not what it has already sent.
    pub(super) async fn land_before_halting(&mut self) {
        while let Some(Flight { batch, answer, .. }) = self.flight.take() {
            match answer.await {
                Ok(Appended::Committed { head }) => self.head = self.head.max(head),
                Ok(Appended::Conflict { head }) if self.signal.lease.holds() => {
                    let _ = self.conflicted(batch, head).await; // the program is over; what counts was tried
                }
                _ => {}
            }
        }
    }
}
