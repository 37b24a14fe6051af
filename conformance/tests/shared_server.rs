//! A server that the processes of a test run share: a real one, which this program itself plays.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failure here fails the test")]
#![cfg(unix)]

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use conformance::server::{self, Server};

const PORT: &str = "SHARED_SERVER_TEST_PORT";
const CLIENTS: usize = 4;

/// This program, playing a part below.
fn part(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command
}

fn plays(name: &str) -> bool {
    env::args().any(|argument| argument == name)
}

/// A server that tells its process id.
#[test]
#[ignore = "a part of the tests below"]
fn part_server() {
    if !plays("part_server") {
        return;
    }
    println!("listening");
    let listener = TcpListener::bind(("127.0.0.1", env::var(PORT).unwrap().parse().unwrap()));
    for stream in listener.unwrap().incoming() {
        let _ = stream.unwrap().write_all(std::process::id().to_string().as_bytes());
    }
}

/// A test process: asks for the server and tells who it is.
#[test]
#[ignore = "a part of the tests below"]
fn part_client() {
    if !plays("part_client") {
        return;
    }
    let server = echo("echo").unwrap();
    println!("@{} {} {}", ask(&server).unwrap(), server.port(), server.dir().display());
}

/// What cargo or nextest does: starts the test processes, and is gone when they have ended.
#[test]
#[ignore = "a part of the tests below"]
fn part_runner() {
    if !plays("part_runner") {
        return;
    }
    let clients: Vec<_> = (0..CLIENTS).map(|_| part("part_client").spawn().unwrap()).collect();
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
    println!("@done");
    let _ = std::io::stdin().read(&mut [0]); // until the test lets it go, or kills it
}

fn echo(name: &str) -> Result<Server, server::Error> {
    let command = |server: &Server| {
        let mut command = part("part_server");
        command.env(PORT, server.port().to_string());
        command
    };
    server::shared(name, command, ready)
}

fn ask(server: &Server) -> std::io::Result<String> {
    let mut said = String::new();
    TcpStream::connect(server.address())?.read_to_string(&mut said)?;
    Ok(said)
}

fn ready(server: &Server) -> std::io::Result<()> {
    ask(server).map(drop)
}

struct Runner(Child);

impl Runner {
    /// A run like nextest's, if it has an id, or like cargo's.
    fn start(run: Option<&str>) -> Self {
        let mut command = part("part_runner");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env("CARGO", "cargo").env_remove("CONFORMANCE_RUN").env_remove("NEXTEST_RUN_ID");
        command.envs(run.map(|run| ("NEXTEST_RUN_ID", run)));
        Self(command.spawn().unwrap())
    }

    /// What its clients have told, once all have ended.
    fn told(&mut self) -> Vec<String> {
        let mut told = String::new();
        let output = self.0.stdout.as_mut().unwrap();
        let mut buffer = [0; 1024];
        while !told.contains("@done") {
            let read = output.read(&mut buffer).unwrap();
            assert!(read > 0, "the runner has ended: {told}");
            told.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let lines = told.lines().filter_map(|line| Some(line.split_once('@')?.1.to_owned()));
        lines.filter(|line| line != "done").collect()
    }
}

fn is_over_soon(what: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !what() {
        if began.elapsed() > Duration::from_secs(20) {
            return false;
        }
        thread::sleep(Duration::from_millis(20)); // the shell that ends it tells nobody
    }
    true
}

#[test]
fn the_processes_of_a_run_share_a_server_that_ends_with_the_run() {
    let id = format!("shared-server-test-{}", std::process::id());
    let mut runners = [Runner::start(None), Runner::start(None), Runner::start(Some(&id))];
    let mut servers = Vec::new();
    for runner in &mut runners {
        let mut told = runner.told();
        assert_eq!(told.len(), CLIENTS);
        told.dedup();
        assert_eq!(told.len(), 1, "the processes of one run have several servers: {told:?}");
        servers.extend(told);
    }
    servers.dedup();
    assert_eq!(servers.len(), runners.len(), "two runs share a server: {servers:?}");

    // One ends, two are killed.
    let [first, mut second, mut third] = runners;
    let mut first = first.0;
    drop(first.stdin.take());
    first.wait().unwrap();
    for killed in [&mut second, &mut third] {
        killed.0.kill().unwrap();
        killed.0.wait().unwrap();
    }
    for server in servers {
        let mut words = server.splitn(3, ' ').skip(1);
        let port: u16 = words.next().unwrap().parse().unwrap();
        let dir = PathBuf::from(words.next().unwrap());
        let refuses = || TcpStream::connect(("127.0.0.1", port)).is_err();
        assert!(is_over_soon(refuses), "the server on {port} outlives its run");
        assert!(is_over_soon(|| !dir.exists()), "{} outlives its run", dir.display());
    }
}

#[test]
fn a_server_that_does_not_start_is_an_error_with_what_it_said() {
    let dirs = Mutex::new(Vec::new()); // kept, with the log
    let broken = |server: &Server| {
        dirs.lock().unwrap().push(server.dir().to_owned());
        let mut command = Command::new("sh");
        command.args(["-c", "echo the disk is full >&2; exit 3"]);
        command
    };
    let name = format!("broken {}", std::process::id());
    let error = server::shared(&name, broken, ready).unwrap_err().to_string();
    assert!(error.contains("has ended with status 3"), "{error}");
    assert!(error.contains("the disk is full"), "{error}");
    // It is not tried again: a process a case would try for ever.
    assert_eq!(server::shared(&name, broken, ready).unwrap_err().to_string(), error);

    let name = format!("missing {}", std::process::id());
    let missing = |server: &Server| {
        dirs.lock().unwrap().push(server.dir().to_owned());
        Command::new("no-such-server-anywhere")
    };
    let error = server::shared(&name, missing, ready).unwrap_err().to_string();
    assert!(error.contains("no-such-server-anywhere"), "{error}");
    for dir in dirs.lock().unwrap().iter() {
        std::fs::remove_dir_all(dir).unwrap();
    }
}
