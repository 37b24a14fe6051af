//! A worker's turn with a run: from the lease to giving it back.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tracing::{Instrument, Span};

use super::{
    drive::{Drive, Rest, Stop},
    engine::{Engine, Inner},
    held::HeldLease,
    hub::{Left, Signal, Stopping},
    isolation::{self, Admitted},
    session::{Halt, Session},
    standing_back::{self, Refused, is_no_progress},
    suspects::Suspect,
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, Logged},
    ids::{LogId, Position, RunId, Timestamp},
    lease::Renewed,
    observe,
    record::{Append, Appended, By, Due, Release},
    replay::Blocked,
    seal::LogSeal,
    text,
    world::World,
};

/// The shortest and longest times for which a blocked run rests.
const BLOCKED_REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The most records at the end of a log among which a note of the same reason is looked for.
const NOTES_MAX: u64 = 64;

/// How often in a row a turn replays its run from what a store has left, without progress.
const REPLAYS_MAX: u32 = 2;

/// How long a run rests whose key is missing or whose store fails.
const FAILED_REST: Duration = Duration::from_secs(10);

impl Engine {
    /// When this engine claims a run again that it could not drive.
    pub(crate) fn retries_at(&self, run: &RunId) -> Option<Timestamp> {
        self.inner().standing_back.until(run)
    }

    /// Claims what is due, as a worker would, and gives the turn with each run, to be taken.
    pub(crate) async fn claim(&self, limit: NonZeroU32) -> Result<Vec<BoxFuture<'static, ()>>> {
        let claimed = self.inner().claim(limit).await?.into_iter();
        let turns = claimed.map(|(lease, session)| -> BoxFuture<'static, ()> {
            let engine = Arc::clone(self.inner());
            Box::pin(async move {
                let driven = engine.hub.enter(lease);
                take(&engine, driven.signal(), session).await;
            })
        });
        Ok(turns.collect())
    }
}

/// Takes a turn with a run. Whatever becomes of it, the worker goes on.
pub(super) async fn take(engine: &Arc<Inner>, signal: &Arc<Signal>, session: Option<Session>) {
    let span = observe::run_span(signal.lease.run());
    take_inside(&span, engine, signal, session).instrument(span.clone()).await;
}

async fn take_inside(
    span: &Span,
    engine: &Arc<Inner>,
    signal: &Arc<Signal>,
    mut session: Option<Session>,
) {
    let lease = &signal.lease;
    let run = lease.run();
    if signal.stopping() != Stopping::Not {
        // It was claimed while its worker began to stop: whoever comes next drives it.
        let release = Release::undriven(Due::Now);
        let _ = write(engine, lease, None, lease.head(), None, release).await;
        return;
    }
    if lease.is_closed() {
        return retire(engine, lease).await;
    }
    if let Some(Written::Done) = standing_back::give_back(engine, lease).await {
        return;
    }
    if lease.attempt() >= 2 {
        observe::taken_over(run, lease.attempt(), lease.head());
    }
    let mut suspect = None;
    let mut replays_left = REPLAYS_MAX;
    loop {
        let Err((stop, place)) = drive(span, engine, signal, session.take(), &mut suspect).await
        else {
            engine.standing_back.forget(run);
            return;
        };
        let has_progressed = place.head > lease.head();
        let written = match stop {
            Stop::Lost => {
                tracing::info!(%run, "another worker has the run, or it is over");
                signal.note_left(Left::Lost);
                return;
            }
            Stop::Regressed => Written::Regressed,
            Stop::Halt(Halt::Blocked(blocked)) => block(engine, lease, &blocked, place).await,
            Stop::Halt(Halt::Error(error)) => fail(engine, lease, &error, place).await,
        };
        if written == Written::Done {
            return;
        }
        tracing::error!(
            %run,
            kind = %ErrorKind::Regressed,
            "the store may have lost acknowledged records; the run is replayed from what it has"
        );
        if has_progressed {
            replays_left = REPLAYS_MAX;
        }
        if replays_left == 0 || !begin_anew(engine, lease).await {
            return; // whoever claims it when the lease has run out replays it
        }
        replays_left -= 1;
    }
}

/// Renews the lease of a run whose program was dropped; false if it is lost as well.
async fn begin_anew(engine: &Inner, lease: &HeldLease) -> bool {
    let time = lease.left().max(engine.options.lease);
    // A head of 0 tells the World that the owner has seen nothing.
    match engine.renew(lease, time, Position::START).await {
        Ok(Renewed::Held { head }) => {
            lease.set_head(head);
            true
        }
        Ok(Renewed::Lost) => false,
        Err(error) => {
            tracing::warn!(run = %lease.run(), %error, "the lease was not renewed for a replay");
            false
        }
    }
}

/// What became of the last append of a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is in the log, or nothing more can be done.
    Done,
    /// The store has lost what this turn rests on.
    Regressed,
}

/// What is known of a log when its drive stops.
struct Place {
    seal: Option<LogSeal>,
    head: Position,
    /// Whether this drive has appended.
    progressed: bool,
}

impl Place {
    /// What is known of a log before its drive.
    fn before(lease: &HeldLease) -> Self {
        Self { seal: None, head: lease.head(), progressed: false }
    }
}

async fn drive(
    span: &Span,
    engine: &Arc<Inner>,
    signal: &Arc<Signal>,
    session: Option<Session>,
    suspect: &mut Option<Suspect>,
) -> std::result::Result<(), (Stop, Place)> {
    let lease = &signal.lease;
    let mut session = match session_for(engine, signal, session, suspect).await {
        Ok(Some(session)) => session,
        Ok(None) => return Ok(()),
        Err(stop) => return Err((stop, Place::before(lease))),
    };
    session.begin_drive(engine, span);
    let mut drive = Drive::new(engine, Arc::clone(signal), session);
    let stop = match drive.run().await {
        Ok(Rest::Resting(due)) => {
            signal.note_left(Left::GivenBack);
            if signal.stopping() == Stopping::Not {
                engine.hub.keep(drive.into_session(), due);
            } else {
                // A program that was told to begin no body is of no use to another worker.
                engine.hub.rested(lease.run(), due);
            }
            return Ok(());
        }
        Ok(Rest::GivenBack) => {
            signal.note_left(Left::GivenBack);
            engine.hub.work.notify_waiters(); // another worker of this engine may have room
            return Ok(());
        }
        Ok(Rest::Closed) => return Ok(()),
        Err(stop) => stop,
    };
    let (head, progressed) = (drive.head(), drive.progressed());
    let session = drive.into_session();
    Err((stop, Place { seal: Some(session.seal().clone()), head, progressed }))
}

/// The session with which a run is driven, once it may be; none if it is over.
async fn session_for(
    engine: &Arc<Inner>,
    signal: &Arc<Signal>,
    session: Option<Session>,
    suspect: &mut Option<Suspect>,
) -> std::result::Result<Option<Session>, Stop> {
    let lease = &signal.lease;
    let session = match session {
        // A program that is ahead of its log has seen what the store has lost.
        Some(session) if session.position() <= lease.head() => session,
        Some(_) | None => open(engine, lease).await?,
    };
    if lease.attempt() == 1 || suspect.is_some() {
        return Ok(Some(session));
    }
    match isolation::admit(engine, signal, session).await? {
        Admitted::Unsuspected(session) => Ok(Some(*session)),
        Admitted::Apart(admitted) => {
            *suspect = Some(admitted);
            Ok(Some(open(engine, lease).await?))
        }
        Admitted::Over => Ok(None),
    }
}

/// Opens a run that is not in memory: its first page, and the seal that the page names.
async fn open(engine: &Inner, lease: &HeldLease) -> Result<Session> {
    let log = LogId::Run(lease.run().clone());
    let page = engine.world.read(&log, Position::START, NonZeroU32::MAX).await?;
    let Some(first) = page.records.first() else {
        let error = Error::new(ErrorKind::NotFound, "a run that was claimed and has no log");
        return Err(error.run(lease.run().clone()));
    };
    let seal = engine.seal.of(log, &first.body).await?;
    observe::loaded(lease.run(), page.head);
    Ok(Session::new(lease.run().clone(), seal, engine, page.records))
}

/// Deletes a run whose time of retention is over.
async fn retire(engine: &Inner, lease: &HeldLease) {
    let log = LogId::Run(lease.run().clone());
    if engine.options.retention.is_some() {
        match engine.world.delete(&log, lease.head()).await {
            Ok(deleted) => tracing::debug!(run = %lease.run(), ?deleted, "retention is over"),
            Err(error) => tracing::warn!(run = %lease.run(), %error, "a run was not deleted"),
        }
        return;
    }
    // If the store has lost something, the run is claimed again when this lease has run out.
    let release = Release::driven(Due::Never);
    let _ = write(engine, lease, None, lease.head(), None, release).await;
}

/// How often in a row a run cannot be driven before a worker without its code notes it: others
/// have had several seconds to take it.
const UNABLE_NOTED_FROM: u32 = 4;

/// Gives back a run that this worker cannot drive, and stands back from it: another may be able
/// to, or the next deployment. Why the code cannot go on with the log is noted once for each
/// reason.
async fn block(engine: &Inner, lease: &HeldLease, blocked: &Blocked, place: Place) -> Written {
    if matches!(blocked, Blocked::Unreadable { .. }) {
        engine.hub.watchers.unreadable(lease.run());
    }
    let now = engine.clock.now();
    let kept = engine.standing_back.remember(lease.run(), now, place.head, place.progressed);
    let is_blocked = match blocked {
        Blocked::Diverged(_) | Blocked::Violation(_) | Blocked::Panicked { .. } => true,
        Blocked::Unregistered { .. } | Blocked::NewerVersion { .. } => {
            kept.is_none_or(|kept| kept.tries >= UNABLE_NOTED_FROM)
        }
        // Nothing is written into a log that cannot be read: its key may be another's of the same
        // id, and what was sealed with that would never open again.
        Blocked::Unreadable { .. } => false,
    };
    if is_blocked || matches!(blocked, Blocked::Unreadable { .. }) {
        observe::blocked(lease.run(), place.head, blocked);
    } else {
        observe::stood_back(lease.run(), place.head, blocked);
    }
    let (Some(seal), true) = (place.seal, is_blocked) else {
        return stand_back(engine, lease, None, place.head, None, kept, FAILED_REST).await;
    };
    let why = text::bounded(blocked.to_string());
    let since = match blocked_since(engine, &seal, place.head, &why).await {
        Ok(Standstill::Cancelled { reason }) => {
            let end = Some(Event::RunCancelled { reason });
            let release = Release::driven(engine.rest_of_closed(now));
            engine.standing_back.forget(lease.run());
            return write(engine, lease, Some(&seal), place.head, end, release).await;
        }
        Ok(Standstill::Since(since)) => since,
        Err(error) => {
            let place = Place { seal: None, ..place };
            return fail(engine, lease, &error, place).await;
        }
    };
    engine.standing_back.noted(lease.run());
    let rest = now.since(since.unwrap_or(now)).clamp(BLOCKED_REST.0, BLOCKED_REST.1);
    let note = since.is_none().then_some(Event::RunBlocked { why });
    stand_back(engine, lease, Some(&seal), place.head, note, kept, rest).await
}

/// Gives a run back undriven: at once if this engine remembers it, or for this long.
async fn stand_back(
    engine: &Inner,
    lease: &HeldLease,
    seal: Option<&LogSeal>,
    head: Position,
    note: Option<Event>,
    kept: Option<Refused>,
    rest: Duration,
) -> Written {
    let now = engine.clock.now();
    let due = kept.map_or_else(|| now.plus(rest), |_| now);
    let written = write(engine, lease, seal, head, note, Release::undriven(Due::At(due))).await;
    engine.hub.rested(lease.run(), kept.map_or(due, |kept| kept.until));
    written
}

/// What stands at the end of the log of a run that is blocked.
enum Standstill {
    /// When it was first blocked for the same reason, if it has made no progress since.
    Since(Option<Timestamp>),
    /// It was asked to end while it was blocked: its code cannot, so it is ended without it.
    Cancelled { reason: String },
}

/// Looks at the end of the log, where a program that stops before its notes never comes.
async fn blocked_since(
    engine: &Inner,
    seal: &LogSeal,
    head: Position,
    why: &str,
) -> Result<Standstill> {
    let after = Position::new(head.get().saturating_sub(NOTES_MAX));
    let page = engine.world.read(seal.log(), after, NonZeroU32::MAX).await?;
    let notes = page.records.iter().rev().take_while(|record| is_no_progress(record.kind));
    // A note that does not open says nothing.
    let (mut since, mut asked) = (None, None);
    for note in notes.filter_map(|record| seal.open(record).ok()) {
        match note.event {
            Event::CancelRequested { reason } => asked = Some(reason),
            Event::RunBlocked { why: known } => {
                if let Some(reason) = asked {
                    return Ok(Standstill::Cancelled { reason });
                }
                if known == why {
                    since = Some(note.at);
                }
            }
            _ => {}
        }
    }
    Ok(Standstill::Since(since))
}

/// Gives back a run whose key is missing, to stand back from it, or whose store fails, to rest.
async fn fail(engine: &Inner, lease: &HeldLease, error: &Error, place: Place) -> Written {
    tracing::error!(run = %lease.run(), %error, "the run cannot be driven now");
    if error.kind() == ErrorKind::Key {
        engine.hub.watchers.unreadable(lease.run());
    }
    let now = engine.clock.now();
    let remember = || engine.standing_back.remember(lease.run(), now, place.head, place.progressed);
    let kept = (error.kind() == ErrorKind::Key).then(remember).flatten();
    stand_back(engine, lease, None, place.head, None, kept, FAILED_REST).await
}

/// The last append of a turn: at most one event, and the lease back. An event that the World does
/// not take is left out: a lease that is not given back would look as if the worker had died.
pub(super) async fn write(
    engine: &Inner,
    lease: &HeldLease,
    seal: Option<&LogSeal>,
    head: Position,
    mut event: Option<Event>,
    mut release: Release,
) -> Written {
    const TRIES_MAX: u32 = 4096;
    let log = LogId::Run(lease.run().clone());
    let mut expected = head;
    for _ in 0..TRIES_MAX {
        let at = engine.clock.now();
        let close = event.as_ref().is_some_and(Event::is_end);
        let by = By::Owner { ticket: lease.ticket(), close, rest: Some(release), tags: None };
        let sealed =
            seal.zip(event.as_ref()).map(|(seal, event)| seal.seal(expected.next(), at, event));
        let records = match sealed.transpose() {
            Ok(record) => record.into_iter().collect(),
            Err(error) => {
                tracing::error!(run = %lease.run(), %error, "a note was not sealed");
                event = None;
                if close {
                    release.due = Due::At(at.plus(FAILED_REST));
                }
                continue;
            }
        };
        let append = Append { expected, records, at, by };
        match engine.world.append(&log, &append).await {
            Ok(Appended::Conflict { head }) => {
                expected = head;
                tokio::task::yield_now().await; // others write: they are to get on as well
            }
            Ok(Appended::Committed { .. }) => {
                if let Some(event) = event.filter(|_| close) {
                    let position = append.head_after();
                    engine.hub.ended(lease.run(), &Arc::new(Logged { position, at, event }));
                } else {
                    engine.hub.left(lease.run(), Left::GivenBack);
                    match release.due {
                        Due::At(time) if release.driven => engine.hub.rested(lease.run(), time),
                        Due::At(_) => {} // who stands back says when it looks again
                        Due::Now => engine.hub.work.notify_waiters(),
                        Due::Never => {}
                    }
                }
                break;
            }
            Ok(Appended::Fenced | Appended::NotOpen) => break,
            Err(error) if error.kind() == ErrorKind::Regressed => return Written::Regressed,
            Err(error) if error.kind() == ErrorKind::TooLarge && event.is_some() => {
                tracing::error!(run = %lease.run(), %error, "a run is given back without a note");
                event = None;
                if close {
                    release.due = Due::At(at.plus(FAILED_REST));
                }
            }
            Err(error) => {
                tracing::warn!(run = %lease.run(), %error, "a run was not given back");
                break;
            }
        }
    }
    Written::Done
}
