//! The fields of events as they stand in a log. Names and numbers here are for ever.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, Failure, FailureKind, Seed, Seen},
    ids::{Position, RunId, Timestamp, WorkflowName},
    record::Kind,
    replay::Key,
    seal::Plain,
};

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

const fn seen(after: u64, open: u64) -> Seen {
    Seen { after: Position::new(after), open }
}

#[derive(Serialize, Deserialize)]
pub(super) struct RunCreated<'a> {
    pub workflow: &'a str,
    pub version: u32,
    #[serde(with = "serde_bytes")]
    pub input: &'a [u8],
    #[serde(with = "serde_bytes")]
    pub seed: &'a [u8],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<&'a str>,
}

impl RunCreated<'_> {
    pub(super) fn into_event(self, kind: Kind) -> Result<Event> {
        let name = |_| super::corrupt(kind, "a name that is empty or too long");
        let seed = <[u8; 32]>::try_from(self.seed)
            .map_err(|_| super::corrupt(kind, "a seed that is not 32 bytes"))?;
        Ok(Event::RunCreated {
            workflow: WorkflowName::new(self.workflow).map_err(name)?,
            version: self.version,
            input: Plain::new(self.input.to_vec()),
            seed: Seed::from_bytes(seed),
            parent: self.parent.map(RunId::new).transpose().map_err(name)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StepCompleted<'a> {
    pub key: &'a str,
    #[serde(with = "serde_bytes")]
    pub result: &'a [u8],
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts: u32,
    pub after: u64,
    pub open: u64,
}

impl StepCompleted<'_> {
    pub(super) fn into_event(self) -> Event {
        Event::StepCompleted {
            key: Key::new(self.key),
            result: Plain::new(self.result.to_vec()),
            attempts: self.attempts,
            seen: seen(self.after, self.open),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StepFailed<'a> {
    pub key: &'a str,
    #[serde(borrow)]
    pub failure: WireFailure<'a>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts: u32,
    pub after: u64,
    pub open: u64,
}

impl StepFailed<'_> {
    pub(super) fn into_event(self) -> Result<Event> {
        Ok(Event::StepFailed {
            key: Key::new(self.key),
            failure: self.failure.into_failure()?,
            attempts: self.attempts,
            seen: seen(self.after, self.open),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct TimerFired<'a> {
    pub key: &'a str,
    pub after: u64,
    pub open: u64,
}

impl TimerFired<'_> {
    pub(super) fn into_event(self) -> Event {
        Event::TimerFired { key: Key::new(self.key), seen: seen(self.after, self.open) }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeyAndTime<'a> {
    pub key: &'a str,
    pub at: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Reason<'a> {
    pub reason: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RunCompleted<'a> {
    #[serde(with = "serde_bytes")]
    pub output: &'a [u8],
}

#[derive(Serialize, Deserialize)]
pub(super) struct RunFailed<'a> {
    #[serde(borrow)]
    pub failure: WireFailure<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Step<'a> {
    pub key: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StepRetrying<'a> {
    pub key: &'a str,
    #[serde(borrow)]
    pub failure: WireFailure<'a>,
    pub attempt: u32,
    pub retry_at: u64,
}

impl StepRetrying<'_> {
    pub(super) fn into_event(self) -> Result<Event> {
        Ok(Event::StepRetrying {
            key: Key::new(self.key),
            failure: self.failure.into_failure()?,
            attempt: self.attempt,
            retry_at: Timestamp::from_millis(self.retry_at),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct RunBlocked<'a> {
    pub why: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RunIsolated {
    pub deaths: u32,
    pub round: u32,
    pub alone: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireFailure<'a> {
    kind: u8,
    message: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<&'a str>,
}

impl<'a> From<&'a Failure> for WireFailure<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            kind: match failure.kind {
                FailureKind::Error => 1,
                FailureKind::Fatal => 2,
                FailureKind::TimedOut => 3,
                FailureKind::Panicked => 4,
                FailureKind::Interrupted => 5,
                FailureKind::TooLarge => 6,
                FailureKind::Poisoned => 7,
            },
            message: &failure.message,
            causes: failure.causes.iter().map(String::as_str).collect(),
        }
    }
}

impl WireFailure<'_> {
    pub(super) fn into_failure(self) -> Result<Failure> {
        Ok(Failure {
            kind: match self.kind {
                1 => FailureKind::Error,
                2 => FailureKind::Fatal,
                3 => FailureKind::TimedOut,
                4 => FailureKind::Panicked,
                5 => FailureKind::Interrupted,
                6 => FailureKind::TooLarge,
                7 => FailureKind::Poisoned,
                other => {
                    let what = format!("a failure of the unknown kind {other}");
                    return Err(Error::new(ErrorKind::Unsupported, what)
                        .help("it was written by a newer version: update this worker"));
                }
            },
            message: self.message.to_owned(),
            causes: self.causes.into_iter().map(str::to_owned).collect(),
        })
    }
}
