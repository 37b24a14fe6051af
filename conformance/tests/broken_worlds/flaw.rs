//! A flaw: what is wrong with a World, and the one rule it breaks.

use conformance::{Rule, Suite};
use world_core::{Append, LogId, Record};

use crate::{
    base::{self, Pieces},
    on_file::{self, Habits},
};

/// A deliberately broken World.
pub(crate) struct Flaw {
    pub(crate) rule: Rule,
    pub(crate) name: &'static str,
    /// What it does, as a sentence.
    pub(crate) what: &'static str,
    pub(crate) world: Made,
}

/// What a World is made of.
#[derive(Clone, Copy)]
pub(crate) enum Made {
    InMemory(Pieces),
    /// Its flaw shows when it is killed.
    OnFile(Habits),
}

impl Flaw {
    pub(crate) fn on_file(
        rule: Rule,
        name: &'static str,
        what: &'static str,
        habits: Habits,
    ) -> Self {
        Self { rule, name, what, world: Made::OnFile(habits) }
    }
}

impl Made {
    /// The suite of this World.
    ///
    /// # Errors
    /// The exit code of this process, if it is a second one and has played its part.
    pub(crate) fn suite(self, name: &str) -> Result<Suite, i32> {
        match self {
            Self::InMemory(pieces) => Ok(base::suite(name, pieces)),
            Self::OnFile(habits) => on_file::suite(name, habits),
        }
    }
}

/// `flaw!(A2, "its_name", "what it does", piece = |arguments| …)`: all other pieces are right.
macro_rules! flaw {
    ($rule:ident, $name:literal, $what:literal $(, $piece:ident = $wrong:expr)+ $(,)?) => {
        $crate::flaw::Flaw {
            rule: ::conformance::Rule::$rule,
            name: $name,
            what: $what,
            world: $crate::flaw::Made::InMemory(
                $crate::base::Pieces { $($piece: $wrong,)+ ..$crate::base::RIGHT },
            ),
        }
    };
}

pub(crate) use flaw;

/// The append with each record changed.
pub(crate) fn with_records(append: &Append, change: impl Fn(&mut Record)) -> Append {
    let mut append = append.clone();
    append.records.iter_mut().for_each(change);
    append
}

/// The run that a log is, or belongs to, as a log; a token log is its own.
pub(crate) fn run_of(log: &LogId) -> LogId {
    log.run().map_or_else(|| log.clone(), |run| LogId::Run(run.clone()))
}
