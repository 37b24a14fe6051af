//! Servers that the processes of a test run share, on Unix.
//!
//! A suite of a World that needs a server starts one for the whole run, whether that is one
//! process (`cargo test`) or one a case (nextest):
//!
//! ```no_run
//! use std::{net::TcpStream, process::Command};
//! use conformance::server::{self, Server};
//! # use world_core::MemoryWorld;
//! # struct RedisWorld;
//! # impl RedisWorld {
//! #     async fn open(_: String, _: &str) -> world_core::Result<MemoryWorld> { Ok(MemoryWorld::new()) }
//! # }
//!
//! fn redis() -> Result<Server, server::Error> {
//!     let command = |server: &Server| {
//!         let mut command = Command::new("redis-server");
//!         command.args(["--port", &server.port().to_string(), "--appendonly", "yes", "--dir"]);
//!         command.arg(server.dir());
//!         command
//!     };
//!     let ready = |server: &Server| TcpStream::connect(server.address()).map(drop);
//!     server::shared("redis", command, ready)
//! }
//!
//! conformance::suite!(
//!     |site| async move {
//!         let server = redis().map_err(|error| error.to_string())?;
//!         let url = format!("redis://{}", server.address());
//!         RedisWorld::open(url, site.name()).await.map_err(|error| error.to_string())
//!     },
//!     needs = || redis().map(drop),
//! );
//! ```
//!
//! The first process that asks starts it, under a lock; the others wait and get its address. A
//! shell watches over it, and ends it and removes its directory when the run is over, which is
//! when the parent of the test processes, cargo or nextest, is gone. So nothing is left behind,
//! also when the run is killed.

mod run;
mod start;

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::failure::error_text;

pub(crate) use run::{RUN, run_id};

/// A server of this test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    dir: PathBuf,
    port: u16,
}

impl Server {
    /// A directory of its own, for its data and sockets; its path is short enough for those. It is
    /// removed after the run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A port of this machine that was free when the server was started.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port's address: `127.0.0.1:` and the port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where what it prints is written.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

/// Why there is no server, with the end of what it has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Error {}

/// The server of this name that the processes of a test run share; the first that asks starts it.
///
/// `command` says how, with its program, arguments, variables and directory; the server stays in
/// the foreground. `ready` fails until the server can be used; it is asked for a minute at most.
///
/// A run is cargo's or nextest's, known by `NEXTEST_RUN_ID` or by the parent process and when that
/// was started. A program that neither has started is a run of its own.
///
/// # Errors
/// What happened, with the end of what the server has printed: it could not be started, has ended,
/// or was not ready in time. It is not tried again in the same run.
pub fn shared<E>(
    name: &str,
    command: impl Fn(&Server) -> Command,
    ready: impl Fn(&Server) -> Result<(), E>,
) -> Result<Server, Error>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    static KNOWN: Mutex<Option<HashMap<String, Result<Server, Error>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(server) = known.get(name) {
        return server.clone();
    }
    let ready = |server: &Server| ready(server).map_err(|error| error_text(&*error.into()));
    let server = of_this_run(name, &command, &ready);
    known.insert(name.to_owned(), server.clone());
    server
}

fn of_this_run(
    name: &str,
    command: &dyn Fn(&Server) -> Command,
    ready: &dyn Fn(&Server) -> Result<(), String>,
) -> Result<Server, Error> {
    let failed = |error: io::Error| Error(format!("the server {name} of this run: {error}"));
    let dir = run::dir(name);
    fs::create_dir_all(&dir).map_err(failed)?;
    let lock = OpenOptions::new().create(true).append(true).open(dir.join("lock"));
    let lock = lock.map_err(failed)?;
    lock.lock().map_err(failed)?; // until this function returns
    if let Ok(why) = fs::read_to_string(dir.join("failed")) {
        return Err(Error(why));
    }
    if let Ok(port) = fs::read_to_string(dir.join("port")) {
        let port = port.trim().parse().map_err(|error| failed(io::Error::other(error)))?;
        let server = Server { dir, port };
        return match ready(&server) {
            Ok(()) => Ok(server),
            Err(error) => {
                Err(Error(format!("the server {name} is gone: {error}{}", start::said(&server))))
            }
        };
    }
    let server = start::start(name, &dir, command, ready);
    match &server {
        Ok(server) => fs::write(dir.join("port"), server.port.to_string()).map_err(failed)?,
        Err(Error(why)) => fs::write(dir.join("failed"), why).map_err(failed)?,
    }
    server
}
