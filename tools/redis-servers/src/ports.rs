//! Free ports of this machine.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// From a server's port to the one on which the nodes of a cluster talk.
pub(crate) const TO_BUS: u16 = 10_000;

/// The first port that is taken, and how many there are: those of the buses follow them, and the
/// ports that systems give to outgoing connections follow those.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// A port that is free, and free as a cluster's node's; never the same one twice in a process.
pub(crate) fn free() -> io::Result<u16> {
    static NEXT: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(0) >> 1));
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % u64::from(COUNT);
        let port = FIRST + next as u16;
        if is_free(port) && is_free(port + TO_BUS) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}
