//! One run, as its client sees it.

mod end;
mod look;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{engine::Inner, standstill, watchers::Watch};
use crate::{
    codec, entropy,
    error::{Error, ErrorKind, Result},
    event::{Event, Failure, Logged},
    ids::{LogId, Position, RunId},
    record::{Append, Appended, By},
    text,
    world::{World, WorldExt},
};

/// The longest wait after a request has met others' appends: at first, and at most.
const GIVE_WAY_LEAST: Duration = Duration::from_millis(1);
const GIVE_WAY_MOST: Duration = Duration::from_millis(256);

/// How often a request that meets others' appends is sent again.
const TRIES_MAX: u32 = 64;

/// One run, which may or may not exist yet. Clones are the same handle.
///
/// A handle is of one workflow: what it asks of a run of another fails with an error that names
/// both ([`Error::wrong_workflow`]), and changes nothing. The first record of the run says which it
/// is; a handle reads it once.
pub struct RunHandle<O> {
    asked: Arc<Asked>,
    output: PhantomData<fn() -> O>,
}

/// The run that the clones of a handle are about, and what they know of it.
struct Asked {
    engine: Arc<Inner>,
    run: RunId,
    /// The workflow that the run must be of; any, for an engine's own use.
    workflow: Option<&'static str>,
    known: Mutex<Known>,
    /// Of a run that was started here: watched since then, so that its end is not missed.
    started: Option<Arc<Watch>>,
}

/// What is known of a run's log.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The run is of the handle's workflow.
    is_checked: bool,
    /// A position of the log at which the run had not ended.
    seen: Position,
}

/// How a run ended without an output.
///
/// ```
/// # use world_core::*;
/// async fn never(_: Ctx, why: String) -> anyhow::Result<u64> {
///     anyhow::bail!(why)
/// }
/// # const NEVER: Workflow<String, u64> = Workflow::new("never");
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(NEVER, never).build()?;
/// # let worker = engine.spawn_worker();
/// match engine.client().start(NEVER, "sold out".to_owned()).id("order-7").await?.output().await {
///     Err(RunError::Failed { failure, .. }) => assert_eq!(failure.message, "sold out"),
///     other => panic!("{other:?}"),
/// }
/// # worker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// It failed.
    Failed {
        /// The run.
        run: RunId,
        /// Why.
        failure: Failure,
    },
    /// It was asked to end, and did.
    Cancelled {
        /// The run.
        run: RunId,
        /// Why, in the requester's words.
        reason: String,
    },
    /// Its code cannot go on with its log. Only a
    /// [`TestEngine`](crate::testing::TestEngine) says so: elsewhere a blocked run has not ended,
    /// and the next deployment may heal it.
    Blocked {
        /// The run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// How it ended could not be learnt.
    World(Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { run, failure } => write!(f, "run {run} failed: {failure}"),
            Self::Cancelled { run, reason } => write!(f, "run {run} was cancelled: {reason}"),
            Self::Blocked { run, why } => write!(f, "run {run} is blocked: {why}"),
            Self::World(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::World(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        Self::World(error)
    }
}

/// Where a run stands.
///
/// It serializes with the variant's name in snake case as `status` beside the variant's fields.
///
/// ```
/// # use world_core::Status;
/// let blocked = Status::Blocked { why: "this worker has no workflow charge".into() };
/// let json = serde_json::to_string(&blocked)?;
/// assert_eq!(json, r#"{"status":"blocked","why":"this worker has no workflow charge"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It has not ended.
    Open,
    /// It has not ended, and its code cannot go on with its log; the next deployment may heal it.
    Blocked {
        /// Why.
        why: String,
    },
    /// It has an output.
    Completed,
    /// It failed.
    Failed(Failure),
    /// It was asked to end, and did.
    Cancelled {
        /// Why, in the requester's words.
        reason: String,
    },
}

impl Asked {
    /// The output, or how else the run ended.
    fn output_of<O: DeserializeOwned>(&self, end: &Logged) -> Result<O, RunError> {
        let run = self.run.clone();
        match &end.event {
            Event::RunCompleted { output } => codec::decode_value(output).map_err(|error| {
                let wanted = std::any::type_name::<O>();
                let what = format!("the run's output is not a {wanted}");
                RunError::World(
                    Error::new(ErrorKind::Corrupt, what)
                        .run(run)
                        .position(end.position)
                        .help("use the type the workflow was declared with when it ran")
                        .source(error),
                )
            }),
            Event::RunFailed { failure } => Err(RunError::Failed { run, failure: failure.clone() }),
            Event::RunCancelled { reason } => {
                Err(RunError::Cancelled { run, reason: reason.clone() })
            }
            other => {
                let what = format!("a run that ended with {}", other.kind());
                Err(Error::new(ErrorKind::Corrupt, what).run(run).into())
            }
        }
    }
}

impl<O> fmt::Debug for RunHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunHandle").field(&self.asked.run).finish()
    }
}

impl<O> Clone for RunHandle<O> {
    fn clone(&self) -> Self {
        Self { asked: Arc::clone(&self.asked), output: PhantomData }
    }
}

impl<O> RunHandle<O> {
    /// A handle of a run that nobody has looked at.
    pub(super) fn new(engine: Arc<Inner>, run: RunId, workflow: Option<&'static str>) -> Self {
        let asked = Asked { engine, run, workflow, known: Mutex::default(), started: None };
        Self { asked: Arc::new(asked), output: PhantomData }
    }

    /// A handle of a run that is known to be of its workflow; `started` watches one that was
    /// started here.
    pub(super) fn checked(engine: Arc<Inner>, run: RunId, started: Option<Arc<Watch>>) -> Self {
        let known = Mutex::new(Known { is_checked: true, seen: Position::new(1) });
        let asked = Asked { engine, run, workflow: None, known, started };
        Self { asked: Arc::new(asked), output: PhantomData }
    }

    /// Whether the start that gave this handle created the run. False if a run was there already
    /// under its id, and for a handle that no start has given.
    ///
    /// A start that is sent again after its answer was lost finds the run that it has created
    /// itself, and is not told so.
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// let run = engine.client().start(ECHO, 7).id("echo-7").await?;
    /// let answer = if run.is_new() { 201 } else { 200 }; // as HTTP says it
    /// # assert_eq!(answer, 201);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.asked.started.is_some()
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.asked.run
    }

    /// Waits until the run has ended, and gives its output. A run that is driven in this process
    /// is waited for without asking the store.
    ///
    /// It waits as long as it takes: wrap it in `tokio::time::timeout` where there is a limit. A
    /// store or key provider that cannot be reached is asked again, in growing steps of up to 5 s,
    /// until it answers. Dropping the future, at any time, changes nothing but that nobody waits. The
    /// future does not borrow the handle, so that it can be spawned.
    ///
    /// A blocked run has not ended, nor has one whose workflow no worker has: ask
    /// [`status`](Self::status) where it stands. A run whose log cannot be read (a wrong key, a
    /// corrupt record) ends the wait: with the first look where its first or last record does not
    /// open, as soon as a worker of this engine finds it, and otherwise once the log has not
    /// changed for 30 s.
    ///
    /// # Errors
    /// How the run ended, if not with an output; [`ErrorKind::NotFound`] when there is no such
    /// run, [`ErrorKind::Invalid`] when it is of another workflow, [`ErrorKind::Corrupt`] when the
    /// output does not decode, [`ErrorKind::Corrupt`], [`ErrorKind::Key`] and
    /// [`ErrorKind::Unsupported`] when the log does not open.
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// use std::time::Duration;
    ///
    /// let run = engine.client().start(ECHO, 7).id("echo-7").await?;
    /// let output = tokio::time::timeout(Duration::from_secs(5), run.output()).await??;
    /// assert_eq!(output, 7);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn output(&self) -> impl Future<Output = Result<O, RunError>> + Send + use<O>
    where
        O: DeserializeOwned,
    {
        let asked = Arc::clone(&self.asked);
        async move {
            let end = asked.wait_for_end();
            let end = standstill::unless_begun(&asked.engine, &asked.run, end).await?;
            asked.output_of(&end)
        }
    }

    /// Asks the run to end. Its open operations end as cancelled, except those under a
    /// [shield](crate::Ctx::shield); what it does then is its own affair. Asking again is harmless.
    /// A run that is blocked when it is asked ends as cancelled without its code, which cannot go
    /// on: what it would have undone stays done.
    ///
    /// Of a reason of more than 8 KiB the rest is cut.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such run, [`ErrorKind::Ended`] when it has
    /// ended, [`ErrorKind::Invalid`] when it is of another workflow, [`ErrorKind::Corrupt`] or
    /// [`ErrorKind::Key`] when its log does not open, [`ErrorKind::Busy`] when too many others
    /// append.
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<()> {
        let Asked { engine, run, .. } = &*self.asked;
        let log = LogId::Run(run.clone());
        // What is sealed under another key of the same id would spoil the log for good.
        let (seal, mut head) = self.asked.open_first().await?;
        let event = Event::CancelRequested { reason: text::bounded(reason.into()) };
        for tries in 0..TRIES_MAX {
            engine.hub.let_owner_write(run).await;
            let at = engine.clock.now();
            let records = vec![seal.seal(head.next(), at, &event)?];
            let append = Append { expected: head, records, at, by: By::Outsider };
            match engine.world.append(&log, &append).await? {
                Appended::Committed { .. } => {
                    engine.hub.appended(run);
                    return Ok(());
                }
                Appended::Conflict { head: found } => {
                    head = found;
                    give_way(tries).await;
                }
                Appended::NotOpen | Appended::Fenced => {
                    return Err(Error::new(ErrorKind::Ended, "the run takes no requests any more")
                        .run(run.clone())
                        .help("read its output"));
                }
            }
        }
        Err(Error::new(ErrorKind::Busy, "64 appends met others' appends")
            .run(run.clone())
            .help("try again"))
    }

    /// Reads and opens the whole log.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such run, [`ErrorKind::Invalid`] when it is of
    /// another workflow; those of reading and opening.
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// engine.client().start(ECHO, 7).id("echo-7").await?.output().await?;
    /// let log = engine.client().run(ECHO, "echo-7")?.log().await?;
    /// let kinds: Vec<_> = log.iter().map(|logged| logged.event.kind()).collect();
    /// assert_eq!(kinds, [Kind::RUN_CREATED, Kind::RUN_COMPLETED]);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn log(&self) -> Result<Vec<Logged>> {
        let Asked { engine, run, .. } = &*self.asked;
        let log = LogId::Run(run.clone());
        let page = engine.world.read_all(&log).await?;
        let mut records = page.records.iter();
        let Some(first) = records.next() else { return Err(self.asked.no_such_run()) };
        let seal = engine.seal.of(log, &first.body).await?;
        let first = seal.open(first)?;
        self.asked.check(&first)?;
        let rest = records.map(|record| seal.open(record));
        std::iter::once(Ok(first)).chain(rest).collect()
    }

    /// Where the run stands, read from the end of its log: it costs as much for a log of a million
    /// events as for one of ten. Nothing else is opened, so a record in the middle that does not
    /// open goes unnoticed: [`log`](Self::log) opens all.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such run, [`ErrorKind::Invalid`] when it is of
    /// another workflow; those of reading, and of opening the first record and the one that says
    /// where the run stands.
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// engine.client().start(ECHO, 7).id("echo-7").await?.output().await?;
    /// assert_eq!(engine.client().run(ECHO, "echo-7")?.status().await?, Status::Completed);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn status(&self) -> Result<Status> {
        self.asked.status().await
    }
}

/// Waits for a random time within a bound that doubles with each try, so that the owner of a run,
/// which tries again at once, gets its turn however many others there are.
async fn give_way(tries: u32) {
    let most = GIVE_WAY_LEAST.saturating_mul(1 << tries.min(16)).min(GIVE_WAY_MOST);
    tokio::time::sleep(most.mul_f64(entropy::share())).await;
}
