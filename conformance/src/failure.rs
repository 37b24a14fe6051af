//! How a case fails: the rule that was broken, and what was seen.

use std::{any::Any, error::Error as StdError, fmt};

use crate::rule::Rule;

/// What a case comes to.
pub type Verdict<T = ()> = Result<T, Failure>;

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub cause: Cause,
    /// What was seen, and what was to be seen.
    pub what: String,
    /// The seed it was seen with.
    pub seed: Option<u64>,
}

/// What kind of thing went wrong with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The World broke this rule.
    Broken(Rule),
    /// The World, or its factory, gave an error where it must not.
    Failed,
    /// The World, or its factory, panicked.
    Panicked,
    /// The World did not answer within the case's bound.
    Hung,
    /// The case cannot be run on this World: neither passed nor failed.
    NotProven,
}

impl Failure {
    /// The World broke a rule.
    pub fn broken(rule: Rule, what: impl Into<String>) -> Self {
        Self::new(Cause::Broken(rule), what)
    }

    /// Something failed that must not.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Cause::Failed, what)
    }

    /// The case cannot be run on this World.
    pub fn not_proven(why: impl Into<String>) -> Self {
        Self::new(Cause::NotProven, why)
    }

    pub(crate) fn new(cause: Cause, what: impl Into<String>) -> Self {
        Self { cause, what: shortened(what.into()), seed: None }
    }

    pub(crate) fn hung(what: impl Into<String>) -> Self {
        Self::new(Cause::Hung, what)
    }

    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        Self::new(Cause::Panicked, format!("panicked: {}", panic_text(panic)))
    }

    /// Says what was being done.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.what = format!("{what}: {}", self.what);
        self
    }

    /// Says with which seed it was seen.
    #[must_use]
    pub fn at_seed(mut self, seed: u64) -> Self {
        self.seed.get_or_insert(seed);
        self
    }

    /// The rule that was broken, if it is known.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self.cause {
            Cause::Broken(rule) => Some(rule),
            Cause::Failed | Cause::Panicked | Cause::Hung | Cause::NotProven => None,
        }
    }
}

/// The longest text of a failure, in bytes: a World may answer with a log without an end.
const TEXT_BYTES_MAX: usize = 4_000;

fn shortened(mut text: String) -> String {
    let len = text.len();
    if len > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str(&format!(" … and {} bytes more", len - text.len()));
    }
    text
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// An error and its causes, in one line.
pub(crate) fn error_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<world_core::Error> for Failure {
    fn from(error: world_core::Error) -> Self {
        Self::failed(format!("a call failed that must not: {}", error_text(&error)))
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::panicked(&*panic),
            Err(error) => Self::failed(format!("a task was stopped: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Broken(rule) => write!(f, "rule {rule} ({}) is broken: ", rule.text())?,
            Cause::Hung => f.write_str("it hangs: ")?,
            Cause::NotProven => f.write_str("not proven: ")?,
            Cause::Failed | Cause::Panicked => {}
        }
        f.write_str(&self.what)?;
        match self.seed {
            Some(seed) => write!(f, " (seed {seed})"),
            None => Ok(()),
        }
    }
}

impl StdError for Failure {}

/// Ends a case that saw a rule broken: `ensure!(A2, head == 3, "the head is {head}")`.
macro_rules! ensure {
    ($rule:ident, $holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::failure::Failure::broken(
                $crate::rule::Rule::$rule,
                format!($($what)+),
            ));
        }
    };
}

/// Ends a case that saw something else than a rule wants: `ensure_eq!(A2, seen, wanted, "what")`.
macro_rules! ensure_eq {
    ($rule:ident, $seen:expr, $wanted:expr, $($what:tt)+) => {
        match (&$seen, &$wanted) {
            (seen, wanted) => {
                if seen != wanted {
                    return Err($crate::failure::Failure::broken(
                        $crate::rule::Rule::$rule,
                        format!("{}: {seen:?}, not {wanted:?}", format_args!($($what)+)),
                    ));
                }
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};
