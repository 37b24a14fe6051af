//! What the engine reads and writes: events with numbered tags.
//!
//! A number is never reused. The numbers of hooks, children, streams and tokens are taken
//! already, though nothing writes them yet: a log that holds one is `Unsupported`, not misread.

use std::fmt;

use serde::Serialize;
use zeroize::Zeroize;

use crate::{
    ids::{Position, RunId, Timestamp, WorkflowName},
    record::Kind,
    replay::Key,
    seal::Plain,
};

/// An event at its place in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Where it stands.
    pub position: Position,
    /// When it was written, by its writer's clock.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What can happen to a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Decision: the run exists.
    RunCreated {
        /// What it runs.
        workflow: WorkflowName,
        /// The declaration's version when it was started.
        version: u32,
        /// The encoded input.
        input: Plain,
        /// Where the run's randomness comes from.
        seed: Seed,
        /// The run that started it.
        parent: Option<RunId>,
    },
    /// Decision: a step's body returned `Ok`.
    StepCompleted {
        /// Which step.
        key: Key,
        /// The encoded result.
        result: Plain,
        /// How many attempts it took.
        attempts: u32,
        /// What the program knew when this was written.
        seen: Seen,
    },
    /// Decision: a step ended without a result.
    StepFailed {
        /// Which step.
        key: Key,
        /// Why.
        failure: Failure,
        /// How many attempts were made.
        attempts: u32,
        /// What the program knew when this was written.
        seen: Seen,
    },
    /// Decision: a timer's time has come.
    TimerFired {
        /// Which timer.
        key: Key,
        /// What the program knew when this was written.
        seen: Seen,
    },
    /// Decision from outside: somebody wants the run to end.
    CancelRequested {
        /// Why, in the requester's words.
        reason: String,
    },
    /// Intent: the program sleeps until a time.
    TimerSet {
        /// Which timer.
        key: Key,
        /// Until when.
        at: Timestamp,
    },
    /// End: the program returned `Ok`.
    RunCompleted {
        /// The encoded output.
        output: Plain,
    },
    /// End: the program returned an error, or the run was given up.
    RunFailed {
        /// Why.
        failure: Failure,
    },
    /// End: the program gave way to a cancellation.
    RunCancelled {
        /// Why, in the requester's words.
        reason: String,
    },
    /// Note: the body of an at-most-once step is about to run.
    StepStarted {
        /// Which step.
        key: Key,
    },
    /// Note: an attempt failed, and there will be another.
    StepRetrying {
        /// Which step.
        key: Key,
        /// Why the attempt failed.
        failure: Failure,
        /// Which attempt it was, from 1.
        attempt: u32,
        /// When the next may begin.
        retry_at: Timestamp,
    },
    /// Note: the program dropped a step that had not ended.
    StepAbandoned {
        /// Which step.
        key: Key,
    },
    /// Note: a step must have ended by a time.
    StepDeadline {
        /// Which step.
        key: Key,
        /// When its time is over.
        at: Timestamp,
    },
    /// Note: the code as it is cannot go on with this log; the next deployment may.
    RunBlocked {
        /// Why.
        why: String,
    },
    /// Note: workers have died while they had the run, so it is now driven apart from the others.
    RunIsolated {
        /// How many workers in a row have died with it since it last made progress.
        deaths: u32,
        /// How often it has been driven apart since then, this time included.
        round: u32,
        /// In how many of those rounds it was alone, this one included.
        alone: u32,
    },
}

/// What the program knew when its owner wrote a decision: with it, replay notices code that asks
/// for something else, although the asking is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The last position the program had been given.
    pub after: Position,
    /// An order-free hash over the keys it waited for.
    pub open: u64,
}

/// Why a step or a run ended without a result.
///
/// It serializes with its fields' names, for an answer to a client or a log; the event log has an
/// encoding of its own.
///
/// ```
/// # use world_core::event::{Failure, FailureKind};
/// let failure =
///     Failure { kind: FailureKind::TimedOut, message: "no answer".into(), causes: Vec::new() };
/// let json = serde_json::to_string(&failure)?;
/// assert_eq!(json, r#"{"kind":"timed_out","message":"no answer","causes":[]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind of end it was.
    pub kind: FailureKind,
    /// What the error said.
    pub message: String,
    /// What its sources said, outermost first.
    pub causes: Vec<String>,
}

/// How a step or run came to fail.
///
/// It serializes as the variant's name in snake case: `timed_out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The code returned an error, and no attempts were left.
    Error,
    /// The code returned a fatal error.
    Fatal,
    /// The last attempt, or the whole step, ran out of time.
    TimedOut,
    /// The body panicked, and no attempts were left.
    Panicked,
    /// An at-most-once body may have run: its worker died.
    Interrupted,
    /// The result is more than the World takes.
    TooLarge,
    /// The run killed its workers too often.
    Poisoned,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// 256 secret random bits, from which a run's random numbers and ids come.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(pub(crate) [u8; 32]);

impl Seed {
    /// The seed with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

macro_rules! kinds {
    ($($name:ident = $number:literal $text:literal),* $(,)?) => {
        impl Kind {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Self = Self($number);)*

            /// The event's name, as the documentation lists it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    RUN_CREATED = 1 "run_created",
    STEP_COMPLETED = 2 "step_completed",
    STEP_FAILED = 3 "step_failed",
    TIMER_FIRED = 4 "timer_fired",
    HOOK_RECEIVED = 5 "hook_received",
    HOOK_CONFLICT = 6 "hook_conflict",
    CHILD_COMPLETED = 7 "child_completed",
    CANCEL_REQUESTED = 8 "cancel_requested",
    TIMER_SET = 32 "timer_set",
    HOOK_CREATED = 33 "hook_created",
    HOOK_DISPOSED = 34 "hook_disposed",
    CHILD_STARTED = 35 "child_started",
    FLAG_SET = 36 "flag_set",
    RUN_COMPLETED = 48 "run_completed",
    RUN_FAILED = 49 "run_failed",
    RUN_CANCELLED = 50 "run_cancelled",
    RUN_CONTINUED = 51 "run_continued",
    STEP_STARTED = 64 "step_started",
    STEP_RETRYING = 65 "step_retrying",
    STEP_ABANDONED = 66 "step_abandoned",
    RUN_BLOCKED = 67 "run_blocked",
    ATTRIBUTES_SET = 68 "attributes_set",
    RUN_ISOLATED = 69 "run_isolated",
    STEP_DEADLINE = 70 "step_deadline",
    STREAM_OPENED = 96 "stream_opened",
    STREAM_CHUNK = 97 "stream_chunk",
    STREAM_CLOSED = 98 "stream_closed",
    TOKEN_CLAIMED = 112 "token_claimed",
    TOKEN_RELEASED = 113 "token_released",
}

impl Kind {
    /// Whether a record of this kind is the last of its run.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self.0, 48..=63)
    }

    /// Whether a record of this kind may come from others than the run's worker: it says nothing
    /// of how far the run has got.
    pub(crate) const fn is_external(self) -> bool {
        matches!(self, Self::CANCEL_REQUESTED | Self::HOOK_RECEIVED)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {}", self.0),
        }
    }
}

impl Event {
    /// The number it is stored under.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::RunCreated { .. } => Kind::RUN_CREATED,
            Self::StepCompleted { .. } => Kind::STEP_COMPLETED,
            Self::StepFailed { .. } => Kind::STEP_FAILED,
            Self::TimerFired { .. } => Kind::TIMER_FIRED,
            Self::CancelRequested { .. } => Kind::CANCEL_REQUESTED,
            Self::TimerSet { .. } => Kind::TIMER_SET,
            Self::RunCompleted { .. } => Kind::RUN_COMPLETED,
            Self::RunFailed { .. } => Kind::RUN_FAILED,
            Self::RunCancelled { .. } => Kind::RUN_CANCELLED,
            Self::StepStarted { .. } => Kind::STEP_STARTED,
            Self::StepRetrying { .. } => Kind::STEP_RETRYING,
            Self::StepAbandoned { .. } => Kind::STEP_ABANDONED,
            Self::StepDeadline { .. } => Kind::STEP_DEADLINE,
            Self::RunBlocked { .. } => Kind::RUN_BLOCKED,
            Self::RunIsolated { .. } => Kind::RUN_ISOLATED,
        }
    }

    /// The operation it is about, if it is about one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::StepCompleted { key, .. }
            | Self::StepFailed { key, .. }
            | Self::TimerFired { key, .. }
            | Self::TimerSet { key, .. }
            | Self::StepStarted { key }
            | Self::StepRetrying { key, .. }
            | Self::StepDeadline { key, .. }
            | Self::StepAbandoned { key } => Some(key),
            _ => None,
        }
    }

    /// Whether it is the last of its run.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        self.kind().is_end()
    }
}
