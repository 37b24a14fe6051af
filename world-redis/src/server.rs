//! The connection to the store: one that several tasks use at once, made anew when it breaks.

mod check;
mod one;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use redis::{
    Cmd, ConnectionInfo, FromRedisValue, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, ServerErrorKind, Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr},
};
use tokio::time::timeout;
use world_core::Result;

use crate::{
    error::{Stage, explain, nonsense, unsure},
    listeners::Listeners,
    options::Options,
    script::Call,
    url::Place,
};

use one::One;

/// Where a World is kept, and how it is reached.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    options: Options,
}

enum Kind {
    One(Box<One>),
    Cluster { connection: ClusterConnection, lineage: Arc<AtomicU64> },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Cluster { .. } => "Cluster",
        })
    }
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Link {
    wire: Wire,
    /// Which connection: another number after it was made anew.
    pub(crate) number: u64,
    /// Which store: another number once it may have lost what it acknowledged.
    pub(crate) lineage: u64,
}

#[derive(Clone)]
enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Server {
    /// Connects, and checks that the store can keep the contract.
    pub(crate) async fn connect(
        place: Place,
        options: Options,
        listeners: &Arc<Listeners>,
    ) -> Result<Self> {
        let kind = match place {
            Place::Server(info) => {
                let one = One::new(&info, &options, listeners)?;
                one.link().await?;
                Kind::One(Box::new(one))
            }
            Place::Cluster(nodes) => cluster(&nodes, &options, listeners).await?,
        };
        Ok(Self { kind, options })
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster { .. })
    }

    /// A connection that works, as far as one knows.
    pub(crate) async fn link(&self) -> Result<Link> {
        match &self.kind {
            Kind::One(one) => one.link().await,
            Kind::Cluster { connection, lineage } => Ok(Link {
                wire: Wire::Cluster(connection.clone()),
                number: 0,
                lineage: lineage.load(Ordering::Acquire),
            }),
        }
    }

    /// Runs a script that changes nothing.
    pub(crate) async fn read<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        let mut link = self.link().await?;
        let answer = link.call(call).await;
        self.conclude(&link, Stage::Read, answer)
    }

    /// Runs a script that changes something, on this connection.
    pub(crate) async fn write<T: FromRedisValue>(&self, link: &mut Link, call: &Call) -> Result<T> {
        let answer = link.call(call).await;
        let answer = self.conclude(link, Stage::Write, answer)?;
        if self.options.wait_replicas > 0 {
            let key = call.keys.first().map_or(&[][..], Vec::as_slice);
            let wanted = self.options.wait_replicas;
            let confirmed = link.confirmed(key, wanted, &self.options).await;
            let confirmed: u64 = self.conclude(link, Stage::Unsure, confirmed)?;
            if confirmed < u64::from(wanted) {
                return Err(unsure(confirmed, wanted));
            }
        }
        Ok(answer)
    }

    /// What came of a command; a connection that is of no more use is given up.
    pub(crate) fn conclude<T: FromRedisValue>(
        &self,
        link: &Link,
        stage: Stage,
        answer: RedisResult<Value>,
    ) -> Result<T> {
        let stage = match (stage, &self.kind) {
            // Its client sends again by itself: what is refused may be done already.
            (Stage::Write, Kind::Cluster { .. }) => Stage::Unsure,
            _ => stage,
        };
        let value = answer.map_err(|error| {
            if let Kind::One(one) = &self.kind
                && is_broken(&error)
            {
                one.give_up(link.number);
            }
            explain(stage, error)
        })?;
        T::from_redis_value(value).map_err(|_| nonsense()) // whose words repeat the answer
    }
}

/// Whether another connection might do better.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || error.kind() == redis::ErrorKind::Server(ServerErrorKind::ReadOnly)
}

impl Link {
    /// Runs a script; one that the server does not know has not run, and is sent whole.
    pub(crate) async fn call(&mut self, call: &Call) -> RedisResult<Value> {
        let command = call.command();
        match self.send(&command).await {
            Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(call.script.code);
                self.send(&load).await?;
                self.send(&command).await
            }
            answer => answer,
        }
    }

    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match &mut self.wire {
            Wire::One(connection) => command.query_async(connection).await,
            Wire::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// How many replicas have what this connection last wrote to the server of a key; it waits
    /// until as many as wanted do.
    pub(crate) async fn confirmed(
        &mut self,
        key: &[u8],
        wanted: u8,
        options: &Options,
    ) -> RedisResult<Value> {
        let mut wait = redis::cmd("WAIT");
        let millis = u64::try_from(options.wait_timeout.as_millis()).unwrap_or(u64::MAX);
        wait.arg(wanted).arg(millis);
        match &mut self.wire {
            Wire::One(connection) => wait.query_async(connection).await,
            Wire::Cluster(connection) => {
                let route = Route::with_slot(Slot::for_key(key), SlotAddr::Master);
                let node = SingleNodeRoutingInfo::SpecificNode(route);
                connection.route_command(wait, RoutingInfo::SingleNode(node)).await
            }
        }
    }

    /// Asks to be told what is published on these channels.
    pub(crate) async fn subscribe(&mut self, channels: &[Vec<u8>]) -> RedisResult<()> {
        match &mut self.wire {
            Wire::One(connection) => connection.subscribe(channels).await,
            Wire::Cluster(connection) => connection.subscribe(channels).await,
        }
    }

    /// Asks to be told no more.
    pub(crate) async fn unsubscribe(&mut self, channels: &[Vec<u8>]) -> RedisResult<()> {
        match &mut self.wire {
            Wire::One(connection) => connection.unsubscribe(channels).await,
            Wire::Cluster(connection) => connection.unsubscribe(channels).await,
        }
    }
}

async fn cluster(
    nodes: &[ConnectionInfo],
    options: &Options,
    listeners: &Arc<Listeners>,
) -> Result<Kind> {
    let lineage = Arc::new(AtomicU64::new(0));
    let pushes = {
        let (listeners, lineage) = (Arc::clone(listeners), Arc::clone(&lineage));
        move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                // Which node it was, and whether it has lost anything, one cannot know.
                lineage.fetch_add(1, Ordering::AcqRel);
            }
            listeners.hear(&push);
            Ok::<(), std::convert::Infallible>(())
        }
    };
    let client: ClusterClient = ClusterClientBuilder::new(nodes.iter().cloned())
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(options.connect_timeout)
        .response_timeout(options.response_timeout)
        .overall_response_timeout(Some(options.response_timeout))
        .tcp_settings(one::tcp_settings())
        .push_sender(pushes)
        .build()
        .map_err(|error| explain(Stage::Connect, error))?;
    let connecting = timeout(options.connect_timeout, client.get_async_connection());
    let connection = match connecting.await {
        Ok(connection) => connection.map_err(|error| explain(Stage::Connect, error))?,
        Err(_) => return Err(crate::error::no_answer()),
    };
    check::cluster(&mut connection.clone()).await?;
    Ok(Kind::Cluster { connection, lineage })
}
