//! What is wrong with a file, a key or a request is said with a kind and a place; nothing is lost,
//! the rest goes on, and no payload or key is told to anybody.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "a process tells its parent what it has done")]

mod crash;
#[path = "../../world-core/tests/workflows/mod.rs"]
mod workflows;

use std::{
    num::NonZeroU32,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

use crash::FastClock;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use workflows::{CHAIN, Warnings, mix, register};
use world_core::{
    event::{Event, FailureKind},
    seal::{Key, Keyring, Plain, Seal},
    *,
};
use world_sqlite::{Options, SqliteWorld, Synchronous};

const CANARY: &str = "canary-4711";

/// In hexadecimal as a key file has it, and as bytes are shown.
const KEY_BYTES: [u8; 32] = [0xC4; 32];
const KEY_SHOWN: [&str; 3] = ["c4c4c4c4", "C4C4C4C4", "196, 196, 196"];

fn key(id: &str, byte: u8) -> Key {
    Key::from_bytes(KeyId::new(id).unwrap(), [byte; 32])
}

fn good() -> Keyring {
    Keyring::new(key("good", KEY_BYTES[0]))
}

/// All that is traced in this process, at every level.
fn traced() -> &'static Warnings {
    static TRACED: OnceLock<Warnings> = OnceLock::new();
    TRACED.get_or_init(|| {
        let everything = Warnings::everything();
        tracing::subscriber::set_global_default(everything.clone()).unwrap();
        everything
    })
}

/// Looks for payloads and keys where none may be.
fn tells_nothing(text: &str) {
    for secret in [CANARY].into_iter().chain(KEY_SHOWN) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(" {error} {error:?}");
        source = error.source();
    }
    tells_nothing(&text);
    text
}

const CARD: Workflow<String, String> = Workflow::new("card");

async fn card(mut ctx: Ctx, name: String) -> Result<String, StepError> {
    let first = ctx.step("first", async || Ok::<_, StepError>(format!("{name}-1"))).await?;
    let second = ctx.step("second", async || Ok::<_, StepError>(format!("{first}-2"))).await?;
    ctx.sleep(Duration::from_secs(3_600)).await?;
    ctx.step("third", async || Ok::<_, StepError>(format!("{second}-3"))).await
}

fn world(dir: &Path) -> SqliteWorld {
    let options =
        Options::new().synchronous(Synchronous::Normal).busy_timeout(Duration::from_millis(50));
    SqliteWorld::open(dir.join("w.db"), options).unwrap()
}

fn engine(dir: &Path, keys: Keyring, hours: u64) -> Engine {
    traced();
    let builder = Engine::builder(world(dir)).keys(keys).clock(FastClock(hours * 3_601));
    register(builder.workflow(CARD, card)).build().unwrap()
}

/// A file with two runs that have rested at their sleep.
async fn prepared() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), good(), 0);
    let worker = engine.spawn_worker();
    for id in ["victim", "other"] {
        engine.client().start(CARD, format!("{CANARY} {id}")).id(id).await.unwrap();
    }
    let list = List::all(NonZeroU32::new(10).unwrap());
    while !engine
        .client()
        .list(&list)
        .await
        .unwrap()
        .runs
        .iter()
        .all(|run| matches!(run.phase, Phase::Waiting(_)))
    {
        sleep(Duration::from_millis(2)).await;
    }
    worker.shutdown().await;
    dir
}

fn raw(dir: &TempDir) -> Connection {
    let conn = Connection::open(dir.path().join("w.db")).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn
}

fn change(dir: &TempDir, sql: &str) {
    let conn = raw(dir);
    let sql = sql
        .replace("VICTIM", "(SELECT log FROM logs WHERE name = 'victim')")
        .replace("OTHER", "(SELECT log FROM logs WHERE name = 'other')");
    conn.execute_batch(&sql).unwrap();
}

fn body(dir: &TempDir, run: &str, position: i64) -> Vec<u8> {
    let sql = "SELECT body FROM records WHERE position = ?2 AND
        log = (SELECT log FROM logs WHERE name = ?1)";
    raw(dir).query_row(sql, (run, position), |row| row.get(0)).unwrap()
}

fn set_body(dir: &TempDir, run: &str, position: i64, body: &[u8]) {
    let sql = "UPDATE records SET body = ?3 WHERE position = ?2 AND
        log = (SELECT log FROM logs WHERE name = ?1)";
    assert_eq!(raw(dir).execute(sql, (run, position, body)).unwrap(), 1);
}

/// A worker meets the victim: it says so and goes on with the others. Gives what a client is told.
async fn met(dir: &TempDir, keys: Keyring, hours: u64) -> Error {
    let before = traced().text().len();
    let engine = engine(dir.path(), keys, hours);
    let worker = engine.spawn_worker();
    let healthy = engine.client().start(CHAIN, 5).await.unwrap();
    timeout(Duration::from_secs(120), healthy.output()).await.unwrap().unwrap();
    let named = || {
        let text = traced().text();
        text[before..].lines().any(|line| line.starts_with("ERROR") && line.contains("run=victim"))
    };
    for _ in 0..2_000 {
        if named() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    let text = traced().text();
    assert!(named(), "nothing is said of the run in {}", &text[before..]);
    worker.shutdown().await;
    engine.client().run(CARD, "victim").unwrap().log().await.unwrap_err()
}

/// What was wrong is mended: both runs end as if nothing had been.
async fn heals(dir: &TempDir) {
    let engine = engine(dir.path(), good(), 9);
    let worker = engine.spawn_worker();
    for id in ["victim", "other"] {
        let output = engine.client().run(CARD, id).unwrap().output();
        let output = timeout(Duration::from_secs(120), output).await.unwrap().unwrap();
        assert_eq!(output, format!("{CANARY} {id}-1-2-3"));
    }
    worker.shutdown().await;
    tells_nothing(&traced().text());
}

/// A record of a kind that nobody knows, sealed as it should be.
async fn of_unknown_kind(dir: &TempDir) -> Vec<u8> {
    let log = LogId::Run(RunId::new("victim").unwrap());
    let page = world(dir.path()).read_all(&log).await.unwrap();
    let seal = Seal::new("default", good()).of(log, &page.records[0].body).await.unwrap();
    let at = page.records[1].at;
    let plain = Plain::new(vec![0x80]);
    let record = seal.seal_plain(Position::new(2), Kind(999), at, &plain).unwrap();
    record.body.as_bytes().to_vec()
}

#[tokio::test]
async fn a_damaged_record_is_named_with_run_and_position_and_nothing_else_is_lost() {
    let mut kinds = Vec::new();
    for damage in 0..9 {
        let dir = prepared().await;
        let (one, two) = (body(&dir, "victim", 1), body(&dir, "victim", 2));
        let flipped = |body: &[u8], at: usize| {
            let mut body = body.to_vec();
            body[at] ^= 1;
            body
        };
        let (kind, position) = match damage {
            0 => {
                set_body(&dir, "victim", 2, &flipped(&two, two.len() - 20));
                (ErrorKind::Corrupt, 2)
            }
            1 => {
                set_body(&dir, "victim", 2, &body(&dir, "other", 2)); // of another run
                (ErrorKind::Corrupt, 2)
            }
            2 => {
                set_body(&dir, "victim", 2, &body(&dir, "victim", 3)); // of another position
                (ErrorKind::Corrupt, 2)
            }
            3 => {
                set_body(&dir, "victim", 2, &[&[9], &two[1..]].concat()); // a newer envelope
                (ErrorKind::Unsupported, 2)
            }
            4 => {
                let unknown = of_unknown_kind(&dir).await;
                set_body(&dir, "victim", 2, &unknown);
                change(&dir, "UPDATE records SET kind = 999 WHERE log = VICTIM AND position = 2");
                (ErrorKind::Unsupported, 2)
            }
            5 => {
                set_body(&dir, "victim", 2, &two[..two.len() / 3]);
                (ErrorKind::Corrupt, 2)
            }
            6 => {
                change(&dir, "UPDATE records SET at = at + 1 WHERE log = VICTIM AND position = 2");
                (ErrorKind::Corrupt, 2)
            }
            7 => {
                set_body(&dir, "victim", 1, &flipped(&one, one.len() - 20));
                (ErrorKind::Corrupt, 1)
            }
            _ => {
                change(
                    &dir,
                    "UPDATE records SET position = 77 WHERE log = VICTIM AND position = 2",
                );
                (ErrorKind::Corrupt, 2)
            }
        };
        let error = met(&dir, good(), 2).await;
        let text = said(&error);
        assert_eq!(error.kind(), kind, "damage {damage}: {text}");
        assert!(text.contains("victim"), "damage {damage}: {text}");
        assert_eq!(error.at_position(), Some(Position::new(position)), "damage {damage}: {text}");
        assert!(text.contains("; ") || damage == 5, "what to do: {text}");
        kinds.push(error.kind());
        // Mended.
        change(
            &dir,
            "UPDATE records SET position = 2 WHERE log = VICTIM AND position = 77;
             UPDATE records SET at = at - 1 WHERE log = VICTIM AND position = 2 AND 6 = DAMAGE;
             UPDATE records SET kind = 2 WHERE log = VICTIM AND position = 2"
                .replace("DAMAGE", &damage.to_string())
                .as_str(),
        );
        set_body(&dir, "victim", 1, &one);
        set_body(&dir, "victim", 2, &two);
        heals(&dir).await;
    }
}

#[tokio::test]
async fn each_byte_of_a_record_counts() {
    let dir = prepared().await;
    let engine = engine(dir.path(), good(), 0);
    let handle = engine.client().run(CARD, "victim").unwrap();
    for position in [1, 2] {
        let whole = body(&dir, "victim", position);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            set_body(&dir, "victim", position, &flipped);
            let error = handle.log().await.unwrap_err();
            let text = said(&error);
            let typed = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Key];
            assert!(typed.contains(&error.kind()) && text.contains("victim"), "{at}: {text}");
        }
        set_body(&dir, "victim", position, &whole);
    }
    assert_eq!(handle.status().await.unwrap(), Status::Open);
    tells_nothing(&traced().text());
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_named_and_the_run_waits_for_the_right_one() {
    let dir = prepared().await;
    // Another key under the same id; then the id is gone.
    let wrong = met(&dir, Keyring::new(key("good", 1)), 2).await;
    let text = said(&wrong);
    assert_eq!(wrong.kind(), ErrorKind::Corrupt, "{text}");
    assert!(text.contains("victim") && text.contains("key good"), "{text}");
    let stranger = engine(dir.path(), Keyring::new(key("good", 1)), 0);
    let error = stranger.client().run(CARD, "victim").unwrap().cancel("no").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", said(&error));
    // Nothing is written under a key that does not open the log.
    for id in ["victim", "other"] {
        let log = LogId::Run(RunId::new(id).unwrap());
        assert_eq!(world(dir.path()).read_all(&log).await.unwrap().head.get(), 4);
    }
    let missing = met(&dir, Keyring::new(key("new", 1)), 4).await;
    let text = said(&missing);
    assert_eq!(missing.kind(), ErrorKind::Key, "{text}");
    assert!(text.contains("victim") && text.contains("key good is not in"), "{text}");
    assert!(text.contains("with_old"), "{text}");
    heals(&dir).await;
}

#[tokio::test]
async fn a_key_that_was_rotated_still_opens_what_it_has_sealed() {
    let dir = prepared().await;
    let rotated = Keyring::new(key("new", 1)).with_old(key("good", KEY_BYTES[0])).unwrap();
    let engine = engine(dir.path(), rotated, 2);
    let worker = engine.spawn_worker();
    let output = engine.client().run(CARD, "victim").unwrap().output().await.unwrap();
    assert_eq!(output, format!("{CANARY} victim-1-2-3"));
    worker.shutdown().await;
}

fn large() -> Vec<u64> {
    (0..300_000).map(mix).collect() // 2.7 MB that do not compress
}

const LARGE: Workflow<Vec<u64>, Vec<u64>> = Workflow::new("large");

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_written_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let large_step =
        async |ctx: &mut Ctx| ctx.step("large", async || Ok::<_, StepError>(large())).await;
    let workflow = move |mut ctx: Ctx, _: Vec<u64>| async move {
        let Err(StepError::Failed { key, failure, .. }) = large_step(&mut ctx).await else {
            return Ok(Vec::new());
        };
        assert_eq!((key.as_str(), failure.kind), ("large", FailureKind::TooLarge), "{failure}");
        Ok::<_, StepError>(large())
    };
    let engine = Engine::builder(world(dir.path())).keys(good()).workflow(LARGE, workflow);
    let engine = engine.build().unwrap();
    let worker = engine.spawn_worker();
    let error = engine.client().start(LARGE, large()).id("input").await.unwrap_err();
    let text = said(&error);
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{text}");
    assert!(text.contains("input") && text.contains("reference"), "{text}");
    let run = engine.client().start(LARGE, Vec::new()).await.unwrap();
    let RunError::Failed { failure, .. } = run.output().await.unwrap_err() else { panic!() };
    assert_eq!(failure.kind, FailureKind::TooLarge);
    assert!(failure.to_string().contains("reference"), "{failure}");
    worker.shutdown().await;
}

#[tokio::test]
async fn a_run_id_names_one_run_with_one_input_and_one_type() {
    let dir = prepared().await;
    let engine = engine(dir.path(), good(), 2);
    let client = engine.client();
    let other = client.start(CARD, format!("{CANARY} else")).id("victim").await.unwrap_err();
    let text = said(&other);
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert!(text.contains("victim") && text.contains("another input"), "{text}");
    let other = client.start(CHAIN, 1).id("victim").await.unwrap_err();
    let text = said(&other);
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert!(text.contains("runs the workflow card"), "{text}");
    let worker = engine.spawn_worker();
    client.run(CARD, "victim").unwrap().output().await.unwrap();
    const NUMBER: Workflow<String, u64> = Workflow::new("card");
    let error = client.run(NUMBER, "victim").unwrap().output().await.unwrap_err();
    let text = said(&error);
    let RunError::World(error) = error else { panic!("{text}") };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(text.contains("not a u64") && text.contains("victim"), "{text}");
    for id in ["", &"x".repeat(2_000)] {
        let error = client.start(CHAIN, 1).id(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", said(&error));
    }
    worker.shutdown().await;
}

#[tokio::test]
async fn a_workflow_that_no_worker_knows_is_left_alone_or_says_so() {
    const ALONE: Workflow<String, String> = Workflow::new("alone");
    const SHARED: Workflow<String, String> = Workflow::new("shared").queue("chain");
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), good(), 0);
    let worker = engine.spawn_worker();
    let client = engine.client();
    let alone = client.start(ALONE, CANARY.to_owned()).id("alone").await.unwrap();
    let shared = client.start(SHARED, CANARY.to_owned()).id("shared").await.unwrap();
    let says = async {
        loop {
            if let Status::Blocked { why } = shared.status().await.unwrap() {
                break why;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    // The worker stands back three times before it says so: 1, 2 and 4 seconds.
    let why = timeout(Duration::from_secs(120), says).await.expect("nothing is said");
    assert!(why.contains("no workflow shared") && why.contains("register it"), "{why}");
    client.start(CHAIN, 5).await.unwrap().output().await.unwrap();
    assert_eq!(alone.log().await.unwrap().len(), 1, "a run that nobody knows costs nothing");
    assert_eq!(shared.log().await.unwrap().len(), 2);
    worker.shutdown().await;
    tells_nothing(&traced().text());
}

#[tokio::test]
async fn a_file_that_another_program_locks_is_unavailable_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), good(), 0);
    let worker = engine.spawn_worker();
    let client = engine.client();
    let run = client.start(CHAIN, 5).id("before").await.unwrap();
    let conn = raw(&dir);
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = client.start(CHAIN, 5).id("during").await.unwrap_err();
    let text = said(&error);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{text}");
    assert!(text.contains("during") && text.contains("busy_timeout_ms"), "{text}");
    conn.execute_batch("ROLLBACK").unwrap();
    let wanted = timeout(Duration::from_secs(120), run.output()).await.unwrap().unwrap();
    let after = client.start(CHAIN, 5).id("during").await.unwrap();
    assert_eq!(after.output().await.unwrap(), wanted);
    let log = client.run(CHAIN, "before").unwrap().log().await.unwrap();
    let _ = workflows::told(&log);
    worker.shutdown().await;
}

#[test]
fn a_place_where_no_file_can_be_says_so() {
    for (url, kind) in [
        ("sqlite:///proc/no/such/w.db", ErrorKind::Invalid),
        ("sqlite:///proc/w.db", ErrorKind::Unsuitable),
        ("sqlite:///", ErrorKind::Invalid),
        ("sqlite://", ErrorKind::Invalid),
        ("sqlite", ErrorKind::Invalid),
        ("", ErrorKind::Invalid),
        ("://", ErrorKind::Invalid),
        ("sqlite://w.db?synchronus=full", ErrorKind::Invalid),
        ("sqlite://w.db?synchronous=off", ErrorKind::Invalid),
        ("sqlite://w.db?busy_timeout_ms=-1", ErrorKind::Invalid),
        ("sqlite://%zz.db", ErrorKind::Invalid),
        ("sqlite://a%00b.db", ErrorKind::Invalid),
    ] {
        let error = SqliteWorld::connect(url).expect_err(url);
        let text = said(&error);
        assert_eq!(error.kind(), kind, "{url}: {text}");
        assert!(text.contains("; "), "{url} says what to do: {text}");
    }
}

#[test]
#[ignore = "a part of a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room"]
fn part_fills_the_disk() {
    let (world, clock, runtime) = crash::in_part();
    runtime.block_on(async {
        let builder = Engine::builder(world).keys(good()).clock(clock);
        let fills = |mut ctx: Ctx, input: u64| async move {
            ctx.step("fill", async || {
                Ok::<_, StepError>((0..2_000).map(|n| mix(n ^ input)).collect::<Vec<_>>())
            })
            .await?;
            Ok::<_, StepError>(input)
        };
        let engine = builder.workflow(FILL, fills).build().unwrap();
        let _worker = engine.spawn_worker();
        for n in 0_u64.. {
            match engine.client().start(FILL, n).id(format!("fill-{n}")).await {
                Ok(run) => {
                    if timeout(Duration::from_secs(1), run.output()).await.is_err() {
                        println!("stuck {n}");
                        break;
                    }
                }
                Err(error) => {
                    println!("failed {:?} {n}", error.kind());
                    break;
                }
            }
        }
        println!("full");
        std::future::pending::<()>().await;
    });
}

const FILL: Workflow<u64, u64> = Workflow::new("fill");

#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    drop(world(dir.path()));
    // A limit on the size of files fails a write as a full disk does.
    let mut part = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1200; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "part_fills_the_disk", "--ignored", "--nocapture"])
        .env("WORLD_TEST_DIR", dir.path())
        .env("WORLD_TEST_AHEAD", "0")
        .env("WORLD_TEST_DEATH", "parent 0")
        .env("WORLD_TEST_THREADS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(part.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| line != "full").collect();
    part.kill().unwrap();
    part.wait().unwrap();
    let last = lines.iter().find(|line| line.starts_with("stuck") || line.starts_with("failed"));
    let last = last.unwrap_or_else(|| panic!("it was never full: {lines:?}"));
    let full: u64 = last.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(full > 5, "{last}");

    let shared = Arc::new(world(dir.path()));
    let engine = Engine::builder(shared.clone()).keys(good()).clock(FastClock(400));
    let fills = |mut ctx: Ctx, input: u64| async move {
        ctx.step("fill", async || Ok::<_, StepError>(Vec::<u64>::new())).await?;
        Ok::<_, StepError>(input)
    };
    let engine = engine.workflow(FILL, fills).build().unwrap();
    let worker = engine.spawn_worker();
    for n in 0..=full {
        let run = engine.client().start(FILL, n).id(format!("fill-{n}")).await.unwrap();
        let output = timeout(Duration::from_secs(120), run.output()).await.unwrap().unwrap();
        assert_eq!(output, n);
        let log = engine.client().run(FILL, &format!("fill-{n}")).unwrap().log().await.unwrap();
        let _ = workflows::told(&log);
        assert!(matches!(log[1].event, Event::StepCompleted { .. }));
    }
    worker.shutdown().await;
    let records: HashCount = count_records(&lines);
    for ((run, position), print) in records {
        let log = LogId::Run(RunId::new(run.as_str()).unwrap());
        let found = shared.read_all(&log).await.unwrap().records;
        assert_eq!(crash::fingerprint(&found[position as usize - 1]), print, "{run} {position}");
    }
}

type HashCount = std::collections::HashMap<(String, u64), u64>;

fn count_records(lines: &[String]) -> HashCount {
    crash::committed(lines).into_iter().map(|(run, at, print)| ((run, at), print)).collect()
}
