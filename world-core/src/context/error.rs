//! How a step ends without a result, and how its code says what to do about an error.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::{
    event::{Failure, FailureKind},
    replay::Key,
    text,
};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// How a step ended without a result.
///
/// It is always rebuilt from the log, never the live error: so it is the same in every replay.
///
/// ```
/// # use world_core::*;
/// async fn buy(mut ctx: Ctx, cents: u64) -> anyhow::Result<String> {
///     let paid = ctx.step("pay", async || Err::<u64, _>(Fatal::new(format!("{cents} is too much")))).await;
///     Ok(match paid {
///         Ok(cents) => format!("paid {cents}"),
///         Err(StepError::Failed { failure, .. }) => format!("not paid: {failure}"), // an answer too
///         Err(other) => return Err(other.into()), // Cancelled ends the run as cancelled
///     })
/// }
/// # const BUY: Workflow<u64, String> = Workflow::new("buy");
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(BUY, buy).build()?;
/// # let worker = engine.spawn_worker();
/// let said = engine.client().start(BUY, 9).await?.output().await?;
/// assert_eq!(said, "not paid: 9 is too much");
/// # worker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepError {
    /// It failed, and no attempts were left.
    Failed {
        /// Which step.
        key: Key,
        /// How many attempts were made.
        attempts: u32,
        /// Why the last one failed.
        failure: Failure,
    },
    /// The run was asked to end; see [`Ctx::shield`](crate::Ctx::shield).
    Cancelled,
    /// An at-most-once body may have run: its worker died before the outcome was recorded.
    Interrupted {
        /// Which step.
        key: Key,
    },
}

impl StepError {
    /// Whether the attempt, or the whole step, ran out of time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.kind == FailureKind::TimedOut)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { key, attempts: 0 | 1, failure } => {
                write!(f, "step {key} failed: {failure}")
            }
            Self::Failed { key, attempts, failure } => {
                write!(f, "step {key} failed after {attempts} attempts: {failure}")
            }
            Self::Cancelled => f.write_str("the run was asked to end"),
            Self::Interrupted { key } => {
                write!(
                    f,
                    "step {key} may have run: its worker died before the outcome was recorded"
                )
            }
        }
    }
}

impl StdError for StepError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The marker is how a cancellation is known again inside `anyhow` and other wrappers,
        // which hide the outermost type but not the sources.
        matches!(self, Self::Cancelled).then_some(&CancelledMark as _)
    }
}

#[derive(Debug)]
struct CancelledMark;

impl fmt::Display for CancelledMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl StdError for CancelledMark {}

/// Marks an error as fatal: the step fails at once, whatever attempts are left.
///
/// ```
/// # use world_core::Fatal;
/// # fn charge() -> anyhow::Result<()> {
/// return Err(Fatal::new("the card is stolen").into());
/// # }
/// # assert!(charge().is_err());
/// ```
#[derive(Debug)]
pub struct Fatal(Mark);

/// Marks an error as worth another try, not before the given time has passed.
///
/// ```
/// # use {world_core::RetryAfter, std::time::Duration};
/// # fn call() -> anyhow::Result<()> {
/// return Err(RetryAfter::new(Duration::from_secs(30), "rate limited").into());
/// # }
/// # assert!(call().is_err());
/// ```
#[derive(Debug)]
pub struct RetryAfter(Mark);

impl Fatal {
    /// Makes this error fatal.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Mark { says: Says::Fatal, error: error.into() })
    }
}

impl RetryAfter {
    /// Asks for another attempt after `delay`, if attempts are left.
    #[must_use]
    pub fn new(delay: Duration, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Mark { says: Says::RetryAfter(delay), error: error.into() })
    }
}

/// What stands in the source chain: the wrapper itself may be hidden by a type like `anyhow`'s.
#[derive(Debug)]
struct Mark {
    says: Says,
    error: BoxError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Fatal,
    RetryAfter(Duration),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Mark {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

macro_rules! show_the_error_inside {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl StdError for $type {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
    )*};
}

show_the_error_inside!(Fatal, RetryAfter);

/// What an error's chain says about trying again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) fatal: bool,
    pub(crate) retry_after: Option<Duration>,
}

/// The error and its sources, outermost first.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    /// A chain may be a cycle; nobody writes one this long.
    const SOURCES_MAX: usize = 64;
    std::iter::successors(Some(error), |error| -> Option<&'a (dyn StdError + 'static)> {
        (*error).source()
    })
    .take(SOURCES_MAX)
}

pub(crate) fn advice_of(error: &(dyn StdError + 'static)) -> Advice {
    let mut advice = Advice::default();
    for error in chain(error) {
        match error.downcast_ref::<Mark>().map(|mark| mark.says) {
            Some(Says::Fatal) => advice.fatal = true,
            Some(Says::RetryAfter(delay)) if advice.retry_after.is_none() => {
                advice.retry_after = Some(delay);
            }
            _ => {}
        }
    }
    advice
}

/// Finds an error of this type in the chain, or in a marker in it.
pub(crate) fn find_error<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    chain(error).find_map(|error| {
        error.downcast_ref::<E>().or_else(|| {
            let mark = error.downcast_ref::<Mark>()?;
            chain(&*mark.error).find_map(|error| error.downcast_ref::<E>())
        })
    })
}

pub(crate) fn is_cancellation(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(<dyn StdError>::is::<CancelledMark>)
}

/// What the log keeps of an error.
pub(crate) fn failure_of(kind: FailureKind, error: &(dyn StdError + 'static)) -> Failure {
    let mut causes: Vec<String> = chain(error).skip(1).map(text::shown).collect();
    let message = text::shown(error);
    // A marker shows what it marks, so it would repeat the message.
    causes.dedup();
    if causes.first() == Some(&message) {
        causes.remove(0);
    }
    text::bound_causes(&mut causes);
    Failure { kind, message, causes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_through_anyhow_and_context() {
        use anyhow::Context;
        let plain: BoxError = Fatal::new("stolen").into();
        assert!(advice_of(&*plain).fatal);
        let hidden: BoxError = anyhow::Error::from(Fatal::new("stolen")).into();
        assert!(advice_of(&*hidden).fatal);
        let deep: anyhow::Result<()> = Err(Fatal::new("stolen").into());
        let deep: BoxError = deep.context("charging").context("ordering").unwrap_err().into();
        assert!(advice_of(&*deep).fatal);
        assert_eq!(
            failure_of(FailureKind::Fatal, &*deep),
            Failure {
                kind: FailureKind::Fatal,
                message: "ordering".into(),
                causes: vec!["charging".into(), "stolen".into()],
            }
        );
    }

    #[test]
    fn a_cancellation_is_known_again_through_anyhow() {
        let hidden: BoxError = anyhow::Error::from(StepError::Cancelled).into();
        assert!(is_cancellation(&*hidden));
        let other: BoxError = "cancelled".into();
        assert!(!is_cancellation(&*other));
    }

    #[test]
    fn an_error_is_found_inside_a_mark() {
        let io = std::io::Error::other("reset");
        let error: BoxError = RetryAfter::new(Duration::from_secs(1), io).into();
        assert!(find_error::<std::io::Error>(&*error).is_some());
        assert_eq!(advice_of(&*error).retry_after, Some(Duration::from_secs(1)));
    }
}
