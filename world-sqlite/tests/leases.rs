//! Due runs, leases and waiting, against a file.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::{sync::Arc, time::Duration};

use support::*;
use world_core::*;
use world_sqlite::SqliteWorld;

async fn create(world: &SqliteWorld, name: &str, due: Due, created: u64) {
    let mut first = append(0, &["a"], creator("q", due));
    first.at = at(created);
    assert_eq!(do_append(world, &run(name), &first).await, committed(1));
}

async fn claim(world: &SqliteWorld, number: u8, now: u64, limit: u32) -> Vec<String> {
    let leases = world.claim(&claim_of(&["q"], number, now, limit)).await.unwrap();
    leases.iter().map(|lease| lease.run.as_str().to_owned()).collect()
}

#[tokio::test]
async fn l1_a_lease_that_has_not_run_out_is_not_given_again() {
    let (world, dir) = file();
    create(&world, "r", Due::Now, 0).await;
    assert_eq!(claim(&world, 1, 0, 9).await, ["r"]);
    let other = open(&dir);
    assert!(claim(&other, 2, 999, 9).await.is_empty());
    assert_eq!(claim(&other, 2, 1000, 9).await, ["r"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_of_many_concurrent_claimers_one_gets_each_run() {
    let (world, dir) = file();
    for n in 0..60 {
        create(&world, &format!("r{n:02}"), Due::Now, n).await;
    }
    let worlds = [Arc::new(world), Arc::new(open(&dir))];
    let claimers = (0..8).map(|n| {
        let world = Arc::clone(&worlds[n % 2]);
        tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                let some = claim(&world, u8::try_from(n).unwrap() + 1, 5, 3).await;
                if some.is_empty() {
                    return got;
                }
                got.extend(some);
            }
        })
    });
    let mut all = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        all.extend(claimer.await.unwrap());
    }
    all.sort();
    assert_eq!(all, (0..60).map(|n| format!("r{n:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn l2_the_oldest_ready_and_the_oldest_timed_are_given_in_turn() {
    let (world, _dir) = file();
    for (name, due, created) in [
        ("ready2", Due::Now, 20),
        ("ready1", Due::Now, 10),
        ("later", Due::At(at(99_999)), 0),
        ("timed2", Due::At(at(40)), 0),
        ("timed1", Due::At(at(30)), 0),
        ("never", Due::Never, 0),
        ("ready3", Due::Now, 20),
        // Ready whatever its time says.
        ("ready4", Due::Now, 90_000),
    ] {
        create(&world, name, due, created).await;
    }
    assert_eq!(claim(&world, 1, 29, 9).await, ["ready1", "ready2", "ready3", "ready4"]);
    let (world, _dir2) = file();
    for name in ["ready1", "ready2", "ready3"] {
        create(&world, name, Due::Now, 10).await;
    }
    for (name, due) in [("timed1", 30), ("timed2", 40), ("later", 2000)] {
        create(&world, name, Due::At(at(due)), 0).await;
    }
    let mut given = Vec::new();
    for n in 0..6 {
        given.push(claim(&world, n + 1, 100, 1).await.concat());
    }
    assert_eq!(given, ["ready1", "timed1", "ready2", "timed2", "ready3", ""]);
}

#[tokio::test]
async fn l2_a_stream_of_ready_runs_does_not_starve_a_timed_one_nor_the_other_way() {
    for (steady, starving) in [(Due::Now, Due::At(at(1))), (Due::At(at(1)), Due::Now)] {
        let (world, _dir) = file();
        create(&world, "starving", starving, 5).await;
        let mut given = Vec::new();
        for n in 0..4 {
            create(&world, &format!("steady{n}"), steady, 1).await;
            create(&world, &format!("more{n}"), steady, 1).await;
            given.extend(claim(&world, n + 1, 50, 1).await);
        }
        assert!(given.contains(&"starving".to_owned()), "{given:?}");
    }
}

#[tokio::test]
async fn l2_a_claim_looks_at_all_its_queues_and_no_others() {
    let (world, _dir) = file();
    for (name, queue_name) in [("a", "q1"), ("b", "q2"), ("c", "q3")] {
        do_append(&world, &run(name), &append(0, &["x"], creator(queue_name, Due::Now))).await;
    }
    let leases = world.claim(&claim_of(&["q3", "q1", "q3", "none"], 1, 0, 9)).await.unwrap();
    let mut got: Vec<_> = leases.iter().map(|lease| lease.run.as_str()).collect();
    got.sort_unstable();
    assert_eq!(got, ["a", "c"]);
    assert!(world.claim(&claim_of(&[], 1, 0, 9)).await.unwrap().is_empty());
}

#[tokio::test]
async fn l3_a_replaced_ticket_changes_nothing_and_an_expired_one_is_current() {
    let (world, _dir) = file();
    create(&world, "r", Due::Now, 0).await;
    let lease = world.claim(&claim_of(&["q"], 1, 0, 1)).await.unwrap().remove(0);
    // Long run out, and replaced by nobody.
    assert_eq!(do_append(&world, &run("r"), &append(1, &["b"], owner(1))).await, committed(2));
    assert_eq!(world.renew(&lease, at(2000)).await.unwrap(), Renewed::Held { head: position(2) });
    assert!(claim(&world, 2, 1999, 1).await.is_empty());
    assert_eq!(claim(&world, 2, 2000, 1).await, ["r"]);
    for by in [owner(1), closer(1), rester(1, Due::Now)] {
        assert_eq!(do_append(&world, &run("r"), &append(2, &["c"], by)).await, Appended::Fenced);
    }
    assert_eq!(world.renew(&lease, at(9000)).await.unwrap(), Renewed::Lost);
    let absent = Lease { run: run_id("none"), ..lease };
    assert_eq!(world.renew(&absent, at(9000)).await.unwrap(), Renewed::Lost);
    assert_eq!(bodies(&world, &run("r")).await, ["a", "b"]);
}

#[tokio::test]
async fn l4_an_outsider_makes_a_run_due_unless_it_is_leased() {
    let (world, _dir) = file();
    create(&world, "r", Due::Never, 0).await;
    assert!(claim(&world, 1, 0, 1).await.is_empty());
    do_append(&world, &run("r"), &append(1, &["b"], By::Outsider)).await;
    assert_eq!(claim(&world, 1, 0, 1).await, ["r"]);
    do_append(&world, &run("r"), &append(2, &["c"], By::Outsider)).await;
    assert!(claim(&world, 2, 999, 1).await.is_empty());
    assert_eq!(do_append(&world, &run("r"), &append(3, &["d"], owner(1))).await, committed(4));
    do_append(&world, &run("r"), &append(4, &[], rester(1, Due::At(at(5000))))).await;
    assert!(claim(&world, 2, 4999, 1).await.is_empty());
    do_append(&world, &run("r"), &append(4, &["e"], By::Outsider)).await;
    assert_eq!(claim(&world, 2, 0, 1).await, ["r"]);
}

#[tokio::test]
async fn l5_a_claim_raises_attempt_an_owners_records_set_it_to_1_and_a_rest_to_0() {
    let (world, _dir) = file();
    create(&world, "r", Due::Now, 0).await;
    let attempt = async |number: u8, now: u64| {
        world.claim(&claim_of(&["q"], number, now, 1)).await.unwrap().remove(0).attempt
    };
    assert_eq!(attempt(1, 0).await, 1);
    assert_eq!(attempt(2, 1000).await, 2);
    do_append(&world, &run("r"), &append(1, &["out"], By::Outsider)).await;
    assert_eq!(attempt(3, 2000).await, 3);
    do_append(&world, &run("r"), &append(2, &["b"], owner(3))).await;
    assert_eq!(attempt(4, 3000).await, 2);
    do_append(&world, &run("r"), &append(3, &[], rester(4, Due::Now))).await;
    assert_eq!(attempt(5, 3000).await, 1);
}

/// Waits while the other does something that ends the wait.
async fn ends(world: &SqliteWorld, wait: &Wait, other: impl Future<Output = Appended>) {
    let both = async { tokio::join!(world.wait(wait), other) };
    let (waited, _) = tokio::time::timeout(Duration::from_secs(120), both).await.unwrap();
    waited.unwrap();
}

async fn a_wait_ends(world: &SqliteWorld, writer: &SqliteWorld) {
    create(writer, "r", Due::Never, 0).await;
    let (grow, wake) = (append(0, &["a"], By::Outsider), append(1, &["b"], By::Outsider));
    let wait = Wait {
        queues: vec![queue("q")],
        logs: vec![(token("t"), Position::START)],
        at_most: Duration::from_secs(3600),
    };
    ends(world, &wait, do_append(writer, &token("t"), &grow)).await;
    // What came before the wait ends it at once.
    ends(world, &wait, std::future::ready(committed(0))).await;
    let wait = Wait { logs: vec![(token("t"), position(1))], ..wait };
    ends(world, &wait, do_append(writer, &run("r"), &wake)).await;
}

#[tokio::test]
async fn a_wait_ends_when_its_log_grows_or_its_queue_has_a_ready_run() {
    // Nothing looks for changes of others here, so it is told.
    let world = SqliteWorld::memory().unwrap();
    a_wait_ends(&world, &world).await;
}

#[tokio::test]
async fn a_wait_ends_when_another_world_on_the_same_file_writes() {
    let (world, dir) = file();
    a_wait_ends(&world, &open(&dir)).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_what_does_not_come_ends_at_its_time() {
    for world in [file(), (SqliteWorld::memory().unwrap(), tempfile::tempdir().unwrap())] {
        create(&world.0, "r", Due::Never, 0).await;
        let began = tokio::time::Instant::now();
        let wait = Wait {
            queues: vec![queue("q")],
            logs: vec![(run("r"), position(1))],
            at_most: Duration::from_millis(1234),
        };
        world.0.wait(&wait).await.unwrap();
        assert_eq!(began.elapsed().as_millis(), 1234);
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_is_forgotten() {
    let world = SqliteWorld::memory().unwrap();
    let logs = vec![(token("t"), Position::START)];
    let wait = Wait { queues: Vec::new(), logs, at_most: Duration::MAX };
    for _ in 0..3 {
        tokio::select! { biased; _ = world.wait(&wait) => unreachable!(), () = async {} => {} }
    }
    assert!(format!("{world:?}").contains("Waiters(Mutex { data: {}"), "{world:?}");
}
