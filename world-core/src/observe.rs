//! What the engine tells `tracing`: spans around the user's code, and events of a run's life.
//!
//! | level | what |
//! |---|---|
//! | `INFO` | a run was started, was taken over from a worker that did not give it back, or ended; the spans |
//! | `DEBUG` | an attempt of a step began or returned a result; a run was read from the store, or rests |
//! | `WARN` | an attempt failed and there will be another; a step failed; a run failed; what a store refused |
//! | `ERROR` | a run is blocked, with the whole reason; a run was ended because it killed its workers |
//!
//! All of it is under targets that begin with `world`. It holds names, step keys, positions, types,
//! times and counts; never a payload, a key for sealing, or a text that user code made: an error's
//! message, a panic's or a cancellation's reason. Those are in the run's log.

use std::time::Duration;

use tracing::{
    Span, debug, dispatcher,
    dispatcher::{DefaultGuard, Dispatch},
    error,
    field::Empty,
    info, info_span,
    level_filters::LevelFilter,
    span::EnteredSpan,
    warn,
};

use crate::{
    event::{Event, FailureKind, Logged},
    ids::{Position, RunId, Timestamp, WorkflowName},
    record::{Kind, Record},
    replay::{Blocked, Key},
};

/// The target of the engine's spans and events.
macro_rules! target {
    () => {
        "world::engine"
    };
}

/// The span around all that a worker does with a run, from its lease to giving it back. The
/// workflow's name is added once it is known.
pub(crate) fn run_span(run: &RunId) -> Span {
    info_span!(target: target!(), "run", id = %run, workflow = Empty)
}

/// Keeps what this thread traces from every subscriber until the guard is dropped. `None` if there
/// is no subscriber.
///
/// The guard belongs to this thread: it is not kept across an `await`.
pub(crate) fn silence() -> Option<DefaultGuard> {
    // `Dispatch::none` is known to no callsite, so no interest is computed anew.
    (LevelFilter::current() != LevelFilter::OFF).then(|| dispatcher::set_default(&Dispatch::none()))
}

// ---- the workflow ----

/// Where a program's traces go while one drive polls it.
#[derive(Debug)]
pub(crate) struct Scope {
    run: Span,
    workflow: Span,
    name: Option<WorkflowName>,
    /// Deliveries up to here repeat what some worker has done before.
    replayed_to: Position,
}

/// Marks this thread as polling a program, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    _span: Option<EnteredSpan>,
    _silence: Option<DefaultGuard>,
}

impl Scope {
    /// A scope outside any drive: no spans, nothing replayed.
    pub(crate) const fn new() -> Self {
        Self { run: Span::none(), workflow: Span::none(), name: None, replayed_to: Position::START }
    }

    /// Begins a drive; called inside its run span.
    pub(crate) fn begin_drive(&mut self, run: &Span) {
        self.run = run.clone();
        self.workflow = info_span!(target: target!(), "workflow");
        if let Some(name) = &self.name {
            self.run.record("workflow", name.as_str());
        }
    }

    /// Adds the workflow's name to the run span.
    pub(crate) fn set_workflow(&mut self, name: &WorkflowName) {
        // A second value would stand beside the first.
        if self.name.is_none() && !self.run.is_disabled() {
            self.run.record("workflow", name.as_str());
            self.name = Some(name.clone());
        }
    }

    /// Takes note that the store had these records, of a log with this head. What the program does
    /// with them is a repetition up to the last that an owner of the run has written, for an owner
    /// delivers what comes before its own records. A creation or a request behind it is new to
    /// every program.
    pub(crate) fn was_read(&mut self, records: &[Record], head: Position) {
        let ends_at_head = records.last().is_some_and(|last| last.position >= head);
        let last = records.iter().rev().find(|record| !ends_at_head || shows_a_drive(record.kind));
        if let Some(last) = last {
            self.replayed_to = self.replayed_to.max(last.position);
        }
    }

    /// Takes note that the program is executed anew up to here.
    pub(crate) fn replays_to(&mut self, position: Position) {
        self.replayed_to = self.replayed_to.max(position);
    }

    /// Whether the delivery of this position is a repetition.
    pub(crate) fn is_replayed(&self, position: Position) -> bool {
        position <= self.replayed_to
    }

    /// Enters the span of the workflow; a replay is in none, and silent.
    #[inline]
    pub(crate) fn enter(&self, is_replay: bool) -> Entered {
        Entered {
            _span: (!is_replay && !self.workflow.is_disabled())
                .then(|| self.workflow.clone().entered()),
            _silence: if is_replay { silence() } else { None },
        }
    }
}

/// Whether a record of this kind is written only by an owner whose program has been given all that
/// stands before it.
const fn shows_a_drive(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::RUN_CREATED | Kind::CANCEL_REQUESTED | Kind::RUN_BLOCKED | Kind::RUN_ISOLATED
    )
}

// ---- steps ----

/// Begins an attempt: the span to be entered while its body is made, polled or dropped.
#[inline]
pub(crate) fn attempt_span(run: &RunId, key: &Key, number: u32) -> Span {
    debug!(target: target!(), %run, %key, attempt = number, "an attempt begins");
    // The inner span keeps the outer one open.
    let step = info_span!(target: target!(), "step", %key);
    info_span!(target: target!(), parent: &step, "attempt", number)
}

#[inline]
pub(crate) fn attempt_returned(run: &RunId, key: &Key, attempt: u32) {
    debug!(target: target!(), %run, %key, attempt, "an attempt returned a result");
}

pub(crate) fn attempt_failed(
    run: &RunId,
    key: &Key,
    attempt: u32,
    kind: FailureKind,
    retry_in: Duration,
) {
    warn!(
        target: target!(),
        %run, %key, attempt, ?kind, ?retry_in,
        "an attempt failed, and will be followed by another"
    );
}

pub(crate) fn step_failed(run: &RunId, key: &Key, attempts: u32, kind: FailureKind) {
    warn!(target: target!(), %run, %key, attempts, ?kind, "a step failed");
}

// ---- runs ----

/// A worker has been given a run whose last worker did not give it back.
pub(crate) fn taken_over(run: &RunId, claims: u32, head: Position) {
    info!(
        target: target!(),
        %run, claims, %head,
        "the run is taken over: the worker that had it did not give it back"
    );
}

pub(crate) fn started(run: &RunId, workflow: &WorkflowName, version: u32) {
    info!(target: target!(), %run, %workflow, version, "the run starts");
}

/// A run's program was not in memory.
pub(crate) fn loaded(run: &RunId, head: Position) {
    debug!(target: target!(), %run, %head, "the run is read from the store");
}

pub(crate) fn rests(run: &RunId, until: Timestamp) {
    debug!(target: target!(), %run, %until, "the run rests");
}

/// An end of a run was committed.
pub(crate) fn ended(run: &RunId, end: &Logged) {
    let (kind, head) = (end.event.kind(), end.position);
    if let Event::RunFailed { failure } = &end.event {
        let why = failure.kind;
        warn!(target: target!(), %run, end = %kind, kind = ?why, %head, "the run failed");
    } else {
        info!(target: target!(), %run, end = %kind, %head, "the run ended");
    }
}

/// This worker cannot drive a run; another may.
pub(crate) fn stood_back(run: &RunId, head: Position, blocked: &Blocked) {
    let (kind, why) = (blocked.kind(), reason(blocked));
    warn!(target: target!(), %run, %head, kind, why, "the run is left to other workers");
}

/// A run is blocked.
pub(crate) fn blocked(run: &RunId, head: Position, blocked: &Blocked) {
    let (kind, why) = (blocked.kind(), reason(blocked));
    error!(target: target!(), %run, %head, kind, why, "the run is blocked");
}

/// The reason on one line, without what user code said.
fn reason(blocked: &Blocked) -> String {
    match blocked {
        Blocked::Panicked { .. } => "the workflow panicked: RunHandle::status gives the message; \
             mend it and deploy again, the run goes on by itself"
            .to_owned(),
        Blocked::Diverged(_)
        | Blocked::Violation(_)
        | Blocked::Unregistered { .. }
        | Blocked::NewerVersion { .. }
        | Blocked::Unreadable { .. } => blocked.to_string().replace("\n  ", "; "),
    }
}
