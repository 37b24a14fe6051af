//! The World itself: each method hands over to the file of its name.

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use world_core::{
    Append, Appended, Claim, Deleted, Lease, List, LogId, Page, Position, Renewed, Result, RunPage,
    Timestamp, Wait, World, WorldInfo,
};

use crate::{
    LIMITS,
    options::Options,
    store::{Store, without_retries},
    table,
};

/// A World in a table of Amazon DynamoDB.
///
/// Any number of processes on any number of machines may use one. The table is made by
/// [`DynamoWorld::create_table`], and never by itself.
///
/// ```no_run
/// # use {std::num::NonZeroU32, world_core::*, world_dynamo::{DynamoWorld, Options}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn example(client: aws_sdk_dynamodb::Client) -> Result<()> {
/// DynamoWorld::create_table(&client, "runs", Options::new()).await?; // once
/// let world = DynamoWorld::from_client(&client, "runs", Options::new()).await?;
/// let log = LogId::Token(Token::new("order-7")?);
/// let (position, at) = (Position::new(1), Timestamp::from_millis(1_700_000_000_000));
/// let body = Sealed::from_stored(&b"ciphertext"[..]);
/// let append = Append {
///     expected: Position::START,
///     records: vec![Record { position, kind: Kind(1), at, body }],
///     at,
///     by: By::Outsider,
/// };
/// assert_eq!(world.append(&log, &append).await?, Appended::Committed { head: position });
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DynamoWorld(Arc<Store>);

impl DynamoWorld {
    /// Opens the World in the table that a URL names: `dynamodb://table?region=eu-west-1`, with
    /// the options of [`Options::parse`]. Credentials come from the standard chain: environment,
    /// profile, single sign-on, container, instance.
    ///
    /// # Errors
    /// `Invalid` for another URL, an unknown option, no region, no credentials or wrong ones;
    /// `NotFound` for a table that is not there; `Unsuitable` for one of another shape, with the
    /// difference, for another number of shards, and for credentials that may not do what is
    /// needed; `Unsupported` for a layout that this version does not know; `Corrupt` if what says
    /// how the World was made cannot be read; `Unavailable` if the service cannot be reached, is
    /// throttled, or is still making the table.
    #[cfg(feature = "url")]
    pub async fn connect(url: &str) -> Result<Self> {
        let (table, options) = crate::url::parse(url)?;
        let client = crate::url::client(&options).await?;
        Self::from_client(&client, &table, options).await
    }

    /// Opens the World in a table, with a client that one has already. The World sends requests
    /// again by its own rules: what the client is set to do of that is not used.
    ///
    /// # Errors
    /// Those of [`DynamoWorld::connect`], but for the URL's.
    pub async fn from_client(client: &Client, table: &str, options: Options) -> Result<Self> {
        Store::open(client, table, options).await.map(Self)
    }

    /// Makes the table for a World, on demand, with its index and its time to live, and waits until
    /// it can be used. One that is there already keeps its shape; its time to live is switched on.
    ///
    /// The page `docs/layouts/dynamo.md` has the same for the `aws` command line.
    ///
    /// # Errors
    /// As for [`DynamoWorld::connect`]; `Unsuitable` if a table of this name has another shape.
    pub async fn create_table(client: &Client, table: &str, options: Options) -> Result<()> {
        table::create(&without_retries(client), table, &options).await
    }

    /// The same for the table that a URL names.
    ///
    /// # Errors
    /// Those of [`DynamoWorld::connect`].
    #[cfg(feature = "url")]
    pub async fn create_table_at(url: &str) -> Result<()> {
        let (table, options) = crate::url::parse(url)?;
        let client = crate::url::client(&options).await?;
        Self::create_table(&client, &table, options).await
    }
}

#[async_trait]
impl World for DynamoWorld {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "dynamodb", limits: LIMITS, durable: true }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &LIMITS)?;
        let appended = self.0.append(log, append).await;
        appended.map_err(|error| error.log(log.clone()))
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let page = self.0.read(log, after, limit).await;
        page.map_err(|error| error.log(log.clone()))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        claim.check()?;
        self.0.claim(claim).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let renewed = self.0.renew(lease, until).await;
        renewed.map_err(|error| error.run(lease.run.clone()))
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.0.list(list).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let deleted = self.0.delete(log, head).await;
        deleted.map_err(|error| error.log(log.clone()))
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.0.wait(wait).await
    }
}
