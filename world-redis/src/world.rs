//! The World itself: each method says which script is to run, and on which shard.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use tokio::time::{Instant, sleep_until, timeout_at};
use world_core::{
    Append, Appended, Claim, Deleted, Error, ErrorKind, Lease, List, LogId, Page, Position,
    Renewed, Result, RunPage, Timestamp, Wait, World, WorldInfo,
};

use crate::{
    LIMITS,
    append::{self, Answer},
    claim::{self, Given, Turns},
    delete,
    error::{Stage, nonsense, unreadable},
    keys::{Key, Keys},
    lineage::Lineage,
    list,
    listeners::{Listeners, Waiting},
    options::{Options, SHARDS_MAX},
    read::{self, Found},
    script::{Call, OPEN},
    server::Server,
    url::{self, Place},
};

/// The layout of the keys, as it is stored.
const LAYOUT: &str = "1";
/// The shards of a World that is made on a Cluster, where nothing else is said.
const CLUSTER_SHARDS: u16 = 16;
/// The longest pause between two looks of one who waits, should what was published be lost.
const LOOK: Duration = Duration::from_secs(1);
/// How often workers delete the closed runs that have been kept long enough.
const SWEEP: Duration = Duration::from_secs(60);

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
pub struct RedisWorld(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: Server,
    keys: Keys,
    options: Options,
    listeners: Arc<Listeners>,
    lineage: Lineage,
    turns: Turns,
    swept: Mutex<Instant>,
}

impl RedisWorld {
    /// Opens what a URL names, and makes it if it is not there: `redis://host:6379/0`,
    /// `rediss://` for TLS (feature `tls`), `redis+unix:///run/redis.sock?db=0`, or
    /// `redis-cluster://host:6379,other:6379`, with the options of [`Options::parse`] after a `?`.
    ///
    /// # Errors
    /// `Invalid` for another URL, an unknown option, a wrong password or database; `Unsuitable`
    /// for a server that cannot keep the contract (a replica, an evicting `maxmemory-policy`, a
    /// user that may not do what is needed, another number of shards), `Unsupported` for one that
    /// is too old or a layout that is newer, `Unavailable` for one that cannot be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        let (place, options) = url::parse(url)?;
        Self::open(place, options).await
    }

    /// Opens a World with a client that one has already, for its address, user and TLS; the World
    /// makes a connection of its own.
    ///
    /// # Errors
    /// Those of [`RedisWorld::connect`].
    pub async fn from_client(client: &redis::Client, options: Options) -> Result<Self> {
        let info = Box::new(client.get_connection_info().clone());
        Self::open(Place::Server(info), options).await
    }

    async fn open(place: Place, options: Options) -> Result<Self> {
        let listeners = Arc::new(Listeners::default());
        let server = Server::connect(place, options.clone(), &listeners).await?;
        let default = if server.is_cluster() { CLUSTER_SHARDS } else { 1 };
        let prefix = &options.prefix;
        let scratch = ["a", "b", "c"].map(|name| Keys::scratch(prefix, name));
        let call = Call::new(&OPEN, std::iter::once(Keys::meta(prefix)).chain(scratch))
            .arg(LAYOUT)
            .arg(options.shards.unwrap_or(default).to_string());
        let mut link = server.link().await?;
        let answer = link.call(&call).await;
        let (layout, shards): (Option<Bytes>, Option<Bytes>) =
            server.conclude(&link, Stage::Connect, answer)?;
        if options.wait_replicas > 0 {
            // Whether it may be asked at all.
            let answer = link.confirmed(&Keys::meta(prefix), 0, &options).await;
            let _: u64 = server.conclude(&link, Stage::Connect, answer)?;
        }
        let layout = layout.ok_or_else(unreadable)?;
        if layout != LAYOUT {
            let layout = layout.escape_ascii();
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a World of layout {layout}, where this program knows {LAYOUT}"),
            )
            .help("use the version of world-redis that has made it, or a newer one"));
        }
        let shards = shards.and_then(|shards| str::from_utf8(&shards).ok()?.parse().ok());
        let is_known = |shards: &u16| (1..=SHARDS_MAX).contains(shards);
        let shards = shards.filter(is_known).ok_or_else(unreadable)?;
        if let Some(wanted) = options.shards.filter(|wanted| *wanted != shards) {
            return Err(Error::new(
                ErrorKind::Unsuitable,
                format!("a World of {shards} shards, where {wanted} are asked for"),
            )
            .help("leave shards out of the URL; a World keeps the number it was made with"));
        }
        Ok(Self(Arc::new(Inner {
            server,
            keys: Keys::new(prefix, shards),
            options,
            listeners,
            lineage: Lineage::default(),
            turns: Turns::default(),
            swept: Mutex::new(Instant::now()),
        })))
    }

    /// Deletes the closed runs whose [retention](Options::retention) is over, and says how many.
    /// Workers do it once a minute; where there are none, somebody else may.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; it may be called again.
    pub async fn sweep(&self) -> Result<u64> {
        self.0.sweep().await
    }
}

impl Inner {
    async fn sweep(&self) -> Result<u64> {
        match self.options.retention {
            Some(kept) => delete::sweep(&self.server, &self.keys, kept.as_millis()).await,
            None => Ok(0),
        }
    }

    /// Whether it is time to sweep; then it is not for a while.
    fn is_sweep_due(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = self.options.retention.is_some() && swept.elapsed() >= SWEEP;
        if is_due {
            *swept = Instant::now();
        }
        is_due
    }

    /// The channels that tell of what is waited for.
    fn channels(&self, wait: &Wait) -> Vec<Key> {
        let queues = wait.queues.iter().map(|queue| self.keys.ready(Some(queue)));
        let logs = wait.logs.iter().map(|(log, _)| self.keys.records(self.keys.shard(log), log));
        queues.chain(logs).collect()
    }

    async fn subscribe(&self, waiting: &Waiting<'_>) -> Result<()> {
        let mut subscribed = self.listeners.subscribed.lock().await;
        let mut link = self.server.link().await?;
        let idle = subscribed.idle(&self.listeners);
        if !idle.is_empty() {
            let answer = link.unsubscribe(&idle).await.map(|()| redis::Value::Nil);
            let () = self.server.conclude(&link, Stage::Read, answer)?;
        }
        let missing = subscribed.missing(link.number, &waiting.channels);
        if !missing.is_empty() {
            let answer = link.subscribe(&missing).await.map(|()| redis::Value::Nil);
            let () = self.server.conclude(&link, Stage::Read, answer)?;
            subscribed.add(missing);
        }
        Ok(())
    }

    /// Whether what is waited for has come already.
    async fn has_come(&self, wait: &Wait) -> Result<bool> {
        let logs = wait.logs.iter().map(|(log, seen)| async move {
            let end = Position::new(u64::MAX);
            let call = read::call(&self.keys, log, end, NonZeroU32::MIN);
            let found: Found = self.server.read(&call).await?;
            Ok(read::page(log, end, found)?.head != *seen)
        });
        let shards = (0..self.keys.shards()).flat_map(|shard| {
            let due = self.keys.due(shard);
            wait.queues.iter().map(move |queue| (due.clone(), queue))
        });
        let queues = shards.map(|(due, queue)| async move {
            let start = format!("{:04x}{}", queue.as_str().len(), queue.as_str());
            let mut oldest = redis::cmd("ZRANGEBYLEX");
            oldest.arg(due).arg(format!("[{start}1")).arg(format!("({start}2"));
            oldest.arg("LIMIT").arg(0).arg(1);
            let mut link = self.server.link().await?;
            let answer = link.send(&oldest).await;
            let ready: Vec<Vec<u8>> = self.server.conclude(&link, Stage::Read, answer)?;
            Ok(!ready.is_empty())
        });
        let (logs, queues) = futures::try_join!(try_join_all(logs), try_join_all(queues))?;
        Ok(logs.into_iter().chain(queues).any(|has_come| has_come))
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let waiting = self.listeners.join(self.channels(wait));
        loop {
            match self.subscribe(&waiting).await {
                // A user that may not subscribe: it looks, and is not told.
                Err(error) if error.kind() == ErrorKind::Unsuitable => {}
                subscribed => subscribed?,
            }
            if self.has_come(wait).await? {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = waiting.told() => return Ok(()),
                () = sleep_until(Instant::now() + LOOK) => {}
            }
        }
    }
}

#[async_trait]
impl World for RedisWorld {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "redis", limits: LIMITS, durable: true }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &LIMITS)?;
        let this = &*self.0;
        let call = append::call(&this.keys, log, append, this.options.wait_replicas > 0)?;
        let mut link = this.server.link().await.map_err(|error| error.log(log.clone()))?;
        let ticket = append::ticket_of(append);
        if let Some((ticket, false)) = ticket {
            this.lineage.check(link.lineage, ticket).map_err(|error| error.log(log.clone()))?;
        }
        let answer: Result<Answer> = this.server.write(&mut link, &call).await;
        let appended = answer.map_err(|error| error.log(log.clone()))?.appended(log)?;
        if let (Some((ticket, true)), Appended::Committed { .. }) = (ticket, appended) {
            this.lineage.note(link.lineage, ticket);
        }
        Ok(appended)
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let call = read::call(&self.0.keys, log, after, limit);
        let found = self.0.server.read(&call).await;
        read::page(log, after, found.map_err(|error| error.log(log.clone()))?)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let this = &self.0;
        if this.is_sweep_due() {
            let this = Arc::clone(this);
            tokio::spawn(async move {
                if let Err(error) = this.sweep().await {
                    tracing::warn!(%error, "closed runs that are kept no longer are still there");
                }
            });
        }
        let mut leases = Vec::new();
        for shard in this.turns.shards(this.keys.shards()) {
            let missing =
                claim.limit.get().saturating_sub(u32::try_from(leases.len()).unwrap_or(u32::MAX));
            if missing == 0 {
                break;
            }
            let mut link = match this.server.link().await {
                Ok(link) => link,
                // What was claimed is not to be lost with an error.
                Err(_) if !leases.is_empty() => break,
                Err(error) => return Err(error),
            };
            if leases.is_empty() {
                this.lineage.tell(link.lineage, &claim.queues)?;
            }
            let call = claim::call(&this.keys, &this.turns, shard, claim, missing);
            let given: Result<Vec<Given>> = this.server.write(&mut link, &call).await;
            match given {
                Ok(given) => {
                    for given in given {
                        leases.push(claim::lease(claim, given)?);
                    }
                    this.lineage.note(link.lineage, claim.ticket);
                }
                Err(_) if !leases.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let this = &*self.0;
        let about = |error: Error| error.run(lease.run.clone());
        let call = claim::renew(&this.keys, lease, until);
        let mut link = this.server.link().await.map_err(about)?;
        let answer: Answer = this.server.write(&mut link, &call).await.map_err(about)?;
        match answer.word.as_str() {
            "held" => {
                this.lineage.note(link.lineage, lease.ticket);
                Ok(Renewed::Held { head: answer.head()? })
            }
            "lost" => Ok(Renewed::Lost),
            _ => Err(nonsense().run(lease.run.clone())),
        }
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        list::page(&self.0.server, &self.0.keys, list).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        delete::delete(&self.0.server, &self.0.keys, log, head).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        match Instant::now().checked_add(wait.at_most) {
            Some(deadline) => timeout_at(deadline, self.0.wait(wait)).await.unwrap_or(Ok(())),
            None => self.0.wait(wait).await,
        }
    }
}
