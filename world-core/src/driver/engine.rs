//! The engine: a World, a seal, and the workflows that run on them.

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{
    builder::EngineBuilder,
    client::Client,
    clock::{Clock, moment},
    held::HeldLease,
    hub::Hub,
    options::{Options, Residency},
    session::Session,
    standing_back::StandingBack,
    worker::{Crew, Worker},
};
use crate::{
    context::Registered,
    entropy,
    error::{ErrorKind, Result},
    ids::{Position, Queue, Timestamp, WorkflowName},
    layer::RetryLayer,
    lease::{Claim, Renewed, Ticket},
    moment::Moment,
    record::Due,
    replay::{Blocked, Hydration, HydrationCounters, HydrationCounts},
    seal::Seal,
    world::{Limits, World},
};

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
    pub(super) standing_back: StandingBack,
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
    /// The code for a run that was started with this version of a workflow.
    pub(super) fn code_for(
        &self,
        workflow: &WorkflowName,
        version: u32,
    ) -> std::result::Result<&Registered, Blocked> {
        let Some(registered) = self.workflows.get(workflow) else {
            return Err(Blocked::Unregistered { workflow: workflow.clone() });
        };
        if version > registered.version() {
            let (workflow, registered) = (workflow.clone(), registered.version());
            return Err(Blocked::NewerVersion { workflow, version, registered });
        }
        Ok(registered)
    }

    /// Whether a workflow of this name is registered, of whatever version.
    pub(super) fn knows(&self, workflow: &WorkflowName) -> bool {
        self.workflows.contains_key(workflow)
    }

    pub(super) fn replays_every_turn(&self) -> bool {
        self.options.residency == Residency::Replay
    }

    pub(super) fn hydration(&self) -> Hydration {
        // A resident program opens each result once, so it has nothing to keep.
        let kept = if self.replays_every_turn() { self.options.hydration_bytes_max } else { 0 };
        Hydration::counted(kept, Arc::clone(&self.counters))
    }

    /// Reads both clocks.
    pub(super) fn moment(&self) -> Moment {
        moment(&*self.clock)
    }

    /// Renews a lease, so that it holds for `time` from now on. `head` is that of its owner, 0 if
    /// it begins anew.
    pub(super) async fn renew(
        &self,
        held: &HeldLease,
        time: Duration,
        head: Position,
    ) -> Result<Renewed> {
        let renewal = held.renewal(time, head);
        let renewed = self.world.renew(&renewal.lease, renewal.until()).await?;
        if let Renewed::Held { .. } = renewed {
            held.renewed(&renewal);
        }
        Ok(renewed)
    }

    /// The last rest of a run that ends now: until its time of retention is over.
    pub(super) fn rest_of_closed(&self, now: Timestamp) -> Due {
        self.options.retention.map_or(Due::Never, |retention| Due::At(now.plus(retention)))
    }

    /// Claims runs, each with its program where that is in memory.
    pub(super) async fn claim(
        &self,
        limit: NonZeroU32,
    ) -> Result<Vec<(HeldLease, Option<Session>)>> {
        let _claiming = self.hub.claiming.lock().await;
        let leases = match self.claim_once(limit).await {
            Err(error) if error.kind() == ErrorKind::Regressed => self.claim_once(limit).await?,
            claimed => claimed?,
        };
        let with_program = |lease: HeldLease| {
            let session = self.hub.take(lease.run());
            (lease, session)
        };
        Ok(leases.into_iter().map(with_program).collect())
    }

    async fn claim_once(&self, limit: NonZeroU32) -> Result<Vec<HeldLease>> {
        let asked = self.moment();
        let now = asked.wall;
        self.hub.pass(now);
        let (ticket, until) = (Self::ticket(), now.plus(self.options.lease));
        let (queues, except) = (self.queues.clone(), self.standing_back.excepted(now));
        let claim = Claim { queues, ticket, now, until, limit, except };
        let claimed = self.world.claim(&claim).await;
        let claimed = claimed.inspect_err(|error| {
            if error.kind() == ErrorKind::Regressed {
                tracing::error!(%error, "all programs are dropped, and replayed when next claimed");
                self.hub.drop_all();
            }
        })?;
        let held = |lease| HeldLease::new(&self.clock, lease, asked);
        Ok(claimed.into_iter().map(held).collect())
    }

    pub(super) fn ticket() -> Ticket {
        Ticket::from_bytes(entropy::bytes())
    }

    /// How many more bodies may run.
    pub(super) fn bodies_free(&self) -> usize {
        self.bodies.available_permits()
    }

    /// The permits to run bodies, of all runs.
    pub(super) fn bodies(&self) -> Arc<Semaphore> {
        Arc::clone(&self.bodies)
    }
}

impl Engine {
    pub(super) fn new(
        world: Arc<dyn World>,
        seal: Seal,
        clock: Arc<dyn Clock>,
        options: Options,
        workflows: HashMap<WorkflowName, Registered>,
        queues: Vec<Queue>,
    ) -> Self {
        let inner = Inner {
            limits: world.info().limits,
            world: RetryLayer::new(world).bounds(options.retries),
            seal,
            clock,
            hub: Arc::new(Hub::new(options.residents_max, options.lease)),
            crew: Crew::default(),
            standing_back: StandingBack::default(),
            workflows,
            queues,
            bodies: Arc::new(Semaphore::new(options.bodies_max)),
            counters: Arc::default(),
            options,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Begins an engine on this World.
    #[must_use]
    pub fn builder(world: impl World) -> EngineBuilder {
        EngineBuilder::new(Arc::new(world))
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
