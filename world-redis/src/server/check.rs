//! Whether a server can keep the contract.

use std::collections::HashMap;

use redis::{
    RedisResult, Value,
    aio::MultiplexedConnection,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo},
};
use world_core::{Error, ErrorKind, Result};

use crate::error::{Stage, explain};

/// The oldest version that is supported.
const VERSION_MIN: (u32, u32) = (6, 2);

const REPLICA: &str = "the server is a replica, which takes no writes";

/// Which server answers: another one knows, perhaps, less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    run: String,
    replication: String,
}

/// What a server says of itself.
struct Info(HashMap<String, String>);

impl Info {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn identity(&self) -> Identity {
        let of = |name| self.get(name).to_owned();
        Identity { run: of("run_id"), replication: of("master_replid") }
    }
}

/// Checks one server. Where a master was, a replica may become one again, or another take its place.
pub(super) async fn server(
    connection: &mut MultiplexedConnection,
    was_master: bool,
) -> Result<Identity> {
    let text: RedisResult<String> = redis::cmd("INFO").query_async(connection).await;
    let info = Info::parse(&text.map_err(|error| explain(Stage::Connect, error))?);
    if was_master && info.get("role") == "slave" {
        return Err(Error::new(ErrorKind::Unavailable, REPLICA)
            .help("it is tried again; if it stays so, name the master"));
    }
    check(&info)?;
    if info.get("cluster_enabled") == "1" {
        return Err(unsuitable(
            "the server is a node of a Redis Cluster",
            "write redis-cluster://host:6379",
        ));
    }
    Ok(info.identity())
}

/// Checks the masters of a Cluster.
pub(super) async fn cluster(connection: &mut ClusterConnection) -> Result<()> {
    let masters = (MultipleNodeRoutingInfo::AllMasters, None::<ResponsePolicy>);
    let answer =
        connection.route_command(redis::cmd("INFO"), RoutingInfo::MultiNode(masters)).await;
    let nodes: HashMap<String, String> = answer
        .and_then(|value: Value| Ok(redis::from_redis_value(value)?))
        .map_err(|error| explain(Stage::Connect, error))?;
    for text in nodes.values() {
        let info = Info::parse(text);
        check(&info)?;
        if info.get("cluster_enabled") != "1" {
            return Err(unsuitable(
                "the server is not a node of a Redis Cluster",
                "write redis://host:6379",
            ));
        }
    }
    Ok(())
}

fn check(info: &Info) -> Result<()> {
    let version = info.get("redis_version");
    let mut parts = version.split('.').map(str::parse);
    let known = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    if known < VERSION_MIN {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("a server of version {version:?}, where 6.2 is the oldest"),
        )
        .help("use Redis 6.2 or newer, or Valkey"));
    }
    if info.get("loading") == "1" {
        return Err(Error::new(ErrorKind::Unavailable, "the server is loading its data")
            .help("try again when it has"));
    }
    if info.get("role") != "master" {
        return Err(unsuitable(REPLICA, "name the master, or an address that leads to it"));
    }
    let policy = info.get("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        return Err(unsuitable(
            format!("the server forgets keys when its memory is full (maxmemory-policy {policy})"),
            "set maxmemory-policy noeviction, or use a server that is not a cache",
        ));
    }
    Ok(())
}

fn unsuitable(what: impl Into<std::borrow::Cow<'static, str>>, help: &'static str) -> Error {
    Error::new(ErrorKind::Unsuitable, what).help(help)
}
