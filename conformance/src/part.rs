//! The suite's program, started again to play a part: a second process, which can be killed.

mod stage;

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    fmt,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    failure::{Failure, Verdict},
    server,
    site::Site,
    watch::Watch,
};

pub(crate) use stage::{Stage, play};

const PART: &str = "CONFORMANCE_PART";
const SUITE: &str = "CONFORMANCE_PART_SUITE";
const SITE: &str = "CONFORMANCE_PART_SITE";
const DIR: &str = "CONFORMANCE_PART_DIR";
const ARGUMENTS: &str = "CONFORMANCE_PART_ARGUMENTS";

/// What a line begins with that is for the case; all others are the program's own.
const MARK: char = '@';

/// How this program is started again.
#[derive(Clone)]
pub(crate) struct Parts {
    suite: Arc<str>,
    arguments: Arc<[OsString]>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parts").field(&self.arguments).finish()
    }
}

impl Parts {
    /// With these arguments the program comes to the suite of this name.
    pub(crate) fn new(suite: &str, arguments: Vec<OsString>) -> Self {
        Self { suite: suite.into(), arguments: arguments.into() }
    }

    /// Why a case without a second process proves nothing.
    pub(crate) fn missing() -> Failure {
        Failure::not_proven("a second process needs the suite's own main, or Suite::part")
    }

    /// Starts a second process.
    pub(crate) fn play(
        &self,
        part: &'static str,
        site: &Site,
        arguments: &[u64],
        watch: Arc<Watch>,
    ) -> Verdict<Player> {
        let not_started = |error| Failure::failed(format!("no second process: {error}"));
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let mut child = Command::new(env::current_exe().map_err(not_started)?)
            .args(&*self.arguments)
            .env(PART, part)
            .env(SUITE, &*self.suite)
            .env(SITE, site.name())
            .env(DIR, site.dir())
            .env(ARGUMENTS, arguments.join(" "))
            .env(server::RUN, server::run_id())
            .stdin(Stdio::piped()) // its end tells the child that nobody wants it any more
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let (tell, lines) = unbounded_channel();
        let said = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(output) = child.stdout.take() {
            let tell = tell.clone();
            thread::spawn(move || hand_on(output, &tell));
        }
        if let Some(output) = child.stderr.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || keep_last(output, &said));
        }
        Ok(Player { child, part, lines, said, watch })
    }
}

fn hand_on(output: impl Read, tell: &UnboundedSender<String>) {
    for line in whole_lines(output) {
        if let Some(line) = line.strip_prefix(MARK) {
            let _ = tell.send(line.to_owned()); // the case may be over
        }
    }
}

/// The lines that end with a newline: one that a kill has cut off was never told.
fn whole_lines(output: impl Read) -> impl Iterator<Item = String> {
    let mut output = BufReader::new(output);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        output.read_until(b'\n', &mut line).ok()?;
        (line.pop() == Some(b'\n')).then(|| String::from_utf8_lossy(&line).into_owned())
    })
}

fn keep_last(output: impl Read, said: &Mutex<VecDeque<String>>) {
    for line in whole_lines(output) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == 8 {
            said.pop_front();
        }
        said.push_back(line);
    }
}

/// A second process that plays a part; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Player {
    child: Child,
    part: &'static str,
    lines: UnboundedReceiver<String>,
    said: Arc<Mutex<VecDeque<String>>>,
    watch: Arc<Watch>,
}

impl Player {
    /// The next line that it tells.
    pub(crate) async fn line(&mut self) -> Verdict<String> {
        let what = format!("the second process ({})", self.part);
        let watch = Arc::clone(&self.watch);
        let next = self.lines.recv();
        let summary = |line: &Option<String>| line.clone().unwrap_or_else(|| "ended".to_owned());
        match watch.watched(what, Duration::ZERO, next, summary).await {
            Some(line) => match line.strip_prefix("failed ") {
                Some(why) => Err(Failure::failed(format!("in the second process: {why}"))),
                None => Ok(line),
            },
            None => Err(Failure::failed(self.why_it_ended())),
        }
    }

    /// Kills it, and gives the lines that it had told by then and nobody has taken.
    pub(crate) async fn kill(mut self) -> Verdict<Vec<String>> {
        self.child
            .kill()
            .map_err(|error| Failure::failed(format!("the second process lives on: {error}")))?;
        let mut lines = Vec::new();
        while let Some(line) = self.lines.recv().await {
            if let Some(why) = line.strip_prefix("failed ") {
                return Err(Failure::failed(format!("in the second process: {why}")));
            }
            lines.push(line);
        }
        Ok(lines)
    }

    fn why_it_ended(&mut self) -> String {
        let how = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<_> = said.iter().map(|line| format!("\n  {line}")).collect();
        format!("the second process ({}) ended by itself: {how}{}", self.part, said.concat())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
