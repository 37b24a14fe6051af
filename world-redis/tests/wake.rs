//! Who waits is told by what is published, and asks seldom.
//!
//! Nothing here is timed. One who waits looks once at first, and then once a second, should what
//! was published be lost; so one who has come back without a second look was told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod kit;
mod runs;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kit::*;
use redis_servers::{Private, PrivateCluster};
use runs::{
    key,
    workflows::{ALL, register},
};
use world_core::{layer::CountLayer, *};
use world_redis::RedisWorld;

/// How often each is tried. On a machine that stands still for a second there is a second look, so
/// not every one has to be told; a World that published nothing would tell none.
const TRIES: usize = 8;
const TOLD_MIN: usize = 5;

/// How a queue's waiter is woken.
#[derive(Clone, Copy, Debug)]
enum Way {
    Creation,
    Signal,
    Rest,
}

/// Tries it, with what the waiter and the other have of the World.
async fn told_of_a_queue(
    worlds: &[Arc<RedisWorld>; 2],
    counts: &mut Counts,
    name: &str,
    by: Way,
    each: u64,
) -> bool {
    let [waiting, other] = worlds;
    let log = run(name);
    let lease = Some((ticket(1), at(1000)));
    let first = match by {
        Way::Creation => None,
        Way::Signal => Some(creator(name, Due::Never, None)),
        Way::Rest => Some(creator(name, Due::Now, lease)),
    };
    if let Some(first) = first {
        let answer = other.append(&log, &append(0, "0", first)).await;
        assert_eq!(answer.unwrap(), committed(1));
    }
    let waiter = Waiter::begin(waiting, wait_for_queue(name), "zrangebylex", each, counts).await;
    let second = match by {
        Way::Creation => append(0, "0", creator(name, Due::Now, None)),
        Way::Signal => append(1, "1", By::Outsider),
        Way::Rest => append(1, "1", owner(1, Some(Due::Now))),
    };
    let head = second.head_after().get();
    assert_eq!(other.append(&log, &second).await.unwrap(), committed(head));
    waiter.was_told(counts).await
}

async fn worlds(url: &str) -> [Arc<RedisWorld>; 2] {
    let one = RedisWorld::connect(url).await.unwrap();
    [Arc::new(one), Arc::new(RedisWorld::connect(url).await.unwrap())]
}

async fn tell_of_queues(url: &str, counts: &mut Counts, each: u64) {
    let worlds = worlds(url).await;
    for by in [Way::Creation, Way::Signal, Way::Rest] {
        let mut told = 0;
        for n in 0..TRIES {
            let name = format!("{by:?}-{n}");
            told += usize::from(told_of_a_queue(&worlds, counts, &name, by, each).await);
        }
        assert!(told >= TOLD_MIN, "{by:?}: told {told} times of {TRIES}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_told_of_a_run_that_becomes_ready() {
    let server = Private::start(&[]).unwrap();
    let mut counts = Counts::of([server.address()]);
    tell_of_queues(&format!("redis://{}", server.address()), &mut counts, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_on_a_cluster_is_told_of_a_run_that_becomes_ready() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    let addresses: Vec<_> = cluster.nodes().iter().map(|node| node.address()).collect();
    let url = format!("redis-cluster://{}?shards=4", addresses[0]);
    let mut counts = Counts::of(addresses);
    tell_of_queues(&url, &mut counts, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_told_of_a_record() {
    let server = Private::start(&[]).unwrap();
    let mut counts = Counts::of([server.address()]);
    let [waiting, other] = worlds(&format!("redis://{}", server.address())).await;
    let log = run("r");
    let new = creator("q", Due::Never, None);
    assert_eq!(other.append(&log, &append(0, "0", new)).await.unwrap(), committed(1));
    let mut told = 0;
    for head in 1..=TRIES as u64 {
        let wait = wait_for_log(&log, head);
        // The script that appends asks for the length as well, once.
        let mut waiter = Waiter::begin(&waiting, wait, "llen", 1, &mut counts).await;
        waiter.expect_more(1);
        let answer = other.append(&log, &append(head, "more", By::Outsider)).await.unwrap();
        assert_eq!(answer, committed(head + 1));
        told += usize::from(waiter.was_told(&mut counts).await);
    }
    assert!(told >= TOLD_MIN, "told {told} times of {TRIES}");
}

/// A worker that is told nothing asks as often as it was set to, and each time the same little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_little() {
    const WAITS: u64 = 20;
    const POLL: Duration = Duration::from_millis(50);
    let server = Private::start(&[]).unwrap();
    let mut counts = Counts::of([server.address()]);
    let world = RedisWorld::connect(&format!("redis://{}", server.address())).await.unwrap();
    let world = Arc::new(CountLayer::new(world));
    let engine = Engine::builder(Arc::clone(&world)).key(key()).poll(POLL);
    let _worker = register(engine).build().unwrap().spawn_worker();
    until("its first wait", || world.counts().waits > 0).await;
    let commands = ["evalsha", "eval", "zrangebylex", "subscribe", "unsubscribe", "info"];
    let before: Vec<u64> = commands.map(|command| counts.calls(command)).to_vec();
    let (asked, began) = (world.counts(), Instant::now());
    until("many waits", || world.counts().since(&asked).waits >= WAITS).await;
    let after: Vec<u64> = commands.map(|command| counts.calls(command)).to_vec();
    let since = world.counts().since(&asked);
    let [scripts, whole, looks, subscribed, unsubscribed, _] =
        [0, 1, 2, 3, 4, 5].map(|n| after[n] - before[n]);
    assert!(began.elapsed() > POLL * (WAITS as u32 - 2), "{since:?} in {:?}", began.elapsed());
    // One that is under way on either side of the count is in doubt.
    let rounds = since.waits + 1 + since.claims + 1;
    assert!(scripts <= rounds, "{scripts} scripts for {since:?}");
    // In each of them it is seen whether any queue has a ready or a timed one.
    let most = ALL.len() as u64 * 2 * rounds;
    assert!(looks <= most, "{looks} looks for {since:?}");
    assert!(whole <= 1 && subscribed <= 1 && unsubscribed == 0, "{before:?} {after:?}");
    assert_eq!((since.reads, since.appends, since.renewals, since.errors), (0, 0, 0, 0));
}

/// One who waits for long looks once a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_waits_looks_once_a_second() {
    let server = Private::start(&[]).unwrap();
    let mut counts = Counts::of([server.address()]);
    let world = RedisWorld::connect(&format!("redis://{}", server.address())).await.unwrap();
    let before = counts.calls("zrangebylex");
    let at_most = Duration::from_millis(2500);
    world.wait(&Wait { at_most, ..wait_for_queue("q") }).await.unwrap();
    let looks = counts.calls("zrangebylex") - before;
    assert!((1..=3).contains(&looks), "{looks} looks");
}
