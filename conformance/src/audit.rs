//! What must hold of a run's log, whatever became of its workers: read from the log alone.
//!
//! ```
//! use conformance::audit::{Standing, audit};
//! use world_core::{Ctx, StepError, Workflow, testing::TestEngine};
//!
//! const ADD: Workflow<u64, u64> = Workflow::new("add");
//! async fn add(mut ctx: Ctx, n: u64) -> Result<u64, StepError> {
//!     ctx.step("add", async || Ok::<_, StepError>(n + 1)).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let t = TestEngine::new().workflow(ADD, add);
//! let run = t.start(ADD, 1).await?;
//! t.finish(&run).await?;
//! let log = t.log(run.id()).await?;
//! assert_eq!(audit(&log)?, Standing::Ended);
//! assert_eq!(audit(&log[..2])?, Standing::Open);
//! assert!(audit(&log[1..]).is_err()); // a log begins with run_created, at position 1
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeMap, error::Error, fmt};

use world_core::{
    Position, Timestamp,
    event::{Event, Failure, FailureKind, Logged, Seen},
    replay::Key,
};

/// Whether the run has ended, as far as its log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not.
    Open,
    /// Its last record is its end.
    Ended,
}

/// What a log says that no log may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Where; `None` when it is about the log as a whole.
    pub position: Option<Position>,
    /// The operation it is about, if it is about one.
    pub key: Option<Key>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "at position {position}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl Error for Objection {}

/// Checks a log, or any beginning of one:
///
/// - positions are 1, 2, 3 … without a gap, `run_created` stands first and nowhere else, and
///   nothing stands after an end;
/// - an operation ends once, and nothing but what belongs to it stands before or after: a timer
///   is set once, fires once and not before its time, an at-most-once step is announced once;
/// - attempts rise, and an end counts at least those that were noted before it;
/// - what a decision says it has seen stands before it.
///
/// # Errors
/// The first thing that no log may say.
pub fn audit(log: &[Logged]) -> Result<Standing, Objection> {
    let mut known = Known::default();
    let mut ended = false;
    for (logged, nth) in log.iter().zip(1..) {
        let objects = |key: Option<&Key>, what: String| {
            Err(Objection { position: Some(logged.position), key: key.cloned(), what })
        };
        if logged.position.get() != nth {
            return objects(None, format!("it stands where position {nth} belongs"));
        }
        if ended {
            return objects(None, format!("{} after the end", logged.event.kind()));
        }
        let is_first = matches!(logged.event, Event::RunCreated { .. });
        if is_first != (nth == 1) {
            return objects(None, format!("{} as record {nth}", logged.event.kind()));
        }
        if let Err(what) = known.take(logged) {
            return objects(logged.event.key(), what);
        }
        ended = logged.event.is_end();
    }
    if log.is_empty() {
        return Err(Objection { position: None, key: None, what: "it is empty".to_owned() });
    }
    Ok(if ended { Standing::Ended } else { Standing::Open })
}

/// What a log has said of each operation so far.
#[derive(Default)]
struct Known<'a> {
    operations: BTreeMap<&'a Key, Operation>,
    /// The last position that any decision had seen.
    seen: Position,
}

/// What a log has said of one operation.
#[derive(Default)]
struct Operation {
    /// When its timer is to fire: it is a timer.
    timer: Option<Timestamp>,
    /// It was announced, failed or ended as a step does: it is a step.
    is_step: bool,
    announced: bool,
    /// The last attempt that was noted as failed.
    noted: u32,
    ended: bool,
}

impl<'a> Known<'a> {
    fn take(&mut self, logged: &'a Logged) -> Result<(), String> {
        if let Some(seen) = seen(&logged.event) {
            self.look(logged.position, seen)?;
        }
        // That a step was dropped is noted before what else its append holds of it, and after its
        // end, if that came with the result that it lost a race to.
        if matches!(logged.event, Event::StepAbandoned { .. }) {
            return Ok(());
        }
        let Some(key) = logged.event.key() else { return Ok(()) };
        let operation = self.operations.entry(key).or_default();
        let kind = logged.event.kind();
        if operation.ended {
            return Err(format!("{kind} after it had ended"));
        }
        match &logged.event {
            Event::TimerSet { .. } | Event::TimerFired { .. } if operation.is_step => {
                Err(format!("{kind} of what was a step"))
            }
            Event::TimerSet { at, .. } => operation.set(*at),
            Event::TimerFired { .. } => operation.fire(logged.at),
            _ if operation.timer.is_some() => Err(format!("{kind} of what was a timer")),
            Event::StepStarted { .. } => operation.announce(),
            Event::StepRetrying { attempt, .. } => operation.note(*attempt),
            Event::StepCompleted { attempts, .. } => operation.end(*attempts),
            Event::StepFailed { attempts, failure, .. } => operation.fail(*attempts, failure),
            _ => Ok(()),
        }
    }

    /// A decision has seen what stands before it, and no less than the one before.
    fn look(&mut self, position: Position, seen: &Seen) -> Result<(), String> {
        if seen.after >= position {
            return Err(format!("it has seen position {}, which comes later", seen.after));
        }
        if seen.after < self.seen {
            let (after, known) = (seen.after, self.seen);
            return Err(format!("it has seen position {after}, and the one before it {known}"));
        }
        self.seen = seen.after;
        Ok(())
    }
}

const fn seen(event: &Event) -> Option<&Seen> {
    match event {
        Event::StepCompleted { seen, .. }
        | Event::StepFailed { seen, .. }
        | Event::TimerFired { seen, .. } => Some(seen),
        _ => None,
    }
}

impl Operation {
    fn set(&mut self, at: Timestamp) -> Result<(), String> {
        match self.timer.replace(at) {
            None => Ok(()),
            Some(_) => Err("it is set twice".to_owned()),
        }
    }

    fn fire(&mut self, now: Timestamp) -> Result<(), String> {
        self.ended = true;
        match self.timer {
            None => Err("it fires, and was never set".to_owned()),
            Some(at) if now < at => Err(format!("it fires {:?} before its time", at.since(now))),
            Some(_) => Ok(()),
        }
    }

    fn announce(&mut self) -> Result<(), String> {
        self.is_step = true;
        if std::mem::replace(&mut self.announced, true) {
            return Err("it may run at most once, and is announced twice".to_owned());
        }
        Ok(())
    }

    fn note(&mut self, attempt: u32) -> Result<(), String> {
        self.is_step = true;
        if attempt <= self.noted {
            return Err(format!("attempt {attempt} fails after attempt {}", self.noted));
        }
        if self.announced {
            return Err("it may run at most once, and is to be tried again".to_owned());
        }
        self.noted = attempt;
        Ok(())
    }

    fn end(&mut self, attempts: u32) -> Result<(), String> {
        (self.is_step, self.ended) = (true, true);
        if attempts <= self.noted {
            return Err(format!("it ends with attempt {attempts}, and {} had failed", self.noted));
        }
        Ok(())
    }

    fn fail(&mut self, attempts: u32, failure: &Failure) -> Result<(), String> {
        (self.is_step, self.ended) = (true, true);
        // The last of the attempts may be one that died with its worker, or was never begun.
        let given_up = matches!(failure.kind, FailureKind::Interrupted | FailureKind::TimedOut);
        if attempts < self.noted || (attempts == self.noted && !given_up) {
            return Err(format!("it fails with attempt {attempts}, and {} had failed", self.noted));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
