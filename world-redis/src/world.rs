//! The World itself: each method says which script is to run, and on which shard.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep_until, timeout_at};
use world_core::{
    Append, Appended, Claim, Deleted, Error, ErrorKind, Lease, List, LogId, Page, Position, Queue,
    Renewed, Result, RunPage, Timestamp, Wait, World, WorldInfo,
};

use crate::{
    LIMITS,
    append::{self, Answer, Right},
    claim::{self, Given, Turn, Turns},
    delete,
    error::{Stage, corrupt, nonsense, unreadable},
    keys::{Key, Keys, Shard},
    lineage::{self, Lineage},
    list,
    listeners::Listeners,
    options::{Options, SHARDS_MAX},
    read::{self, Found},
    script::{Call, OPEN},
    server::{Link, Server},
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
    swept: Mutex<Option<Instant>>,
}

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
        Self::open(place, options).await
    }

    /// Opens a World with a client that one has already, for its address, user and TLS; the World
    /// makes connections of its own. It is one server's client; for a Cluster, use a URL.
    ///
    /// # Errors
    /// Those of [`RedisWorld::connect`].
    pub async fn from_client(client: &redis::Client, options: Options) -> Result<Self> {
        let info = Box::new(client.get_connection_info().clone());
        Self::open(Place::Server(info), options).await
    }

    /// The same on a Redis Cluster, by clients of some of its nodes; the first one's user and TLS are
    /// those of all.
    ///
    /// # Errors
    /// Those of [`RedisWorld::connect`].
    pub async fn from_nodes(clients: &[redis::Client], options: Options) -> Result<Self> {
        let nodes = clients.iter().map(|client| client.get_connection_info().clone());
        Self::open(Place::Cluster(nodes.collect()), options).await
    }

    async fn open(place: Place, options: Options) -> Result<Self> {
        let listeners = Arc::new(Listeners::default());
        let server = Server::connect(place, options.clone(), &listeners).await?;
        try_rights(&server, &options, &listeners).await?;
        let default = if server.is_cluster() { CLUSTER_SHARDS } else { 1 };
        let shards = shards(&server, &options, options.shards.unwrap_or(default)).await?;
        if let Some(wanted) = options.shards.filter(|wanted| *wanted != shards) {
            return Err(Error::new(
                ErrorKind::Unsuitable,
                format!("a World of {shards} shards, where {wanted} are asked for"),
            )
            .help("leave shards out of the URL; a World keeps the number it was made with"));
        }
        let inner = Arc::new(Inner {
            server,
            keys: Keys::new(&options.prefix, shards),
            options,
            listeners,
            lineage: Lineage::new(shards),
            turns: Turns::default(),
            swept: Mutex::new(Some(Instant::now())),
        });
        Ok(Self(inner))
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

/// Whether this user may do what no script does: listen, and wait for replicas where that is asked.
async fn try_rights(server: &Server, options: &Options, listeners: &Listeners) -> Result<()> {
    let home = Keys::meta(&options.prefix);
    let ready = Keys::new(&options.prefix, 1).ready(None);
    server.subscribe(&home, listeners, &[ready]).await?;
    if options.wait_replicas > 0 {
        let mut wait = redis::cmd("WAIT");
        wait.arg(0).arg(1); // none of them has to be there
        let _: u64 = server.send(Stage::Connect, &home, &wait).await?;
    }
    Ok(())
}

/// The shards of the World, which is made with this number if it is not there.
async fn shards(server: &Server, options: &Options, number: u16) -> Result<u16> {
    let scratch = ["a", "b", "c"].map(|name| Keys::scratch(&options.prefix, name));
    let call = Call::new(&OPEN, std::iter::once(Keys::meta(&options.prefix)).chain(scratch))
        .arg(LAYOUT)
        .arg(number.to_string());
    let opened = server.run(Stage::Connect, &call, |_| Ok(())).await;
    let ((layout, shards), _): ((Option<Bytes>, Option<Bytes>), _) = opened?;
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
    shards.filter(is_known).ok_or_else(unreadable)
}

impl Inner {
    /// Sees to it that a store that may have lost how the World was made knows it again.
    async fn make_again(&self) -> Result<()> {
        let ours = self.keys.shards();
        let found = shards(&self.server, &self.options, ours).await?;
        if found == ours {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsuitable,
            format!("the World was lost, and made anew with {found} shards in place of {ours}"),
        )
        .help("stop all programs, restore it from a copy, and start them again"))
    }

    async fn sweep(&self) -> Result<u64> {
        match self.options.retention {
            Some(kept) => delete::sweep(&self.server, &self.keys, kept.as_millis()).await,
            None => Ok(0),
        }
    }

    /// Sweeps in a task of its own if it is time to, and nobody here does already.
    fn sweep_in_time(self: &Arc<Self>) {
        let is_due = |swept: &mut Option<Instant>| {
            swept.take_if(|swept| self.options.retention.is_some() && swept.elapsed() >= SWEEP)
        };
        if is_due(&mut self.swept()).is_none() {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = this.sweep().await {
                tracing::warn!(%error, "closed runs that are kept no longer are still there");
            }
            *this.swept() = Some(Instant::now());
        });
    }

    /// When the last sweep ended; nothing while one is under way.
    fn swept(&self) -> MutexGuard<'_, Option<Instant>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that tell of what is waited for.
    fn channels(&self, wait: &Wait) -> Vec<Key> {
        let queues = wait.queues.iter().map(|queue| self.keys.ready(Some(queue)));
        let logs = wait.logs.iter().map(|(log, _)| self.keys.records(self.keys.shard(log), log));
        queues.chain(logs).collect()
    }

    /// Subscribes to the channels, in a task that is not dropped half-way.
    async fn subscribe(self: &Arc<Self>, channels: &[Key]) -> Result<()> {
        let (this, channels) = (Arc::clone(self), channels.to_vec());
        let subscribing = tokio::spawn(async move {
            let home = Keys::meta(&this.options.prefix);
            this.server.subscribe(&home, &this.listeners, &channels).await
        });
        let cut_short = |error| ErrorKind::Unavailable.because(error);
        subscribing.await.map_err(cut_short)?
    }

    /// Whether what is waited for has come already.
    async fn has_come(&self, wait: &Wait) -> Result<bool> {
        let logs = wait.logs.iter().map(|(log, seen)| async move {
            let end = Position::new(u64::MAX);
            let call = read::call(&self.keys, log, end, NonZeroU32::MIN);
            let found: Found = self.server.read(&call).await?;
            Ok(read::page(log, end, found)?.head != *seen)
        });
        let is_ready = async {
            if wait.queues.is_empty() {
                return Ok(false);
            }
            let due = self.due(0..self.keys.shards(), &wait.queues, None).await?;
            Ok(!due.is_empty())
        };
        let (logs, is_ready) = futures::try_join!(try_join_all(logs), is_ready)?;
        Ok(is_ready || logs.into_iter().any(|has_come| has_come))
    }

    /// Those of some shards that have a due run, in their order; all are asked at once. One that
    /// cannot be asked is no reason to leave the others, unless none of them has one.
    async fn due(
        &self,
        shards: impl Iterator<Item = Shard>,
        queues: &[Queue],
        now: Option<Timestamp>,
    ) -> Result<Vec<Shard>> {
        let asked = shards.map(|shard| async move {
            let is_due: Result<bool> =
                self.server.read(&claim::look(&self.keys, shard, queues, now)).await;
            (shard, is_due)
        });
        let (mut due, mut failed) = (Vec::new(), None);
        for (shard, is_due) in join_all(asked).await {
            match is_due {
                Ok(true) => due.push(shard),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if due.is_empty() => Err(error),
            _ => Ok(due),
        }
    }

    async fn wait(self: &Arc<Self>, wait: &Wait) -> Result<()> {
        let waiting = self.listeners.join(self.channels(wait));
        loop {
            match self.subscribe(&waiting.channels).await {
                // The right to it was taken away: it looks, and is not told.
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

    /// Claims in one shard.
    async fn claim(
        &self,
        claim: &Claim,
        turn: Turn,
        shard: Shard,
        limit: usize,
    ) -> Result<Vec<Lease>> {
        let call = claim::call(&self.keys, turn, shard, claim, limit);
        let may = |link: &Link| {
            self.lineage.see(shard, link);
            match self.turns.is_to_be_told(&claim.queues, self.lineage.changes()) {
                true => Err(lineage::regressed()),
                false => Ok(()),
            }
        };
        let (given, link): (Vec<Given>, _) = self.server.run(Stage::Write, &call, may).await?;
        if !given.is_empty() {
            self.lineage.note(shard, &link, claim.ticket);
        }
        given.into_iter().map(|given| claim::lease(claim, given)).collect()
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
        let (shard, right) = (this.keys.shard(log), Right::of(append));
        let may = |link: &Link| match right {
            Right::Lease(ticket) => this.lineage.check(shard, link, ticket),
            Right::FirstLease(_) | Right::None => Ok(()),
        };
        let appended = async {
            if let Some(call) = append::own_call(&this.keys, log, append) {
                let (made, link): (Option<u8>, _) =
                    this.server.run(Stage::Write, &call, may).await?;
                if made.is_some() {
                    this.server.confirm(&link, || this.keys.confirm(shard)).await?;
                    return Ok(Appended::Committed { head: append.head_after() });
                }
            }
            let call = append::call(&this.keys, log, append)?;
            let (answer, link): (Answer, _) = this.server.run(Stage::Write, &call, may).await?;
            let appended = answer.appended(log)?;
            if let Appended::Committed { .. } = appended {
                if let Right::FirstLease(ticket) = right {
                    this.lineage.note(shard, &link, ticket);
                }
                this.server.confirm(&link, || this.keys.confirm(shard)).await?;
            }
            Ok(appended)
        };
        appended.await.map_err(|error: Error| error.log(log.clone()))
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let call = read::call(&self.0.keys, log, after, limit);
        let found = self.0.server.read(&call).await;
        read::page(log, after, found.map_err(|error| error.log(log.clone()))?)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let this = &self.0;
        this.sweep_in_time();
        let shards = this.keys.shards();
        let turn = this.turns.next(&claim.queues, shards);
        let mut shards: Vec<Shard> = turn.shards(shards).collect();
        if shards.len() > 1 {
            shards = this.due(shards.into_iter(), &claim.queues, Some(claim.now)).await?;
        }
        let limit = usize::try_from(claim.limit.get()).unwrap_or(usize::MAX);
        let (mut leases, mut failed) = (Vec::new(), None);
        for shard in shards {
            if leases.len() >= limit {
                break;
            }
            match this.claim(claim, turn, shard, limit - leases.len()).await {
                Ok(given) => leases.extend(given),
                // What was claimed, or can be in other shards, is not to be lost with an error.
                Err(error) => {
                    let is_over = error.kind() == ErrorKind::Regressed;
                    failed = Some(error);
                    if is_over {
                        break;
                    }
                }
            }
        }
        match failed {
            Some(error) if leases.is_empty() => {
                if error.kind() == ErrorKind::Regressed {
                    this.make_again().await?;
                }
                Err(error)
            }
            _ => Ok(leases),
        }
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let this = &*self.0;
        let shard = this.keys.shard(&lease.run.clone().into());
        let call = claim::renew(&this.keys, lease, until);
        let renewed = async {
            let (answer, link): (Answer, _) =
                this.server.run(Stage::Write, &call, |_| Ok(())).await?;
            match answer.word.as_str() {
                "held" => {
                    // Its owner knows nothing of the log, and so nothing that is lost.
                    if lease.head == Position::START {
                        this.lineage.note(shard, &link, lease.ticket);
                    }
                    Ok(Renewed::Held { head: answer.head()? })
                }
                "lost" => Ok(Renewed::Lost),
                "corrupt" => {
                    let log = LogId::Run(lease.run.clone());
                    Err(corrupt(&log, None, "a run whose state cannot be read"))
                }
                _ => Err(nonsense()),
            }
        };
        renewed.await.map_err(|error: Error| error.run(lease.run.clone()))
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
