//! Clocks of workers that differ from the server's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod kit;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use kit::{Counts, committed, creator, queue, run, ticket, until};
use redis_servers::{Private, PrivateCluster};
use tokio::{sync::Notify, time::timeout};
use world_core::{seal::Key, *};
use world_redis::RedisWorld;

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
/// The lease of a claim: long beside what a busy machine takes between a claim and its script.
const LEASE: i64 = 60 * SECOND;
/// Far longer than a run takes, and far shorter than a day.
const HANGS: Duration = Duration::from_secs(60);

/// The time by a clock that is off by so many milliseconds.
fn clock(off: i64) -> Timestamp {
    SystemClock.now().as_millis().checked_add_signed(off).map(Timestamp::from_millis).unwrap()
}

/// A claim by a clock that is off.
fn claim(off: i64, number: u8) -> Claim {
    let now = clock(off);
    Claim {
        queues: vec![queue("q")],
        ticket: ticket(number),
        now,
        until: now.plus(Duration::from_millis(LEASE.unsigned_abs())),
        limit: NonZeroU32::new(10).unwrap(),
        except: Vec::new(),
    }
}

/// Makes a run that is due, by a clock that is right.
async fn make(world: &RedisWorld, name: &str, due: Due) {
    let (at, position) = (clock(0), Position::new(1));
    let body = Sealed::from_stored(b"body".to_vec());
    let records = vec![Record { position, kind: Kind(7), at, body }];
    let by = creator("q", due, None);
    let append = Append { expected: Position::START, records, at, by };
    assert_eq!(world.append(&run(name), &append).await.unwrap(), committed(1));
}

/// A refused claim has said what there is to say of it.
fn is_refused(claimed: Result<Vec<Lease>>, words: &[&str]) {
    let error = claimed.expect_err("leases of a clock that is off");
    assert_eq!(error.kind(), ErrorKind::Unsuitable, "{error}");
    let text = error.to_string();
    for word in words.iter().chain(&["; synchronise the clock of this machine"]) {
        assert!(text.contains(word), "not {word:?}: {text}");
    }
}

async fn connect(server: &Private, options: &str) -> RedisWorld {
    RedisWorld::connect(&format!("redis://{}?{options}", server.address())).await.unwrap()
}

#[tokio::test]
async fn a_claim_by_a_clock_a_day_off_is_refused_and_takes_no_lease() {
    let server = Private::start(&[]).unwrap();
    let address = server.address().to_string();
    let world = connect(&server, "").await;
    make(&world, "ready", Due::Now).await;
    make(&world, "timed", Due::At(clock(-2 * DAY))).await;
    is_refused(world.claim(&claim(DAY, 1)).await, &["ahead of", &address]);
    is_refused(world.claim(&claim(-DAY, 2)).await, &["behind", &address]);
    let mut given = world.claim(&claim(0, 3)).await.unwrap();
    given.sort_by(|a, b| a.run.as_str().cmp(b.run.as_str()));
    let given: Vec<_> = given.iter().map(|lease| (lease.run.as_str(), lease.attempt)).collect();
    assert_eq!(given, [("ready", 1), ("timed", 1)]);
}

#[tokio::test]
async fn a_clock_may_be_off_by_half_of_the_lease_and_by_no_more() {
    let server = Private::start(&[]).unwrap();
    let world = connect(&server, "").await;
    for (number, off) in (1..).zip([-25 * SECOND, 25 * SECOND]) {
        make(&world, &format!("run-{number}"), Due::Now).await;
        assert_eq!(world.claim(&claim(off, number)).await.unwrap().len(), 1, "{off} ms");
    }
    make(&world, "run", Due::Now).await;
    is_refused(world.claim(&claim(-35 * SECOND, 3)).await, &["behind", "half of the lease (30s)"]);
    is_refused(world.claim(&claim(35 * SECOND, 4)).await, &["ahead of"]);
}

#[tokio::test]
async fn clocks_are_compared_at_each_claim_without_a_round_trip_of_its_own() {
    let server = Private::start(&[]).unwrap();
    let world = connect(&server, "").await;
    let mut counts = Counts::of([server.address()]);
    // The server knows the script from then on.
    assert_eq!(world.claim(&claim(0, 1)).await.unwrap(), []);
    for off in [DAY, 0, -DAY, 0] {
        let before = ["evalsha", "time", "eval"].map(|name| counts.calls(name));
        let claimed = world.claim(&claim(off, 2)).await;
        assert_eq!(claimed.is_ok(), off == 0, "{off} ms: {claimed:?}");
        let after = ["evalsha", "time", "eval"].map(|name| counts.calls(name));
        // Redis counts a TIME that a script calls with those of clients.
        assert_eq!(after, [before[0] + 1, before[1] + 1, before[2]], "{off} ms");
    }
}

#[tokio::test]
async fn a_server_that_stood_still_makes_no_clock_wrong() {
    const LEASE: Duration = Duration::from_millis(1000);
    let server = Private::start(&[]).unwrap();
    let world = connect(&server, "").await;
    make(&world, "run", Due::Now).await;
    assert_eq!(world.claim(&Claim { queues: vec![queue("no")], ..claim(0, 1) }).await.unwrap(), []);
    let mut connection = server.address().connect().unwrap();
    connection.command(&["CLIENT", "PAUSE", "800"]).unwrap();
    let now = clock(0);
    let late = Claim { now, until: now.plus(LEASE), ..claim(0, 2) };
    assert_eq!(world.claim(&late).await.unwrap().len(), 1);
}

#[tokio::test]
async fn any_clock_claims_where_the_comparison_is_switched_off() {
    let server = Private::start(&[]).unwrap();
    let world = connect(&server, "clock_check=off").await;
    for (number, off) in (1..).zip([-DAY, DAY, -900_000_000 * SECOND]) {
        make(&world, &format!("run-{number}"), Due::Now).await;
        let given = world.claim(&claim(off, number)).await.unwrap();
        assert!(!given.is_empty(), "{off} ms");
    }
}

#[tokio::test]
async fn each_master_of_a_cluster_refuses_a_clock_that_is_off_also_where_nothing_is_due() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    let named = cluster.nodes()[0].address();
    let url = format!("redis-cluster://{named}?shards=8");
    let world = RedisWorld::connect(&url).await.unwrap();
    is_refused(world.claim(&claim(DAY, 1)).await, &["ahead of"]);
    is_refused(world.claim(&claim(-DAY, 2)).await, &["behind"]);
    for number in 0..32 {
        make(&world, &format!("run-{number}"), Due::Now).await;
    }
    is_refused(world.claim(&claim(DAY, 3)).await, &["ahead of"]);
    is_refused(world.claim(&claim(-DAY, 4)).await, &["behind"]);
    let mut given = 0;
    for number in 5.. {
        match world.claim(&claim(0, number)).await.unwrap().len() {
            0 => break,
            leases => given += leases,
        }
    }
    assert_eq!(given, 32);
}

/// The machine's clocks, of which the wall clock is off by some milliseconds.
#[derive(Clone, Debug)]
struct OffClock(Arc<AtomicI64>);

impl Clock for OffClock {
    fn now(&self) -> Timestamp {
        clock(self.0.load(SeqCst))
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let clock = self.clone();
        Box::pin(async move {
            while clock.now() < until {
                tokio::time::sleep(until.since(clock.now()).min(Duration::from_secs(1))).await;
            }
        })
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn pause(&self, time: Duration) -> Alarm {
        SystemClock.pause(time)
    }
}

const WORK: Workflow<u64, u64> = Workflow::new("work");

/// An engine whose wall clock is off; it tells when it begins the body of a run.
async fn engine(server: &Private, key: &Key, off: &Arc<AtomicI64>, began: &Arc<Notify>) -> Engine {
    let began = Arc::clone(began);
    let work = move |mut ctx: Ctx, input: u64| {
        let began = Arc::clone(&began);
        async move {
            let body = async || {
                began.notify_one();
                Ok::<_, StepError>(input + 1)
            };
            ctx.step("work", body).await
        }
    };
    Engine::builder(connect(server, "").await)
        .key(key.clone())
        .clock(OffClock(Arc::clone(off)))
        .workflow(WORK, work)
        .build()
        .unwrap()
}

/// Waits until a worker's claims have been refused some times more; it has begun no run.
async fn is_refused_some_times(counts: &mut Counts, began: &Notify) {
    let claims = counts.calls("time") + 3;
    tokio::select! {
        () = until("its claims", || counts.calls("time") >= claims) => {}
        () = began.notified() => panic!("a worker whose clock is off has claimed the run"),
    }
}

#[tokio::test]
async fn a_run_waits_for_no_worker_whose_clock_is_a_day_off() {
    for off in [DAY, -DAY] {
        let server = Private::start(&[]).unwrap();
        let (key, right) = (Key::generate(), Arc::default());
        let (wrong_began, right_began) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut counts = Counts::of([server.address()]);
        let right = engine(&server, &key, &right, &right_began).await;
        let wrong = engine(&server, &key, &Arc::new(AtomicI64::new(off)), &wrong_began).await;
        let handle = right.client().start(WORK, 1).await.unwrap();
        let wrong = wrong.spawn_worker();
        is_refused_some_times(&mut counts, &wrong_began).await;
        wrong.abort(); // it dies
        let worker = right.spawn_worker();
        let output =
            timeout(HANGS, handle.output()).await.expect("it is leased to the dead worker");
        assert_eq!(output.unwrap(), 2);
        worker.shutdown().await;
    }
}

#[tokio::test]
async fn a_worker_whose_clock_is_put_right_claims_again() {
    let server = Private::start(&[]).unwrap();
    let (key, began, off) =
        (Key::generate(), Arc::new(Notify::new()), Arc::new(AtomicI64::new(DAY)));
    let mut counts = Counts::of([server.address()]);
    let client = engine(&server, &key, &Arc::default(), &Arc::new(Notify::new())).await;
    let handle = client.client().start(WORK, 1).await.unwrap();
    let worker = engine(&server, &key, &off, &began).await.spawn_worker();
    is_refused_some_times(&mut counts, &began).await;
    off.store(0, SeqCst);
    let output = timeout(HANGS, handle.output()).await.expect("it is claimed by nobody");
    assert_eq!(output.unwrap(), 2);
    worker.shutdown().await;
}

/// The append that makes a run, with a lease, by a clock that is off.
fn creation(off: i64, number: u8) -> Append {
    let at = clock(off);
    let until = at.plus(Duration::from_millis(LEASE.unsigned_abs()));
    let body = Sealed::from_stored(b"body".to_vec());
    let records = vec![Record { position: Position::new(1), kind: Kind(7), at, body }];
    let by = creator("q", Due::Now, Some((ticket(number), until)));
    Append { expected: Position::START, records, at, by }
}

#[tokio::test]
async fn a_creator_whose_clock_is_a_day_ahead_gets_no_lease_and_makes_nothing() {
    let server = Private::start(&[]).unwrap();
    let world = connect(&server, "").await;
    let error = world.append(&run("a"), &creation(DAY, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsuitable, "{error}");
    assert!(error.to_string().contains("ahead of"), "{error}");
    assert_eq!(world.read_all(&run("a")).await.unwrap().head, Position::START);
    // What is there already is answered as ever, and a lease that ends early harms nobody.
    let made = creation(0, 2);
    assert_eq!(world.append(&run("a"), &made).await.unwrap(), committed(1));
    let again = Append { at: clock(DAY), ..made };
    assert_eq!(world.append(&run("a"), &again).await.unwrap(), committed(1));
    assert_eq!(world.append(&run("b"), &creation(-DAY, 3)).await.unwrap(), committed(1));
    let any = connect(&server, "clock_check=off").await;
    assert_eq!(any.append(&run("c"), &creation(DAY, 4)).await.unwrap(), committed(1));
}

#[tokio::test]
async fn a_run_that_is_started_beside_a_worker_whose_clock_is_ahead_is_driven_by_another() {
    let server = Private::start(&[]).unwrap();
    let (key, ahead) = (Key::generate(), Arc::new(AtomicI64::new(DAY)));
    let (wrong_began, right_began) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wrong = engine(&server, &key, &ahead, &wrong_began).await;
    let worker = wrong.spawn_worker();
    let handle = wrong.client().start(WORK, 1).await.unwrap();
    worker.abort(); // it dies
    let right = engine(&server, &key, &Arc::default(), &right_began).await.spawn_worker();
    let output = timeout(HANGS, handle.output()).await.expect("it is leased to the dead worker");
    assert_eq!(output.unwrap(), 2);
    tokio::select! {
        biased;
        () = wrong_began.notified() => panic!("a worker whose clock is ahead had the run"),
        () = right_began.notified() => {}
    }
    right.shutdown().await;
}
