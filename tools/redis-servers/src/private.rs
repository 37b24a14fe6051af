//! A server of a test's own.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    config::{self, Address},
    ports,
    program::server_program,
    wait,
};

/// A server of a test's own, killed on drop. Its directory is new, and removed with it.
#[derive(Debug)]
pub struct Private {
    dir: TempDir,
    address: Address,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    server: Child,
    watch: Child,
}

/// Kills the server and removes its directory when this process is gone: then its end of the pipe
/// that is the shell's input is closed, however it ended.
const WATCHING: &str = r#"read -r _; kill -KILL "$1"; rm -rf "$2""#;

impl Private {
    /// Starts a server, with these options of `redis.conf` besides those of [`crate::shared`].
    ///
    /// # Errors
    /// There is no program, or it does not work; with what it has printed.
    pub fn start(options: &[(&str, &str)]) -> io::Result<Self> {
        let mut server = Self::prepare(options)?;
        server.restart()?;
        Ok(server)
    }

    /// A server that is not started.
    pub(crate) fn prepare(options: &[(&str, &str)]) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let address = config::write(&server_program()?, dir.path(), ports::free()?, options)?;
        Ok(Self { dir, address, running: None })
    }

    /// Where it listens, whenever it runs.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Its directory, with what it has stored, `redis.conf`, and `log` with what it has printed.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The version of Redis that it says it is: major, minor. A Valkey is the one it is made from.
    ///
    /// # Errors
    /// It does not answer.
    pub fn version(&self) -> io::Result<(u32, u32)> {
        let version = self.address.connect()?.field(&["INFO", "server"], "redis_version")?;
        let mut numbers = version.split('.').map_while(|number| number.parse().ok());
        let numbers = numbers.next().zip(numbers.next());
        numbers.ok_or_else(|| io::Error::other(format!("no version: {version}")))
    }

    /// Kills it with SIGKILL, if it runs.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(Running { mut server, mut watch }) = self.running.take() else { return Ok(()) };
        watch.kill()?; // first: the server's id may be another's as soon as it is waited for
        watch.wait()?;
        server.kill()?;
        server.wait().map(drop)
    }

    /// Starts it on its files and its port again, after killing it if it runs, and waits until it
    /// has read them and answers.
    ///
    /// # Errors
    /// It does not; with the end of what it has printed.
    pub fn restart(&mut self) -> io::Result<()> {
        self.spawn()?;
        self.ready()
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(&mut self) -> io::Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(self.dir().join("log"))?;
        let mut server = Command::new(server_program()?);
        server.arg(self.dir().join(config::FILE)).current_dir(self.dir());
        let server = server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCHING, "watch", &server.id().to_string()]).arg(self.dir());
        let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(Running { server, watch: watch.spawn()? });
        Ok(())
    }

    pub(crate) fn ready(&mut self) -> io::Result<()> {
        let ended = wait::until(|| {
            let running = self.running.as_mut();
            match running.map_or(Ok(None), |running| running.server.try_wait())? {
                Some(status) => Ok(Some(status)),
                None => self.address.connect()?.command(&["PING"]).map(|_| None),
            }
        });
        let why = match ended {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => format!("has ended with {status}"),
            Err(error) => format!("is not ready: {error}"),
        };
        let log = fs::read_to_string(self.dir().join("log")).unwrap_or_default();
        Err(io::Error::other(format!("the server {} {why}; it has printed\n{log}", self.address)))
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Stops it with SIGSTOP: it stays connected, and does not answer.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues it with SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let running = self.running.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(kill_process(Pid::from_child(&running.server), signal)?)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.kill(); // nobody is there to tell
    }
}
