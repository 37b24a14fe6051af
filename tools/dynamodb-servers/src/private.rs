//! A server of a test's own.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::program::server_program;

/// A server of a test's own, on a file, killed on drop. It ends with this process, since its input
/// does.
#[derive(Debug)]
pub struct Private {
    dir: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Private {
    /// Starts a server on a new file and a free port.
    ///
    /// # Errors
    /// There is no program, or it does not work.
    pub fn start() -> io::Result<Self> {
        let mut server = Self { dir: tempfile::tempdir()?, port: 0, running: None };
        server.restart()?;
        Ok(server)
    }

    /// Where it answers, whenever it runs.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it with SIGKILL, if it runs.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut server) = self.running.take() else { return Ok(()) };
        server.kill()?;
        server.wait().map(drop)
    }

    /// Starts it on its file and its port again, after killing it if it runs, and waits until it
    /// listens.
    ///
    /// # Errors
    /// It does not.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        let mut command = Command::new(server_program()?);
        command.args(["--port", &self.port.to_string(), "--file"]).arg(self.dir.path().join("db"));
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = server.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        self.running = Some(server);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        self.port = line.trim().parse().map_err(|error| {
            io::Error::other(format!("the server said {line:?} in place of its port: {error}"))
        })?;
        Ok(())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.kill(); // nobody is there to tell
    }
}
