//! One run, as its client sees it.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::engine::Inner;
use crate::{
    codec, entropy,
    error::{Error, ErrorKind, Result},
    event::{Event, Failure, Logged},
    ids::{LogId, Position, RunId},
    record::{Append, Appended, By},
    seal::LogSeal,
    text,
    world::{Wait, World, WorldExt},
};

/// How often it is asked whether this engine still drives the run.
const STILL_DRIVEN: Duration = Duration::from_secs(2);

/// The longest wait for a change in the store before the log is looked at all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a look waits that follows another which has seen no more: at first, and at most.
const PAUSE_LEAST: Duration = Duration::from_millis(1);
const PAUSE_MOST: Duration = Duration::from_millis(64);

/// The longest wait after a request has met others' appends: at first, and at most.
const GIVE_WAY_LEAST: Duration = Duration::from_millis(1);
const GIVE_WAY_MOST: Duration = Duration::from_millis(256);

/// How often a request that meets others' appends is sent again.
const TRIES_MAX: u32 = 64;

/// One run, which may or may not exist yet.
pub struct RunHandle<O> {
    engine: Arc<Inner>,
    run: RunId,
    end: Option<oneshot::Receiver<Arc<Logged>>>,
    output: PhantomData<fn() -> O>,
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

impl<O> fmt::Debug for RunHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunHandle").field(&self.run).finish()
    }
}

impl<O> RunHandle<O> {
    pub(super) fn new(
        engine: Arc<Inner>,
        run: RunId,
        end: Option<oneshot::Receiver<Arc<Logged>>>,
    ) -> Self {
        Self { engine, run, end, output: PhantomData }
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.run
    }

    /// Waits until the run has ended, and gives its output. A run that is driven in this process
    /// is waited for without asking the store.
    ///
    /// A blocked run has not ended, nor has one whose workflow no worker has: ask
    /// [`status`](Self::status) where it stands.
    ///
    /// # Errors
    /// How the run ended, if not with an output; [`ErrorKind::NotFound`] when there is no such
    /// run, [`ErrorKind::Corrupt`] when the output does not decode.
    pub async fn output(mut self) -> Result<O, RunError>
    where
        O: DeserializeOwned,
    {
        let end = self.wait_for_end().await;
        self.engine.hub.unwatch(&self.run);
        let end = end?;
        match &end.event {
            Event::RunCompleted { output } => codec::decode_value(output).map_err(|error| {
                let wanted = std::any::type_name::<O>();
                let what = format!("the run's output is not a {wanted}");
                RunError::World(
                    Error::new(ErrorKind::Corrupt, what)
                        .run(self.run.clone())
                        .position(end.position)
                        .help("use the type the workflow was declared with when it ran")
                        .source(error),
                )
            }),
            Event::RunFailed { failure } => {
                Err(RunError::Failed { run: self.run.clone(), failure: failure.clone() })
            }
            Event::RunCancelled { reason } => {
                Err(RunError::Cancelled { run: self.run.clone(), reason: reason.clone() })
            }
            other => Err(self.wrong(format!("a run that ended with {}", other.kind())).into()),
        }
    }

    async fn wait_for_end(&mut self) -> Result<Arc<Logged>> {
        let mut end = match self.end.take() {
            Some(end) => end,
            None => self.engine.hub.watch(&self.run),
        };
        let log = self.log_id();
        let (mut seen, mut pause) = (None, Duration::ZERO);
        loop {
            if self.engine.hub.is_driven(&self.run) {
                tokio::select! {
                    biased;
                    told = &mut end => match told {
                        Ok(end) => return Ok(end),
                        Err(_) => end = self.engine.hub.watch(&self.run),
                    },
                    () = tokio::time::sleep(STILL_DRIVEN) => {}
                }
                continue;
            }
            if let Ok(end) = end.try_recv() {
                return Ok(end);
            }
            let head =
                self.engine.world.read(&log, Position::new(u64::MAX), super::ONE).await?.head;
            if let Some(end) = self.end_at(head).await? {
                return Ok(Arc::new(end));
            }
            // A World's wait may return early, as often as it likes.
            pause = if seen.replace(head) == Some(head) {
                (pause * 2).clamp(PAUSE_LEAST, PAUSE_MOST)
            } else {
                Duration::ZERO
            };
            let wait =
                Wait { queues: Vec::new(), logs: vec![(log.clone(), head)], at_most: LOOK_AGAIN };
            tokio::select! {
                biased;
                told = &mut end => match told {
                    Ok(end) => return Ok(end),
                    Err(_) => end = self.engine.hub.watch(&self.run),
                },
                waited = async {
                    tokio::time::sleep(pause).await;
                    self.engine.world.wait(&wait).await
                } => waited?,
            }
        }
    }

    /// The last event, if the run has ended.
    async fn end_at(&self, head: Position) -> Result<Option<Logged>> {
        let log = self.log_id();
        let before = Position::new(head.get().saturating_sub(1));
        let page = self.engine.world.read(&log, before, super::ONE).await?;
        let Some(last) = page.records.last() else {
            return Err(Error::new(ErrorKind::NotFound, "no such run").run(self.run.clone()));
        };
        if !last.kind.is_end() {
            return Ok(None);
        }
        let seal = self.engine.seal.of(log, &last.body).await?;
        Ok(Some(seal.open(last)?))
    }

    /// Asks the run to end. Its open operations end as cancelled, except those under a
    /// [shield](crate::Ctx::shield); what it does then is its own affair. Asking again is harmless.
    /// A run that is blocked when it is asked ends as cancelled without its code, which cannot go
    /// on: what it would have undone stays done.
    ///
    /// Of a reason of more than 8 KiB the rest is cut.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such run, [`ErrorKind::Invalid`] when it has
    /// ended, [`ErrorKind::Corrupt`] or [`ErrorKind::Key`] when its log does not open,
    /// [`ErrorKind::Busy`] when too many others append.
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<()> {
        let log = self.log_id();
        let first = self.engine.world.read(&log, Position::START, super::ONE).await?;
        let mut head = first.head;
        let Some(first) = first.records.first() else {
            return Err(Error::new(ErrorKind::NotFound, "no such run").run(self.run.clone()));
        };
        let seal = self.engine.seal.of(log.clone(), &first.body).await?;
        // What is sealed under another key of the same id would spoil the log for good.
        seal.open(first)?;
        let event = Event::CancelRequested { reason: text::bounded(reason.into()) };
        for tries in 0..TRIES_MAX {
            self.engine.hub.let_owner_write(&self.run).await;
            let at = self.engine.clock.now();
            let records = vec![seal.seal(head.next(), at, &event)?];
            let append = Append { expected: head, records, at, by: By::Outsider };
            match self.engine.world.append(&log, &append).await? {
                Appended::Committed { .. } => {
                    self.engine.hub.appended(&self.run);
                    return Ok(());
                }
                Appended::Conflict { head: found } => {
                    head = found;
                    give_way(tries).await;
                }
                Appended::NotOpen | Appended::Fenced => {
                    return Err(Error::new(ErrorKind::Invalid, "the run has ended")
                        .run(self.run.clone())
                        .help("read its output"));
                }
            }
        }
        Err(Error::new(ErrorKind::Busy, "64 appends met others' appends")
            .run(self.run.clone())
            .help("try again"))
    }

    /// Reads and opens the whole log.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such run; those of reading and opening.
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
        let log = self.log_id();
        let page = self.engine.world.read_all(&log).await?;
        let Some(first) = page.records.first() else {
            return Err(Error::new(ErrorKind::NotFound, "no such run").run(self.run.clone()));
        };
        let seal: LogSeal = self.engine.seal.of(log, &first.body).await?;
        page.records.iter().map(|record| seal.open(record)).collect()
    }

    /// Where the run stands, read from its log.
    ///
    /// # Errors
    /// Those of [`RunHandle::log`].
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
        let log = self.log().await?;
        // A request changes nothing about where the run stands until it is answered, and neither
        // does how it is driven.
        let mut events = log.into_iter().rev().map(|logged| logged.event).filter(|event| {
            !matches!(event, Event::CancelRequested { .. } | Event::RunIsolated { .. })
        });
        Ok(match events.next() {
            Some(Event::RunCompleted { .. }) => Status::Completed,
            Some(Event::RunFailed { failure }) => Status::Failed(failure),
            Some(Event::RunCancelled { reason }) => Status::Cancelled { reason },
            Some(Event::RunBlocked { why }) => Status::Blocked { why },
            _ => Status::Open,
        })
    }

    fn log_id(&self) -> LogId {
        LogId::Run(self.run.clone())
    }

    fn wrong(&self, what: String) -> Error {
        Error::new(ErrorKind::Corrupt, what).run(self.run.clone())
    }
}

impl<O> Drop for RunHandle<O> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            drop(end);
            self.engine.hub.unwatch(&self.run);
        }
    }
}

/// Waits for a random time within a bound that doubles with each try, so that the owner of a run,
/// which tries again at once, gets its turn however many others there are.
async fn give_way(tries: u32) {
    let most = GIVE_WAY_LEAST.saturating_mul(1 << tries.min(16)).min(GIVE_WAY_MOST);
    tokio::time::sleep(most.mul_f64(entropy::share())).await;
}
