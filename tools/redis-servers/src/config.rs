//! Where a server listens, and the file that says so.

use std::{
    fmt::{self, Write},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{program, resp::Connection};

/// Where a server listens. As text, its port's address: `127.0.0.1:` and the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    port: u16,
    socket: PathBuf,
}

impl Address {
    pub(crate) fn new(dir: &Path, port: u16) -> Self {
        Self { port, socket: dir.join("redis.sock") }
    }

    /// Its port, on this machine's own interface.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Connects to its port.
    ///
    /// # Errors
    /// It does not listen.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "127.0.0.1:{}", self.port)
    }
}

/// The file in a server's directory that it is started with.
pub(crate) const FILE: &str = "redis.conf";

/// What a World asks of a server: every write is in a log, and nothing is evicted.
const DURABLE: &str = "\
bind 127.0.0.1
save \"\"
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
repl-diskless-sync-delay 0
";

/// Writes the file of a server that keeps its files in `dir`. These options come last: they win.
pub(crate) fn write(
    program: &Path,
    dir: &Path,
    port: u16,
    options: &[(&str, &str)],
) -> io::Result<Address> {
    let address = Address::new(dir, port);
    let (here, socket) = (dir.display(), address.socket.display());
    let mut text = format!("{DURABLE}port {port}\ndir \"{here}\"\nunixsocket \"{socket}\"\n");
    if program::is_7_or_newer(program)? {
        text.push_str("enable-debug-command yes\n"); // before, it is always enabled
    }
    for (name, value) in options {
        let _ = writeln!(text, "{name} {value}");
    }
    fs::write(dir.join(FILE), text)?;
    Ok(address)
}
