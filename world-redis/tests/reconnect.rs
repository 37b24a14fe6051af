//! Connections that break, servers that stand still, scripts and data that are gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "what was seen is shown")]

mod kit;
mod runs;

use std::{collections::HashMap, sync::Arc, time::Duration};

use kit::*;
use redis_servers::{Private, PrivateCluster};
use runs::{Crew, key, runtime, undisturbed, world_at};
use tokio::sync::Notify;
use world_core::{
    ErrorKind::{NotFound, Unavailable, Unknown},
    *,
};
use world_redis::RedisWorld;

type Errors = HashMap<ErrorKind, usize>;

/// Sends an append until it is answered; only what may be sent again may fail.
async fn settle(world: &RedisWorld, log: &LogId, append: &Append, errors: &mut Errors) -> Appended {
    loop {
        match world.append(log, append).await {
            Ok(answer) => return answer,
            Err(error) => {
                let kind = error.kind();
                assert!([Unavailable, Unknown].contains(&kind), "{error}");
                *errors.entry(kind).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// Appends so many records to a log that nobody else writes.
async fn push(world: Arc<RedisWorld>, log: LogId, count: u64) -> Errors {
    let mut errors = Errors::new();
    for n in 0..count {
        let append = append(n, &n.to_string(), By::Outsider);
        assert_eq!(settle(&world, &log, &append, &mut errors).await, committed(n + 1));
    }
    errors
}

/// The log holds so many records, each once and in order.
async fn check(world: &RedisWorld, log: &LogId, count: u64) {
    let records = world.read_all(log).await.unwrap().records;
    let found: Vec<_> = records.iter().map(|record| record.body.as_bytes().to_vec()).collect();
    let wanted: Vec<_> = (0..count).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(found, wanted);
}

async fn connect(server: &Private, options: &str) -> Arc<RedisWorld> {
    let url = format!("redis://{}?clock_check=off&{options}", server.address());
    Arc::new(RedisWorld::connect(&url).await.unwrap())
}

/// The longest head of some logs, as the server has it.
async fn longest(world: &RedisWorld, logs: &[LogId]) -> u64 {
    let mut longest = 0;
    for log in logs {
        longest = longest.max(world.read_all(log).await.map_or(0, |page| page.head.get()));
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_kills_are_made_anew_and_nothing_is_doubled() {
    const EACH: u64 = 400;
    let server = Private::start(&[]).unwrap();
    let (world, mut killer) = (connect(&server, "").await, Counts::of([server.address()]));
    let logs: Vec<_> = (0..4).map(|n| token(&format!("t-{n}"))).collect();
    let tasks: Vec<_> =
        logs.iter().map(|log| tokio::spawn(push(world.clone(), log.clone(), EACH))).collect();
    let look = connect(&server, "").await;
    let mut kills = 0;
    for at in (0..EACH).step_by(10) {
        while longest(&look, &logs).await < at && !tasks.iter().any(|task| task.is_finished()) {
            tokio::task::yield_now().await;
        }
        killer.kill_clients();
        kills += 1;
    }
    let mut errors = Errors::new();
    for task in tasks {
        for (kind, count) in task.await.unwrap() {
            *errors.entry(kind).or_default() += count;
        }
    }
    println!("{kills} kills, errors {errors:?}");
    assert!(!errors.is_empty(), "no append has noticed {kills} kills");
    let world = connect(&server, "").await;
    for log in &logs {
        check(&world, log, EACH).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_too_late_has_written_once() {
    let server = Private::start(&[]).unwrap();
    let short = "response_timeout_ms=100&connect_timeout_ms=100";
    let (world, log) = (connect(&server, short).await, token("t"));
    let mut errors = Errors::new();
    for n in 0..6 {
        let next = append(n, &n.to_string(), By::Outsider);
        // It stands still before it has the append, which it has all the same when it goes on.
        if n % 2 == 0 {
            server.pause().unwrap();
        } else {
            let mut connection = server.address().connect().unwrap();
            connection.command(&["CLIENT", "PAUSE", "400"]).unwrap();
        }
        let error = world.append(&log, &next).await.unwrap_err();
        assert_eq!(error.kind(), Unknown, "{error}");
        let error = world.append(&log, &next).await.unwrap_err();
        assert!([Unavailable, Unknown].contains(&error.kind()), "{error}");
        if n % 2 == 0 {
            server.resume().unwrap();
        }
        assert_eq!(settle(&world, &log, &next, &mut errors).await, committed(n + 1));
    }
    println!("errors beside those {errors:?}");
    check(&world, &log, 6).await;
}

/// A broken connection is no error for who had nothing under way on it, once the World knows of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_while_it_is_idle_is_not_missed() {
    let server = Private::start(&[]).unwrap();
    let (world, log) = (connect(&server, "").await, token("t"));
    let mut counts = Counts::of([server.address()]);
    let mut missed = 0;
    for n in 0..8 {
        let wait = wait_for_queue("q");
        let waiter = Waiter::begin(&world, wait, "zrangebylex", 1, &mut counts).await;
        counts.kill_clients();
        // The World knows of the connection that listens, and most often of the other one as well.
        waiter.ends().await;
        let append = append(n, &n.to_string(), By::Outsider);
        let mut errors = Errors::new();
        assert_eq!(settle(&world, &log, &append, &mut errors).await, committed(n + 1));
        missed += usize::from(!errors.is_empty());
    }
    assert!(missed <= 4, "noticed {missed} times of 8");
}

/// Whether waiters are told although every connection was killed.
async fn still_told(url: &str, counts: &mut Counts, look: &'static str, each: u64) -> usize {
    let waiting = Arc::new(RedisWorld::connect(url).await.unwrap());
    let other = RedisWorld::connect(url).await.unwrap();
    let mut told = 0;
    for n in 0..8 {
        let name = format!("q-{n}");
        let wait = wait_for_queue(&name);
        // The waiter before it may be gone without an error, and may not.
        let before = Waiter::begin(&waiting, wait.clone(), look, each, counts).await;
        counts.kill_clients();
        before.ends().await;
        let waiter = Waiter::begin(&waiting, wait, look, each, counts).await;
        let new = append(0, "0", creator(&name, Due::Now, None));
        let answer = settle(&other, &run(&name), &new, &mut Errors::new()).await;
        assert_eq!(answer, committed(1));
        told += usize::from(waiter.was_told(counts).await);
    }
    told
}

/// A second look comes after a second: see `wake.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_waits_is_told_again_after_its_connection_was_killed() {
    let server = Private::start(&[]).unwrap();
    let mut counts = Counts::of([server.address()]);
    let url = format!("redis://{}", server.address());
    let told = still_told(&url, &mut counts, "zrangebylex", 1).await;
    assert!(told >= 5, "told {told} times of 8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_waits_on_a_cluster_is_told_again_after_its_connections_were_killed() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    let addresses: Vec<_> = cluster.nodes().iter().map(Private::address).collect();
    let url = format!("redis-cluster://{}?shards=4", addresses[0]);
    let mut counts = Counts::of(addresses);
    let told = still_told(&url, &mut counts, "zrangebylex", 4).await;
    assert!(told >= 5, "told {told} times of 8");
}

#[test]
fn scripts_that_are_flushed_are_not_missed() {
    let wanted = undisturbed();
    let server = Private::start(&[]).unwrap();
    runtime().block_on(async {
        let mut crew = Crew::new(world_at(&format!("redis://{}", server.address()))).await;
        let mut connection = server.address().connect().unwrap();
        for _ in 0..20 {
            let before = crew.notes.count();
            connection.command(&["SCRIPT", "FLUSH"]).unwrap();
            crew.start(3).await;
            crew.notes.more(before, 10).await;
        }
        crew.finish(&wanted).await.only(&[]);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_gone_is_said_to_be() {
    let server = Private::start(&[]).unwrap();
    let world = connect(&server, "").await;
    let (log, until) = (run("r"), at(5000));
    let lease = Some((ticket(1), until));
    let new = creator("q", Due::Now, lease);
    assert_eq!(world.append(&log, &append(0, "0", new.clone())).await.unwrap(), committed(1));
    let outside = append(0, "0", By::Outsider);
    assert_eq!(world.append(&token("t"), &outside).await.unwrap(), committed(1));
    server.address().connect().unwrap().command(&["FLUSHALL"]).unwrap();

    let gone = world.append(&log, &append(1, "1", owner(1, None))).await;
    assert_eq!(gone.unwrap(), Appended::NotOpen);
    let gone = world.append(&token("t"), &append(1, "1", By::Outsider)).await;
    assert_eq!(gone.unwrap(), Appended::Conflict { head: Position::START });
    let LogId::Run(id) = log.clone() else { unreachable!() };
    let held = Lease {
        run: id,
        ticket: ticket(1),
        attempt: 1,
        until,
        head: Position::new(1),
        closed: false,
    };
    assert_eq!(world.renew(&held, until).await.unwrap(), Renewed::Lost);
    assert_eq!(world.claim(&claim_of("q", 2)).await.unwrap(), []);
    assert_eq!(world.read_all(&log).await.unwrap().head, Position::START);
    world.wait(&wait_for_log(&log, 1)).await.unwrap(); // its head is another
    assert_eq!(world.delete(&log, Position::new(1)).await.unwrap(), Deleted::Absent);
    let all = world.list(&List::all(std::num::NonZeroU32::MAX)).await.unwrap();
    assert!(all.runs.is_empty());
    assert_eq!(world.append(&log, &append(0, "0", new)).await.unwrap(), committed(1));
}

const HELD: Workflow<u64, u64> = Workflow::new("held");

/// A worker whose run is gone says so to who waits for it, and works on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_gone_is_not_found_and_may_be_started_again() {
    let server = Private::start(&[]).unwrap();
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, held) = (reached.clone(), go.clone());
    let function = move |mut ctx: Ctx, input: u64| {
        let (told, held) = (told.clone(), held.clone());
        async move {
            let body = async || {
                told.notify_one();
                held.notified().await;
                Ok::<_, StepError>(input + 1)
            };
            ctx.step("held", body).await
        }
    };
    let world = connect(&server, "").await;
    let engine = Engine::builder(world).key(key()).workflow(HELD, function).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(HELD, 7).id("held").await.unwrap();
    reached.notified().await;
    server.address().connect().unwrap().command(&["FLUSHALL"]).unwrap();
    go.notify_one();
    match run.output().await {
        Err(RunError::World(error)) => assert_eq!(error.kind(), NotFound, "{error}"),
        other => panic!("{other:?}"),
    }
    let run = engine.client().start(HELD, 7).id("held").await.unwrap();
    reached.notified().await;
    go.notify_one();
    assert_eq!(run.output().await.unwrap(), 8);
    worker.shutdown().await;
}
