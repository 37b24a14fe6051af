//! Starts a server with a shell that watches over it.

use std::{
    fs, io,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Error, Server, run};
use crate::pace;

/// The longest a server may take until it can be used, on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked whether it can be.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// Starts the server, and ends it with its children when the run is over.
///
/// Its group is its own, so that an interrupt from the keyboard ends cargo and not the shell.
const WATCHING: &str = r#"
run=$1 dir=$2; shift 2
"$@" </dev/null >"$dir/log" 2>&1 &
server=$!
while kill -0 "$run" 2>/dev/null; do
  if ! kill -0 "$server" 2>/dev/null; then
    wait "$server"; echo "$?" >"$dir/ended"
    exit
  fi
  sleep 0.1 2>/dev/null || sleep 1
done
kill "$server" 2>/dev/null
left=50
while [ "$left" -gt 0 ] && kill -0 "$server" 2>/dev/null; do
  left=$((left - 1)); sleep 0.1 2>/dev/null || sleep 1
done
rm -rf "$dir"
kill -KILL 0
"#;

pub(super) fn start(
    name: &str,
    dir: &Path,
    command: &dyn Fn(&Server) -> Command,
    ready: &dyn Fn(&Server) -> Result<(), String>,
) -> Result<Server, Error> {
    let failed = |error: io::Error| Error(format!("the server {name} was not started: {error}"));
    let port = free_port().map_err(failed)?;
    let server = Server { dir: dir.to_owned(), port };
    spawn(&command(&server), &server).map_err(failed)?;
    let ended = dir.join("ended");
    let began = Instant::now();
    loop {
        let status = fs::read_to_string(&ended).ok().filter(|status| status.ends_with('\n'));
        if let Some(status) = status {
            let (status, said) = (status.trim(), said(&server));
            return Err(Error(format!("the server {name} has ended with status {status}{said}")));
        }
        let Err(error) = ready(&server) else { return Ok(server) };
        if began.elapsed() >= READY_WITHIN
            && began.elapsed() >= pace::stretched(READY_WITHIN, pace::slowdown())
        {
            let (after, said) = (began.elapsed().as_secs(), said(&server));
            return Err(Error(format!(
                "the server {name} was not ready within {after} s: {error}{said}"
            )));
        }
        thread::sleep(ASKED_EVERY); // a server of any kind tells nobody when it is ready
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn spawn(command: &Command, server: &Server) -> io::Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", WATCHING, "conformance"]).arg(run::process().to_string()).arg(&server.dir);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(command.get_current_dir().unwrap_or(&server.dir));
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    shell.spawn().map(drop)
}

/// The end of what a server has printed, and where the rest is.
pub(super) fn said(server: &Server) -> String {
    const LINES: usize = 12;
    let log = server.log();
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let end = lines.iter().skip(lines.len().saturating_sub(LINES));
    let end: String = end.map(|line| format!("\n  {line}")).collect();
    format!("; the end of {}:{end}", log.display())
}
