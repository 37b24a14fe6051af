//! An engine for tests: a World in memory, and a clock that jumps over every wait.

mod time;

use std::{
    future::Future,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::Notify, task::AbortHandle};

use time::{LogEnd, Passed};

use crate::{
    context::{BoxError, Ctx, Workflow},
    driver::{Client, Engine, EngineBuilder, RunError, RunHandle, Status, VirtualClock},
    error::{Error, ErrorKind, Result},
    event::Logged,
    ids::RunId,
    lock::lock,
    memory::MemoryWorld,
    record::Kind,
    seal::Key,
    world::{Wait, World},
};

/// An engine on a World in memory, with a key of its own and a clock that stands still while a
/// body runs and jumps to the next due time when none does: a durable sleep of days takes no time.
/// A body that waits for another run does not stop the clock.
///
/// ```
/// # use std::time::Duration;
/// # use world_core::{Clock, Ctx, Retry, StepError, Workflow, testing::TestEngine};
/// const POLL: Workflow<(), u32> = Workflow::new("poll");
///
/// async fn poll(mut ctx: Ctx, (): ()) -> Result<u32, StepError> {
///     ctx.step_with("ask", async |attempt| match attempt.number() {
///         3 => Ok(3),
///         _ => Err("not yet"),
///     })
///     .retry(Retry::fixed(5, Duration::from_secs(3600)))
///     .await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let t = TestEngine::new().workflow(POLL, poll);
/// let began = t.clock().now();
/// assert_eq!(t.run(POLL, ()).await?, 3);
/// assert_eq!(t.clock().now().since(began), Duration::from_secs(2 * 3600));
/// # Ok(())
/// # }
/// ```
///
/// # Limits
///
/// - It needs a tokio runtime; the runs are driven in tasks of it, as a worker would.
/// - The clock moves only inside [`finish`](TestEngine::finish) and [`run`](TestEngine::run), and
///   not while a body runs, except one that waits in [`RunHandle::output`] for another run of the
///   same World, whatever else it waits for at the same time: its attempt may time out meanwhile. A
///   wait in a task that the body has spawned is not seen, and stops the clock as any body does.
/// - A body that waits for an attempt's timeout and for nothing else waits until the test moves the
///   clock.
/// - Bodies run for real: one that calls `tokio::time::sleep` takes that time.
/// - A workflow is given before the first run is started.
#[derive(Debug)]
pub struct TestEngine {
    world: Arc<dyn World>,
    clock: VirtualClock,
    key: Key,
    builder: Mutex<Option<EngineBuilder>>,
    engine: OnceLock<Result<Engine, String>>,
    turns: Arc<Turns>,
}

/// The turns under way.
#[derive(Debug, Default)]
struct Turns {
    running: AtomicUsize,
    ended: Notify,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Counts a turn for as long as it lives, however it ends.
struct Counted(Arc<Turns>);

impl Counted {
    fn new(turns: &Arc<Turns>) -> Self {
        turns.running.fetch_add(1, SeqCst);
        Self(Arc::clone(turns))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl Default for TestEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl TestEngine {
    /// How far the clock is moved to see whether a lease of a dead worker has run out.
    const LEASE_TICK: Duration = Duration::from_secs(1);

    /// How many runs are claimed at once.
    const CLAIM_MAX: NonZeroU32 = NonZeroU32::new(64).expect("64 is not 0");

    /// An engine without workflows, on an empty World.
    #[must_use]
    pub fn new() -> Self {
        Self::on(MemoryWorld::new())
    }

    /// An engine without workflows on another World, such as one in memory under a
    /// [layer](crate::layer) that breaks calls.
    #[must_use]
    pub fn on(world: impl World) -> Self {
        Self::with(Arc::new(world), VirtualClock::new(), Key::generate())
    }

    fn with(world: Arc<dyn World>, clock: VirtualClock, key: Key) -> Self {
        let builder = Engine::builder(Arc::clone(&world))
            .key(key.clone())
            .clock(clock.clone())
            .linger(Duration::ZERO);
        Self {
            world,
            clock,
            key,
            builder: Mutex::new(Some(builder)),
            engine: OnceLock::new(),
            turns: Arc::default(),
        }
    }

    /// The same with this key, so that it reads what another engine wrote.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = key.clone();
        self.configure(|builder| builder.key(key))
    }

    /// The same with this clock, which other engines may have too.
    #[must_use]
    pub fn at(mut self, clock: VirtualClock) -> Self {
        self.clock = clock.clone();
        self.configure(|builder| builder.clock(clock))
    }

    /// Registers the function of a workflow; their types must agree. A name that is given twice is
    /// the error of the first start.
    #[must_use]
    pub fn workflow<I, O, F, Fut, E>(self, workflow: Workflow<I, O>, function: F) -> Self
    where
        F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned,
        O: Serialize + DeserializeOwned,
        E: Into<BoxError>,
    {
        self.configure(|builder| builder.workflow(workflow, function))
    }

    /// Changes how the engine is built: residency, bounds, retention.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        let builder = self.builder.get_mut().unwrap_or_else(PoisonError::into_inner);
        *builder = builder.take().map(change);
        self
    }

    /// Another engine on the same World, clock and key, without workflows: the next deployment.
    #[must_use]
    pub fn deploy(&self) -> Self {
        Self::with(Arc::clone(&self.world), self.clock.clone(), self.key.clone())
    }

    /// The engine.
    ///
    /// # Errors
    /// Those of [`EngineBuilder::build`].
    pub fn engine(&self) -> Result<&Engine> {
        let built = self.engine.get_or_init(|| {
            let builder = lock(&self.builder).take();
            match builder.map(EngineBuilder::build) {
                Some(Ok(engine)) => {
                    engine.watch_drives();
                    Ok(engine)
                }
                Some(Err(error)) => Err(error.to_string()),
                None => Err("an engine that is being built".to_owned()),
            }
        });
        built.as_ref().map_err(|why| Error::new(ErrorKind::Invalid, why.clone()))
    }

    /// A client of the engine.
    ///
    /// # Errors
    /// Those of [`EngineBuilder::build`].
    pub fn client(&self) -> Result<Client> {
        Ok(self.engine()?.client())
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// The World.
    #[must_use]
    pub const fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    /// A run's log, opened.
    ///
    /// # Errors
    /// Those of [`RunHandle::log`].
    pub async fn log(&self, run: &RunId) -> Result<Vec<Logged>> {
        self.handle::<()>(run)?.log().await
    }

    /// Where a run stands.
    ///
    /// # Errors
    /// Those of [`RunHandle::status`].
    pub async fn status(&self, run: &RunId) -> Result<Status> {
        self.handle::<()>(run)?.status().await
    }

    /// Starts a run, which takes no step before [`turn`](TestEngine::turn),
    /// [`finish`](TestEngine::finish) or [`run`](TestEngine::run) is called.
    ///
    /// # Errors
    /// Those of starting a run and of [`EngineBuilder::build`].
    pub async fn start<I, O>(&self, workflow: Workflow<I, O>, input: I) -> Result<RunHandle<O>>
    where
        I: Serialize + DeserializeOwned + Send + 'static,
        O: 'static,
    {
        self.client()?.start(workflow, input).await
    }

    /// Starts a run and drives it to its end.
    ///
    /// # Errors
    /// Those of [`TestEngine::start`] and [`TestEngine::finish`].
    pub async fn run<I, O>(&self, workflow: Workflow<I, O>, input: I) -> Result<O, RunError>
    where
        I: Serialize + DeserializeOwned + Send + 'static,
        O: DeserializeOwned + 'static,
    {
        let run = self.start(workflow, input).await?;
        self.finish(&run).await
    }

    /// Drives every due run until this one has ended, and moves the clock to the next due time
    /// whenever nothing is ready and all that runs waits for other runs.
    ///
    /// # Errors
    /// How the run ended, if not with an output; [`RunError::Blocked`] when its code cannot go on
    /// with its log; [`ErrorKind::Invalid`] when it waits and nothing will wake it.
    pub async fn finish<O: DeserializeOwned>(&self, run: &RunHandle<O>) -> Result<O, RunError> {
        let mut end = LogEnd::default();
        // A run that is blocked gets another try: the code may be a new one.
        if self.last_kind(run.id(), &mut end).await? == Some(Kind::RUN_BLOCKED) {
            self.pass_time_of(run.id()).await?;
        }
        loop {
            self.turn().await?;
            let last = self.last_kind(run.id(), &mut end).await?;
            if last.is_some_and(Kind::is_end) {
                return self.handle(run.id())?.output().await;
            }
            if last == Some(Kind::RUN_BLOCKED)
                && let Status::Blocked { why } = run.status().await?
            {
                return Err(RunError::Blocked { run: run.id().clone(), why });
            }
            if let Passed::Never { awaited } = self.pass_time().await? {
                let mut what = "the run waits, and nothing will wake it".to_owned();
                if !awaited.is_empty() {
                    what = format!("{what}; bodies wait for runs: {awaited}");
                }
                return Err(Error::new(ErrorKind::Invalid, what)
                    .run(run.id().clone())
                    .help("do from the test what it waits for, then call finish again")
                    .into());
            }
        }
    }

    /// Drives every run that is due until each of them has ended or waits: for a time, for the end
    /// of another run, or for another try of an append that failed. It does not move the clock.
    ///
    /// # Errors
    /// Those of the World and of [`EngineBuilder::build`].
    pub async fn turn(&self) -> Result<()> {
        let engine = self.engine()?;
        loop {
            let (ended, changed) = (self.turns.ended.notified(), engine.drives_changed());
            tokio::pin!(ended, changed);
            ended.as_mut().enable();
            changed.as_mut().enable();
            // Looked at before the claim: what those that wait have started is claimed then.
            let waiting = engine.drives().waiting;
            if self.claim().await? > 0 {
                continue;
            }
            if waiting >= self.turns.running.load(SeqCst) {
                return Ok(());
            }
            // A body that runs may start or wake another run.
            let queues = engine.queues().to_vec();
            let wait = Wait { queues, logs: Vec::new(), at_most: Duration::from_secs(3600) };
            tokio::select! {
                biased;
                () = ended => {}
                () = changed => {}
                waited = self.world.wait(&wait) => waited?,
            }
        }
    }

    /// Kills the worker as a power cut would: bodies are dropped, what was not committed is lost,
    /// and leases run out by themselves.
    pub fn crash(&self) {
        let tasks = std::mem::take(&mut *lock(&self.turns.tasks));
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Claims what is due, and drives each run in a task of its own.
    async fn claim(&self) -> Result<usize> {
        let engine = self.engine()?;
        let claimed = engine.claim(Self::CLAIM_MAX).await?;
        let count = claimed.len();
        let mut tasks = lock(&self.turns.tasks);
        tasks.retain(|task| !task.is_finished());
        for turn in claimed {
            let counted = Counted::new(&self.turns);
            let turn = async move {
                turn.await;
                drop(counted);
            };
            tasks.push(tokio::spawn(tokio::task::unconstrained(turn)).abort_handle());
        }
        Ok(count)
    }

    fn handle<O>(&self, run: &RunId) -> Result<RunHandle<O>> {
        Ok(self.client()?.handle(run.clone()))
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        self.crash();
    }
}
