//! The one write: a head item takes the place of exactly the one that was seen.

use aws_sdk_dynamodb::types::{
    ConditionCheck, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
};
use world_core::{LogId, Position, Result, Ticket};

use crate::{
    batch::Batch,
    error::{Stage, nonsense},
    item::{Attributes, Item, bytes, number},
    keys::{self, HEAD, Life},
    request::{Sent, send},
    store::{Store, key},
};

/// Where a batch item says its first position.
pub(crate) const FIRST: &str = "first";
/// Where it has its records.
pub(crate) const RECORDS: &str = "records";

/// The condition of who writes a stream: its run is open, and his.
const HOLDS: &str = "ticket = :ticket AND life = :life AND attribute_not_exists(closed)";

/// What a write changes.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) log: &'a LogId,
    /// The sort key of the head item.
    pub(crate) sort: &'a str,
    /// The item that is replaced; none where there is none.
    pub(crate) old: Option<&'a Item>,
    pub(crate) new: &'a Item,
    /// Records that go into batch items, and the position of the last.
    pub(crate) batch: Option<(&'a Batch, Position)>,
    /// Of a stream: its run's life, and the ticket of its owner.
    pub(crate) owner: Option<(Life, Ticket)>,
}

impl Store {
    /// Writes, all or nothing: with one request that one waits for.
    pub(crate) async fn write(&self, write: &Write<'_>) -> Result<Sent<()>> {
        let mut item = write.new.attributes(write.log, self.shards);
        item.extend(key(write.log, write.sort));
        if write.batch.is_none() && write.owner.is_none() {
            return self.put(write.old, item).await;
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = match write.old {
            None => put.condition_expression(ABSENT),
            Some(old) => put
                .condition_expression(SEEN)
                .expression_attribute_values(":seen", bytes(&old.stamp.0)),
        };
        let built = put.build().map_err(|error| nonsense().source(error))?;
        let mut items = vec![TransactWriteItem::builder().put(built).build()];
        if let Some((life, ticket)) = &write.owner {
            let check = ConditionCheck::builder()
                .table_name(&self.table)
                .set_key(Some(key(write.log, HEAD)))
                .condition_expression(HOLDS)
                .expression_attribute_values(":ticket", bytes(ticket.as_bytes()))
                .expression_attribute_values(":life", bytes(&life.0))
                .build();
            let check = check.map_err(|error| nonsense().source(error))?;
            items.push(TransactWriteItem::builder().condition_check(check).build());
        }
        if let Some((batch, last)) = write.batch {
            for item in batch_items(write.log, write.new.life, batch, last) {
                let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
                let put = put.map_err(|error| nonsense().source(error))?;
                items.push(TransactWriteItem::builder().put(put).build());
            }
        }
        let call = || {
            let write = self.client.transact_write_items();
            write.set_transact_items(Some(items.clone())).send()
        };
        Ok(match send(Stage::Write, self.options.timeout, call).await? {
            Sent::Done(_) => Sent::Done(()),
            Sent::Unmet(item) => Sent::Unmet(item),
        })
    }

    async fn put(&self, old: Option<&Item>, item: Attributes) -> Result<Sent<()>> {
        let call = || {
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
            let put = put.return_values_on_condition_check_failure(AllOld);
            let put = match old {
                None => put.condition_expression(ABSENT),
                Some(old) => put
                    .condition_expression(SEEN)
                    .expression_attribute_values(":seen", bytes(&old.stamp.0)),
            };
            put.send()
        };
        Ok(match send(Stage::Write, self.options.timeout, call).await? {
            Sent::Done(_) => Sent::Done(()),
            Sent::Unmet(item) => Sent::Unmet(item),
        })
    }
}

const ABSENT: &str = "attribute_not_exists(pk)";
const SEEN: &str = "stamp = :seen";

/// The items that hold a batch's records, of which the last stands at this position.
pub(crate) fn batch_items(
    log: &LogId,
    life: Life,
    batch: &Batch,
    last: Position,
) -> Vec<Attributes> {
    let mut end = last.get().saturating_sub(batch.count);
    let mut items = Vec::new();
    for part in batch.parts() {
        let first = end + 1;
        end += part.count;
        let mut item = key(log, &keys::batch(life, Position::new(end)));
        item.insert(FIRST.to_owned(), number(first));
        item.insert(RECORDS.to_owned(), bytes(&part.bytes));
        items.push(item);
    }
    items
}
