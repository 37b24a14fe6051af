//! What came of one case.

use std::fmt;

use crate::{
    case::{Case, Group},
    failure::{Cause, Failure},
    rule::Rule,
    run::Outcome,
    settings::Settings,
};

/// What came of one case. Shown, it says all that is known of a failure.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The case's name.
    pub case: String,
    /// Its group.
    pub group: Group,
    /// The rules it rests on.
    pub rules: Vec<Rule>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Entry {
    pub(crate) fn new(case: &Case, outcome: Outcome) -> Self {
        let (name, rules) = (case.name().to_owned(), case.rules().to_vec());
        Self { case: name, group: case.group(), rules, outcome }
    }

    /// Why it did not pass, if it did not.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.verdict.as_ref().err()
    }

    /// Whether it was neither passed nor failed.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.failure().is_some_and(|failure| failure.cause == Cause::NotProven)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(failure) = self.failure() else { return write!(f, "{}: passed", self.case) };
        write!(f, "{}: {failure}", self.case)?;
        if failure.rule().is_none() && !self.rules.is_empty() {
            f.write_str("\nthe case rests on")?;
            for rule in &self.rules {
                write!(f, "\n  {rule}: {}", rule.text())?;
            }
        }
        if let Some(seed) = failure.seed {
            write!(f, "\nrepeat with {}={seed} and the case's name", Settings::SEED)?;
        }
        if !self.outcome.last_calls.is_empty() {
            let calls = self.outcome.last_calls.join("\n  ");
            write!(f, "\nthe last store calls:\n  {calls}")?;
        }
        Ok(())
    }
}
