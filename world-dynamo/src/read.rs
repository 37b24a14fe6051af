//! Reading: the head item, and the batch items below its tail.

use std::{num::NonZeroU32, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use tokio::time::sleep;
use world_core::{ErrorKind, LogId, Page, Position, Record, Result, head};

use crate::{
    append::sort,
    batch::Batch,
    error::{Stage, corrupt},
    item::{Attributes, Item, text},
    keys::{self, HEAD, SK},
    request::ask,
    store::Store,
    write::{FIRST, RECORDS},
};

/// How often a log is looked at again of which a record is missing, and the first pause before that;
/// each is twice as long as the one before, 620 ms in all.
const LOOKS_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The pauses before a record counts as missing. It may be being removed, with its log; and a
/// transaction's items need not be seen together (read-committed isolation: "DynamoDB transaction
/// isolation levels" in its developer guide).
#[derive(Debug, Default)]
pub(crate) struct Pauses(u32);

impl Pauses {
    /// Waits for another look; false once there were enough.
    pub(crate) async fn wait(&mut self) -> bool {
        if self.0 >= LOOKS_MAX {
            return false;
        }
        sleep(PAUSE * 2_u32.pow(self.0)).await;
        self.0 += 1;
        true
    }
}

/// The most batch items of one page; each has a record that the one before has not.
const BATCHES_MAX: u32 = 1000;

impl Store {
    /// Reads a page.
    pub(crate) async fn read(
        &self,
        log: &LogId,
        after: Position,
        limit: NonZeroU32,
    ) -> Result<Page> {
        let mut pauses = Pauses::default();
        loop {
            let Some(item) = self.seen(log).await? else {
                return Ok(Page { records: Vec::new(), head: Position::START });
            };
            if item.head.deleted {
                return Ok(Page { records: Vec::new(), head: item.head.head });
            }
            match self.page(log, &item, after, limit).await {
                Err(error) if error.kind() == ErrorKind::Corrupt && pauses.wait().await => {}
                other => return other,
            }
        }
    }

    /// The head item of a log, if it is there and its run, if it is a stream, is not deleted.
    pub(crate) async fn seen(&self, log: &LogId) -> Result<Option<Item>> {
        let LogId::Stream(run, _) = log else { return self.get(log, HEAD).await };
        match self.get(&LogId::Run(run.clone()), HEAD).await? {
            Some(run) if !run.head.deleted => self.get(log, &sort(log, Some(&run))).await,
            _ => Ok(None),
        }
    }

    /// The records of an append, as far as they are there.
    pub(crate) async fn records(
        &self,
        log: &LogId,
        item: &Item,
        after: Position,
        count: usize,
    ) -> Result<Vec<Record>> {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        let (mut found, last) = (Vec::new(), after.plus(u64::from(count.get())));
        let mut next = after;
        while next < last.min(item.head.head) {
            let page = self.page(log, item, next, count).await?;
            let Some(end) = page.records.last().map(|record| record.position) else { break };
            found.extend(page.records);
            next = end;
        }
        Ok(found)
    }

    /// A page of a log whose head item was seen.
    async fn page(
        &self,
        log: &LogId,
        item: &Item,
        after: Position,
        limit: NonZeroU32,
    ) -> Result<Page> {
        let (head, from) = (&item.head, after.max(item.head.base));
        let (mut records, mut limit) = (Vec::new(), limit);
        let mut is_cut = false;
        if from < item.before_tail() {
            (records, is_cut) = self.batches(log, item, from, limit).await?;
        }
        if is_cut {
            // What is behind the last batch was not looked at: the page ends with it.
            let last = records.last().map_or(from, |record| record.position);
            let found = u32::try_from(last.get().saturating_sub(from.get())).unwrap_or(u32::MAX);
            limit = limit.min(NonZeroU32::new(found).unwrap_or(NonZeroU32::MIN));
        } else if from < head.head {
            let last = records.last().map_or(from, |record| record.position);
            let tail = item.tail.records(log, head.head)?;
            records.extend(tail.into_iter().filter(|record| record.position > last));
        }
        head::page(log, Some(head), after, limit, records.into_iter().map(Ok))
    }

    /// The records below the tail that one request finds, and whether there are more. Batches may
    /// overlap: what comes again is left out of the page.
    async fn batches(
        &self,
        log: &LogId,
        item: &Item,
        after: Position,
        limit: NonZeroU32,
    ) -> Result<(Vec<Record>, bool)> {
        let (first, last) = (after.next(), item.before_tail());
        let found = ask(Stage::Read, self.options.timeout, || {
            self.client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(keys::partition(log)))
                .expression_attribute_values(":first", text(keys::batch(item.life, first)))
                .expression_attribute_values(":last", text(keys::batch(item.life, last)))
                .limit(i32::try_from(limit.get().min(BATCHES_MAX)).unwrap_or(i32::MAX))
                .send()
        });
        let found = found.await?;
        let is_cut = found.last_evaluated_key.is_some_and(|key| !key.is_empty());
        let mut records = Vec::new();
        for item in found.items.unwrap_or_default() {
            let (batch, end) = stored(log, item)?;
            records.extend(batch.records(log, end)?);
        }
        Ok((records, is_cut))
    }
}

/// A batch item as it was stored, and the position of its last record.
fn stored(log: &LogId, mut item: Attributes) -> Result<(Batch, Position)> {
    let end = match item.get(SK) {
        Some(AttributeValue::S(sort)) => keys::last_of(sort),
        _ => None,
    };
    let end = end.ok_or_else(|| corrupt(log, None, "a batch item without a position"))?;
    let wrong = || corrupt(log, Some(end), "a batch item that does not hold what it says");
    let first = match item.get(FIRST) {
        Some(AttributeValue::N(digits)) => digits.parse::<u64>().ok(),
        _ => None,
    };
    let batch = match item.remove(RECORDS) {
        Some(AttributeValue::B(bytes)) => Batch::stored(Bytes::from(bytes.into_inner())),
        _ => None,
    };
    let batch = batch.filter(|batch| batch.count > 0).ok_or_else(wrong)?;
    let is_whole = first.is_some_and(|first| first.checked_add(batch.count) == Some(end.get() + 1));
    if is_whole { Ok((batch, end)) } else { Err(wrong()) }
}
