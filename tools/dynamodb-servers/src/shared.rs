//! The one server of a test run.

use std::{env, io, net::TcpStream, process::Command};

use conformance::server::{self, Server};

use crate::program::server_program;

/// Where the tests find another server than one of their own.
pub(crate) const ELSEWHERE: &str = "WORLD_TEST_DYNAMODB";

/// The shell gives the server an input that never ends, and goes.
const FOREGROUND: &str = r#"rm -f input; mkfifo input && exec "$@" <>input"#;

/// The endpoint of the server that all processes of a test run share; the first that asks starts
/// it. It keeps all in memory.
///
/// # Errors
/// There is no program, or it does not work; it is not tried again in the same run.
pub fn shared() -> io::Result<String> {
    if let Some(elsewhere) = elsewhere() {
        return Ok(elsewhere);
    }
    let program = server_program()?;
    let command = |server: &Server| {
        let mut command = Command::new("sh");
        command.args(["-c", FOREGROUND, "server"]).arg(&program);
        command.args(["--port", &server.port().to_string()]);
        command
    };
    let ready = |server: &Server| TcpStream::connect(server.address()).map(drop);
    let server = server::shared("dynamodb", command, ready).map_err(io::Error::other)?;
    Ok(format!("http://{}", server.address()))
}

/// The endpoint that the environment names.
pub(crate) fn elsewhere() -> Option<String> {
    env::var(ELSEWHERE).ok().filter(|endpoint| !endpoint.is_empty())
}
