//! One thing that is tried on a World.

use std::{fmt, future::Future};

use futures::future::BoxFuture;

use crate::{failure::Verdict, rule::Rule, subject::Subject};

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Every rule, and its edge.
    Contract,
    /// Sizes: the least every World takes, its own limits, long logs, strange names.
    Limits,
    /// Random operations of many writers, compared with the contract.
    Model,
    /// Many writers and claimers at once.
    Contention,
    /// Workflows whose client dies at any store call.
    Crash,
    /// Workflows whose store answers late, twice or not at all, or whose clocks are wrong.
    Faults,
    /// The same logs on every World, and the same decisions from every prefix of them.
    Determinism,
    /// Store calls a step.
    Budget,
    /// No payload in what the store holds.
    Secrecy,
    /// What was acknowledged is there after a reopening and a kill.
    Durability,
}

impl Group {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 10] = [
        Self::Contract,
        Self::Limits,
        Self::Model,
        Self::Contention,
        Self::Crash,
        Self::Faults,
        Self::Determinism,
        Self::Budget,
        Self::Secrecy,
        Self::Durability,
    ];

    /// Its name, with which the names of its cases begin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Limits => "limits",
            Self::Model => "model",
            Self::Contention => "contention",
            Self::Crash => "crash",
            Self::Faults => "faults",
            Self::Determinism => "determinism",
            Self::Budget => "budget",
            Self::Secrecy => "secrecy",
            Self::Durability => "durability",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type Run = dyn Fn(Subject) -> BoxFuture<'static, Verdict> + Send + Sync;

/// One thing that is tried on a World.
pub struct Case {
    name: String,
    group: Group,
    rules: &'static [Rule],
    run: Box<Run>,
}

impl Case {
    /// A case that rests on these rules; `title` says as a sentence what holds.
    pub fn new<F, Fut>(group: Group, rules: &'static [Rule], title: &str, run: F) -> Self
    where
        F: Fn(Subject) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        let ids: Vec<_> = rules.iter().map(|rule| rule.id().to_lowercase()).collect();
        let ids = if ids.is_empty() { String::new() } else { format!("{}::", ids.join("_")) };
        let name = format!("{group}::{ids}{title}");
        Self { name, group, rules, run: Box::new(move |subject| Box::pin(run(subject))) }
    }

    /// Its name: the group, the rules and what holds, with `::` between them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its group.
    #[must_use]
    pub const fn group(&self) -> Group {
        self.group
    }

    /// The rules it rests on.
    #[must_use]
    pub const fn rules(&self) -> &'static [Rule] {
        self.rules
    }

    pub(crate) fn run(&self, subject: Subject) -> BoxFuture<'static, Verdict> {
        (self.run)(subject)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A case from a function: `case!(Contract [A2] commits_only_at_the_stated_head)`.
macro_rules! case {
    ($group:ident [$($rule:ident),*] $function:ident) => {
        $crate::case::Case::new(
            $crate::case::Group::$group,
            &[$($crate::rule::Rule::$rule),*],
            stringify!($function),
            $function,
        )
    };
}

pub(crate) use case;
