//! Deleting: a tombstone takes the place of the head item at once, then the rest is removed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use tokio::time::{Instant, sleep};
use world_core::{Deleted, Error, ErrorKind, LogId, Position, Result, head};

use crate::{
    batch::Batch,
    error::{Stage, after_write, busy, nonsense},
    item::{Attributes, Item, LIFE, Stamp, bytes, text},
    keys::{self, EXPIRES, HEAD, Life},
    request::{Sent, ask, send},
    store::{Store, key},
    write::Write,
};

/// How often one looks again after others were first.
const TRIES_MAX: usize = 64;
/// How long a tombstone is kept (rule D2: 7 days), by this machine's clock, with a day to spare for
/// a clock that is wrong. The service removes it some days later.
const SPENT: Duration = Duration::from_secs(8 * 24 * 3600);
/// The items that one request removes.
const AT_ONCE: usize = 25;
/// The pause before what the service has not removed is sent again, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Deletes a run or a token log at its stated head.
    pub(crate) async fn delete(&self, log: &LogId, stated: Position) -> Result<Deleted> {
        self.known.take(log);
        let mut found = match log {
            LogId::Stream(..) => None, // and the rules refuse it
            LogId::Run(_) | LogId::Token(_) => self.get(log, HEAD).await?,
        };
        for _ in 0..TRIES_MAX {
            let (tombstone, deleted) =
                head::delete(log, found.as_ref().map(|item| &item.head), stated)?;
            let Some(old) = found else { return Ok(deleted) };
            let Some(tombstone) = tombstone else {
                if deleted == Deleted::Done {
                    // It is hidden already, whatever comes now.
                    self.remove(log, &old).await.map_err(after_write)?;
                }
                return Ok(deleted);
            };
            let new = Item {
                stamp: Stamp::new(),
                life: old.life,
                head: tombstone,
                tail: Batch::default(),
            };
            let write =
                Write { log, sort: HEAD, old: Some(&old), new: &new, batch: None, owner: None };
            match self.write(&write).await? {
                Sent::Done(()) => {
                    self.waiting.tell_log(log);
                    found = Some(new);
                }
                Sent::Unmet(Some(item)) => found = Some(Item::stored(log, item)?),
                Sent::Unmet(None) => found = self.get(log, HEAD).await.map_err(after_write)?,
            }
        }
        Err(busy(log))
    }

    /// Removes what a tombstone hides, and then lets it run out. Only what is of its life: the same
    /// name may have another by the time that this is done.
    async fn remove(&self, log: &LogId, tombstone: &Item) -> Result<()> {
        if let LogId::Run(_) = log {
            let streams = self.items_under(log, &keys::streams(tombstone.life)).await?;
            for stream in &streams {
                if let Some(AttributeValue::B(life)) = stream.get(LIFE)
                    && let Ok(life) = <[u8; 8]>::try_from(life.as_ref())
                {
                    self.remove_batches(log, Life(life)).await?;
                }
            }
            self.remove_items(streams).await?;
        }
        self.remove_batches(log, tombstone.life).await?;
        self.expire(log, tombstone).await
    }

    async fn remove_batches(&self, log: &LogId, life: Life) -> Result<()> {
        self.remove_items(self.items_under(log, &keys::batches(life)).await?).await
    }

    /// Removes items, by their keys, as many at once as the service takes.
    async fn remove_items(&self, mut items: Vec<Attributes>) -> Result<()> {
        for item in &mut items {
            item.remove(LIFE);
        }
        for some in items.chunks(AT_ONCE) {
            self.remove_some(some).await?;
        }
        Ok(())
    }

    /// The items whose sort keys begin with this: their keys, and the lives that they say.
    async fn items_under(&self, log: &LogId, begin: &str) -> Result<Vec<Attributes>> {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let page = ask(Stage::Read, self.options.timeout, || {
                self.client
                    .query()
                    .table_name(&self.table)
                    .consistent_read(true)
                    .projection_expression("pk, sk, life")
                    .key_condition_expression("pk = :pk AND begins_with(sk, :begin)")
                    .expression_attribute_values(":pk", text(keys::partition(log)))
                    .expression_attribute_values(":begin", text(begin))
                    .set_exclusive_start_key(from.clone())
                    .send()
            });
            let page = page.await?;
            found.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    async fn remove_some(&self, keys: &[Attributes]) -> Result<()> {
        let requests = keys.iter().map(|key| {
            let delete = DeleteRequest::builder().set_key(Some(key.clone())).build();
            let delete = delete.map_err(|error| nonsense().source(error))?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        let mut left = requests.collect::<Result<Vec<_>>>()?;
        let (deadline, mut pause) = (Instant::now() + self.options.timeout, PAUSE);
        loop {
            let done = ask(Stage::Write, self.options.timeout, || {
                self.client.batch_write_item().request_items(&self.table, left.clone()).send()
            });
            left = done
                .await?
                .unprocessed_items
                .unwrap_or_default()
                .remove(&self.table)
                .unwrap_or_default();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() + pause >= deadline {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the service does not remove all items",
                )
                .help("the log is deleted, but not all that it held; delete it again"));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Lets the service remove a tombstone in its time, now that nothing is left behind it.
    async fn expire(&self, log: &LogId, tombstone: &Item) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = AttributeValue::N((now + SPENT).as_secs().to_string());
        let call = || {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key(log, HEAD)))
                .update_expression(format!("SET {EXPIRES} = :expires"))
                .condition_expression(format!("stamp = :seen AND attribute_not_exists({EXPIRES})"))
                .expression_attribute_values(":expires", expires.clone())
                .expression_attribute_values(":seen", bytes(&tombstone.stamp.0))
                .send()
        };
        // If it is another by now, or will run out already, that is as good.
        send(Stage::Write, self.options.timeout, call).await.map(drop)
    }
}
