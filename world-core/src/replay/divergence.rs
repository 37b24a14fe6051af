//! Why a program cannot go on with its log: what the log says, what the code asks for, and what
//! to do.

use std::fmt;

use super::Key;
use crate::{
    ids::{Position, WorkflowName},
    record::Kind,
};

/// Why a run is blocked. The next deployment may heal it; nothing is lost meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocked {
    /// The log and the code disagree.
    Diverged(Divergence),
    /// The code did something that replay cannot repeat.
    Violation(Violation),
    /// The workflow, or a `Deserialize` in it, panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The worker has no function for this workflow.
    Unregistered {
        /// The workflow.
        workflow: WorkflowName,
    },
    /// The run was started by a newer version of its workflow than the worker has.
    NewerVersion {
        /// The workflow.
        workflow: WorkflowName,
        /// The run's version.
        version: u32,
        /// The worker's.
        registered: u32,
    },
    /// The log holds what this build cannot read.
    Unreadable {
        /// Why.
        why: String,
    },
}

/// The log and the code disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Where in the log.
    pub position: Position,
    /// What stands there.
    pub kind: Kind,
    /// Which operation it is about.
    pub key: Option<Key>,
    /// What is wrong with it.
    pub why: Mismatch,
    /// The operations the code waits for, sorted; at most [`Divergence::SHOWN_MAX`].
    pub open: Vec<Key>,
}

impl Divergence {
    /// The most open operations that are shown.
    pub const SHOWN_MAX: usize = 16;
}

/// How the log and the code disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The code never asked for this operation.
    NeverAsked,
    /// The code asked for something of another kind under this key.
    OtherKind {
        /// What the code asked for.
        asked: &'static str,
    },
    /// The code asks for this, and the log lacks it.
    MissingIntent {
        /// The operation asked for.
        key: Key,
    },
    /// The log says that the code asked for this, and it does not.
    UnexpectedIntent,
    /// The stored input or result does not decode as the type the code wants.
    Undecodable {
        /// The type.
        wanted: &'static str,
        /// Why, without anything of what is stored.
        why: String,
    },
    /// The code waits for other operations than it did when this was written.
    OtherOpen,
    /// The code ended otherwise, or not at all.
    OtherEnd {
        /// What the code did.
        code: String,
    },
    /// The log does not begin as a run does, or goes on after its end.
    Misplaced,
}

/// The code did something that replay cannot repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The workflow waits, and nothing durable will wake it.
    WaitsForNothingDurable {
        /// Operations that were asked for and are not awaited, sorted.
        open: Vec<Key>,
    },
    /// The workflow moved on although no result was delivered.
    MovedByItself {
        /// The operations open at that time, sorted; at most [`Divergence::SHOWN_MAX`].
        open: Vec<Key>,
    },
    /// A body woke the workflow.
    WokenByBody {
        /// The body's step.
        key: Key,
    },
    /// An operation was made outside the workflow's own poll.
    AskedOutside {
        /// The operation.
        key: Key,
    },
    /// A branch or a random number was asked for outside the workflow's own poll.
    DrawnOutside {
        /// The call.
        call: &'static str,
        /// The branch whose context was asked, empty for the workflow's own.
        branch: String,
    },
    /// An operation was polled outside the workflow's own poll.
    PolledOutside {
        /// The operation.
        key: Key,
    },
    /// The name of an operation, with those of the branches it stands in, is too long.
    NameTooLong {
        /// How it begins.
        begins: String,
        /// How many bytes the key takes.
        bytes: usize,
    },
    /// The workflow wakes itself, or goes through cancelled operations, without end.
    Spins {
        /// The operations open at that time, sorted; at most [`Divergence::SHOWN_MAX`].
        open: Vec<Key>,
    },
}

impl Blocked {
    /// Its kind in a word, for logs: unlike the whole text it never holds what a user wrote.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Diverged(_) => "diverged",
            Self::Violation(_) => "violation",
            Self::Panicked { .. } => "panicked",
            Self::Unregistered { .. } => "unregistered",
            Self::NewerVersion { .. } => "newer_version",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diverged(divergence) => divergence.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
            Self::Panicked { message } => write!(
                f,
                "the workflow panicked: {message}; mend it and deploy again, the run goes on by itself"
            ),
            Self::Unregistered { workflow } => write!(
                f,
                "this worker has no workflow {workflow}: register it, or give it a queue of its own"
            ),
            Self::NewerVersion { workflow, version, registered } => write!(
                f,
                "the run was started by version {version} of {workflow}, and this worker has version \
                 {registered}: deploy the newer code"
            ),
            Self::Unreadable { why } => write!(f, "the log cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Blocked {}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, kind, key, why, open } = self;
        write!(
            f,
            "the workflow's code has changed under a run: at position {position}\n  - log:  {kind}"
        )?;
        if let Some(key) = key {
            write!(f, " {key}")?;
        }
        f.write_str("\n  + code: ")?;
        match why {
            Mismatch::NeverAsked => f.write_str("never asked for it")?,
            Mismatch::OtherKind { asked } => write!(f, "asked for a {asked} under this key")?,
            Mismatch::MissingIntent { key } => write!(f, "asks for {key} before it")?,
            Mismatch::UnexpectedIntent => f.write_str("does not ask for it")?,
            Mismatch::Undecodable { wanted, why } => {
                write!(f, "wants a {wanted}, and what is stored does not decode as one: {why}")?;
            }
            Mismatch::OtherOpen => {
                f.write_str("waits for other operations than when it was written")?
            }
            Mismatch::OtherEnd { code } => f.write_str(code)?,
            Mismatch::Misplaced => f.write_str("it has no place there")?,
        }
        for key in open {
            write!(f, "\n  + open: {key}")?;
        }
        f.write_str(
            "\n  deploy code that agrees with the log, or register the change under a new workflow name",
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str = "do it inside a step, or wait for it with ctx.sleep";
        let list = |open: &[Key]| match open {
            [] => "no operation".to_owned(),
            keys => keys.iter().map(Key::as_str).collect::<Vec<_>>().join(", "),
        };
        match self {
            Self::WaitsForNothingDurable { open } => write!(
                f,
                "the workflow waits for something that is not durable, and awaits {} that could wake \
                 it; {REMEDY}",
                if open.is_empty() {
                    "no operation".to_owned()
                } else {
                    format!("none of {}", list(open))
                }
            ),
            Self::MovedByItself { open } => write!(
                f,
                "the workflow moved on by something that is not durable, while it waited for {}; {REMEDY}",
                list(open)
            ),
            Self::WokenByBody { key } => write!(
                f,
                "the body of step {key} woke the workflow through a channel or lock they share; \
                 return the value from the step instead"
            ),
            Self::AskedOutside { key } => write!(
                f,
                "operation {key} was made outside the workflow's own poll: after something that is \
                 not durable, or in another task; use ctx.branch and join, not spawn"
            ),
            Self::DrawnOutside { call, branch } => {
                write!(f, "{call} was called outside the workflow's own poll")?;
                if !branch.is_empty() {
                    write!(f, ", on the branch {}", branch.escape_debug())?;
                }
                f.write_str(
                    ": in a body, in another task, or after something that is not durable; call it in \
                     the workflow, and give the body what it returns",
                )
            }
            Self::PolledOutside { key } => write!(
                f,
                "operation {key} was polled outside its workflow; use ctx.branch and join, not spawn"
            ),
            Self::NameTooLong { begins, bytes } => write!(
                f,
                "the key of an operation takes {bytes} bytes, where {} are the most: it begins with \
                 {:?}; give data to the body, and not to the name of a step or branch",
                Key::BYTES_MAX,
                begins
            ),
            Self::Spins { open } => write!(
                f,
                "the workflow never comes to rest, with {} open; look for a loop that awaits nothing \
                 durable, or that goes on after a cancellation",
                list(open)
            ),
        }
    }
}

impl From<Divergence> for Blocked {
    fn from(divergence: Divergence) -> Self {
        Self::Diverged(divergence)
    }
}

impl From<Violation> for Blocked {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
