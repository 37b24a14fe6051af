//! Drives one run under a lease: polls its bodies, appends what they leave, delivers it.
//!
//! While an append is in flight bodies go on and deliveries do not. What an append holds is kept
//! here until it is committed.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    batch::Batch,
    clock::Alarm,
    engine::Inner,
    hub::Signal,
    session::{Halt, Session},
};
use crate::{
    context::{failure_of, is_cancellation},
    error::{Error, ErrorKind, Result},
    event::{Event, FailureKind, Logged},
    ids::{Position, Timestamp},
    lease::{Lease, Renewed},
    record::{Appended, By, Due},
    world::World,
};

/// The most bodies of one run at once.
pub(super) const BODIES_A_RUN_MAX: usize = 256;

/// How often an append that meets others' is sent again before the run is given back as busy.
const CONFLICTS_MAX: u32 = 64;

/// The longest wait between two tries of an append whose store does not answer.
const RESEND_DELAY_MAX: Duration = Duration::from_secs(5);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a drive ended.
#[derive(Debug)]
pub(super) enum Rest {
    /// The run has ended.
    Closed,
    /// It waits for a time; the lease was given back.
    Resting(Timestamp),
    /// The lease was given back because the worker stops.
    GivenBack,
}

/// Why a drive stopped short.
#[derive(Debug)]
pub(super) enum Stop {
    Halt(Halt),
    /// Someone else has the run, or it is closed: nothing more may be written.
    Lost,
    /// The store has lost what it acknowledged: replay from what is left.
    Regressed,
}

impl<E: Into<Halt>> From<E> for Stop {
    fn from(halt: E) -> Self {
        Self::Halt(halt.into())
    }
}

struct Flight {
    batch: Batch,
    answer: Boxed<Result<Appended>>,
}

impl Flight {
    /// Whether it gives the lease back.
    fn rests(&self) -> bool {
        matches!(self.batch.append.by, By::Owner { rest: Some(_), .. })
    }
}

/// What [`Drive::poll`] has found.
enum Found {
    Answer(Result<Appended>),
    Renewed(Result<(Renewed, Timestamp)>),
    /// Something is to be written.
    Pressing,
    /// Nothing runs, and nothing will before this time.
    Idle(Timestamp),
    /// Somebody else may have appended.
    Outside,
    Stopping,
}

pub(super) struct Drive<'a> {
    engine: &'a Arc<Inner>,
    lease: Lease,
    signal: Arc<Signal>,
    session: Session,
    /// The head of the log, as far as it is known.
    head: Position,
    pending: VecDeque<Event>,
    flight: Option<Flight>,
    conflicts: u32,
    resends: u32,
    permit: Option<OwnedSemaphorePermit>,
    permit_wait: Option<Boxed<Option<OwnedSemaphorePermit>>>,
    alarm: Option<(Timestamp, Alarm)>,
    renewal: Option<Boxed<Result<(Renewed, Timestamp)>>>,
    renew_at: Timestamp,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        engine: &'a Arc<Inner>,
        lease: Lease,
        signal: Arc<Signal>,
        session: Session,
    ) -> Self {
        let renew_at = engine.renew_at(lease.until);
        let head = lease.head;
        Self {
            engine,
            lease,
            signal,
            session,
            head,
            pending: VecDeque::new(),
            flight: None,
            conflicts: 0,
            resends: 0,
            permit: None,
            permit_wait: None,
            alarm: None,
            renewal: None,
            renew_at,
        }
    }

    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Drives the run until it ends, rests or is lost.
    pub(super) async fn run(&mut self) -> Result<Rest, Stop> {
        self.session.receive_backlog(self.engine).await?;
        self.catch_up().await?;
        loop {
            if self.flight.is_none() {
                if self.head > self.session.position() {
                    self.catch_up().await?;
                }
                if self.pending.is_empty() {
                    self.session.turn(self.engine).await?;
                }
                let claims = self.lease.attempt.saturating_sub(1);
                self.session.program()?.set_claims(claims);
                if self.signal.is_stopped() && self.session.program()?.output().is_none() {
                    self.write_rest(Due::Now)?;
                } else {
                    self.write_what_presses()?;
                }
            }
            match poll_fn(|cx| self.poll(cx)).await {
                Err(halt) => {
                    self.land_before_halting().await;
                    return Err(halt.into());
                }
                Ok(Found::Pressing) => {}
                Ok(Found::Answer(answer)) => {
                    if let Some(rest) = self.landed(answer).await? {
                        return Ok(rest);
                    }
                }
                Ok(Found::Renewed(renewed)) => self.renewed(renewed)?,
                Ok(Found::Outside) => self.refresh().await?,
                Ok(Found::Idle(due)) => self.write_rest(Due::At(due))?,
                Ok(Found::Stopping) => {}
            }
        }
    }

    // ---- what happens next ----

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, Halt>> {
        if let Some(flight) = &mut self.flight
            && let Poll::Ready(answer) = flight.answer.as_mut().poll(cx)
        {
            return Poll::Ready(Ok(Found::Answer(answer)));
        }
        if let Some(renewal) = &mut self.renewal
            && let Poll::Ready(renewed) = renewal.as_mut().poll(cx)
        {
            self.renewal = None;
            return Poll::Ready(Ok(Found::Renewed(renewed)));
        }
        if self.flight.as_ref().is_some_and(Flight::rests) {
            // What a body or a timer left now would belong to whoever has the run next.
            self.renew_in_time(cx);
            return self.set_alarm(cx, None);
        }
        loop {
            let now = self.renew_in_time(cx);
            let waits_for_permits = self.take_permits(cx)?;
            let program = self.session.program()?;
            let bodies_max = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let polled = program.poll_bodies(cx, now, bodies_max);
            for key in program.take_starved() {
                tracing::warn!(
                    run = %self.lease.run, %key,
                    "starved: the step's body was woken, and the workflow does not poll it"
                );
            }
            match polled {
                Poll::Ready(Err(blocked)) => return Poll::Ready(Err(blocked.into())),
                Poll::Ready(Ok(())) if self.flight.is_none() => {
                    return Poll::Ready(Ok(Found::Pressing));
                }
                Poll::Ready(Ok(())) => break,
                Poll::Pending if waits_for_permits => break,
                Poll::Pending if self.wants_permits()? => {}
                Poll::Pending => break,
            }
        }
        self.signal.waker.register(cx.waker());
        if self.flight.is_none() {
            if self.signal.is_stopped() {
                return Poll::Ready(Ok(Found::Stopping));
            }
            if self.signal.take_outside() {
                return Poll::Ready(Ok(Found::Outside));
            }
        }
        let program = self.session.program()?;
        let next = program.next_alarm();
        if self.flight.is_none() && program.is_idle() {
            self.permit = None;
            // No body runs and no time is waited for: whatever is open is never polled again.
            let Some(next) = next else {
                return Poll::Ready(Err(program.waits_for_nothing().into()));
            };
            if next > self.engine.clock.now().plus(self.engine.options.linger) {
                return Poll::Ready(Ok(Found::Idle(next)));
            }
        }
        self.set_alarm(cx, next)
    }

    /// Wakes this task when time next matters.
    fn set_alarm(
        &mut self,
        cx: &mut Context<'_>,
        next: Option<Timestamp>,
    ) -> Poll<Result<Found, Halt>> {
        let renew_at = self.renewal.is_none().then_some(self.renew_at);
        let Some(at) = [next, renew_at].into_iter().flatten().min() else { return Poll::Pending };
        if self.alarm.as_ref().is_none_or(|(set, _)| *set != at) {
            self.alarm = Some((at, self.engine.clock.alarm(at)));
        }
        if let Some((_, alarm)) = &mut self.alarm
            && alarm.as_mut().poll(cx).is_ready()
        {
            self.alarm = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn wants_permits(&mut self) -> Result<bool, Halt> {
        let wanted = self.session.program()?.bodies_wanted().min(BODIES_A_RUN_MAX);
        Ok(wanted > self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits))
    }

    /// Takes as many of the engine's permits as there are bodies; true while it waits for one.
    fn take_permits(&mut self, cx: &mut Context<'_>) -> Result<bool, Halt> {
        let wanted = self.session.program()?.bodies_wanted().min(BODIES_A_RUN_MAX);
        if let Some(permit) = &mut self.permit {
            let spare = permit.num_permits().saturating_sub(wanted.max(1));
            if spare > 0 {
                drop(permit.split(spare));
            }
        }
        loop {
            let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            if held >= wanted {
                self.permit_wait = None;
                return Ok(false);
            }
            let got = match &mut self.permit_wait {
                Some(wait) => match wait.as_mut().poll(cx) {
                    Poll::Ready(got) => got,
                    Poll::Pending => return Ok(true),
                },
                None => self.engine.try_permits(wanted - held),
            };
            self.permit_wait = None;
            match (&mut self.permit, got) {
                (Some(permit), Some(got)) => permit.merge(got),
                (permit @ None, Some(got)) => *permit = Some(got),
                // Some bodies run already: they make room when they end.
                (Some(_), None) => return Ok(true),
                (None, None) => self.permit_wait = Some(self.engine.wait_for_permit()),
            }
        }
    }

    // ---- what is written ----

    fn write_what_presses(&mut self) -> Result<(), Halt> {
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
        let (ticket, engine) = (self.lease.ticket, self.engine);
        self.launch(|took_all, now| {
            let close = ends && took_all;
            let rest = close.then(|| engine.rest_of_closed(now));
            By::Owner { ticket, close, rest, tags: None }
        })
    }

    /// Gives the lease back, with whatever intents and notes wait.
    fn write_rest(&mut self, due: Due) -> Result<(), Halt> {
        if self.pending.is_empty() {
            self.session.program()?.take_batch(&mut self.pending);
        }
        let ticket = self.lease.ticket;
        self.launch(|took_all, _| By::Owner {
            ticket,
            close: false,
            rest: took_all.then_some(due),
            tags: None,
        })
    }

    fn end(&mut self) -> Result<Event, Halt> {
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

    fn launch(&mut self, by: impl FnOnce(bool, Timestamp) -> By) -> Result<(), Halt> {
        let (at, limits) = (self.engine.clock.now(), &self.engine.limits);
        let (position, seal) = (self.session.position(), self.session.seal());
        let by = |took_all| by(took_all, at);
        let batch = Batch::fill(&mut self.pending, position, at, seal, limits, by)?;
        self.send(batch, None);
        Ok(())
    }

    fn send(&mut self, batch: Batch, not_before: Option<Timestamp>) {
        let (engine, log) = (Arc::clone(self.engine), self.session.log());
        let append = Arc::clone(&batch.append);
        let answer = Box::pin(async move {
            if let Some(time) = not_before {
                engine.clock.alarm(time).await;
            }
            engine.world.append(&log, &append).await
        });
        self.flight = Some(Flight { batch, answer });
    }

    // ---- what comes back ----

    async fn landed(&mut self, answer: Result<Appended>) -> Result<Option<Rest>, Stop> {
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
                self.resends += 1;
                tracing::warn!(run = %self.lease.run, %error, "an append is sent again");
                let time = self.engine.clock.now().plus(delay.min(RESEND_DELAY_MAX));
                if time >= self.lease.until {
                    return Err(Halt::Error(error).into());
                }
                self.send(batch, Some(time));
                Ok(None)
            }
            Err(error) => Err(Halt::Error(error).into()),
        }
    }

    async fn committed(&mut self, batch: Batch, head: Position) -> Result<Option<Rest>, Stop> {
        self.conflicts = 0;
        self.resends = 0;
        self.head = self.head.max(head).max(batch.append.head_after());
        // What was missed stands before what we wrote.
        while self.session.position() < batch.append.expected {
            let expected = batch.append.expected;
            self.read_some(Some(expected)).await?;
        }
        if !batch.events.is_empty() {
            self.lease.attempt = 1;
        }
        let Batch { append, events } = batch;
        let (closes, rests) = match &append.by {
            By::Owner { close, rest, .. } => (*close, *rest),
            By::Creator(_) | By::Outsider => (false, None),
        };
        for (record, event) in append.records.iter().zip(events) {
            let logged = Arc::new(Logged { position: record.position, at: record.at, event });
            if closes && logged.event.is_end() {
                self.engine.hub.ended(&self.lease.run, &logged);
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

    fn conflicted(&mut self, batch: Batch, head: Position) -> Result<(), Stop> {
        if head < batch.append.expected {
            return Err(Stop::Regressed);
        }
        self.conflicts += 1;
        if self.conflicts > CONFLICTS_MAX {
            let error = Error::new(ErrorKind::Busy, "64 appends met others' appends")
                .run(self.lease.run.clone())
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
    async fn land_before_halting(&mut self) {
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

    // ---- what others wrote ----

    /// Reads and delivers up to the head that is known.
    async fn catch_up(&mut self) -> Result<(), Stop> {
        while self.session.position() < self.head {
            self.read_some(None).await?;
        }
        Ok(())
    }

    /// Reads what there is beyond the head that is known.
    async fn refresh(&mut self) -> Result<(), Stop> {
        self.read_some(None).await?;
        self.catch_up().await
    }

    async fn read_some(&mut self, up_to: Option<Position>) -> Result<(), Stop> {
        let (log, after) = (self.session.log(), self.session.position());
        let mut page =
            self.engine.world.read(&log, after, NonZeroU32::MAX).await.map_err(Halt::from)?;
        // A head that was seen does not go back, and a page is empty only at the head.
        if page.head < after || (page.records.is_empty() && self.head.max(page.head) > after) {
            return Err(Stop::Regressed);
        }
        self.head = self.head.max(page.head);
        if let Some(up_to) = up_to {
            page.records.retain(|record| record.position <= up_to);
        }
        self.session.receive(self.engine, page.records).await?;
        Ok(())
    }

    // ---- the lease ----

    /// Begins a renewal if it is time; gives the time.
    fn renew_in_time(&mut self, cx: &Context<'_>) -> Timestamp {
        let now = self.engine.clock.now();
        if now >= self.renew_at && self.renewal.is_none() {
            self.begin_renewal(now);
            cx.waker().wake_by_ref();
        }
        now
    }

    fn begin_renewal(&mut self, now: Timestamp) {
        let until = now.plus(self.engine.options.lease);
        self.renew_at = self.engine.renew_at(until);
        let (engine, lease) = (Arc::clone(self.engine), self.lease.clone());
        self.renewal = Some(Box::pin(async move {
            engine.world.renew(&lease, until).await.map(|renewed| (renewed, until))
        }));
    }

    fn renewed(&mut self, renewed: Result<(Renewed, Timestamp)>) -> Result<(), Stop> {
        match renewed {
            Ok((Renewed::Held { head }, until)) => {
                self.lease.until = until;
                self.head = self.head.max(head);
                Ok(())
            }
            // Perhaps by what is in flight: its answer says so.
            Ok((Renewed::Lost, _)) if self.flight.as_ref().is_some_and(Flight::rests) => Ok(()),
            Ok((Renewed::Lost, _)) => Err(Stop::Lost),
            Err(error) => {
                // An expired lease that nobody replaced is current: appends decide.
                tracing::warn!(run = %self.lease.run, %error, "a lease was not renewed");
                Ok(())
            }
        }
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }
}
