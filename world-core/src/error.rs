//! One error type: what was wrong, where, and what to do about it.

use std::{borrow::Cow, error::Error as StdError, fmt};

use crate::ids::{LogId, Position, RunId, WorkflowName};

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong, and so what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It did not happen; try again.
    Unavailable,
    /// It may have happened; send the same bytes again (rule A6 settles it).
    Unknown,
    /// More than the World takes (rule B1); nothing was written.
    TooLarge,
    /// There is no such run, log or workflow.
    NotFound,
    /// The request itself is wrong, and will be wrong again.
    Invalid,
    /// The run's id names another run already, of another workflow or with another input. A server
    /// answers 409 where it answers 400 for [`Invalid`](Self::Invalid).
    Conflict,
    /// The run has ended, so it takes no request any more; if it was deleted, its id stays spent.
    Ended,
    /// What was stored is not what was written.
    Corrupt,
    /// Written by something newer or other than this: an unknown tag, version or scheme.
    Unsupported,
    /// The store is set up so that the contract cannot hold; or its clock and that of the one who
    /// wants a lease differ too much.
    Unsuitable,
    /// The store has lost acknowledged writes, or may have; nothing was done. What it has left is
    /// to be read again: an engine drops its programs and replays them. It is not sent again as it
    /// is. See "Durability" in `docs/contract.md`.
    Regressed,
    /// Too many others write here; nothing was lost.
    Busy,
    /// A sealing key is wrong, missing or malformed.
    Key,
}

impl ErrorKind {
    /// An error of this kind with what a store or another library says as its words and cause.
    /// For causes that hold no payload and no key in their words.
    ///
    /// ```
    /// # use world_core::ErrorKind;
    /// let error = ErrorKind::Unavailable.because(std::io::Error::other("the disk is full"));
    /// assert_eq!(error.to_string(), "unavailable: the disk is full");
    /// ```
    #[must_use]
    pub fn because(self, cause: impl StdError + Send + Sync + 'static) -> Error {
        Error::new(self, cause.to_string()).source(cause)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Unknown => "outcome unknown",
            Self::TooLarge => "too large",
            Self::NotFound => "not found",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Ended => "ended",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Unsuitable => "unsuitable store",
            Self::Regressed => "store regressed",
            Self::Busy => "busy",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// What was wrong, where (log, position, operation key), and what to do. It never holds a payload
/// or a sealing key.
///
/// ```
/// # use world_core::{Error, ErrorKind, Position, RunId};
/// let error = Error::new(ErrorKind::Corrupt, "the record does not open")
///     .run(RunId::new("order-7")?)
///     .position(Position::new(3))
///     .help("restore the log from a copy");
/// assert_eq!(
///     error.to_string(),
///     "corrupt: the record does not open (run order-7, position 3); restore the log from a copy",
/// );
/// # Ok::<(), Error>(())
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: Cow<'static, str>,
    log: Option<LogId>,
    position: Option<Position>,
    key: Option<String>,
    help: Option<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `what` says what was wrong, without a payload or key in it.
    #[must_use]
    pub fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            log: None,
            position: None,
            key: None,
            help: None,
            source: None,
        }))
    }

    /// Says which log.
    #[must_use]
    pub fn log(mut self, log: impl Into<LogId>) -> Self {
        self.0.log = Some(log.into());
        self
    }

    /// Says which run.
    #[must_use]
    pub fn run(self, run: RunId) -> Self {
        self.log(LogId::Run(run))
    }

    /// Says where in the log.
    #[must_use]
    pub fn position(mut self, position: Position) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Says which operation of the workflow.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The log it happened in, where that is known.
    #[must_use]
    pub fn log_id(&self) -> Option<&LogId> {
        self.0.log.as_ref()
    }

    /// The position it happened at, where that is known.
    #[must_use]
    pub fn at_position(&self) -> Option<Position> {
        self.0.position
    }

    /// The operation it happened to, where that is known.
    #[must_use]
    pub fn at_key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Says which workflows are concerned, if a run was asked for as one of another workflow.
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// const MAIL: Workflow<u64, ()> = Workflow::new("mail");
    ///
    /// engine.client().start(ECHO, 7).id("7").await?;
    /// let error = engine.client().run(MAIL, "7")?.cancel("not wanted").await.unwrap_err();
    /// let wrong = error.wrong_workflow().unwrap();
    /// assert_eq!((wrong.asked.as_str(), wrong.found.as_str()), ("mail", "echo"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wrong_workflow(&self) -> Option<&WrongWorkflow> {
        self.0.source.as_deref()?.downcast_ref()
    }
}

/// A run was asked for as one of a workflow that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongWorkflow {
    /// The run.
    pub run: RunId,
    /// The workflow that the handle is of.
    pub asked: String,
    /// The workflow that the run is of.
    pub found: WorkflowName,
}

impl fmt::Display for WrongWorkflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run is of the workflow {}, not of {}", self.found, self.asked)
    }
}

impl StdError for WrongWorkflow {}

impl WrongWorkflow {
    /// The error that says so. (An `impl From` would break `?` where an error's type is inferred.)
    pub(crate) fn into_error(self) -> Error {
        Error::new(ErrorKind::Invalid, self.to_string())
            .run(self.run.clone())
            .help("make the handle with the workflow that the run was started with")
            .source(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}: {}", inner.kind, inner.what)?;
        let mut place = Vec::new();
        place.extend(inner.log.as_ref().map(ToString::to_string));
        place.extend(inner.position.map(|position| format!("position {position}")));
        place.extend(inner.key.as_ref().map(|key| format!("operation {key}")));
        if !place.is_empty() {
            write!(f, " ({})", place.join(", "))?;
        }
        match &inner.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            write!(f, "\n  because: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
