//! What a World needs to be there before it can be opened: a server, as a rule.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    failure::{Failure, Verdict, error_text},
    settings::Settings,
};

type Check = dyn Fn() -> Result<(), String> + Send + Sync;

/// A check that is made once a process, before the first case.
#[derive(Clone)]
pub(crate) struct Needs {
    check: Arc<Check>,
    answer: Arc<OnceLock<Result<(), String>>>,
}

impl fmt::Debug for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Needs").field(&self.answer.get()).finish()
    }
}

impl Needs {
    /// What the reason of an ignored case begins with.
    const IGNORED: &'static str = "what the suite needs is missing, and ";

    pub(crate) fn new<F, E>(check: F) -> Self
    where
        F: Fn() -> Result<(), E> + Send + Sync + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let check = move || check().map_err(|error| error_text(&*error.into()));
        Self { check: Arc::new(check), answer: Arc::default() }
    }

    /// Fails, with the instructions that the check gave, when something is missing.
    pub(crate) fn met(&self, settings: &Settings) -> Verdict {
        let Err(instructions) = self.answer.get_or_init(|| (self.check)()) else { return Ok(()) };
        let variable = Settings::IGNORE_MISSING;
        Err(if settings.ignore_missing {
            Failure::not_proven(format!("{}{variable}=1 ignores it: {instructions}", Self::IGNORED))
        } else {
            Failure::failed(format!(
                "what the suite needs is missing: {instructions} ({variable}=1 ignores the cases \
                 instead; then nothing is proven)"
            ))
        })
    }

    /// Whether a case was not proven because something is missing.
    pub(crate) fn is_ignored(failure: &Failure) -> bool {
        failure.what.starts_with(Self::IGNORED)
    }
}
