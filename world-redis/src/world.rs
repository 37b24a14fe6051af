//! The World itself: each method hands over to the file of its name.

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;
use world_core::{
    Append, Appended, Claim, Deleted, Lease, List, LogId, Page, Position, Renewed, Result, RunPage,
    Timestamp, Wait, World, WorldInfo,
};

use crate::{
    LIMITS,
    options::Options,
    store::Store,
    url::{self, Place},
};

/// A World on a Redis or Valkey server, or on a Redis Cluster.
///
/// Any number of processes on any number of machines may use one. What a server keeps of what it
/// has acknowledged is its own affair: see the page `docs/layouts/redis.md`.
///
/// ```no_run
/// # use {bytes::Bytes, std::num::NonZeroU32, world_core::*, world_redis::RedisWorld};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let world = RedisWorld::connect("redis://127.0.0.1:6379/0?prefix=app").await?;
/// let log = LogId::Token(Token::new("order-7")?);
/// let (position, at) = (Position::new(1), Timestamp::from_millis(1_700_000_000_000));
/// let body = Sealed::from_stored(Bytes::from_static(b"ciphertext"));
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
pub struct RedisWorld(Arc<Store>);

impl RedisWorld {
    /// Opens what a URL names, and makes it if it is not there: `redis://host:6379/0`,
    /// `redis+unix:///run/redis.sock?db=0` or `redis-cluster://host:6379,other:6379`, with TLS
    /// (feature `tls`) `rediss://` or `rediss-cluster://`, and the options of [`Options::parse`]
    /// after a `?`.
    ///
    /// # Errors
    /// `Invalid` for another URL, an unknown option, a wrong password or database, or what is no
    /// Redis server; `Unsuitable` for a server that cannot keep the contract (a replica, an
    /// evicting `maxmemory-policy`, a user that may not do what is needed, a node of a Cluster
    /// where one server is named or the reverse) and for another number of shards; `Unsupported`
    /// for one that is too old or lacks a command, for a layout that this version does not know,
    /// and for TLS without its feature; `Corrupt` if what says how the World was made cannot be
    /// read; `Unavailable` for one that cannot be reached, or takes no writes at the moment.
    pub async fn connect(url: &str) -> Result<Self> {
        let (place, options) = url::parse(url)?;
        Store::open(place, options).await.map(Self)
    }

    /// Opens a World with a client that one has already, for its address, user and TLS; the World
    /// makes connections of its own. It is one server's client; for a Cluster, use a URL.
    ///
    /// # Errors
    /// Those of [`RedisWorld::connect`].
    pub async fn from_client(client: &redis::Client, options: Options) -> Result<Self> {
        let info = Box::new(client.get_connection_info().clone());
        Store::open(Place::Server(info), options).await.map(Self)
    }

    /// The same on a Redis Cluster, by clients of some of its nodes; the first one's user and TLS are
    /// those of all.
    ///
    /// # Errors
    /// Those of [`RedisWorld::connect`].
    pub async fn from_nodes(clients: &[redis::Client], options: Options) -> Result<Self> {
        let nodes = clients.iter().map(|client| client.get_connection_info().clone());
        Store::open(Place::Cluster(nodes.collect()), options).await.map(Self)
    }

    /// Deletes the closed runs whose [retention](Options::retention) is over, and says how many.
    /// Workers do it once a minute; where there are none, somebody else may. A run that cannot be
    /// deleted keeps no other from it.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; it may be called again. After all others, that of the last run
    /// that could not be deleted, `Corrupt` for one.
    pub async fn sweep(&self) -> Result<u64> {
        self.0.sweep().await
    }
}

#[async_trait]
impl World for RedisWorld {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "redis", limits: LIMITS, durable: true }
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
        self.0.sweep_in_time();
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
