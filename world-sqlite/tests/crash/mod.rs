//! Processes to kill and stop: this test binary again, told what to do by its environment.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "a process tells its parent what it has done")]

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader},
    num::NonZeroU32,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use world_core::{seal::Key, *};
use world_sqlite::{Options, SqliteWorld, Synchronous};

/// The machine's clock, so many seconds fast: a later process finds the leases of an earlier one
/// run out. Clocks decide when a run changes hands, never who owns it.
#[derive(Clone, Copy, Debug)]
pub struct FastClock(pub u64);

impl FastClock {
    const fn ahead(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.ahead())
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let ahead = self.ahead().as_millis() as u64;
        SystemClock.alarm(Timestamp::from_millis(until.as_millis().saturating_sub(ahead)))
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn pause(&self, time: Duration) -> Alarm {
        SystemClock.pause(time)
    }
}

/// The key of all processes.
pub fn key() -> Key {
    Key::from_bytes(KeyId::new("k1").unwrap(), [7; 32])
}

pub fn open(dir: &Path) -> SqliteWorld {
    let options = Options::new().synchronous(Synchronous::Full);
    SqliteWorld::open(dir.join("w.db"), options).unwrap()
}

/// When a process kills itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// When its parent does it.
    Parent,
    /// Before this append is delivered, from 1.
    BeforeAppend(i64),
    /// After this append was answered.
    AfterAppend(i64),
    /// When this body begins.
    AtBody(i64),
}

impl Death {
    fn text(self) -> String {
        match self {
            Self::Parent => "parent 0".to_owned(),
            Self::BeforeAppend(n) => format!("before {n}"),
            Self::AfterAppend(n) => format!("after {n}"),
            Self::AtBody(n) => format!("body {n}"),
        }
    }

    fn parse(text: &str) -> Self {
        let (what, n) = text.split_once(' ').unwrap();
        let n = n.parse().unwrap();
        match what {
            "before" => Self::BeforeAppend(n),
            "after" => Self::AfterAppend(n),
            "body" => Self::AtBody(n),
            _ => Self::Parent,
        }
    }
}

/// Ends this process as a kill from outside does.
pub fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

static BODIES_LEFT: AtomicI64 = AtomicI64::new(i64::MAX);

/// Counts a body that begins, and dies at the one it was told.
pub fn count_body() {
    if BODIES_LEFT.fetch_sub(1, SeqCst) == 1 {
        die();
    }
}

/// A World that tells of each record it has committed, and dies when it was told to.
#[derive(Debug)]
pub struct Telling {
    world: SqliteWorld,
    before: AtomicI64,
    after: AtomicI64,
}

/// A record in a few bytes, to know it again.
pub fn fingerprint(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    (record.position.get(), record.kind, record.at, record.body.as_bytes()).hash(&mut hasher);
    hasher.finish()
}

#[async_trait]
impl World for Telling {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        if self.before.fetch_sub(1, SeqCst) == 1 {
            die();
        }
        let answer = self.world.append(log, append).await;
        if let Ok(Appended::Committed { .. }) = answer {
            let run = log.run().unwrap();
            for record in &append.records {
                println!("committed {run} {} {}", record.position, fingerprint(record));
            }
        }
        match answer {
            Ok(Appended::Fenced) => println!("fenced {}", log.run().unwrap()),
            Ok(Appended::NotOpen) => println!("not open {}", log.run().unwrap()),
            _ => {}
        }
        if self.after.fetch_sub(1, SeqCst) == 1 {
            die();
        }
        answer
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.world.read(log, after, limit).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.world.claim(claim).await
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.world.renew(lease, until).await
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.world.list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.world.delete(log, head).await
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world.wait(wait).await
    }
}

/// A process that works, its output read by a thread.
pub struct Part {
    pub child: Child,
    lines: Option<JoinHandle<Vec<String>>>,
    ready: std::sync::mpsc::Receiver<()>,
}

/// Starts a part of this test binary.
pub fn start(part: &str, dir: &Path, ahead: u64, death: Death, threads: u64) -> Part {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", part, "--ignored", "--nocapture"])
        .env("WORLD_TEST_DIR", dir)
        .env("WORLD_TEST_AHEAD", ahead.to_string())
        .env("WORLD_TEST_DEATH", death.text())
        .env("WORLD_TEST_THREADS", threads.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (told, ready) = std::sync::mpsc::channel();
    let lines = std::thread::spawn(move || {
        let mut kept = Vec::new();
        for line in output.lines().map_while(Result::ok) {
            if line == "ready" {
                let _ = told.send(());
            }
            kept.push(line);
        }
        kept
    });
    Part { child, lines: Some(lines), ready }
}

impl Part {
    /// Waits until it works, or has died.
    pub fn wait_until_ready(&self) {
        let _ = self.ready.recv();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it after this time, if it has not died by then; gives the records that it was told
    /// were committed.
    pub fn killed_after(mut self, wait: Duration) -> Vec<(String, u64, u64)> {
        let end = Instant::now() + wait;
        while Instant::now() < end && self.child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200).min(wait));
        }
        let _ = self.child.kill(); // it may be dead
        committed(&self.end())
    }

    /// Stops it, and returns when it stands still.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = waitpid(pid, WaitOptions::UNTRACED).unwrap();
    }

    /// Waits for its end, and gives what it has told.
    pub fn end(mut self) -> Vec<String> {
        self.child.wait().unwrap();
        self.lines.take().unwrap().join().unwrap()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be dead
        let _ = self.child.wait();
    }
}

/// The run, position and fingerprint of each record that was told of. The last line may be half.
pub fn committed(lines: &[String]) -> Vec<(String, u64, u64)> {
    let parse = |line: &String| {
        let mut parts = line.strip_prefix("committed ")?.split(' ');
        let run = parts.next()?.to_owned();
        Some((run, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let whole = lines.len().saturating_sub(1);
    lines[..whole].iter().filter_map(parse).collect()
}

/// What a part finds in its environment: its World, its clock, its runtime.
pub fn in_part() -> (Telling, FastClock, tokio::runtime::Runtime) {
    let text = |name: &str| std::env::var(name).unwrap();
    let death = Death::parse(&text("WORLD_TEST_DEATH"));
    let left = |n: Option<i64>| AtomicI64::new(n.unwrap_or(i64::MAX));
    let (mut before, mut after) = (None, None);
    match death {
        Death::BeforeAppend(n) => before = Some(n),
        Death::AfterAppend(n) => after = Some(n),
        Death::AtBody(n) => BODIES_LEFT.store(n, SeqCst),
        Death::Parent => {}
    }
    let world = open(Path::new(&text("WORLD_TEST_DIR")));
    let world = Telling { world, before: left(before), after: left(after) };
    let runtime = match text("WORLD_TEST_THREADS").parse().unwrap() {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
        }
    };
    (world, FastClock(text("WORLD_TEST_AHEAD").parse().unwrap()), runtime.unwrap())
}

/// Sets what is told of each body.
pub fn listen_to_bodies(on_body: &OnceLock<fn()>) {
    let _ = on_body.set(count_body);
}
