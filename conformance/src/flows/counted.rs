//! An engine whose store calls are counted.

use std::{future::Future, sync::Arc, time::Duration};

use world_core::{
    Engine, EngineBuilder, VirtualClock, World,
    layer::{CountLayer, Counts},
};

use super::public_test_key;
use crate::{
    failure::{Failure, Verdict},
    pace::within,
    subject::Subject,
};

/// The most real time of anything whose calls are counted, on an idle machine.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// A handle whose calls are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) world: Arc<CountLayer<Arc<dyn World>>>,
    pub(crate) clock: VirtualClock,
}

impl Counted {
    pub(crate) async fn open(subject: &Subject, clock: VirtualClock) -> Verdict<Self> {
        Ok(Self { world: Arc::new(CountLayer::new(subject.open().await?)), clock })
    }

    /// An engine on it.
    pub(crate) fn engine(
        &self,
        workflows: impl FnOnce(EngineBuilder) -> EngineBuilder,
    ) -> Verdict<Engine> {
        let builder = Engine::builder(Arc::clone(&self.world));
        Ok(workflows(builder.key(public_test_key()?).clock(self.clock.clone())).build()?)
    }

    /// What has been called so far.
    pub(crate) fn counts(&self) -> Counts {
        self.world.counts()
    }
}

/// Ends a case that waits for what never comes.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> Verdict<T> {
    within(HANGS_AFTER, coming)
        .await
        .map_err(|waited| Failure::failed(format!("{what} has not come within {waited:.0?}")))
}
