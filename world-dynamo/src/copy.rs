//! Copying a tail behind what is written: the records of a head item go into batch items before they
//! leave it, and nobody waits for that.
//!
//! A copy is of all that is not copied yet, in an item whose key is its last position. Whoever copies,
//! and however late: a copy begins where the log begins, or right after a key of which it is certain
//! that it was written. So of the keys not below a position the lowest always holds it, and none is
//! missing though several may have it.

use std::sync::Arc;

use world_core::{LogId, Result};

use crate::{
    batch::Batch, error::Stage, item::Item, known::Seen, request::ask, store::Store,
    write::batch_items,
};

/// The bytes that are not copied yet from which they are. With a small record more, and the rest of a
/// head item, they are less than 1 KB, which is what a write unit pays for.
pub(crate) const COPY_BYTES: usize = 420;

impl Store {
    /// Copies a log's tail if it has become long, and nobody does so already.
    pub(crate) fn copy_behind(self: &Arc<Self>, log: &LogId, seen: &Seen) {
        if seen.tail_left().bytes.len() < COPY_BYTES || !seen.copied.begin() {
            return;
        }
        // Again: the copy before this one may have ended meanwhile, and nothing be left. An empty one in
        // its place would hide what it holds.
        let tail = seen.tail_left();
        if tail.bytes.len() < COPY_BYTES {
            seen.copied.end(None);
            return;
        }
        let (this, log, seen) = (Arc::clone(self), log.clone(), seen.clone());
        tokio::spawn(async move {
            let copied = this.copy(&log, &seen.item, &tail).await;
            if let Err(error) = &copied {
                tracing::debug!(%error, %log, "a tail was not copied; it stays where it is");
            }
            seen.copied.end(copied.is_ok().then_some(seen.item.head.head));
        });
    }

    async fn copy(&self, log: &LogId, item: &Item, tail: &Batch) -> Result<()> {
        for item in batch_items(log, item.life, tail, item.head.head) {
            let put = || {
                let put = self.client.put_item().table_name(&self.table);
                put.set_item(Some(item.clone())).send()
            };
            ask(Stage::Write, self.options.timeout, put).await?;
        }
        Ok(())
    }
}
