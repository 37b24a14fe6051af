//! Copying a tail behind what is written: the records of a head item go into batch items before they
//! leave it, and nobody waits for that.
//!
//! A copy is of a whole tail, in an item whose key is its last position. Whoever copies, and however
//! late: a tail begins after a copy that has been acknowledged, so that a key that is written again
//! holds at least the records that it stands for.

use std::sync::Arc;

use world_core::{LogId, Result};

use crate::{
    error::Stage, item::Item, known::Seen, request::ask, store::Store, write::batch_items,
};

/// The bytes of a tail from which it is copied. With the rest of a head item they are less than
/// 1 KB, which is what a write unit pays for.
pub(crate) const COPY_BYTES: usize = 420;

impl Store {
    /// Copies a log's tail if it has become long, and nobody does so already.
    pub(crate) fn copy_behind(self: &Arc<Self>, log: &LogId, seen: &Seen) {
        let is_long = seen.item.tail.bytes.len() >= COPY_BYTES;
        if !is_long || !seen.copied.begin() {
            return;
        }
        let (this, log, seen) = (Arc::clone(self), log.clone(), seen.clone());
        tokio::spawn(async move {
            let copied = this.copy(&log, &seen.item).await;
            if let Err(error) = &copied {
                tracing::debug!(%error, %log, "a tail was not copied; it stays where it is");
            }
            seen.copied.end(copied.is_ok().then_some(seen.item.head.head));
        });
    }

    async fn copy(&self, log: &LogId, item: &Item) -> Result<()> {
        for item in batch_items(log, item.life, &item.tail, item.head.head) {
            let put = || {
                let put = self.client.put_item().table_name(&self.table);
                put.set_item(Some(item.clone())).send()
            };
            ask(Stage::Write, self.options.timeout, put).await?;
        }
        Ok(())
    }
}
