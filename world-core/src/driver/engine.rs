//! The engine: a World, a seal, and the workflows that run on them.

use std::{collections::HashMap, fmt, future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    client::Client,
    clock::{Clock, SystemClock},
    hub::Hub,
    worker::{Crew, Worker},
};
use crate::{
    context::{BoxError, Ctx, Registered, Workflow},
    error::{Error, ErrorKind, Result},
    ids::{Queue, Timestamp, WorkflowName},
    layer::RetryLayer,
    lease::Ticket,
    record::Due,
    replay::{Hydration, HydrationCounters, HydrationCounts},
    seal::{Key, KeyProvider, Keyring, Seal},
    world::{Limits, World},
};

/// Whether a run's program stays in memory between turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// It stays: a step costs one append, no read and no replay.
    #[default]
    Resident,
    /// It is executed anew for every turn, from the log the session has read once.
    Replay,
}

/// What an engine may be told; see [`EngineBuilder`] for each.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) lease: Duration,
    pub(super) linger: Duration,
    pub(super) poll: Duration,
    pub(super) residency: Residency,
    pub(super) hydration_bytes_max: usize,
    pub(super) residents_max: usize,
    pub(super) runs_max: usize,
    pub(super) bodies_max: usize,
    pub(super) poison_after: Option<NonZeroU32>,
    pub(super) retention: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            linger: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            residency: Residency::Resident,
            hydration_bytes_max: 16 << 20,
            residents_max: 1024,
            runs_max: 4096,
            bodies_max: 4096,
            poison_after: None,
            retention: None,
        }
    }
}

/// Runs workflows on a World. Clones are the same engine.
///
/// ```
/// use world_core::{Ctx, Engine, MemoryWorld, Workflow, seal::Key};
///
/// const GREET: Workflow<String, String> = Workflow::new("greet");
///
/// async fn greet(mut ctx: Ctx, name: String) -> anyhow::Result<String> {
///     let greeting = ctx.step("greet", async || Ok::<_, anyhow::Error>(format!("Hello, {name}"))).await?;
///     Ok(greeting + "!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let engine =
///     Engine::builder(MemoryWorld::new()).key(Key::generate()).workflow(GREET, greet).build()?;
/// let worker = engine.spawn_worker();
/// let run = engine.client().start(GREET, "Ada".to_owned()).id("greet-ada").await?;
/// assert_eq!(run.output().await?, "Hello, Ada!");
/// worker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) world: RetryLayer<Arc<dyn World>>,
    pub(super) seal: Seal,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) limits: Limits,
    pub(super) hub: Arc<Hub>,
    pub(super) crew: Crew,
    workflows: HashMap<WorkflowName, Registered>,
    pub(super) queues: Vec<Queue>,
    bodies: Arc<Semaphore>,
    counters: Arc<HydrationCounters>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("world", &self.world)
            .field("seal", &self.seal)
            .field("options", &self.options)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn workflow(&self, name: &WorkflowName) -> Option<&Registered> {
        self.workflows.get(name)
    }

    pub(super) fn replays_every_turn(&self) -> bool {
        self.options.residency == Residency::Replay
    }

    pub(super) fn hydration(&self) -> Hydration {
        // A resident program opens each result once, so it has nothing to keep.
        let kept = if self.replays_every_turn() { self.options.hydration_bytes_max } else { 0 };
        Hydration::counted(kept, Arc::clone(&self.counters))
    }

    /// When a lease that runs out at `until` is to be renewed: with two thirds of it left.
    pub(super) fn renew_at(&self, until: Timestamp) -> Timestamp {
        let left = self.options.lease * 2 / 3;
        Timestamp::from_millis(until.as_millis().saturating_sub(left.as_millis() as u64))
    }

    /// The last rest of a run that ends now: until its time of retention is over.
    pub(super) fn rest_of_closed(&self, now: Timestamp) -> Due {
        self.options.retention.map_or(Due::Never, |retention| Due::At(now.plus(retention)))
    }

    pub(super) fn ticket() -> Ticket {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        Ticket::from_bytes(bytes)
    }

    /// As many of these permits to run bodies as there are, if there are any.
    pub(super) fn try_permits(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        let many = u32::try_from(wanted.min(self.bodies.available_permits())).ok()?;
        if many == 0 {
            return None;
        }
        Arc::clone(&self.bodies).try_acquire_many_owned(many).ok()
    }

    pub(super) fn wait_for_permit(
        &self,
    ) -> std::pin::Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>> {
        let bodies = Arc::clone(&self.bodies);
        Box::pin(async move { bodies.acquire_owned().await.ok() })
    }
}

impl Engine {
    /// Begins an engine on this World.
    #[must_use]
    pub fn builder(world: impl World) -> EngineBuilder {
        EngineBuilder {
            world: Arc::new(world),
            realm: "default".to_owned(),
            keys: Keys::Missing,
            clock: Arc::new(SystemClock),
            options: Options::default(),
            workflows: HashMap::new(),
            queues: Vec::new(),
            wrong: None,
        }
    }

    /// Starts a worker for all registered workflows on the current tokio runtime. It works until
    /// it is shut down, aborted or dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use = "a worker that is dropped stops"]
    pub fn spawn_worker(&self) -> Worker {
        Worker::spawn(&self.inner)
    }

    /// A client of this engine.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.inner))
    }

    /// How often results were opened and decoded so far, by all workers of this engine.
    #[must_use]
    pub fn hydration_counts(&self) -> HydrationCounts {
        self.inner.counters.counts()
    }

    pub(super) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The queues of its workflows.
    pub(crate) fn queues(&self) -> &[Queue] {
        &self.inner.queues
    }
}

enum Keys {
    Missing,
    None,
    Provided(Arc<dyn KeyProvider>),
}

/// What an engine is made of. A key and the workflows must be given; all else has a default.
pub struct EngineBuilder {
    world: Arc<dyn World>,
    realm: String,
    keys: Keys,
    clock: Arc<dyn Clock>,
    options: Options,
    workflows: HashMap<WorkflowName, Registered>,
    queues: Vec<Queue>,
    wrong: Option<Error>,
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("world", &self.world)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    /// Seals everything under this key.
    #[must_use]
    pub fn key(self, key: Key) -> Self {
        self.keys(Keyring::new(key))
    }

    /// Seals under the keys of a provider.
    #[must_use]
    pub fn keys(mut self, keys: impl KeyProvider) -> Self {
        self.keys = Keys::Provided(Arc::new(keys));
        self
    }

    /// Seals nothing: whoever reads the store reads the payloads.
    #[must_use]
    pub fn without_encryption(mut self) -> Self {
        self.keys = Keys::None;
        self
    }

    /// The realm that is part of every seal; "default" by default. A copy of a store keeps it.
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Registers the function of a workflow; their types must agree.
    #[must_use]
    pub fn workflow<I, O, F, Fut, E>(mut self, workflow: Workflow<I, O>, function: F) -> Self
    where
        F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned,
        O: Serialize,
        E: Into<BoxError>,
    {
        let added = WorkflowName::new(workflow.name()).and_then(|name| {
            let queue = Queue::new(workflow.queue_name())?;
            if self.workflows.contains_key(&name) {
                let what = format!("two workflows are registered under the name {name}");
                return Err(Error::new(ErrorKind::Invalid, what).help("rename one of them"));
            }
            if !self.queues.contains(&queue) {
                self.queues.push(queue);
            }
            self.workflows.insert(name, Registered::new(function));
            Ok(())
        });
        if let Err(error) = added {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// How long a worker may be silent before another takes its runs; 15 s by default, at least
    /// 1 s. It is renewed at a third of it.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// How far ahead a timer may lie for its run to wait in the worker rather than rest in the
    /// store; 1 s by default.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// How often a worker that hears nothing asks the store for due runs; 1 s by default.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.options.poll = poll.max(Duration::from_millis(1));
        self
    }

    /// Whether programs stay in memory between turns; they do by default.
    #[must_use]
    pub fn residency(mut self, residency: Residency) -> Self {
        self.options.residency = residency;
        self
    }

    /// The most bytes of opened payloads that the hydration cache keeps for each run whose
    /// program is executed anew for every turn; 16 MiB by default, 0 keeps none.
    #[must_use]
    pub fn hydration_bytes_max(mut self, bytes: usize) -> Self {
        self.options.hydration_bytes_max = bytes;
        self
    }

    /// The most programs of resting runs that stay in memory; 1024 by default.
    #[must_use]
    pub fn residents_max(mut self, runs: usize) -> Self {
        self.options.residents_max = runs;
        self
    }

    /// The most runs that a worker drives at once; 4096 by default, at least 1.
    #[must_use]
    pub fn runs_max(mut self, runs: usize) -> Self {
        self.options.runs_max = runs.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// The most step bodies that the engine runs at once, of all runs; 4096 by default, at least
    /// 1. One run has at most 256.
    #[must_use]
    pub fn bodies_max(mut self, bodies: usize) -> Self {
        self.options.bodies_max = bodies.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Ends a run as failed once this many claims in a row have brought no progress; off by
    /// default, where such a run only slows down by itself.
    #[must_use]
    pub fn poison_after(mut self, claims: u32) -> Self {
        self.options.poison_after = NonZeroU32::new(claims);
        self
    }

    /// Deletes a run this long after it has ended; kept for ever by default.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.options.retention = Some(retention);
        self
    }

    /// Where the time comes from; the machine's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] without a key, [`ErrorKind::Invalid`] for two workflows of one name or
    /// a name that no World keeps.
    pub fn build(self) -> Result<Engine> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let seal = match self.keys {
            Keys::Provided(keys) => Seal::new(&self.realm, keys),
            Keys::None => Seal::none(&self.realm),
            Keys::Missing => {
                return Err(Error::new(ErrorKind::Key, "an engine without a key").help(
                    "give it one with key(Key::from_env(\"WORLD_KEY\")?), or ask for \
                     without_encryption()",
                ));
            }
        };
        let limits = self.world.info().limits;
        Ok(Engine {
            inner: Arc::new(Inner {
                world: RetryLayer::new(self.world),
                seal,
                clock: self.clock,
                limits,
                hub: Arc::new(Hub::new(self.options.residents_max)),
                crew: Crew::default(),
                workflows: self.workflows,
                queues: self.queues,
                bodies: Arc::new(Semaphore::new(self.options.bodies_max)),
                counters: Arc::default(),
                options: self.options,
            }),
        })
    }
}
