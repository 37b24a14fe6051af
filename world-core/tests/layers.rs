//! Each layer over the World in memory.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

mod support;

use std::{sync::Arc, time::Duration};

use support::*;
use tokio::time::Instant;
use world_core::{
    Appended, By, Deleted, Due, ErrorKind, List, MemoryWorld, Position, Renewed, Wait, World,
    WorldExt,
    layer::{CountLayer, Fault, FaultLayer, Gate, Method, RetryBounds, RetryLayer, TimeoutLayer},
};

const BOUNDS: RetryBounds =
    RetryBounds { tries_max: count_of(4), delay_first_ms: 100, delay_max_ms: 150 };

const fn count_of(number: u32) -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(number).unwrap()
}

/// A World whose first `broken` calls of a method have this fault.
fn broken(
    world: &MemoryWorld,
    method: Method,
    broken: u64,
    fault: Fault,
) -> Arc<FaultLayer<MemoryWorld>> {
    Arc::new(FaultLayer::new(world.clone(), move |seen| {
        if seen.method == method && seen.nth <= broken { fault.clone() } else { Fault::None }
    }))
}

#[tokio::test(start_paused = true)]
async fn retry_a6_settles_an_append_whose_answers_were_lost() {
    let memory = MemoryWorld::new();
    let faulty = broken(&memory, Method::Append, 3, Fault::AnswerLost);
    let world = RetryLayer::new(faulty.clone()).bounds(BOUNDS);
    let answer = world.append(&run("a"), &create(Due::Now, 0)).await.unwrap();
    assert_eq!(answer, committed(1));
    assert_eq!(faulty.calls(), 4);
    assert_eq!(memory.read_all(&run("a")).await.unwrap().records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_keeps_unknown_when_any_try_was_unknown() {
    let memory = MemoryWorld::new();
    let faulty = FaultLayer::new(memory.clone(), |seen| match seen.nth {
        2 => Fault::AnswerLost,
        _ => Fault::Lost,
    });
    let world = RetryLayer::new(faulty).bounds(BOUNDS);
    let error = world.append(&run("a"), &create(Due::Now, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert_eq!(error.log_id(), Some(&run("a")));
    assert!(error.to_string().contains("append failed 4 times"), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("unavailable: a lost append"), "{source}");
}

#[tokio::test(start_paused = true)]
async fn retry_stays_unavailable_when_no_try_was_done() {
    let world = RetryLayer::new(broken(&MemoryWorld::new(), Method::Append, 9, Fault::Lost));
    let error = world.append(&run("a"), &create(Due::Now, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn retry_does_not_repeat_what_will_be_wrong_again() {
    let fault = Fault::Error(ErrorKind::Corrupt);
    let faulty = broken(&MemoryWorld::new(), Method::Read, 9, fault);
    let world = RetryLayer::new(faulty.clone());
    let error = world.read(&run("a"), Position::START, count(1)).await.unwrap_err();
    assert_eq!((error.kind(), faulty.calls()), (ErrorKind::Corrupt, 1));
}

#[tokio::test(start_paused = true)]
async fn retry_says_that_a_store_regressed_whatever_came_before() {
    let faulty = Arc::new(FaultLayer::new(MemoryWorld::new(), |seen| match seen.nth {
        1 => Fault::AnswerLost,
        _ => Fault::Error(ErrorKind::Regressed),
    }));
    let world = RetryLayer::new(faulty.clone()).bounds(BOUNDS);
    let error = world.append(&run("a"), &create(Due::Now, 0)).await.unwrap_err();
    assert_eq!((error.kind(), faulty.calls()), (ErrorKind::Regressed, 2));
}

#[tokio::test(start_paused = true)]
async fn retry_never_sends_a_claim_again() {
    for fault in [Fault::Lost, Fault::AnswerLost] {
        let faulty = broken(&MemoryWorld::new(), Method::Claim, 1, fault);
        let world = RetryLayer::new(faulty.clone());
        world.claim(&claim(&["queue"], 1, 0, 10, 1)).await.unwrap_err();
        assert_eq!(faulty.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_sends_every_other_call_again() {
    let world = || {
        let faulty = FaultLayer::new(MemoryWorld::new(), |seen| match seen.nth {
            1 => Fault::AnswerLost,
            _ => Fault::None,
        });
        RetryLayer::new(Arc::new(faulty)).bounds(BOUNDS)
    };
    let world = world();
    let create = create_leased(1, at(10), 0);
    assert_eq!(world.append(&run("a"), &create).await.unwrap(), committed(1));
    assert_eq!(world.read(&run("a"), pos(0), count(9)).await.unwrap().records, create.records);
    let lease = world_core::Lease {
        run: id("a"),
        ticket: ticket(1),
        attempt: 1,
        until: at(10),
        head: pos(1),
        closed: false,
    };
    let held = Renewed::Held { head: pos(1) };
    assert_eq!(world.renew(&lease, at(20)).await.unwrap(), held);
    assert_eq!(world.list(&List::all(count(9))).await.unwrap().runs.len(), 1);
    let end = append(1, &["end"], 1, close(1, Some(Due::Never)));
    assert_eq!(world.append(&run("a"), &end).await.unwrap(), committed(2));
    assert_eq!(world.delete(&run("a"), pos(2)).await.unwrap(), Deleted::Done);
    let wait =
        Wait { queues: vec![], logs: vec![(run("a"), pos(0))], at_most: Duration::from_secs(1) };
    world.wait(&wait).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn retry_reports_fenced_when_an_ambiguous_rest_was_done() {
    let memory = MemoryWorld::new();
    memory.append(&run("a"), &create_leased(1, FAR, 0)).await.unwrap();
    let world = RetryLayer::new(broken(&memory, Method::Append, 1, Fault::AnswerLost));
    let rest = append(1, &[], 5, rest(1, Due::Now));
    assert_eq!(world.append(&run("a"), &rest).await.unwrap(), Appended::Fenced);
    let leases = memory.claim(&claim(&["queue"], 2, 5, 10, 9)).await.unwrap();
    assert_eq!(leases.len(), 1, "the lease was given back by the first try");
}

#[tokio::test(start_paused = true)]
async fn retry_waits_a_random_time_within_its_bounds() {
    let (mut fastest, mut slowest) = (Duration::MAX, Duration::ZERO);
    for _ in 0..64 {
        let world = RetryLayer::new(broken(&MemoryWorld::new(), Method::Read, 9, Fault::Lost))
            .bounds(BOUNDS);
        let start = Instant::now();
        world.read(&run("a"), Position::START, count(1)).await.unwrap_err();
        fastest = fastest.min(start.elapsed());
        slowest = slowest.max(start.elapsed());
    }
    // tokio's clock goes by milliseconds: each of the three delays may be rounded up by one.
    assert!(slowest <= Duration::from_millis(100 + 150 + 150 + 3), "{slowest:?}");
    assert!(fastest + Duration::from_millis(50) < slowest, "no jitter in {fastest:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_of_a_wait_ends_when_the_wait_would_have() {
    let world = RetryLayer::new(broken(&MemoryWorld::new(), Method::Wait, 2, Fault::Lost));
    let at_most = Duration::from_secs(60);
    let start = Instant::now();
    world.wait(&Wait { queues: vec![queue("queue")], logs: vec![], at_most }).await.unwrap();
    assert!(start.elapsed() <= at_most + Duration::from_millis(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn timeout_leaves_open_whether_a_change_took_effect() {
    let memory = MemoryWorld::new();
    let gate = Gate::new();
    let held = gate.clone();
    let faulty = FaultLayer::new(memory.clone(), move |_| Fault::Held(held.clone()));
    let world = TimeoutLayer::new(faulty, Duration::from_millis(250));
    let lease = world_core::Lease {
        run: id("a"),
        ticket: ticket(1),
        attempt: 1,
        until: at(10),
        head: pos(1),
        closed: false,
    };
    let errors = [
        world.append(&run("a"), &create(Due::Now, 0)).await.unwrap_err(),
        world.claim(&claim(&["queue"], 1, 0, 10, 1)).await.unwrap_err(),
        world.renew(&lease, at(20)).await.unwrap_err(),
        world.delete(&run("a"), pos(1)).await.unwrap_err(),
        world.read(&run("a"), Position::START, count(1)).await.unwrap_err(),
        world.list(&List::all(count(1))).await.unwrap_err(),
    ];
    for (error, call) in errors.iter().zip(["append", "claim", "renew", "delete", "read", "list"]) {
        let is_read = matches!(call, "read" | "list");
        let kind = if is_read { ErrorKind::Unavailable } else { ErrorKind::Unknown };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&format!("{call} took longer than 250 ms")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_lets_a_wait_have_its_own_time() {
    let world = TimeoutLayer::new(MemoryWorld::new(), Duration::from_millis(250));
    let at_most = Duration::from_secs(60);
    world.wait(&Wait { queues: vec![queue("queue")], logs: vec![], at_most }).await.unwrap();
}

#[tokio::test]
async fn count_counts_calls_and_outcomes() {
    let world = CountLayer::new(MemoryWorld::new());
    let create = create_leased(1, at(10), 0);
    world.append(&run("a"), &create).await.unwrap();
    let before = world.counts();
    world.append(&run("a"), &append(1, &["four", "!"], 1, owner(1))).await.unwrap();
    world.append(&run("a"), &append(9, &["late"], 1, owner(1))).await.unwrap();
    world.append(&run("a"), &append(3, &["other"], 1, owner(2))).await.unwrap();
    world.append(&run("b"), &append(0, &["absent"], 1, By::Outsider)).await.unwrap();
    world.append(&run("b"), &append(0, &[], 1, By::Outsider)).await.unwrap_err();
    world.read(&run("a"), Position::START, count(9)).await.unwrap();
    world.claim(&claim(&["queue"], 2, 9, 20, 1)).await.unwrap();
    world.claim(&claim(&["queue"], 2, 10, 20, 1)).await.unwrap();
    let counts = world.counts().since(&before);
    assert_eq!((counts.appends, counts.committed, counts.conflicts), (5, 1, 1));
    assert_eq!((counts.fenced, counts.not_open, counts.errors), (1, 1, 1));
    assert_eq!((counts.records_written, counts.bytes_written), (2, 5));
    assert_eq!((counts.reads, counts.records_read, counts.bytes_read), (1, 3, 12));
    assert_eq!((counts.claims, counts.claims_empty, counts.leases), (2, 1, 1));
}
