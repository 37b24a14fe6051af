//! The one server of a test run.

use std::{io, process::Command};

use conformance::server::{self, Server};

use crate::{
    config::{self, Address},
    program::server_program,
};

/// The server that all processes of a test run share; the first that asks starts it.
///
/// It writes an append-only file, synced every second, and evicts nothing.
///
/// # Errors
/// There is no program, or it does not work; it is not tried again in the same run.
pub fn shared() -> io::Result<Address> {
    let program = server_program()?;
    let command = |server: &Server| {
        // A server whose file could not be written says so.
        let _ = config::write(&program, server.dir(), server.port(), &[]);
        let mut command = Command::new(&program);
        command.arg(server.dir().join(config::FILE));
        command
    };
    let ready = |server: &Server| address(server).connect()?.command(&["PING"]).map(drop);
    server::shared("redis", command, ready).map(|server| address(&server)).map_err(io::Error::other)
}

fn address(server: &Server) -> Address {
    Address::new(server.dir(), server.port())
}
