//! What the tests of several files share.
#![allow(dead_code)] // each uses a part

use std::io;

use redis_servers::{Address, Connection, Reply};

/// All that a server holds under a prefix: the names of its keys, and everything in them.
pub(crate) fn everything_of(prefix: &str, servers: &[Address]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for server in servers {
        let mut connection = server.connect()?;
        for key in keys_of(prefix, &mut connection)? {
            all.extend_from_slice(&key);
            all.push(b'\n');
            add(&content(&mut connection, &key)?, &mut all);
        }
    }
    Ok(all)
}

/// The names of the keys that begin with a prefix.
pub(crate) fn keys_of(prefix: &str, connection: &mut Connection) -> io::Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    for end in [":*", "}*"] {
        let found = connection.command(&["KEYS", &format!("{{{prefix}{end}")])?;
        keys.extend(found.array().iter().filter_map(|key| match key {
            Reply::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }));
    }
    keys.sort();
    Ok(keys)
}

fn content(connection: &mut Connection, key: &[u8]) -> io::Result<Reply> {
    let kind = connection.command(&[b"TYPE", key])?;
    match kind.text() {
        Some("list") => connection.command(&[b"LRANGE", key, b"0", b"-1"]),
        Some("hash") => connection.command(&[b"HGETALL", key]),
        Some("zset") => connection.command(&[b"ZRANGE", key, b"0", b"-1"]),
        Some("set") => connection.command(&[b"SMEMBERS", key]),
        Some("string") => connection.command(&[b"GET", key]),
        other => Err(io::Error::other(format!("a key of type {other:?}"))),
    }
}

fn add(reply: &Reply, all: &mut Vec<u8>) {
    if let Reply::Bytes(bytes) = reply {
        all.extend_from_slice(bytes);
        all.push(b'\n');
    }
    reply.array().iter().for_each(|reply| add(reply, all));
}
