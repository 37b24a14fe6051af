//! The one cluster of a test run, and how a cluster of three masters is formed: from the files in
//! which its nodes keep what they know, written before they start. It takes two seconds, for which
//! a started master writes nothing.

use std::{fmt::Write, fs, io, ops::RangeInclusive, path::Path, process::Command};

use conformance::server::{self, Server};

use crate::{
    config::{self, Address},
    ports,
    program::server_program,
};

/// The slots that each of the masters begins with.
pub(crate) const SLOTS: [RangeInclusive<u16>; 3] = [0..=5460, 5461..=10922, 10923..=16383];

/// The options of a cluster's node.
pub(crate) const OPTIONS: [(&str, &str); 3] =
    [("cluster-enabled", "yes"), ("cluster-config-file", NODES), ("cluster-node-timeout", "5000")];

const NODES: &str = "nodes.conf";

/// Writes what a node knows of the cluster before it is started.
pub(crate) fn write_nodes(dir: &Path, myself: u16, masters: [u16; 3]) -> io::Result<()> {
    let mut text = String::new();
    for (epoch, (port, slots)) in (1..).zip(masters.into_iter().zip(SLOTS)) {
        let (bus, role) =
            (port + ports::TO_BUS, if port == myself { "myself,master" } else { "master" });
        let (first, last) = (slots.start(), slots.end());
        let _ = writeln!(
            text,
            "{port:040x} 127.0.0.1:{port}@{bus} {role} - 0 0 {epoch} connected {first}-{last}"
        );
    }
    text.push_str("vars currentEpoch 3 lastVoteEpoch 0\n");
    fs::write(dir.join(NODES), text)
}

/// Fails until a node has found all three masters, and answers for their slots.
pub(crate) fn ready(address: &Address) -> io::Result<()> {
    let state = address.connect()?.field(&["CLUSTER", "INFO"], "cluster_state")?;
    if state == "ok" { Ok(()) } else { Err(io::Error::other(format!("{address} is {state}"))) }
}

/// Runs the nodes, each in a directory named by its port, until it is ended.
const RUNNING: &str = r#"
trap 'kill -KILL $nodes' EXIT
trap exit TERM
for node in */; do
    "$1" "$PWD/$node$2" & nodes="$nodes $!"
done
wait
"#;

/// The masters of the Redis Cluster that all processes of a test run share; the first that asks
/// starts it. They are three, configured as [`crate::shared`].
///
/// # Errors
/// There is no program, or it does not work; it is not tried again in the same run.
pub fn cluster() -> io::Result<Vec<Address>> {
    let program = server_program()?;
    let command = |server: &Server| {
        // A cluster whose files could not be written is never ready, and its nodes say why.
        let _ = write(&program, server.dir());
        let mut command = Command::new("sh");
        command.args(["-c", RUNNING, "cluster"]).arg(&program).arg(config::FILE);
        command
    };
    let ready = |server: &Server| addresses(server.dir())?.iter().try_for_each(ready);
    let server = server::shared("redis-cluster", command, ready).map_err(io::Error::other)?;
    addresses(server.dir())
}

fn write(program: &Path, root: &Path) -> io::Result<()> {
    let masters = [ports::free()?, ports::free()?, ports::free()?];
    for port in masters {
        let dir = root.join(port.to_string());
        fs::create_dir(&dir)?;
        config::write(program, &dir, port, &OPTIONS)?;
        write_nodes(&dir, port, masters)?;
    }
    Ok(())
}

fn addresses(root: &Path) -> io::Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if let Some(port) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            addresses.push(Address::new(&entry.path(), port));
        }
    }
    addresses.sort_by_key(Address::port);
    if addresses.len() == SLOTS.len() { Ok(addresses) } else { Err(io::ErrorKind::NotFound.into()) }
}
