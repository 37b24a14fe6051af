//! One server, and the connection to it, made anew when it breaks.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ProtocolVersion, PushInfo, PushKind,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use world_core::Result;

use crate::{
    error::{Stage, explain, no_answer},
    listeners::Listeners,
    options::Options,
};

use super::{
    Link, Source, check,
    check::{Identity, When},
    confirm::Confirming,
};

/// What every server of a World is connected with.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) options: Options,
    listeners: Arc<Listeners>,
    /// The connections and servers made so far.
    numbers: Arc<AtomicU64>,
}

/// One server, and how to connect to it again.
pub(crate) struct One {
    client: Client,
    config: AsyncConnectionConfig,
    listeners: Arc<Listeners>,
    is_node: bool,
    numbers: Arc<AtomicU64>,
    node: u64,
    confirming: Arc<Confirming>,
    current: Arc<Mutex<Option<Link>>>,
    /// The same server, by a connection that only listens: one that has subscribed to something is
    /// cut off by the server when much is on its way to it (`client-output-buffer-limit pubsub`).
    ear: OnceLock<Box<One>>,
    /// How often a connection was tried for.
    tried: AtomicU64,
    /// Held while a connection is made, so that it is made once; and what answered last.
    last: tokio::sync::Mutex<Last>,
}

#[derive(Default)]
struct Last {
    lineage: u64,
    identity: Option<Identity>,
}

impl Maker {
    pub(super) fn new(options: Options, listeners: Arc<Listeners>) -> Self {
        Self { options, listeners, numbers: Arc::default() }
    }

    /// A server by its client; in a Cluster, a node.
    pub(super) fn one(&self, client: Client, is_node: bool) -> Result<One> {
        let info = client.get_connection_info();
        // What is published arrives on the same connection, which RESP3 is for. And each command
        // is sent at once: by default the library lets the system wait for more to send.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.clone().set_redis_settings(settings).set_tcp_settings(tcp);
        let client = Client::open(info).map_err(|error| explain(Stage::Connect, error))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout));
        let confirming = Arc::new(Confirming::new(client.clone(), is_node, &self.options));
        let (listeners, numbers) = (Arc::clone(&self.listeners), Arc::clone(&self.numbers));
        Ok(One::new(client, config, listeners, is_node, numbers, confirming))
    }
}

impl One {
    fn new(
        client: Client,
        config: AsyncConnectionConfig,
        listeners: Arc<Listeners>,
        is_node: bool,
        numbers: Arc<AtomicU64>,
        confirming: Arc<Confirming>,
    ) -> Self {
        Self {
            client,
            config,
            listeners,
            is_node,
            node: next(&numbers),
            numbers,
            confirming,
            current: Arc::default(),
            ear: OnceLock::new(),
            tried: AtomicU64::new(0),
            last: tokio::sync::Mutex::default(),
        }
    }

    /// The same server, by the connection that listens.
    pub(super) fn ear(&self) -> &Self {
        self.ear.get_or_init(|| {
            Box::new(Self::new(
                self.client.clone(),
                self.config.clone(),
                Arc::clone(&self.listeners),
                self.is_node,
                Arc::clone(&self.numbers),
                Arc::clone(&self.confirming),
            ))
        })
    }

    /// The first connection, for which more is asked of the server.
    pub(super) async fn first_link(&self) -> Result<Link> {
        self.link_when(When::Opening).await
    }

    /// The connection there is, or a new one.
    pub(crate) async fn link(&self) -> Result<Link> {
        self.link_when(When::Reconnecting).await
    }

    async fn link_when(&self, when: When) -> Result<Link> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let tried = self.tried.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        if self.tried.load(Ordering::Acquire) != tried {
            return Err(no_answer()); // while this one waited, another has tried for it
        }
        let number = next(&self.numbers);
        let made = self.connect(when, number).await;
        self.tried.fetch_add(1, Ordering::AcqRel);
        let (connection, identity) = made?;
        if last.identity.replace(identity.clone()).is_some_and(|before| before != identity) {
            last.lineage += 1;
            tracing::warn!(
                "a Redis server was started anew, or another has taken its place: it may have \
                 lost the last that was acknowledged"
            );
        }
        let link = Link {
            connection,
            confirming: Arc::clone(&self.confirming),
            identity: Arc::new(identity),
            address: self.address().to_string().into(),
            number,
            source: Source { node: self.node, lineage: last.lineage },
        };
        *self.lock() = Some(link.clone());
        Ok(link)
    }

    async fn connect(&self, when: When, number: u64) -> Result<(MultiplexedConnection, Identity)> {
        let config = self.config.clone().set_push_sender(self.hears(number));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(|error| explain(Stage::Connect, error))?;
        let identity = check::server(&mut connection, self.is_node, when).await?;
        Ok((connection, identity))
    }

    /// What a connection does with what arrives unasked. Once it is closed nobody uses it any more.
    fn hears(&self, number: u64) -> impl Fn(PushInfo) -> Result<(), Infallible> + use<> {
        // The connection holds this, and so this must not hold the connection.
        let (listeners, current) = (Arc::clone(&self.listeners), Arc::downgrade(&self.current));
        move |push| {
            if push.kind == PushKind::Disconnection
                && let Some(current) = current.upgrade()
            {
                give_up(&current, number);
            }
            listeners.hear(&push);
            Ok(())
        }
    }

    /// Gives a connection up, if it is still the one there is.
    pub(crate) fn give_up(&self, link: &Link) {
        give_up(&self.current, link.number);
    }

    pub(super) fn address(&self) -> &ConnectionAddr {
        self.client.get_connection_info().addr()
    }

    /// The connection there is.
    pub(super) fn current(&self) -> Option<Link> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Link>> {
        lock(&self.current)
    }
}

fn give_up(current: &Mutex<Option<Link>>, number: u64) {
    let link = lock(current).take_if(|link| link.number == number);
    drop(link); // without the lock
}

fn lock(current: &Mutex<Option<Link>>) -> MutexGuard<'_, Option<Link>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One").field("node", &self.node).finish_non_exhaustive()
    }
}

fn next(numbers: &AtomicU64) -> u64 {
    numbers.fetch_add(1, Ordering::Relaxed) + 1
}
