//! A workflow's declaration, and the function registered under it.

use std::{any::type_name, fmt, future::Future, marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{BoxError, Ctx};
use crate::{
    codec,
    ids::Position,
    record::Kind,
    replay::{Blocked, Divergence, Mismatch, Shared, WorkflowFuture},
    seal::Plain,
};

/// The declaration of a workflow: its name, version and types, free of its implementation, so
/// that a client needs nothing else to start it.
///
/// ```
/// # use world_core::Workflow;
/// pub const ONBOARD: Workflow<String, u64> = Workflow::new("onboard").version(2);
/// assert_eq!((ONBOARD.name(), ONBOARD.queue_name()), ("onboard", "onboard"));
/// ```
pub struct Workflow<I, O> {
    name: &'static str,
    version: u32,
    queue: &'static str,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O> Workflow<I, O> {
    /// Declares a workflow; its queue has the same name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, version: 1, queue: name, types: PhantomData }
    }

    /// The version that new runs are marked with; 1 by default. No worker drives a run that was
    /// started by a newer version than the one it has registered: raise it when older code could not
    /// go on with the runs of the new.
    #[must_use]
    pub const fn version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// The queue in which workers look for its runs.
    #[must_use]
    pub const fn queue(self, queue: &'static str) -> Self {
        Self { queue, ..self }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its version.
    #[must_use]
    pub const fn version_number(&self) -> u32 {
        self.version
    }

    /// Its queue.
    #[must_use]
    pub const fn queue_name(&self) -> &'static str {
        self.queue
    }
}

impl<I, O> Clone for Workflow<I, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, O> Copy for Workflow<I, O> {}

impl<I, O> fmt::Debug for Workflow<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workflow({:?} v{}, queue {:?})", self.name, self.version, self.queue)
    }
}

type Make = dyn Fn(Arc<Shared>, &Plain) -> Result<WorkflowFuture, Blocked> + Send + Sync;

/// A workflow function, its types erased.
#[derive(Clone)]
pub(crate) struct Registered {
    version: u32,
    make: Arc<Make>,
}

impl Registered {
    pub(crate) fn new<I, O, F, Fut, E>(version: u32, function: F) -> Self
    where
        F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned,
        O: Serialize + DeserializeOwned,
        E: Into<BoxError>,
    {
        let make = move |shared: Arc<Shared>, input: &Plain| {
            let input = codec::read_value::<I>(input).map_err(|undecodable| Divergence {
                position: Position::new(1),
                kind: Kind::RUN_CREATED,
                key: None,
                why: Mismatch::Undecodable {
                    wanted: type_name::<I>(),
                    why: undecodable.why.into_owned(),
                },
                open: Vec::new(),
            })?;
            let future = function(Ctx::new(shared), input);
            let future: WorkflowFuture = Box::pin(async move {
                let output = future.await.map_err(Into::into)?;
                // An output that nobody could read is a failure that says why.
                codec::encode_lasting(&output).map_err(Into::into)
            });
            Ok(future)
        };
        Self { version, make: Arc::new(make) }
    }

    /// The version of the workflow that was registered.
    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    /// Calls the function, whose future has not been polled yet.
    pub(crate) fn make(
        &self,
        shared: Arc<Shared>,
        input: &Plain,
    ) -> Result<WorkflowFuture, Blocked> {
        (self.make)(shared, input)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registered(..)")
    }
}
