//! What starts runs, finds them and asks them to end.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{engine::Inner, handle::RunHandle, held::HeldLease, session::Session};
use crate::{
    codec,
    context::Workflow,
    entropy,
    error::{Error, ErrorKind, Result},
    event::{Event, Logged, Seed},
    ids::{LogId, Position, Queue, RunId, WorkflowName},
    lease::Lease,
    list::{Deleted, List, RunPage},
    record::{Append, Appended, By, Due, NewRun},
    world::World,
};

/// Starts runs, finds them, and asks them to end. Clones are the same client.
#[derive(Clone, Debug)]
pub struct Client {
    engine: Arc<Inner>,
}

impl Client {
    pub(super) fn new(engine: Arc<Inner>) -> Self {
        Self { engine }
    }

    /// Starts a run; await the result. See [`Start::id`] for idempotency.
    ///
    /// An input that does not decode again from what it is encoded as is refused, with the reason,
    /// before anything is written.
    pub fn start<I, O>(&self, workflow: Workflow<I, O>, input: I) -> Start<I, O>
    where
        I: Serialize + DeserializeOwned,
    {
        Start { engine: Arc::clone(&self.engine), workflow, input, id: None }
    }

    /// The run with this id, whether it exists or not; nothing is asked of the store before the
    /// handle is used, which then checks that the run is of this workflow.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an id that no World keeps.
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// let client = engine.client();
    /// client.start(ECHO, 7).id("echo-7").await?;
    /// assert_eq!(client.run(ECHO, "echo-7")?.output().await?, 7); // from anywhere, later
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run<I, O>(&self, workflow: Workflow<I, O>, id: &str) -> Result<RunHandle<O>> {
        Ok(RunHandle::new(Arc::clone(&self.engine), RunId::new(id)?, Some(workflow.name())))
    }

    /// The run with this id, whatever its workflow.
    pub(crate) fn handle<O>(&self, run: RunId) -> RunHandle<O> {
        RunHandle::new(Arc::clone(&self.engine), run, None)
    }

    /// Lists runs.
    ///
    /// # Errors
    /// Those of [`World::list`].
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::num::NonZeroU32;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// let client = engine.client();
    /// client.start(ECHO, 7).id("echo-7").await?.output().await?;
    /// let list = List { last: Some(Kind::RUN_COMPLETED), ..List::all(NonZeroU32::MAX) };
    /// let ids: Vec<_> = client.list(&list).await?.runs.into_iter().map(|run| run.run).collect();
    /// assert_eq!(ids, [RunId::new("echo-7")?]);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list(&self, list: &List) -> Result<RunPage> {
        self.engine.world.list(list).await
    }

    /// Deletes a run that has ended. Its id stays spent.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a run that is open, [`ErrorKind::NotFound`] for none; those of
    /// [`World::delete`].
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// let client = engine.client();
    /// client.start(ECHO, 7).id("echo-7").await?.output().await?;
    /// client.delete(&RunId::new("echo-7")?).await?;
    /// assert!(client.start(ECHO, 7).id("echo-7").await.is_err()); // the id stays spent
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete(&self, run: &RunId) -> Result<()> {
        let log = LogId::Run(run.clone());
        let head = self.engine.world.read(&log, Position::new(u64::MAX), super::ONE).await?.head;
        match self.engine.world.delete(&log, head).await? {
            Deleted::Done => Ok(()),
            Deleted::Open => Err(Error::new(ErrorKind::Invalid, "a run that has not ended")
                .run(run.clone())
                .help("cancel it, and wait until it has ended")),
            Deleted::Absent => Err(Error::new(ErrorKind::NotFound, "no such run").run(run.clone())),
        }
    }
}

/// A run about to be started; await it.
#[must_use = "a run is started when this is awaited"]
pub struct Start<I, O> {
    engine: Arc<Inner>,
    workflow: Workflow<I, O>,
    input: I,
    id: Option<String>,
}

impl<I, O> fmt::Debug for Start<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("workflow", &self.workflow)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<I, O> Start<I, O> {
    /// Chooses the run's id, which is the idempotency key: starting it again with the same
    /// workflow and input gives the same run, with others it is an error.
    ///
    /// An id is what makes a start that failed as [`Unknown`](crate::ErrorKind::Unknown) safe to
    /// repeat: without one, another try makes another run. It holds for as long as the run is kept,
    /// and is refused for a while after that ([`EngineBuilder::retention`](crate::EngineBuilder::retention), and a World's own: the
    /// one on Redis keeps ended runs for 7 days by default).
    ///
    /// Inputs are the same if they are encoded as the same tree: maps have no order, arrays have one,
    /// and floating-point numbers are compared by their bits. If they are not, the run's input is decoded
    /// as this `I`, encoded again and compared once more, so that a field which was added with
    /// `#[serde(default)]` since then makes no other input. A `HashSet` is an array whose order changes
    /// from one start to the next: use a `BTreeSet`.
    ///
    /// [`RunHandle::is_new`] says whether this start has created the run. An id that names another run
    /// is [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), that of a run which was deleted is
    /// [`ErrorKind::Ended`](crate::ErrorKind::Ended), and one that no World keeps is
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    ///
    /// ```
    /// # use world_core::*;
    /// # const ECHO: Workflow<u64, u64> = Workflow::new("echo");
    /// # async fn echo(_: Ctx, n: u64) -> Result<u64, StepError> { Ok(n) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ECHO, echo).build()?;
    /// # let worker = engine.spawn_worker();
    /// let client = engine.client();
    /// client.start(ECHO, 7).id("echo-7").await?;
    /// let again = client.start(ECHO, 7).id("echo-7").await?; // the same run
    /// assert_eq!(again.output().await?, 7);
    /// let other = client.start(ECHO, 8).id("echo-7").await.unwrap_err();
    /// assert_eq!(other.kind(), ErrorKind::Conflict);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

impl<I, O> IntoFuture for Start<I, O>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    O: 'static,
{
    type Output = Result<RunHandle<O>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { engine, workflow, input, id } = self;
        let input = codec::encode_lasting(&input);
        let (name, version, queue) =
            (workflow.name(), workflow.version_number(), workflow.queue_name());
        Box::pin(async move {
            let run = match id {
                Some(id) => RunId::new(id)?,
                None => RunId::generate(engine.clock.now(), &entropy::bytes()),
            };
            let created = Event::RunCreated {
                workflow: WorkflowName::new(name)?,
                version,
                input: input?,
                seed: Seed::from_bytes(entropy::bytes()),
                parent: None,
            };
            create(&engine, run, Queue::new(queue)?, created, codec::encode_anew::<I>).await
        })
    }
}

async fn create<O>(
    engine: &Arc<Inner>,
    run: RunId,
    queue: Queue,
    event: Event,
    encode_anew: codec::EncodeAnew,
) -> Result<RunHandle<O>> {
    let Event::RunCreated { workflow, version, .. } = &event else {
        return Err(Error::new(ErrorKind::Invalid, "a run begins with run_created"));
    };
    let log = LogId::Run(run.clone());
    let seal = engine.seal.fresh(log.clone()).await?;
    let asked = engine.moment();
    let at = asked.wall;
    let record = seal.seal(Position::new(1), at, &event)?;
    // A worker of this engine that has room gets the run with its first lease: no claim, no read.
    let room = engine.code_for(workflow, *version).ok().and_then(|_| engine.crew.with_room(engine));
    let (ticket, until) = (Inner::ticket(), at.plus(engine.options.lease));
    let append = |lease| Append {
        expected: Position::START,
        records: vec![record.clone()],
        at,
        by: By::Creator(NewRun {
            queue: queue.clone(),
            workflow: workflow.clone(),
            due: Due::Now,
            parent: None,
            tags: Vec::new(),
            key: seal.key_id().clone(),
            lease,
        }),
    };
    let lease = room.is_some().then_some((ticket, until));
    let (room, appended) = match engine.world.append(&log, &append(lease)).await {
        // If it is the lease that the store does not give, because this machine's clock is not its
        // own, then nothing was done, and the run waits for a worker whose clock is.
        Err(error) if room.is_some() && error.kind() == ErrorKind::Unsuitable => {
            tracing::warn!(%run, %error, "a run is started without a lease");
            (None, engine.world.append(&log, &append(None)).await?)
        }
        appended => (room, appended?),
    };
    match appended {
        Appended::Committed { head } => {
            let watch = engine.hub.watchers.watch(&run);
            if let Some(room) = room {
                let lease =
                    Lease { run: run.clone(), ticket, attempt: 1, until, head, closed: false };
                let mut session = Session::new(run.clone(), seal, engine, Vec::new());
                let logged = Arc::new(Logged { position: record.position, at, event });
                session.created_here(logged, record);
                room.drive(HeldLease::new(&engine.clock, lease, asked), session);
            } else {
                engine.hub.work.notify_waiters();
            }
            Ok(RunHandle::checked(Arc::clone(engine), run, Some(watch)))
        }
        Appended::Conflict { .. } | Appended::NotOpen => {
            existing(engine, run, &event, encode_anew).await
        }
        Appended::Fenced => {
            Err(Error::new(ErrorKind::Invalid, "a World that fenced a creator out")
                .run(run)
                .help("it breaks its contract: run the conformance suite on it"))
        }
    }
}

/// A run that is there already: the same, or an error.
async fn existing<O>(
    engine: &Arc<Inner>,
    run: RunId,
    wanted: &Event,
    encode_anew: codec::EncodeAnew,
) -> Result<RunHandle<O>> {
    let log = LogId::Run(run.clone());
    let page = engine.world.read(&log, Position::START, super::ONE).await?;
    let Some(first) = page.records.first() else {
        return Err(Error::new(ErrorKind::Ended, "the run was deleted, and its id is spent")
            .run(run)
            .help("choose another id"));
    };
    let found = engine.seal.of(log, &first.body).await?.open(first)?.event;
    let (
        Event::RunCreated { workflow: found_workflow, input: found_input, .. },
        Event::RunCreated { workflow, input, .. },
    ) = (&found, wanted)
    else {
        return Err(Error::new(ErrorKind::Corrupt, "a log that does not begin with run_created")
            .run(run)
            .position(Position::new(1)));
    };
    let differs = if found_workflow != workflow {
        format!("the run exists and runs the workflow {found_workflow}")
    } else if !codec::same_value(found_input, input, encode_anew) {
        "the run exists with another input".to_owned()
    } else {
        return Ok(RunHandle::checked(Arc::clone(engine), run, None));
    };
    Err(Error::new(ErrorKind::Conflict, differs)
        .run(run)
        .position(Position::new(1))
        .help("an id names one run for ever: choose another, or give the same input"))
}
