//! A cluster of a test's own.

use std::io;

use crate::{Connection, Private, Reply, cluster, wait};

/// The most keys that are moved at a time.
const KEYS_MAX: &str = "100";

/// The longest that moving them takes, in milliseconds.
const MOVED_WITHIN_MS: &str = "5000";

/// A Redis Cluster of three masters of a test's own, killed on drop.
#[derive(Debug)]
pub struct PrivateCluster {
    nodes: Vec<Private>,
    options: Vec<(String, String)>,
}

impl PrivateCluster {
    /// Starts three masters, which share the slots from the first to the last, with these options
    /// of `redis.conf` besides those of [`crate::cluster`].
    ///
    /// # Errors
    /// There is no program, or it does not work; with what it has printed.
    pub fn start(options: &[(&str, &str)]) -> io::Result<Self> {
        let own = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let mut cluster = Self { nodes: Vec::new(), options: own.collect() };
        for _ in 0..3 {
            cluster.nodes.push(cluster.prepare()?);
        }
        let masters = [0, 1, 2].map(|node: usize| cluster.nodes[node].address().port());
        for node in &mut cluster.nodes {
            cluster::write_nodes(node.dir(), node.address().port(), masters)?;
            node.spawn()?;
        }
        for node in &mut cluster.nodes {
            node.ready()?;
        }
        cluster.ready()?;
        Ok(cluster)
    }

    fn prepare(&self) -> io::Result<Private> {
        let own = self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Private::prepare(&cluster::OPTIONS.into_iter().chain(own).collect::<Vec<_>>())
    }

    /// Waits until every node that runs answers for all slots, as after a restart.
    ///
    /// # Errors
    /// A node does not.
    pub fn ready(&self) -> io::Result<()> {
        self.running().try_for_each(|node| wait::until(|| cluster::ready(node.address())))
    }

    /// The masters, then the replicas.
    #[must_use]
    pub fn nodes(&self) -> &[Private] {
        &self.nodes
    }

    /// A node, to kill and restart.
    pub fn node_mut(&mut self, node: usize) -> Option<&mut Private> {
        self.nodes.get_mut(node)
    }

    /// The node that answers for a key, as the first that runs knows.
    ///
    /// # Errors
    /// That one does not answer, or knows none.
    pub fn owner(&self, key: &str) -> io::Result<usize> {
        let slot = Some(self.slot(key)?.into());
        let ranges = self.first()?.command(&["CLUSTER", "SLOTS"])?;
        let is_its = |range: &&Reply| match range.array() {
            [first, last, ..] => first.integer() <= slot && slot <= last.integer(),
            _ => false,
        };
        let range = ranges.array().iter().find(is_its).map(Reply::array);
        let port = range.and_then(|range| range.get(2)?.array().get(1)?.integer());
        let mut ports = self.nodes.iter().map(|node| Some(node.address().port().into()));
        ports.position(|own| own == port).ok_or_else(|| io::Error::other("no owner"))
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// The first node that runs does not answer.
    pub fn slot(&self, key: &str) -> io::Result<u16> {
        let slot = self.first()?.command(&["CLUSTER", "KEYSLOT", key])?.integer();
        slot.and_then(|slot| slot.try_into().ok()).ok_or_else(|| io::Error::other("no slot"))
    }

    /// Moves a slot from one master to another, as a resharding does: the three steps in one.
    ///
    /// # Errors
    /// A node's.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) -> io::Result<()> {
        self.begin_move(slot, from, to)?;
        self.move_keys(slot, from, to)?;
        self.finish_move(slot, to)
    }

    /// The first step: from now on, keys that are not there are asked for at the other node (ASK).
    ///
    /// # Errors
    /// A node's.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) -> io::Result<()> {
        let (source, target) = (self.id(from)?, self.id(to)?);
        let slot = slot.to_string();
        self.connect(to)?.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source])?;
        self.connect(from)?.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target])?;
        Ok(())
    }

    /// The second step: moves all keys of the slot, and says how many there were.
    ///
    /// # Errors
    /// A node's.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) -> io::Result<usize> {
        let (mut source, slot) = (self.connect(from)?, slot.to_string());
        let port = self.node(to)?.address().port().to_string();
        let mut moved = 0;
        loop {
            let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_MAX])?;
            if keys.array().is_empty() {
                return Ok(moved);
            }
            let command = ["MIGRATE", "127.0.0.1", &port, "", "0", MOVED_WITHIN_MS, "KEYS"];
            let mut command = command.map(str::as_bytes).to_vec();
            for key in keys.array() {
                if let Reply::Bytes(key) = key {
                    command.push(key);
                }
            }
            source.command(&command)?;
            moved += keys.array().len();
        }
    }

    /// The last step: all masters know the slot's new owner, which they send clients to (MOVED).
    ///
    /// # Errors
    /// A node's.
    pub fn finish_move(&self, slot: u16, to: usize) -> io::Result<()> {
        let (slot, target) = (slot.to_string(), self.id(to)?);
        // The new owner first: it must not be that nobody has the slot.
        for node in [self.node(to)?].into_iter().chain(self.running()) {
            let mut node = node.address().connect()?;
            if node.field(&["INFO", "replication"], "role")? == "master" {
                node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target])?;
            }
        }
        Ok(())
    }

    /// Starts a replica of a master, waits until it has what the master has, and gives its place
    /// among the nodes.
    ///
    /// # Errors
    /// It does not work; with what it has printed.
    pub fn add_replica(&mut self, master: usize) -> io::Result<usize> {
        let (id, known) = (self.id(master)?, self.node(master)?.address().port().to_string());
        let mut replica = self.prepare()?;
        replica.restart()?;
        let mut connection = replica.address().connect()?;
        connection.command(&["CLUSTER", "MEET", "127.0.0.1", &known])?;
        wait::until(|| connection.command(&["CLUSTER", "REPLICATE", &id]))?;
        wait::until(|| {
            match connection.field(&["INFO", "replication"], "master_link_status")?.as_str() {
                "up" => Ok(()),
                status => Err(io::Error::other(format!("the link to the master is {status}"))),
            }
        })?;
        self.nodes.push(replica);
        let replica = self.nodes.len() - 1;
        wait::until(|| self.is_known_as("slave", replica))?;
        self.ready()?;
        Ok(replica)
    }

    /// Fails until all nodes that run know that a node is a `master` or a `slave`.
    fn is_known_as(&self, role: &str, node: usize) -> io::Result<()> {
        let id = self.id(node)?;
        let is_so = |line: &str| line.starts_with(&id) && line.contains(role);
        for node in self.running() {
            let known = node.address().connect()?.command(&["CLUSTER", "NODES"])?;
            if !known.text().unwrap_or_default().lines().any(is_so) {
                return Err(io::Error::other(format!("{} knows no {role} {id}", node.address())));
            }
        }
        Ok(())
    }

    /// Makes a replica the master of its slots, whether its master runs or not, and waits until all
    /// nodes that run know it.
    ///
    /// # Errors
    /// It does not become one.
    pub fn fail_over(&self, replica: usize) -> io::Result<()> {
        self.connect(replica)?.command(&["CLUSTER", "FAILOVER", "TAKEOVER"])?;
        wait::until(|| self.is_known_as("master", replica))
    }

    fn running(&self) -> impl Iterator<Item = &Private> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    fn first(&self) -> io::Result<Connection> {
        let first = self.running().next().ok_or(io::ErrorKind::NotConnected)?;
        first.address().connect()
    }

    fn node(&self, node: usize) -> io::Result<&Private> {
        self.nodes.get(node).ok_or_else(|| io::Error::other(format!("there is no node {node}")))
    }

    fn connect(&self, node: usize) -> io::Result<Connection> {
        self.node(node)?.address().connect()
    }

    fn id(&self, node: usize) -> io::Result<String> {
        let id = self.connect(node)?.command(&["CLUSTER", "MYID"])?;
        Ok(id.text().unwrap_or_default().to_owned())
    }
}
