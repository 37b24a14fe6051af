//! What an engine is made of.

use std::{collections::HashMap, fmt, future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    clock::{Clock, SystemClock},
    engine::Engine,
    options::{Options, Residency},
};
use crate::{
    context::{BoxError, Ctx, Registered, Workflow},
    error::{Error, ErrorKind, Result},
    ids::{Queue, WorkflowName},
    layer::RetryBounds,
    seal::{Key, KeyProvider, Keyring, Seal},
    world::World,
};

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
    pub(super) fn new(world: Arc<dyn World>) -> Self {
        Self {
            world,
            realm: "default".to_owned(),
            keys: Keys::Missing,
            clock: Arc::new(SystemClock),
            options: Options::default(),
            workflows: HashMap::new(),
            queues: Vec::new(),
            wrong: None,
        }
    }

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

    /// Registers the function of a workflow; their types must agree:
    ///
    /// ```compile_fail,E0631
    /// # use world_core::{Ctx, Engine, MemoryWorld, StepError, Workflow};
    /// const ADD: Workflow<u64, u64> = Workflow::new("add");
    /// async fn add(_: Ctx, name: String) -> Result<String, StepError> { Ok(name) }
    /// Engine::builder(MemoryWorld::new()).workflow(ADD, add);
    /// ```
    #[must_use]
    pub fn workflow<I, O, F, Fut, E>(mut self, workflow: Workflow<I, O>, function: F) -> Self
    where
        F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned,
        O: Serialize + DeserializeOwned,
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
            self.workflows.insert(name, Registered::new(workflow.version_number(), function));
            Ok(())
        });
        if let Err(error) = added {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// How long a worker may be silent before another takes its runs; 15 s by default, from 1 s to
    /// a day. It is renewed at a third of it.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// How far ahead a timer may lie for its run to wait in the worker rather than rest in the
    /// store; 1 s by default, at most a day.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// How often a worker that hears nothing asks the store for due runs; 1 s by default, from 1 ms
    /// to an hour.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.options.poll = poll;
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

    /// The most runs that a worker drives at once; 4096 by default, from 1 to 1,000,000.
    #[must_use]
    pub fn runs_max(mut self, runs: usize) -> Self {
        self.options.runs_max = runs;
        self
    }

    /// The most step bodies that the engine runs at once, of all runs; 4096 by default, from 1 to
    /// 1,000,000. One run has at most 256.
    #[must_use]
    pub fn bodies_max(mut self, bodies: usize) -> Self {
        self.options.bodies_max = bodies;
        self
    }

    /// Ends a run as failed once this many workers in a row have died while they drove it alone;
    /// off by default and with 0, where such a run only slows down by itself.
    ///
    /// What counts: a worker that dies takes all its runs along, so the first two deaths in a row
    /// prove nothing. A run that lost two workers without progress is driven apart from the others
    /// (docs/replay.md says how), at first in a group with others of its
    /// kind, and then alone. Only deaths while it was alone count, and any progress of the run sets
    /// the count back. So a run that kills every worker ends after two and this many deaths, or
    /// after four and this many among many others; and a process that is killed from outside
    /// ends a healthy run only if that happens this often while that run is alone, without
    /// progress in between: choose at least 3.
    #[must_use]
    pub fn poison_after(mut self, claims: u32) -> Self {
        self.options.poison_after = NonZeroU32::new(claims);
        self
    }

    /// Deletes a run this long after it has ended. By default the engine deletes none; a World may:
    /// the one on Redis keeps ended runs for 7 days, unless its own `retention` says otherwise.
    /// At most 100 years of 365 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.options.retention = Some(retention);
        self
    }

    /// How often and how slowly a call to the store is tried when it does not answer or fails for
    /// now; 6 times within about 3 s by default. At most 10,000 tries, and no delay above an hour.
    #[must_use]
    pub fn retries(mut self, bounds: RetryBounds) -> Self {
        self.options.retries = bounds;
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
    /// [`ErrorKind::Key`] without a key, [`ErrorKind::Invalid`] for two workflows of one name, a
    /// name that no World keeps, or an option outside its range.
    pub fn build(self) -> Result<Engine> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        self.options.check()?;
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
        let Self { world, clock, options, workflows, queues, .. } = self;
        Ok(Engine::new(world, seal, clock, options, workflows, queues))
    }
}
