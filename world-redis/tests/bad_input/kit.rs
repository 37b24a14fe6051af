//! A World with something of everything in it, and one call of each method.

use std::{
    error::Error as _,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use redis_servers::{Address, Connection, Reply};
use world_core::*;
use world_redis::{Options, RedisWorld};

use crate::support::everything_of;

/// A part of every payload.
const CANARY: &str = "canary-4711";
/// A password with characters that mean something in a URL, and as it is written there.
pub(crate) const PASSWORD: &str = "p@ss:w/rd?4712";
pub(crate) const PASSWORD_IN_URL: &str = "p%40ss%3Aw%2Frd%3F4712";
pub(crate) const USER: &str = "limited-user";

const OWNER: Ticket = Ticket::from_bytes([1; 16]);

/// What a World can be asked, each of something that is there in a [`Scene`].
pub(crate) const METHODS: [&str; 19] = [
    "create",
    "signal",
    "step",
    "rest",
    "tags",
    "close",
    "stream",
    "token",
    "token-again",
    "read-run",
    "read-spent",
    "read-stream",
    "read-token",
    "claim",
    "renew",
    "list",
    "delete-run",
    "delete-token",
    "sweep",
];

/// Checks what an error says, and what it does not; gives all of its text.
#[track_caller]
pub(crate) fn said(error: &Error, kind: ErrorKind, words: &str) -> String {
    let (text, all) = (error.to_string(), format!("{error:?}"));
    assert_eq!(error.kind(), kind, "{all}");
    assert!(text.contains(words), "not {words:?}: {all}");
    assert!(text.contains("; "), "what to do: {all}");
    assert!(!text.contains(USER), "the user: {all}");
    for secret in [PASSWORD, PASSWORD_IN_URL, CANARY] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    all
}

/// The same of an error that has a cause.
#[track_caller]
pub(crate) fn said_with_source(error: &Error, kind: ErrorKind, words: &str) {
    said(error, kind, words);
    assert!(error.source().is_some(), "no source: {error}");
}

/// Sends commands as somebody who may do everything.
#[track_caller]
pub(crate) fn command(server: &Address, words: &[&str]) -> Reply {
    server.connect().unwrap().command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// Waits until a server says so of itself.
pub(crate) fn until(server: &Address, section: &str, field: &str, value: &str) {
    let mut connection = server.connect().unwrap();
    let is_so = |connection: &mut Connection| {
        connection.field(&["INFO", section], field).is_ok_and(|found| found == value)
    };
    let began = std::time::Instant::now();
    while !is_so(&mut connection) {
        assert!(began.elapsed() < Duration::from_secs(30), "{field} never becomes {value}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A prefix that no other test of this process has.
pub(crate) fn fresh_prefix() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("bad-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn run(name: &str) -> LogId {
    LogId::Run(RunId::new(name).unwrap())
}

pub(crate) fn stream(run: &str, name: &str) -> LogId {
    LogId::Stream(RunId::new(run).unwrap(), StreamName::new(name).unwrap())
}

pub(crate) fn token(name: &str) -> LogId {
    LogId::Token(Token::new(name).unwrap())
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// An append of one record at a head.
pub(crate) fn one(expected: u64, by: By) -> Append {
    let body = Sealed::from_stored(format!("{CANARY} {expected}").into_bytes());
    let position = Position::new(expected).next();
    let record = Record { position, kind: Kind(1), at: at(1), body };
    Append { expected: Position::new(expected), records: vec![record], at: at(1), by }
}

fn nothing(expected: u64, by: By) -> Append {
    Append { records: Vec::new(), ..one(expected, by) }
}

pub(crate) fn creator(lease: bool) -> By {
    By::Creator(NewRun {
        queue: Queue::new("queue").unwrap(),
        workflow: WorkflowName::new("workflow").unwrap(),
        due: Due::Now,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("key").unwrap(),
        lease: lease.then_some((OWNER, Timestamp::MAX)),
    })
}

fn owner() -> By {
    By::Owner { ticket: OWNER, close: false, rest: None, tags: None }
}

fn resting() -> By {
    By::Owner {
        ticket: OWNER,
        close: false,
        rest: Some(Release::driven(Due::At(at(9)))),
        tags: None,
    }
}

fn closing() -> By {
    By::Owner { ticket: OWNER, close: true, rest: Some(Release::driven(Due::Never)), tags: None }
}

pub(crate) fn claim() -> Claim {
    Claim {
        queues: vec![Queue::new("queue").unwrap()],
        ticket: Ticket::from_bytes([2; 16]),
        now: at(1_000),
        until: at(2_000),
        limit: NonZeroU32::new(10).unwrap(),
        except: Vec::new(),
    }
}

pub(crate) fn list() -> List {
    List::all(NonZeroU32::new(10).unwrap())
}

/// A World of its own on a server or a Cluster.
///
/// In it are the run `held` by its creator, with a stream `out`; `ready`; `closed`, with a stream;
/// `spent`, which is deleted; the token `there` with two records, and `gone`, whose log is deleted.
pub(crate) struct Scene {
    pub(crate) world: RedisWorld,
    pub(crate) prefix: String,
    pub(crate) servers: Vec<Address>,
}

impl Scene {
    /// On one server; `login` is what stands before the host.
    pub(crate) async fn set(server: &Address, login: &str) -> Self {
        let prefix = fresh_prefix();
        let client = redis::Client::open(format!("redis://{login}{server}")).unwrap();
        // What is closed is swept at once.
        let options = Options::new().prefix(&prefix).unwrap().retention(Some(Duration::ZERO));
        let options = options.clock_check(false); // a claim's times are made up
        let world = RedisWorld::from_client(&client, options).await.unwrap();
        Self { world, prefix, servers: vec![server.clone()] }.furnished().await
    }

    /// With a URL's options on servers.
    pub(crate) async fn at(scheme: &str, servers: Vec<Address>, options: &str) -> Self {
        let prefix = fresh_prefix();
        let hosts: Vec<_> = servers.iter().map(ToString::to_string).collect();
        let url =
            format!("{scheme}://{}?prefix={prefix}&clock_check=off{options}", hosts.join(","));
        let world = RedisWorld::connect(&url).await.unwrap();
        Self { world, prefix, servers }.furnished().await
    }

    async fn furnished(self) -> Self {
        for name in ["closed", "spent"] {
            self.does(&run(name), &one(0, creator(true))).await;
            self.does(&stream(name, "out"), &one(0, owner())).await;
            self.does(&run(name), &one(1, closing())).await;
        }
        assert_eq!(
            self.world.delete(&run("spent"), Position::new(2)).await.unwrap(),
            Deleted::Done
        );
        self.does(&token("gone"), &one(0, By::Outsider)).await;
        let gone = self.world.delete(&token("gone"), Position::new(1)).await;
        assert_eq!(gone.unwrap(), Deleted::Done);
        self.does(&token("there"), &one(0, By::Outsider)).await;
        self.does(&token("there"), &one(1, By::Outsider)).await;
        self.does(&run("held"), &one(0, creator(true))).await;
        self.does(&stream("held", "out"), &one(0, owner())).await;
        self.does(&run("ready"), &one(0, creator(false))).await;
        self
    }

    async fn does(&self, log: &LogId, append: &Append) {
        let head = append.head_after();
        let appended = self.world.append(log, append).await.unwrap();
        assert_eq!(appended, Appended::Committed { head }, "{log}");
    }

    /// All that is stored.
    pub(crate) fn everything(&self) -> Vec<u8> {
        everything_of(&self.prefix, &self.servers).unwrap()
    }

    /// A key of the first shard.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{{}:0}}:{name}", self.prefix)
    }

    /// Sends a command about a key of the first shard, which is its second word.
    #[track_caller]
    pub(crate) fn change(&self, words: &[&str]) -> Reply {
        let key = self.key(words[1]);
        let mut words = words.to_vec();
        words[1] = &key;
        command(&self.servers[0], &words)
    }

    /// Calls a method; whether it did what it is for.
    pub(crate) async fn call(&self, method: &str) -> Result<bool> {
        let world = &self.world;
        let tags = By::Owner {
            ticket: OWNER,
            close: false,
            rest: None,
            tags: Some(vec![Tag::from_bytes([3; 16])]),
        };
        let append = async |log: LogId, append: Append| {
            let appended = world.append(&log, &append).await?;
            Ok(matches!(appended, Appended::Committed { .. }))
        };
        let read = async |log: LogId, head: u64, records: usize| {
            let page = world.read(&log, Position::START, NonZeroU32::MAX).await?;
            Ok(page.head == Position::new(head) && page.records.len() == records)
        };
        match method {
            "create" => append(run("new"), one(0, creator(true))).await,
            "signal" => append(run("ready"), one(1, By::Outsider)).await,
            "step" => append(run("held"), one(1, owner())).await,
            "rest" => append(run("held"), nothing(1, resting())).await,
            "tags" => append(run("held"), nothing(1, tags)).await,
            "close" => append(run("held"), one(1, closing())).await,
            "stream" => append(stream("held", "out"), one(1, owner())).await,
            "token" => append(token("there"), one(2, By::Outsider)).await,
            "token-again" => append(token("gone"), one(1, By::Outsider)).await,
            "read-run" => read(run("closed"), 2, 2).await,
            "read-spent" => read(run("spent"), 2, 0).await,
            "read-stream" => read(stream("held", "out"), 1, 1).await,
            "read-token" => read(token("there"), 2, 2).await,
            "claim" => Ok(world.claim(&claim()).await?.len() == 1),
            "renew" => {
                let (held, until) = (RunId::new("held").unwrap(), at(5_000));
                let (head, closed) = (Position::new(1), false);
                let lease = Lease { run: held, ticket: OWNER, attempt: 1, until, head, closed };
                Ok(world.renew(&lease, at(6_000)).await? == Renewed::Held { head })
            }
            "list" => Ok(world.list(&list()).await?.runs.len() == 3),
            "delete-run" => {
                Ok(world.delete(&run("closed"), Position::new(2)).await? == Deleted::Done)
            }
            "delete-token" => {
                Ok(world.delete(&token("there"), Position::new(2)).await? == Deleted::Done)
            }
            "sweep" => {
                // What was closed in this very millisecond is swept from the next on.
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(world.sweep().await? == 1)
            }
            other => panic!("no method {other}"),
        }
    }
}

/// Something that is wrong for a while, and what is said of it.
pub(crate) struct Trouble<'a> {
    pub(crate) kind: ErrorKind,
    pub(crate) words: &'a str,
    pub(crate) begin: &'a dyn Fn(&Scene),
    pub(crate) end: &'a dyn Fn(&Scene),
}

impl Trouble<'_> {
    /// Calls a method in the middle of it. A refusal is said, changes nothing, and is over with the
    /// trouble. Gives the method's name if it was refused, with a `?` if it gave another answer.
    pub(crate) async fn meets(&self, scene: &Scene, method: &str) -> Option<String> {
        let before = scene.everything();
        (self.begin)(scene);
        let answer = scene.call(method).await;
        (self.end)(scene);
        let name = match answer {
            Ok(true) => return None,
            Ok(false) => format!("{method}?"),
            Err(error) => {
                said_with_source(&error, self.kind, self.words);
                let names_none = ["claim", "list", "sweep"].contains(&method);
                assert!(names_none || error.log_id().is_some(), "of which log? {error}");
                method.to_owned()
            }
        };
        assert!(before == scene.everything(), "{method} is half-written ({})", self.words);
        let again = scene.call(method).await;
        assert!(again.as_ref().is_ok_and(|done| *done), "{method}: {again:?}, {}", self.words);
        Some(name)
    }

    /// The methods that are refused, each in a scene of its own.
    pub(crate) async fn refuses(&self, server: &Address, login: &str) -> String {
        let mut refused = Vec::new();
        for method in METHODS {
            let scene = Scene::set(server, login).await;
            refused.extend(self.meets(&scene, method).await);
        }
        refused.join(" ")
    }
}
