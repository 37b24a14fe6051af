//! The World in memory keeps the contract: who gets a run, when, and who is woken.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use support::*;
use tokio::time::Instant;
use world_core::{
    Appended, By, Due, Lease, LogId, MemoryWorld, Position, Queue, Renewed, Wait, World,
};

fn names(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.run.as_str()).collect()
}

async fn claimed(world: &MemoryWorld, number: u8, now: u64, limit: u32) -> Vec<String> {
    let leases = world.claim(&claim(&["queue"], number, now, 1_000_000, limit)).await.unwrap();
    names(&leases).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_of_many_concurrent_claimers_one_gets_each_run() {
    let world = MemoryWorld::new();
    for number in 0..200 {
        world.append(&run(&format!("{number}")), &create(Due::Now, number)).await.unwrap();
    }
    let claimers = (1..=16).map(|number| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                let ask = claim(&["queue"], number, 0, 1_000, 3);
                let leases = world.claim(&ask).await.unwrap();
                if leases.is_empty() {
                    return got;
                }
                got.extend(leases);
            }
        })
    });
    let mut owners = BTreeMap::new();
    for leases in futures::future::join_all(claimers).await {
        for lease in leases.unwrap() {
            let other = owners.insert(lease.run.clone(), lease.ticket);
            assert!(other.is_none(), "{} was given twice", lease.run);
        }
    }
    assert_eq!(owners.len(), 200);
}

#[tokio::test]
async fn l2_a_ready_run_is_due_whatever_the_clock_and_a_timed_one_at_its_time() {
    let world = MemoryWorld::new();
    world.append(&run("ready"), &create(Due::Now, 9_999)).await.unwrap();
    world.append(&run("timed"), &create(Due::At(at(50)), 0)).await.unwrap();
    world.append(&run("parked"), &create(Due::Never, 0)).await.unwrap();
    world.append(&run("leased"), &create_leased(9, at(60), 0)).await.unwrap();
    assert_eq!(claimed(&world, 1, 49, 9).await, ["ready"]);
    assert_eq!(claimed(&world, 2, 50, 9).await, ["timed"]);
    assert_eq!(claimed(&world, 3, 60, 9).await, ["leased"]);
    assert_eq!(claimed(&world, 4, 999_999, 9).await, [""; 0]);
}

#[tokio::test]
async fn l2_oldest_first_in_each_class_and_first_come_at_the_same_time() {
    let world = MemoryWorld::new();
    for (name, millis) in [("c", 30), ("z", 10), ("a", 10), ("b", 20)] {
        world.append(&run(name), &create(Due::Now, millis)).await.unwrap();
    }
    assert_eq!(claimed(&world, 1, 0, 9).await, ["z", "a", "b", "c"]);
    for (name, due) in [("late", 300), ("early", 100), ("middle", 200)] {
        world.append(&run(name), &create(Due::At(at(due)), 0)).await.unwrap();
    }
    assert_eq!(claimed(&world, 1, 300, 9).await, ["early", "middle", "late"]);
}

#[tokio::test]
async fn l2_neither_class_starves_the_other_by_ones_or_by_many() {
    for limit in [1, 3, 10] {
        let world = MemoryWorld::new();
        for number in 0..10 {
            let ready = create(Due::Now, 100 + number);
            world.append(&run(&format!("ready {number}")), &ready).await.unwrap();
            let timed = create(Due::At(at(number)), 0);
            world.append(&run(&format!("timed {number}")), &timed).await.unwrap();
        }
        let mut order = Vec::new();
        while order.len() < 20 {
            order.extend(claimed(&world, 1, 999, limit).await);
        }
        for (place, pair) in order.chunks(2).enumerate() {
            assert_eq!(pair, [format!("ready {place}"), format!("timed {place}")]);
        }
    }
}

#[tokio::test]
async fn l2_no_queue_of_a_claim_is_starved_by_another_claimers_rhythm() {
    // Two workers with different queues claim in turn. A shared "whose turn" would give one of
    // them ready runs for ever, and the other timed ones.
    let world = MemoryWorld::new();
    for name in ["left", "right"] {
        for number in 0..8 {
            let create_timed = create_in(name, Due::At(at(number)), 0);
            world.append(&run(&format!("{name} timed {number}")), &create_timed).await.unwrap();
            let create_ready = create_in(name, Due::Now, number);
            world.append(&run(&format!("{name} ready {number}")), &create_ready).await.unwrap();
        }
    }
    let mut timed = BTreeMap::from([("left", 0), ("right", 0)]);
    for _ in 0..8 {
        for name in ["left", "right"] {
            let leases = world.claim(&claim(&[name], 1, 99, 9_999, 1)).await.unwrap();
            let is_timed = leases[0].run.as_str().contains("timed");
            *timed.get_mut(name).unwrap() += usize::from(is_timed);
        }
    }
    assert_eq!(timed, BTreeMap::from([("left", 4), ("right", 4)]));
}

#[tokio::test]
async fn l2_a_run_that_is_signalled_all_the_time_keeps_its_place() {
    let world = MemoryWorld::new();
    world.append(&run("noisy"), &create(Due::Now, 10)).await.unwrap();
    world.append(&run("other"), &create(Due::Now, 10)).await.unwrap();
    let signal = append(1, &["signal"], 30, By::Outsider);
    assert_eq!(world.append(&run("noisy"), &signal).await.unwrap(), committed(2));
    assert_eq!(claimed(&world, 1, 0, 9).await, ["noisy", "other"]);
}

#[tokio::test]
async fn l2_a_claim_gives_a_run_once_though_its_lease_is_born_expired() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create(Due::Now, 0)).await.unwrap();
    let leases = world.claim(&claim(&["queue", "queue"], 1, 100, 50, 9)).await.unwrap();
    assert_eq!(names(&leases), ["a"]);
    let leases = world.claim(&claim(&["queue"], 2, 100, 50, 9)).await.unwrap();
    assert_eq!((names(&leases), leases[0].attempt), (vec!["a"], 2));
}

#[tokio::test]
async fn l2_a_claim_sees_only_its_queues_and_takes_no_more_than_its_limit() {
    let world = MemoryWorld::new();
    for number in 0..5 {
        let create = create_in(if number % 2 == 0 { "even" } else { "odd" }, Due::Now, number);
        world.append(&run(&format!("{number}")), &create).await.unwrap();
    }
    let claims = |queues: &'static [&'static str], limit| {
        let world = world.clone();
        async move { world.claim(&claim(queues, 1, 0, 99, limit)).await.unwrap() }
    };
    assert_eq!(names(&claims(&[], 9).await), [""; 0]);
    assert_eq!(names(&claims(&["none"], 9).await), [""; 0]);
    assert_eq!(names(&claims(&["odd"], 9).await), ["1", "3"]);
    assert_eq!(names(&claims(&["odd", "even"], 2).await), ["0", "2"]);
}

#[tokio::test]
async fn l3_and_l5_a_lease_moves_with_each_claim_and_renewal() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create(Due::Now, 0)).await.unwrap();
    let first = world.claim(&claim(&["queue"], 1, 0, 10, 1)).await.unwrap().remove(0);
    assert_eq!((first.attempt, first.head, first.closed), (1, pos(1), false));
    let held = Renewed::Held { head: pos(1) };
    assert_eq!(world.renew(&first, at(20)).await.unwrap(), held);
    assert_eq!(world.claim(&claim(&["queue"], 2, 19, 30, 1)).await.unwrap(), []);
    assert_eq!(world.renew(&first, at(5)).await.unwrap(), held, "an end may move back");
    let second = world.claim(&claim(&["queue"], 2, 19, 30, 1)).await.unwrap().remove(0);
    assert_eq!(second.attempt, 2);
    assert_eq!(world.renew(&first, at(99)).await.unwrap(), Renewed::Lost);
    let step = |number| append(1, &["step"], 20, owner(number));
    assert_eq!(world.append(&run("a"), &step(1)).await.unwrap(), Appended::Fenced);
    assert_eq!(world.append(&run("a"), &step(2)).await.unwrap(), committed(2));
    let third = world.claim(&claim(&["queue"], 3, 30, 40, 1)).await.unwrap().remove(0);
    assert_eq!((third.attempt, third.head), (2, pos(2)), "the second has made progress, and died");
}

#[tokio::test]
async fn l4_an_outsider_wakes_a_parked_run_and_leaves_a_lease_alone() {
    let world = MemoryWorld::new();
    world.append(&run("parked"), &create(Due::Never, 0)).await.unwrap();
    world.append(&run("leased"), &create_leased(9, at(500), 0)).await.unwrap();
    for name in ["parked", "leased"] {
        let signal = append(1, &["signal"], 5, By::Outsider);
        assert_eq!(world.append(&run(name), &signal).await.unwrap(), committed(2));
    }
    assert_eq!(claimed(&world, 1, 499, 9).await, ["parked"]);
    assert_eq!(claimed(&world, 2, 500, 9).await, ["leased"]);
}

#[tokio::test]
async fn a4_a_rest_puts_the_run_where_it_says() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create_leased(1, FAR, 0)).await.unwrap();
    let nap = append(1, &["timer"], 1, rest(1, Due::At(at(70))));
    assert_eq!(world.append(&run("a"), &nap).await.unwrap(), committed(2));
    assert_eq!(claimed(&world, 2, 69, 9).await, [""; 0]);
    assert_eq!(claimed(&world, 2, 70, 9).await, ["a"]);
    let park = append(2, &[], 71, rest(2, Due::Never));
    assert_eq!(world.append(&run("a"), &park).await.unwrap(), committed(2));
    assert_eq!(claimed(&world, 3, 999_999, 9).await, [""; 0]);
}

fn wait_for(queues: &[&str], logs: &[(LogId, u64)]) -> Wait {
    Wait {
        queues: queues.iter().map(|name| Queue::new(*name).unwrap()).collect(),
        logs: logs.iter().map(|(log, head)| (log.clone(), Position::new(*head))).collect(),
        at_most: Duration::from_secs(3600),
    }
}

/// How long a wait lasts during which this append comes, after a minute.
async fn wait_during(
    world: &MemoryWorld,
    wait: Wait,
    log: LogId,
    append: world_core::Append,
) -> Duration {
    let start = Instant::now();
    let appends = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(matches!(world.append(&log, &append).await, Ok(Appended::Committed { .. })));
    };
    let ((), waited) = tokio::join!(appends, async {
        world.wait(&wait).await.unwrap();
        start.elapsed()
    });
    waited
}

#[tokio::test(start_paused = true)]
async fn wait_ends_when_a_queue_or_log_changes_and_at_its_deadline_otherwise() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create(Due::Never, 0)).await.unwrap();
    let (woken, deadline) = (60..61, 3600..3601);
    for (wait, log, append, wanted) in [
        (wait_for(&["queue"], &[]), run("b"), create(Due::Now, 0), &woken),
        (wait_for(&["else"], &[]), run("c"), create(Due::Now, 0), &deadline),
        (wait_for(&["x"], &[(run("d"), 0)]), run("d"), create(Due::Never, 0), &woken),
        (wait_for(&[], &[(run("e"), 0)]), run("f"), create(Due::Now, 0), &deadline),
        (
            wait_for(&[], &[(run("a"), 1)]),
            run("a"),
            append(1, &["signal"], 1, By::Outsider),
            &woken,
        ),
        (wait_for(&[], &[]), run("g"), create(Due::Now, 0), &deadline),
    ] {
        let waited = wait_during(&world, wait.clone(), log, append).await.as_secs();
        assert!(wanted.contains(&waited), "{waited} s for {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_returns_at_once_when_something_has_changed_already() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create(Due::Now, 0)).await.unwrap();
    let start = Instant::now();
    world.wait(&wait_for(&["queue"], &[])).await.unwrap();
    world.wait(&wait_for(&[], &[(run("a"), 0)])).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    world.claim(&claim(&["queue"], 1, 0, 10, 1)).await.unwrap();
    world.wait(&wait_for(&["queue"], &[(run("a"), 1)])).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(3600), "a leased run is nothing to wait for");
    let end = append(1, &["end"], 1, close(1, Some(Due::Now)));
    world.append(&run("a"), &end).await.unwrap();
    world.delete(&run("a"), pos(2)).await.unwrap();
    world.wait(&wait_for(&["queue"], &[])).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(7200), "nor is a deleted one");
}

#[tokio::test(start_paused = true)]
async fn wait_wakes_every_waiter() {
    let world = MemoryWorld::new();
    let wait = wait_for(&["queue"], &[(token("t"), 0)]);
    let start = Instant::now();
    let waiters = (0..8).map(|_| {
        let (world, wait) = (world.clone(), wait.clone());
        tokio::spawn(async move { world.wait(&wait).await })
    });
    let waiters: Vec<_> = waiters.collect();
    tokio::task::yield_now().await;
    world.append(&token("t"), &append(0, &["one"], 0, By::Outsider)).await.unwrap();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}
