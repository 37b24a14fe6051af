//! A Redis Cluster: its masters, and which of them has which slot.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult, Value};
use tokio::time::{Instant, timeout};
use world_core::{Error, ErrorKind, Result};

use crate::error::{Stage, explain, no_answer};

use super::one::{Maker, One};

/// How long one node is asked which of them has which slot, before another is.
const ASKED_FOR: Duration = Duration::from_secs(1);
/// The least time between two such questions.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// A node's host and port.
type Address = (String, u16);

/// The nodes of a Cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    maker: Maker,
    /// The nodes that were named, whose user and TLS are those of all.
    named: Vec<ConnectionInfo>,
    known: Mutex<Known>,
    /// Held while a node is asked for the slots; when it was last done.
    asking: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known {
    nodes: HashMap<Address, Arc<One>>,
    /// First and last slot, and who has them.
    slots: Vec<(u16, u16, Address)>,
    /// A node that failed: the slots may have gone to others.
    suspect: Option<Arc<One>>,
}

impl Cluster {
    pub(super) async fn connect(maker: Maker, named: Vec<ConnectionInfo>) -> Result<Self> {
        let cluster =
            Self { maker, named, known: Mutex::default(), asking: tokio::sync::Mutex::default() };
        cluster.ask().await?;
        let addresses: HashSet<Address> =
            cluster.lock().slots.iter().map(|(.., address)| address.clone()).collect();
        let nodes = addresses.iter().map(|address| cluster.node(address));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        for checked in join_all(nodes.iter().map(|node| node.first_link())).await {
            match checked {
                // It is checked when it is back; the others do without it.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(%error, "a master of the Cluster is away");
                }
                checked => drop(checked?),
            }
        }
        Ok(cluster)
    }

    /// The node that has a key's slot, as far as one knows.
    pub(super) async fn owner(&self, key: &[u8]) -> Result<Arc<One>> {
        let slot = slot(key);
        if self.lock().suspect.is_some()
            && let Err(error) = self.ask().await
        {
            tracing::warn!(%error, "no node of the Cluster says which has which slot");
        }
        let owner = self.lock().owner(slot);
        match owner {
            Some(address) => self.node(&address),
            None => Err(Error::new(ErrorKind::Unavailable, "no node of the Cluster has the slot")
                .help("look at CLUSTER INFO; all 16384 slots must have a master")),
        }
    }

    /// The node that is known to have a key's slot.
    pub(super) fn known(&self, key: &[u8]) -> Option<Arc<One>> {
        let known = self.lock();
        known.nodes.get(&known.owner(slot(key))?).map(Arc::clone)
    }

    /// The node that another one names; with a slot, that slot is its from now on.
    pub(super) fn redirected(
        &self,
        by: &One,
        address: &str,
        slot: Option<u16>,
    ) -> Result<Option<Arc<One>>> {
        let named = address.rsplit_once(':').and_then(|(host, port)| {
            Some((host.trim_matches(['[', ']']).to_owned(), port.parse::<u16>().ok()?))
        });
        let Some((host, port)) = named else { return Ok(None) };
        // One that names no host means its own.
        let host = match host.as_str() {
            "" | "?" => address_of(by.address()).unwrap_or_default().0,
            _ => host,
        };
        let address = (host, port);
        if let Some(slot) = slot {
            // The first range that holds a slot counts.
            self.lock().slots.insert(0, (slot, slot, address.clone()));
        }
        let node = self.node(&address)?;
        if slot.is_some() {
            self.suspect(&node); // others may have moved as well
        }
        Ok(Some(node))
    }

    /// Asks again which node has which slot, before the next command.
    pub(super) fn suspect(&self, node: &Arc<One>) {
        self.lock().suspect = Some(Arc::clone(node));
    }

    /// Asks which node has which slot: those that are known and not suspected, then the others.
    async fn ask(&self) -> Result<()> {
        let mut asked = self.asking.lock().await;
        if asked.is_some_and(|at| at.elapsed() < ASKED_EVERY) {
            return Ok(());
        }
        let suspect = self.lock().suspect.take();
        let mut candidates: Vec<Arc<One>> = self.lock().nodes.values().map(Arc::clone).collect();
        candidates
            .sort_by_key(|node| suspect.as_ref().is_some_and(|suspect| Arc::ptr_eq(suspect, node)));
        for info in &self.named {
            candidates.extend(address_of(info.addr()).and_then(|at| self.node(&at).ok()));
        }
        let mut failed = no_answer();
        for node in candidates {
            match timeout(ASKED_FOR.max(self.maker.options.connect_timeout), self.slots(&node))
                .await
            {
                Ok(Ok(slots)) => {
                    let mut known = self.lock();
                    known.nodes.retain(|address, _| slots.iter().any(|(.., of)| of == address));
                    known.slots = slots;
                    *asked = Some(Instant::now());
                    return Ok(());
                }
                Ok(Err(error)) => failed = error,
                Err(_) => {}
            }
        }
        *asked = Some(Instant::now());
        self.lock().suspect = suspect;
        Err(failed)
    }

    async fn slots(&self, node: &Arc<One>) -> Result<Vec<(u16, u16, Address)>> {
        let mut link = node.link().await?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer: RedisResult<Vec<Vec<Value>>> =
            link.send(&command).await.and_then(|value| Ok(redis::from_redis_value(value)?));
        let ranges = answer.map_err(|error| {
            node.give_up(&link);
            explain(Stage::Connect, error)
        })?;
        let own = address_of(node.address()).unwrap_or_default();
        let slots: Option<Vec<_>> = ranges.into_iter().map(|range| of_range(range, &own)).collect();
        slots.filter(|slots| !slots.is_empty()).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "a node of the Cluster knows no slots")
                .help("look at CLUSTER INFO; all 16384 slots must have a master")
        })
    }

    fn node(&self, address: &Address) -> Result<Arc<One>> {
        if let Some(node) = self.lock().nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let info = self.named.first().ok_or_else(no_answer)?;
        let at = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: address.0.clone(),
                port: address.1,
                insecure,
                tls_params,
            },
            _ => ConnectionAddr::Tcp(address.0.clone(), address.1),
        };
        let client = Client::open(info.clone().set_addr(at))
            .map_err(|error| explain(Stage::Connect, error))?;
        let node = Arc::new(self.maker.one(client, true)?);
        Ok(Arc::clone(self.lock().nodes.entry(address.clone()).or_insert(node)))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn owner(&self, slot: u16) -> Option<Address> {
        let of = self.slots.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        of.map(|(.., address)| address.clone())
    }
}

/// The slot of a key: CRC16 (XMODEM) of what stands in its first braces, as the Redis Cluster
/// specification has it. Every key of a World has braces.
fn slot(key: &[u8]) -> u16 {
    let tag = key.split(|byte| *byte == b'{').nth(1).unwrap_or(key);
    let tag = tag.split(|byte| *byte == b'}').next().unwrap_or(tag);
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % 16384
}

pub(super) fn address_of(address: &ConnectionAddr) -> Option<Address> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// First and last slot, and the master: its host is the one that was asked if it does not say.
fn of_range(range: Vec<Value>, asked: &Address) -> Option<(u16, u16, Address)> {
    let mut parts = range.into_iter();
    let first = redis::from_redis_value(parts.next()?).ok()?;
    let last = redis::from_redis_value(parts.next()?).ok()?;
    let master: Vec<Value> = redis::from_redis_value(parts.next()?).ok()?;
    let mut master = master.into_iter();
    let host: Option<String> = redis::from_redis_value(master.next()?).ok()?;
    let port = redis::from_redis_value(master.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    Some((first, last, (host.unwrap_or_else(|| asked.0.clone()), port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_what_the_specification_says() {
        // "CRC16 output for 123456789: 31C3", and CLUSTER KEYSLOT of redis-server 7.0.
        assert_eq!(slot(b"{123456789}"), 0x31C3);
        assert_eq!(slot(b"{app:17}:runs"), slot(b"{app:17}:log:x{y}z"));
    }

    #[test]
    fn a_node_that_does_not_say_its_host_is_at_the_one_that_was_asked() {
        let asked = ("10.0.0.1".to_owned(), 6379);
        let node = |host: Value| {
            Value::Array(vec![host, Value::Int(7001), Value::BulkString(b"id".to_vec())])
        };
        let range = |host| vec![Value::Int(0), Value::Int(99), node(host)];
        for (host, found) in [
            (Value::Nil, "10.0.0.1"),
            (Value::BulkString(Vec::new()), "10.0.0.1"),
            (Value::BulkString(b"10.0.0.2".to_vec()), "10.0.0.2"),
        ] {
            assert_eq!(of_range(range(host), &asked), Some((0, 99, (found.to_owned(), 7001))));
        }
        assert_eq!(of_range(vec![Value::Int(0)], &asked), None);
    }
}
