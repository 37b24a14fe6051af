//! Waiting for a change: told by what the scripts publish, and looked for once a second.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures::future::try_join_all;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use world_core::{ErrorKind, Position, Result, Wait};

use crate::{
    keys::{Key, Keys},
    store::Store,
};

/// The longest pause between two looks of one who waits, should what was published be lost.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
impl Store {
    /// Returns once something may have changed, or the time is up.
    pub(crate) async fn wait(self: &Arc<Self>, wait: &Wait) -> Result<()> {
        match Instant::now().checked_add(wait.at_most) {
            Some(deadline) => {
                timeout_at(deadline, self.wait_for_ever(wait)).await.unwrap_or(Ok(()))
            }
            None => self.wait_for_ever(wait).await,
        }
    }

    async fn wait_for_ever(self: &Arc<Self>, wait: &Wait) -> Result<()> {
        let waiting = self.listeners.join(self.channels(wait));
        loop {
            // Nothing rests on being told, and so nothing waits long for it.
            let subscribing = timeout(LOOK, self.subscribe(&waiting.channels));
            if let Ok(Err(error)) = subscribing.await {
                tracing::debug!(%error, "one looks, and is not told");
            }
            if self.has_come(wait).await? {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = waiting.told() => return Ok(()),
                () = sleep_until(Instant::now() + LOOK) => {}
            }
        }
    }

    /// The channels that tell of what is waited for.
    fn channels(&self, wait: &Wait) -> Vec<Key> {
        let queues = wait.queues.iter().map(|queue| self.keys.ready(Some(queue)));
        let logs = wait.logs.iter().map(|(log, _)| self.keys.records(self.keys.shard(log), log));
        queues.chain(logs).collect()
    }

    /// Subscribes to the channels, in a task that is not dropped half-way.
    async fn subscribe(self: &Arc<Self>, channels: &[Key]) -> Result<()> {
        let (this, channels) = (Arc::clone(self), channels.to_vec());
        let subscribing = tokio::spawn(async move {
            let home = Keys::meta(&this.options.prefix);
            this.server.subscribe(&home, &this.listeners, &channels).await
        });
        let cut_short = |error| ErrorKind::Unavailable.because(error);
        subscribing.await.map_err(cut_short)?
    }

    /// Whether what is waited for has come already.
    async fn has_come(self: &Arc<Self>, wait: &Wait) -> Result<bool> {
        let logs = wait.logs.iter().map(|(log, seen)| async move {
            let page = self.read(log, Position::new(u64::MAX), NonZeroU32::MIN).await?;
            Ok(page.head != *seen)
        });
        let is_ready = async {
            if wait.queues.is_empty() {
                return Ok(false);
            }
            let due = self.due(0..self.keys.shards(), &wait.queues, None).await?;
            Ok(!due.is_empty())
        };
        let (logs, is_ready) = futures::try_join!(try_join_all(logs), is_ready)?;
        Ok(is_ready || logs.into_iter().any(|has_come| has_come))
    }
}
