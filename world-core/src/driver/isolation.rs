//! What is done with a run whose workers have died, before it is driven again.
//!
//! A worker that dies takes the leases of all its runs along, and most of them had nothing to do
//! with it. So a lost lease proves nothing: a run that lost two in a row is a *suspect*. It waits
//! until the others have made progress, is noted as `run_isolated`, and is driven apart. Only
//! deaths after a note that says *alone* count against it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    drive::Stop,
    engine::Inner,
    held::HeldLease,
    hub::Signal,
    session::Session,
    suspects::Suspect,
    turn::{self, Written},
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, Failure, FailureKind},
    ids::Position,
    lease::Renewed,
    record::{Append, Appended, By, Due, Kind, Record, Release},
    seal::LogSeal,
    world::World,
};

/// The claim without progress from which a run is a suspect: two workers have died with it.
const SUSPECT_FROM: u32 = 3;

/// The longest time by which a run that kills its workers is slowed down.
const SLOWED_MAX: Duration = Duration::from_secs(300);

/// The most records at the end of a log among which the note of an isolation is looked for.
const TAIL_MAX: u64 = 64;

/// How often the note is sent again because others have appended.
const TRIES_MAX: u32 = 64;

/// What is to be done with a run that has been claimed without progress before.
pub(super) enum Admitted {
    /// Drive it like any other.
    Unsuspected(Box<Session>),
    /// Drive it apart: from its log, and for as long as this lives.
    Apart(Suspect),
    /// Nothing: it was ended, or given back.
    Over,
}

/// What the last note of an isolation says, if the run has made no progress since.
#[derive(Clone, Copy, Default)]
struct Isolated {
    deaths: u32,
    round: u32,
    alone: u32,
}

/// Decides how a run is driven that was claimed before without progress; waits, if it must, until
/// the others have made some.
pub(super) async fn admit(
    engine: &Inner,
    signal: &Arc<Signal>,
    session: Session,
) -> Result<Admitted, Stop> {
    let lease = &signal.lease;
    let seal = session.seal().clone();
    let read = session.backlog();
    let reaches_head = read.last().is_some_and(|record| record.position >= lease.head());
    let last = reaches_head.then(|| last_own(read));
    let before = last_isolation(engine, lease, &seal, last).await?;
    if lease.attempt() < SUSPECT_FROM && before.round == 0 {
        return Ok(Admitted::Unsuspected(Box::new(session)));
    }
    // The session is not kept meanwhile: many may wait, and a page of a log is up to 1 MiB.
    if let (Position::START, Some(first)) = (session.position(), session.backlog().first()) {
        // Nothing is written under a key that does not open the log, nor where the code is missing.
        if let Event::RunCreated { workflow, version, .. } = &seal.open(first)?.event {
            engine.code_for(workflow, *version)?;
        }
    }
    drop(session);
    let deaths = before.deaths.saturating_add(deaths_while_driven(lease.attempt(), before.round));
    if engine.options.poison_after.is_some_and(|after| before.alone >= after.get()) {
        return poison(engine, lease, &seal, before.alone).await;
    }
    let suspect = Suspect::enter(&engine.hub, signal, before.round);
    let Some(is_alone) = suspect.turn(&*engine.clock).await else {
        let written =
            turn::write(engine, lease, None, lease.head(), None, Release::undriven(Due::Now)).await;
        return over(written);
    };
    hold(engine, lease, before.alone).await?;
    let now = Isolated {
        deaths,
        round: before.round.saturating_add(1),
        alone: before.alone.saturating_add(u32::from(is_alone)),
    };
    tracing::warn!(
        run = %lease.run(), deaths, round = now.round, alone = is_alone,
        "the run may be what its workers died of: it is driven apart from the others"
    );
    lease.set_head(note(engine, lease, &seal, now).await?);
    // The note has set the World's count back; attempts of steps go on counting the deaths.
    lease.set_attempt(deaths.saturating_add(1));
    Ok(Admitted::Apart(suspect))
}

/// Counts the workers that have died since the last progress or note while they drove the run. The
/// others died while it waited for its turn, and began no body of it.
fn deaths_while_driven(attempt: u32, round: u32) -> u32 {
    let driven_at_most = if round == 0 { SUSPECT_FROM - 1 } else { 1 };
    attempt.saturating_sub(1).min(driven_at_most)
}

/// The last record that does not come from outside.
fn last_own(records: &[Record]) -> Option<Record> {
    records.iter().rev().find(|record| !record.kind.is_external()).cloned()
}

fn over(written: Written) -> Result<Admitted, Stop> {
    match written {
        Written::Done => Ok(Admitted::Over),
        Written::Regressed => Err(Stop::Regressed),
    }
}

/// Looks at the end of the log, of which this has been read. What came from outside since is no
/// progress.
async fn last_isolation(
    engine: &Inner,
    lease: &HeldLease,
    seal: &LogSeal,
    read: Option<Option<Record>>,
) -> Result<Isolated, Stop> {
    let last = match read {
        Some(last) => last,
        None => {
            let after = Position::new(lease.head().get().saturating_sub(TAIL_MAX));
            last_own(&engine.world.read(seal.log(), after, NonZeroU32::MAX).await?.records)
        }
    };
    let Some(last) = last.filter(|last| last.kind == Kind::RUN_ISOLATED) else {
        return Ok(Isolated::default());
    };
    match seal.open(&last)?.event {
        Event::RunIsolated { deaths, round, alone } => Ok(Isolated { deaths, round, alone }),
        _ => Ok(Isolated::default()),
    }
}

/// Ends a run that has killed its workers too often.
async fn poison(
    engine: &Inner,
    lease: &HeldLease,
    seal: &LogSeal,
    alone: u32,
) -> Result<Admitted, Stop> {
    tracing::error!(run = %lease.run(), alone, "the run is ended: it brings down its workers");
    let failure = Failure {
        kind: FailureKind::Poisoned,
        message: format!("{alone} workers died while they drove the run alone"),
        causes: Vec::new(),
    };
    let end = Event::RunFailed { failure };
    let release = Release::driven(engine.rest_of_closed(engine.clock.now()));
    over(turn::write(engine, lease, Some(seal), lease.head(), Some(end), release).await)
}

/// Renews the lease of a suspect, the longer the more workers have died with it alone: a run that
/// kills its workers slows down by itself.
async fn hold(engine: &Inner, lease: &HeldLease, alone: u32) -> Result<(), Stop> {
    let slowed = engine.options.lease.saturating_mul(1 << alone.min(16)).min(SLOWED_MAX);
    match engine.renew(lease, slowed.max(engine.options.lease), lease.head()).await? {
        Renewed::Held { head } => {
            lease.set_head(lease.head().max(head));
            Ok(())
        }
        Renewed::Lost => Err(Stop::Lost),
    }
}

/// Notes that the run is about to be driven apart; gives the head with the note.
async fn note(
    engine: &Inner,
    lease: &HeldLease,
    seal: &LogSeal,
    Isolated { deaths, round, alone }: Isolated,
) -> Result<Position, Stop> {
    let event = Event::RunIsolated { deaths, round, alone };
    let mut expected = lease.head();
    for _ in 0..TRIES_MAX {
        let at = engine.clock.now();
        let records = vec![seal.seal(expected.next(), at, &event)?];
        let by = By::Owner { ticket: lease.ticket(), close: false, rest: None, tags: None };
        let append = Append { expected, records, at, by };
        match engine.world.append(seal.log(), &append).await? {
            Appended::Committed { head } => return Ok(head),
            Appended::Conflict { head } => expected = head,
            Appended::Fenced | Appended::NotOpen => return Err(Stop::Lost),
        }
    }
    Err(Error::new(ErrorKind::Busy, "64 appends met others' appends")
        .run(lease.run().clone())
        .into())
}
