//! The table: how it is made, and whether it is as it has to be.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, GlobalSecondaryIndexDescription,
        IndexStatus, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
        TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use tokio::time::{Instant, sleep};
use world_core::{Error, ErrorKind, Result};

use crate::{
    error::{Stage, nonsense},
    keys::{DUE, EXPIRES, INDEX, PK, QUEUE, SK},
    options::Options,
    request::ask,
};

/// How long a new table is waited for.
const MADE_WITHIN: Duration = Duration::from_secs(300);
/// The pause between two looks at a new table, and the longest.
const LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// The keys of a table or an index.
type Keys = [(&'static str, KeyType); 2];
const TABLE_KEYS: Keys = [(PK, KeyType::Hash), (SK, KeyType::Range)];
const INDEX_KEYS: Keys = [(QUEUE, KeyType::Hash), (DUE, KeyType::Range)];

/// Makes the table, and waits until it can be used. One that is there already keeps its shape.
pub(crate) async fn create(client: &Client, name: &str, options: &Options) -> Result<()> {
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .set_key_schema(Some(schema(&INDEX_KEYS)?))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(|error| nonsense().source(error))?;
    let attributes = [PK, SK, QUEUE, DUE].map(|name| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(ScalarAttributeType::S).build()
    });
    let attributes: Vec<_> = attributes
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| nonsense().source(error))?;
    let keys = schema(&TABLE_KEYS)?;
    let make = || {
        client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(attributes.clone()))
            .set_key_schema(Some(keys.clone()))
            .global_secondary_indexes(index.clone())
            .send()
    };
    let made = ask(Stage::Write, options.timeout, make).await;
    if let Err(error) = made {
        // A table of this name that is there, or is being made: the look says which.
        let may_be_there = error.kind() == ErrorKind::Unknown;
        if !may_be_there && describe(client, name, options).await.is_err() {
            return Err(error);
        }
    }
    let (deadline, mut pause) = (Instant::now() + MADE_WITHIN, LOOK);
    loop {
        // Just made, it may not be found yet: what describes a table is eventually consistent.
        let ready = match describe(client, name, options).await {
            Ok(table) => fits(&table).map(|()| is_ready(&table))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            Err(error) => return Err(error),
        };
        match ready {
            Ok(()) => break,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_LOOK);
    }
    if ttl(client, name, options).await?.is_none() {
        let spec = TimeToLiveSpecification::builder().attribute_name(EXPIRES).enabled(true).build();
        let spec = spec.map_err(|error| nonsense().source(error))?;
        let switch = || {
            let switch = client.update_time_to_live().table_name(name);
            switch.time_to_live_specification(spec.clone()).send()
        };
        // Another may have switched it on just now, which the service allows once an hour.
        if let Err(error) = ask(Stage::Write, options.timeout, switch).await
            && ttl(client, name, options).await?.is_none()
        {
            return Err(error);
        }
    }
    check(client, name, options).await
}

/// Refuses a table that cannot keep the contract, with what is different.
pub(crate) async fn check(client: &Client, name: &str, options: &Options) -> Result<()> {
    let table = describe(client, name, options).await?;
    fits(&table)?;
    is_ready(&table)?;
    match ttl(client, name, options).await? {
        None => {
            tracing::warn!(table = name, "time to live is off: deleted ids are kept for ever");
            Ok(())
        }
        Some(attribute) if attribute == EXPIRES => Ok(()),
        Some(other) => {
            Err(unsuitable(format!("its time to live is by {other:?}, where it is by {EXPIRES:?}")))
        }
    }
}

fn fits(table: &TableDescription) -> Result<()> {
    difference(table).map_or(Ok(()), |difference| Err(unsuitable(difference)))
}

fn unsuitable(difference: String) -> Error {
    Error::new(ErrorKind::Unsuitable, format!("the table is not one for a World: {difference}"))
        .help(
            "make another one with DynamoWorld::create_table; docs/layouts/dynamo.md has its shape",
        )
}

async fn describe(client: &Client, name: &str, options: &Options) -> Result<TableDescription> {
    let look = || client.describe_table().table_name(name).send();
    ask(Stage::Read, options.timeout, look).await?.table.ok_or_else(nonsense)
}

/// The attribute by which items expire; `None` if none do.
async fn ttl(client: &Client, name: &str, options: &Options) -> Result<Option<String>> {
    let look = || client.describe_time_to_live().table_name(name).send();
    let found = ask(Stage::Read, options.timeout, look).await?.time_to_live_description;
    Ok(found.and_then(|found| match found.time_to_live_status {
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => found.attribute_name,
        _ => None,
    }))
}

/// Whether the table and its index can be used.
fn is_ready(table: &TableDescription) -> Result<()> {
    let is_there = matches!(table.table_status, Some(TableStatus::Active | TableStatus::Updating));
    let is_indexed = index(table).is_some_and(|index| {
        matches!(index.index_status, Some(IndexStatus::Active | IndexStatus::Updating))
    });
    if is_there && is_indexed {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, "the table or its index is being made, or removed")
        .help("wait until both are ACTIVE"))
}

fn index(table: &TableDescription) -> Option<&GlobalSecondaryIndexDescription> {
    table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(INDEX))
}

/// What makes a table unfit.
fn difference(table: &TableDescription) -> Option<String> {
    if let Some(difference) = keys_differ("its keys are", table.key_schema(), &TABLE_KEYS) {
        return Some(difference);
    }
    let Some(index) = index(table) else {
        return Some(format!(
            "it has no index {INDEX:?}, whose keys are {}",
            said(&schema(&INDEX_KEYS).ok()?)
        ));
    };
    let what = format!("the keys of its index {INDEX:?} are");
    if let Some(difference) = keys_differ(&what, index.key_schema(), &INDEX_KEYS) {
        return Some(difference);
    }
    for name in [PK, SK, QUEUE, DUE] {
        let defined = table.attribute_definitions().iter().find(|one| one.attribute_name() == name);
        let found = defined.map(AttributeDefinition::attribute_type);
        if found != Some(&ScalarAttributeType::S) {
            let found = found.map_or("nothing", ScalarAttributeType::as_str);
            return Some(format!("its attribute {name:?} is of type {found}, where it is S"));
        }
    }
    if !table.local_secondary_indexes().is_empty() {
        return Some("it has a local secondary index, which bounds a run to 10 GB".to_owned());
    }
    if !table.replicas().is_empty() {
        return Some("it is a global table, in which the last writer wins".to_owned());
    }
    None
}

fn keys_differ(what: &str, found: &[KeySchemaElement], wanted: &Keys) -> Option<String> {
    let is_same = found.len() == wanted.len()
        && wanted.iter().all(|(name, kind)| {
            found.iter().any(|one| one.attribute_name() == *name && one.key_type() == kind)
        });
    let wanted = said(&schema(wanted).ok()?);
    (!is_same).then(|| format!("{what} {}, where they are {wanted}", said(found)))
}

fn said(keys: &[KeySchemaElement]) -> String {
    let said: Vec<_> =
        keys.iter().map(|key| format!("{} {}", key.attribute_name(), key.key_type())).collect();
    said.join(", ")
}

fn schema(keys: &Keys) -> Result<Vec<KeySchemaElement>> {
    let keys = keys.iter().map(|(name, kind)| {
        KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone()).build()
    });
    keys.collect::<Result<_, _>>().map_err(|error| nonsense().source(error))
}
