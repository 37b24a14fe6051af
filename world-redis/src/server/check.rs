//! Whether a server can keep the contract.

use std::collections::HashMap;

use redis::{RedisResult, aio::MultiplexedConnection};
use world_core::{Error, ErrorKind, Result};

use crate::error::{Stage, explain};

/// The oldest version that is supported.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Which server answers: another one knows, perhaps, less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    run: String,
    replication: String,
}

#[cfg(test)]
impl Identity {
    pub(super) fn of_run(run: &str) -> Self {
        Self { run: run.to_owned(), replication: String::new() }
    }
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

/// When a server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// The World is opened.
    Opening,
    /// The connection is made anew, or one to another node.
    Reconnecting,
}

/// Checks a server, which is to be a node of a Cluster or not.
pub(super) async fn server(
    connection: &mut MultiplexedConnection,
    is_node: bool,
    when: When,
) -> Result<Identity> {
    let text: RedisResult<String> = redis::cmd("INFO").query_async(connection).await;
    let info = Info::parse(&text.map_err(|error| explain(Stage::Connect, error))?);
    check(&info)?;
    match (info.get("cluster_enabled") == "1", is_node) {
        (true, false) => {
            return Err(unsuitable(
                "the server is a node of a Redis Cluster",
                "write redis-cluster://host:6379",
            ));
        }
        (false, true) => {
            return Err(unsuitable(
                "the server is not a node of a Redis Cluster",
                "write redis://host:6379",
            ));
        }
        _ => {}
    }
    // A node that is a replica says itself who the master is.
    if !is_node && info.get("role") != "master" {
        let what = "the server is a replica, which takes no writes";
        return Err(match when {
            When::Opening => unsuitable(what, "name the master, or an address that leads to it"),
            // A new master is being chosen.
            When::Reconnecting => Error::new(ErrorKind::Unavailable, what)
                .help("it is tried again; if it stays so, name the master"),
        });
    }
    Ok(info.identity())
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
