//! What a World is made of, and how it is opened.

use std::{fmt, sync::Arc};

use aws_sdk_dynamodb::{Client, config::retry::RetryConfig, types::AttributeValue};
use world_core::{Error, ErrorKind, LogId, Result};

use crate::{
    error::Stage,
    item::{Attributes, Item, number, text},
    keys::{self, HEAD, META, PK, SK},
    known::Known,
    options::{Options, SHARDS_MAX},
    request::{Sent, ask, send},
    table,
    turns::Turns,
    wait::Waiting,
};

/// The layout of the items, as it is stored.
const LAYOUT: u64 = 1;
const LAYOUT_NAME: &str = "layout";
const SHARDS_NAME: &str = "shards";

pub(crate) struct Store {
    pub(crate) client: Client,
    pub(crate) table: String,
    pub(crate) options: Options,
    pub(crate) shards: u16,
    pub(crate) known: Known,
    pub(crate) turns: Turns,
    pub(crate) waiting: Waiting,
}

/// Neither the client, which knows credentials, nor what is known of logs.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Store");
        shown.field("table", &self.table).field("shards", &self.shards);
        shown.field("options", &self.options).finish_non_exhaustive()
    }
}

impl Store {
    /// Looks at the table, and makes the World in it if it is not there.
    pub(crate) async fn open(client: &Client, name: &str, options: Options) -> Result<Arc<Self>> {
        let client = without_retries(client);
        table::check(&client, name, &options).await?;
        let shards = shards(&client, name, &options).await?;
        Ok(Arc::new(Self {
            client,
            table: name.to_owned(),
            options,
            shards,
            known: Known::default(),
            turns: Turns::new(shards),
            waiting: Waiting::default(),
        }))
    }

    /// The head item with these keys.
    pub(crate) async fn get(&self, log: &LogId, sort: &str) -> Result<Option<Item>> {
        let found = ask(Stage::Read, self.options.timeout, || {
            let get = self.client.get_item().table_name(&self.table).consistent_read(true);
            get.set_key(Some(key(log, sort))).send()
        });
        found.await?.item.map(|item| Item::stored(log, item)).transpose()
    }
}

/// The keys of an item.
pub(crate) fn key(log: &LogId, sort: &str) -> Attributes {
    keys_of(&keys::partition(log), sort)
}

pub(crate) fn keys_of(partition: &str, sort: &str) -> Attributes {
    [(PK, partition), (SK, sort)].map(|(name, value)| (name.to_owned(), text(value))).into()
}

/// The same client, which sends everything once: [`send`] knows what may be sent again.
pub(crate) fn without_retries(client: &Client) -> Client {
    let config = client.config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// The shards of the World, which is made with the number asked for if it is not there.
async fn shards(client: &Client, table: &str, options: &Options) -> Result<u16> {
    let get = || {
        let get = client.get_item().table_name(table).consistent_read(true);
        get.set_key(Some(keys_of(META, HEAD))).send()
    };
    let found = ask(Stage::Read, options.timeout, get).await?.item;
    let shards = match found {
        Some(found) => shards_of(&found)?,
        None => make(client, table, options).await?,
    };
    match options.shards.filter(|wanted| *wanted != shards) {
        None => Ok(shards),
        Some(wanted) => Err(Error::new(
            ErrorKind::Unsuitable,
            format!("a World of {shards} shards, where {wanted} are asked for"),
        )
        .help("leave shards out of the URL; a World keeps the number it was made with")),
    }
}

/// Says in the table how the World is made, if nobody has; gives the shards that it has.
async fn make(client: &Client, table: &str, options: &Options) -> Result<u16> {
    let shards = options.shards.unwrap_or(Options::SHARDS);
    let mut item = keys_of(META, HEAD);
    item.insert(LAYOUT_NAME.to_owned(), number(LAYOUT));
    item.insert(SHARDS_NAME.to_owned(), number(u64::from(shards)));
    let put = || {
        let put = client.put_item().table_name(table).set_item(Some(item.clone()));
        put.condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(
                aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld,
            )
            .send()
    };
    match send(Stage::Write, options.timeout, put).await? {
        Sent::Done(_) => Ok(shards),
        Sent::Unmet(found) => shards_of(&found.unwrap_or_default()),
    }
}

fn shards_of(found: &Attributes) -> Result<u16> {
    let number = |name: &str| match found.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse::<u64>().ok(),
        _ => None,
    };
    let unreadable = || {
        Error::new(ErrorKind::Corrupt, "what says how the World was made cannot be read")
            .help("restore the item with pk \"world\" from a copy")
    };
    let layout = number(LAYOUT_NAME).ok_or_else(unreadable)?;
    if layout != LAYOUT {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("a World of layout {layout}, where this program knows {LAYOUT}"),
        )
        .help("use the version of world-dynamo that has made it, or a newer one"));
    }
    let shards = number(SHARDS_NAME).and_then(|shards| u16::try_from(shards).ok());
    shards.filter(|shards| (1..=SHARDS_MAX).contains(shards)).ok_or_else(unreadable)
}
