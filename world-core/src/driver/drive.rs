//! Drives one run under a lease: polls its bodies, appends what they leave, delivers it.
//!
//! While an append is in flight bodies go on and deliveries do not. What an append holds is kept
//! here until it is committed.

mod land;
mod permits;
mod write;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

pub(super) use permits::BODIES_A_RUN_MAX;
use permits::Permits;
use write::Flight;

use super::{
    clock::Alarm,
    engine::Inner,
    hub::{Bodies, Signal, Stopping},
    session::{Halt, Session},
    stands::Stand,
};
use crate::{
    error::{ErrorKind, Result},
    event::Event,
    ids::{Position, Timestamp},
    lease::Renewed,
    lock::lock,
    moment::Moment,
    record::{Appended, Due},
    replay::NextAlarm,
    world::World,
};

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
        match halt.into() {
            Halt::Error(error) if error.kind() == ErrorKind::Regressed => Self::Regressed,
            halt => Self::Halt(halt),
        }
    }
}

/// What [`Drive::poll`] has found.
enum Found {
    Answer(Result<Appended>),
    Renewed(Result<Renewed>),
    /// Something is to be written.
    Pressing,
    /// Nothing runs, and nothing will before this time.
    Idle(Timestamp),
    /// Somebody else may have appended.
    Outside,
    /// The worker stops, and the run has nothing left that may end here.
    Drained(Due),
    /// The worker stops, whatever runs.
    Stopping,
}

pub(super) struct Drive<'a> {
    engine: &'a Arc<Inner>,
    signal: Arc<Signal>,
    session: Session,
    /// The head of the log, as far as it is known.
    head: Position,
    pending: VecDeque<Event>,
    flight: Option<Flight>,
    /// Conflicts since the last commit, and of those the last in a row at the stated head.
    conflicts: u32,
    same_head: u32,
    resends: u32,
    permits: Permits,
    /// Wakes this task when the wall clock says so.
    alarm: Option<(Timestamp, Alarm)>,
    /// Wakes this task when the monotonic clock says so.
    pause: Option<(Duration, Alarm)>,
    renewal: Option<Boxed<Result<Renewed>>>,
    /// When the lease is next to be renewed: once either clock is there.
    renew_at: Moment,
    progressed: bool,
}

impl<'a> Drive<'a> {
    pub(super) fn new(engine: &'a Arc<Inner>, signal: Arc<Signal>, session: Session) -> Self {
        let renew_at = signal.lease.moment_before_end(engine.options.lease * 2 / 3);
        let head = signal.lease.head();
        Self {
            engine,
            signal,
            session,
            head,
            pending: VecDeque::new(),
            flight: None,
            conflicts: 0,
            same_head: 0,
            resends: 0,
            permits: Permits::of(engine.bodies()),
            alarm: None,
            pause: None,
            renewal: None,
            renew_at,
            progressed: false,
        }
    }

    /// Whether an append of this drive was committed.
    pub(super) const fn progressed(&self) -> bool {
        self.progressed
    }

    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Drives the run until it ends, rests or is lost.
    pub(super) async fn run(&mut self) -> Result<Rest, Stop> {
        self.session.receive_backlog(self.engine, self.head).await?;
        self.catch_up().await?;
        loop {
            if self.flight.is_none() {
                if self.head > self.session.position() {
                    self.catch_up().await?;
                }
                if self.pending.is_empty() {
                    self.session.turn(self.engine).await?;
                }
                let claims = self.signal.lease.attempt().saturating_sub(1);
                let program = self.session.program()?;
                program.set_claims(claims);
                program.set_lease(&self.signal);
                let ended = program.output().is_some();
                if self.signal.stopping() == Stopping::Now && !ended {
                    self.write_rest(Due::Now)?;
                } else {
                    self.write_what_presses()?;
                }
            }
            let polled = poll_fn(|cx| {
                let polled = self.poll(cx);
                if self.engine.hub.stands.is_watched() {
                    self.show(polled.is_pending());
                }
                polled
            });
            match polled.await {
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
                Ok(Found::Drained(due)) => self.write_rest(due)?,
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
        self.drain_if_told()?;
        if self.flight.as_ref().is_some_and(Flight::rests) {
            // What a body or a timer left now would belong to whoever has the run next.
            self.renew_in_time(cx);
            return self.set_alarm(cx, NextAlarm::default());
        }
        loop {
            let now = self.renew_in_time(cx);
            let _scope = self.session.scope().enter(false);
            let program = self.session.program()?;
            if program.wants_lease() && self.signal.lease.holds() {
                program.confirm_lease();
            }
            let waits_for_permits = self.permits.fit(program.bodies_wanted(), cx);
            let polled = program.poll_bodies(cx, now, self.permits.held());
            for key in program.take_starved() {
                tracing::warn!(
                    run = %self.signal.lease.run(), %key,
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
                Poll::Pending if self.permits.lacks(program.bodies_wanted()) => {}
                Poll::Pending => break,
            }
        }
        if self.session.program()?.wants_lease() {
            self.renew_in_time(cx);
        }
        self.signal.waker.register(cx.waker());
        if self.flight.is_none() {
            match self.signal.stopping() {
                Stopping::Not => {}
                Stopping::Draining => {
                    if let Some(due) = self.drained()? {
                        return Poll::Ready(Ok(Found::Drained(due)));
                    }
                }
                Stopping::Now => return Poll::Ready(Ok(Found::Stopping)),
            }
            if self.signal.take_outside() {
                return Poll::Ready(Ok(Found::Outside));
            }
        }
        let program = self.session.program()?;
        let next = program.next_alarm();
        if self.flight.is_none() && program.is_idle() {
            self.permits.release();
            // No body is polled and no time is waited for: whatever is open is never polled again.
            let now = self.engine.moment();
            let Some(due) = next.due(now) else {
                return Poll::Ready(Err(program.waits_for_nothing().into()));
            };
            if due > now.wall.plus(self.engine.options.linger) {
                return Poll::Ready(Ok(Found::Idle(due)));
            }
        }
        self.set_alarm(cx, next)
    }

    /// Says where it stands, after it was polled.
    fn show(&mut self, is_pending: bool) {
        let not_before = self.flight.as_ref().map(|flight| flight.not_before);
        let stand = match not_before {
            // An append is under way.
            Some(None) => Stand::Moves,
            _ if !is_pending || self.renewal.is_some() => Stand::Moves,
            waits => {
                let now = self.engine.moment();
                let program = self.session.program().ok();
                let alarm = program.and_then(|program| program.next_alarm().due(now));
                let next = [alarm, waits.flatten()].into_iter().flatten().min();
                Stand::Waits { next, renew_at: self.renew_at }
            }
        };
        *lock(&self.signal.stand) = stand;
        self.engine.hub.stands.change();
    }

    /// Lets no body begin once the worker stops, and notes for its report whether any still runs
    /// or has left what is not written yet.
    fn drain_if_told(&mut self) -> Result<(), Halt> {
        if self.signal.stopping() == Stopping::Not {
            return Ok(());
        }
        let writes = self.flight.as_ref().is_some_and(|flight| !flight.rests());
        let program = self.session.program()?;
        program.drain();
        let ended = !writes && program.is_drained();
        self.signal.note_bodies(if ended { Bodies::Ended } else { Bodies::Running });
        Ok(())
    }

    /// When a run that is being drained next wants a worker, once it has no body left that runs.
    fn drained(&mut self) -> Result<Option<Due>, Halt> {
        let program = self.session.program()?;
        if !program.is_drained() {
            return Ok(None);
        }
        let alarm = program.next_alarm().due(self.engine.moment());
        let alarm = alarm.filter(|_| !program.holds_bodies_back());
        Ok(Some(alarm.map_or(Due::Now, Due::At)))
    }

    /// Wakes this task when time next matters.
    fn set_alarm(&mut self, cx: &mut Context<'_>, next: NextAlarm) -> Poll<Result<Found, Halt>> {
        let clock = &self.engine.clock;
        if let Some(at) = next.wall
            && self.alarm.as_ref().is_none_or(|(set, _)| *set != at)
        {
            self.alarm = Some((at, clock.alarm(at)));
        }
        let renew_at = self.renewal.is_none().then_some(self.renew_at.monotonic);
        if let Some(at) = [next.monotonic, renew_at].into_iter().flatten().min()
            && self.pause.as_ref().is_none_or(|(set, _)| *set != at)
        {
            self.pause = Some((at, clock.pause(at.saturating_sub(clock.monotonic()))));
        }
        if rings(&mut self.alarm, cx) | rings(&mut self.pause, cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
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
        let head = up_to.unwrap_or(page.head);
        self.session.receive(self.engine, page.records, head).await?;
        Ok(())
    }

    // ---- the lease ----

    /// Begins a renewal if it is time; gives the time.
    fn renew_in_time(&mut self, cx: &Context<'_>) -> Moment {
        let now = self.engine.moment();
        // Either clock: the wall clock may be set back, the monotonic one stop with the machine.
        if now.reaches(self.renew_at) && self.renewal.is_none() {
            self.begin_renewal(now);
            cx.waker().wake_by_ref();
        }
        now
    }

    fn begin_renewal(&mut self, now: Moment) {
        let lease = self.engine.options.lease;
        self.renew_at = now.plus(lease / 3);
        let (engine, signal) = (Arc::clone(self.engine), Arc::clone(&self.signal));
        self.renewal = Some(Box::pin(async move {
            let held = &signal.lease;
            engine.renew(held, lease, held.head()).await
        }));
    }

    fn renewed(&mut self, renewed: Result<Renewed>) -> Result<(), Stop> {
        match renewed {
            Ok(Renewed::Held { head }) => {
                self.head = self.head.max(head);
                Ok(())
            }
            // Perhaps by what is in flight: its answer says so.
            Ok(Renewed::Lost) if self.flight.as_ref().is_some_and(Flight::rests) => Ok(()),
            Ok(Renewed::Lost) => Err(Stop::Lost),
            Err(error) => {
                // An expired lease that nobody replaced is current: appends decide.
                tracing::warn!(run = %self.signal.lease.run(), %error, "a lease was not renewed");
                Ok(())
            }
        }
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }
}

/// Polls an alarm, and forgets it once it is over.
fn rings<T>(alarm: &mut Option<(T, Alarm)>, cx: &mut Context<'_>) -> bool {
    let is_over = alarm.as_mut().is_some_and(|(_, alarm)| alarm.as_mut().poll(cx).is_ready());
    if is_over {
        *alarm = None;
    }
    is_over
}
