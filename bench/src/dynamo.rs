//! A table for the time of a measurement, on a DynamoDB server, and the raw conditional writes.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use dynamodb_servers::{
    Far, Meter, Metered,
    aws_sdk_dynamodb::{
        Client,
        client::Waiters,
        primitives::Blob,
        types::{
            AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put,
            ScalarAttributeType, TransactWriteItem,
        },
    },
    builder, http,
};
use futures::{StreamExt, TryStreamExt, stream};
use world_dynamo::{DynamoWorld, Options};

/// The writes, and in w3 the runs, that the limit has under way at once.
const AT_ONCE: usize = 32;
/// The items of one transaction, as many as there may be.
const TOGETHER: usize = 100;
/// How long a table may take until it can be used.
const MAKING: Duration = Duration::from_secs(60);

/// A table of a measurement's own: where it is, and how it is called.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    endpoint: String,
    pub(crate) table: String,
    /// How much longer each request takes.
    away: Duration,
    meter: Option<Meter>,
}

impl Place {
    /// The table of this name, or else of one that nobody has.
    pub(crate) fn new(endpoint: &str, table: Option<String>) -> Self {
        let table = table.unwrap_or_else(|| format!("world-bench-{:016x}", rand::random::<u64>()));
        Self { endpoint: endpoint.to_owned(), table, away: Duration::ZERO, meter: None }
    }

    /// The same, on a server that is so far away.
    pub(crate) fn away(self, away: Duration) -> Self {
        Self { away, ..self }
    }

    /// The same, with what its requests cost counted.
    pub(crate) fn metered(self) -> Self {
        Self { meter: Some(Meter::default()), ..self }
    }

    /// What the requests have cost since the last time, if it is counted.
    pub(crate) fn cost(&self) -> Option<Metered> {
        self.meter.as_ref().map(Meter::take)
    }

    /// A client that has no connection yet. Ours and the limit have theirs from here.
    fn client(&self) -> Client {
        let mut builder = builder(&self.endpoint);
        if !self.away.is_zero() {
            builder = builder.http_client(Far::new(http(), self.away));
        }
        if let Some(meter) = &self.meter {
            builder = builder.interceptor(meter.clone());
        }
        Client::from_conf(builder.build())
    }

    /// Makes the table for a World.
    pub(crate) async fn make(&self) -> Result<()> {
        Ok(DynamoWorld::create_table(&self.client(), &self.table, Options::new()).await?)
    }

    /// Opens the World in it.
    pub(crate) async fn world(&self) -> Result<DynamoWorld> {
        Ok(DynamoWorld::from_client(&self.client(), &self.table, Options::new()).await?)
    }

    /// Removes the table.
    pub(crate) async fn remove(&self) -> Result<()> {
        let remove = self.client().delete_table().table_name(&self.table).send().await;
        remove.with_context(|| format!("the table {} is not removed", self.table))?;
        Ok(())
    }
}

// ---- the raw write ----

/// A table with two keys and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    client: Client,
    table: String,
}

impl Raw {
    /// Opens a table that is there.
    pub(crate) fn open(place: &Place) -> Self {
        Self { client: place.client(), table: place.table.clone() }
    }

    /// Makes the table.
    pub(crate) async fn make(place: &Place) -> Result<Self> {
        let raw = Self::open(place);
        let attribute = |name: &str| {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            attribute.attribute_type(ScalarAttributeType::S).build()
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
        };
        let make = raw.client.create_table().table_name(&raw.table);
        let make = make.billing_mode(BillingMode::PayPerRequest);
        let make = make.attribute_definitions(attribute("pk")?);
        let make = make.attribute_definitions(attribute("sk")?);
        let make = make.key_schema(key("pk", KeyType::Hash)?);
        make.key_schema(key("sk", KeyType::Range)?).send().await?;
        raw.client.wait_until_table_exists().table_name(&raw.table).wait(MAKING).await?;
        Ok(raw)
    }

    /// One conditional write.
    pub(crate) async fn step(&self, run: &str, step: usize, body: &[u8]) -> Result<()> {
        let put = self.client.put_item().table_name(&self.table);
        let put = put.set_item(Some(item(run, step, body)));
        put.condition_expression(ABSENT).send().await?;
        Ok(())
    }

    /// All of a run's steps, each a write of its own, [`AT_ONCE`] of them at a time.
    pub(crate) async fn fan(&self, run: &str, bodies: &[Vec<u8>]) -> Result<()> {
        let mut steps = Vec::new();
        for (step, body) in bodies.iter().enumerate() {
            let (raw, run, body) = (self.clone(), run.to_owned(), body.clone());
            steps.push(async move { raw.step(&run, step, &body).await });
        }
        tasks(steps.into_iter()).await
    }

    /// All of a run's steps, in as few transactions as they fit in, one after the other.
    pub(crate) async fn together(&self, run: &str, bodies: &[Vec<u8>]) -> Result<()> {
        for (part, bodies) in bodies.chunks(TOGETHER).enumerate() {
            let puts = bodies.iter().enumerate().map(|(step, body)| {
                let put = Put::builder().table_name(&self.table);
                let put = put.set_item(Some(item(run, part * TOGETHER + step, body)));
                let put = put.condition_expression(ABSENT).build()?;
                Ok(TransactWriteItem::builder().put(put).build())
            });
            let puts = puts.collect::<Result<Vec<_>>>()?;
            self.client.transact_write_items().set_transact_items(Some(puts)).send().await?;
        }
        Ok(())
    }

    /// Reads all of a run's bodies, page by page, and gives each away.
    pub(crate) async fn read(
        &self,
        run: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut from = None;
        loop {
            let query = self.client.query().table_name(&self.table).consistent_read(true);
            let query = query.key_condition_expression("pk = :run");
            let query = query.expression_attribute_values(":run", text(run));
            let page = query.set_exclusive_start_key(from).send().await?;
            for item in page.items() {
                let Some(AttributeValue::B(body)) = item.get("v") else {
                    bail!("an item without a body");
                };
                each(body.as_ref())?;
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => from = Some(key),
                _ => return Ok(()),
            }
        }
    }
}

/// Does each of these in a task, [`AT_ONCE`] of them at a time.
pub(crate) async fn tasks<F>(all: impl Iterator<Item = F>) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let tasks = all.map(|one| async { tokio::spawn(one).await? });
    stream::iter(tasks).buffer_unordered(AT_ONCE).try_collect().await
}

const ABSENT: &str = "attribute_not_exists(pk)";

fn item(run: &str, step: usize, body: &[u8]) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("pk".to_owned(), text(run)),
        ("sk".to_owned(), text(&format!("{step:020}"))),
        ("v".to_owned(), AttributeValue::B(Blob::new(body))),
    ])
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
