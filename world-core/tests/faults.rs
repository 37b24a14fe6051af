//! The layer that breaks calls does exactly what its plan says.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

mod support;

use std::sync::Arc;

use support::*;
use world_core::{
    Appended, By, Due, ErrorKind, MemoryWorld, Position, World, WorldExt,
    layer::{CountLayer, Fault, FaultLayer, Gate, Method, RetryBounds, RetryLayer},
};

/// How often the record is in the log after an append with this fault, and what was answered.
async fn after(fault: Fault) -> (usize, Result<Appended, ErrorKind>, FaultLayer<MemoryWorld>) {
    let memory = MemoryWorld::new();
    let world = FaultLayer::new(memory.clone(), move |_| fault.clone());
    let answer = world.append(&run("a"), &create(Due::Now, 0)).await;
    let records = memory.read_all(&run("a")).await.unwrap().records.len();
    (records, answer.map_err(|error| error.kind()), world)
}

#[tokio::test]
async fn a_fault_is_done_or_not_and_answered_or_not() {
    let (lost, unknown) = (Err(ErrorKind::Unavailable), Err(ErrorKind::Unknown));
    for (fault, records, answer) in [
        (Fault::None, 1, Ok(committed(1))),
        (Fault::Lost, 0, lost),
        (Fault::AnswerLost, 1, unknown),
        (Fault::Twice, 1, Ok(committed(1))),
        (Fault::Late, 0, unknown),
        (Fault::Again, 1, Ok(committed(1))),
        (Fault::Error(ErrorKind::Busy), 0, Err(ErrorKind::Busy)),
        (Fault::CrashBefore, 0, lost),
        (Fault::CrashAfter, 1, unknown),
    ] {
        let name = format!("{fault:?}");
        let (found, given, _) = after(fault).await;
        assert_eq!((found, given), (records, answer), "{name}");
    }
}

#[tokio::test]
async fn what_comes_twice_reaches_the_world_twice() {
    let counted = Arc::new(CountLayer::new(MemoryWorld::new()));
    let world = FaultLayer::new(counted.clone(), |_| Fault::Twice);
    world.append(&run("a"), &create_leased(1, FAR, 0)).await.unwrap();
    assert_eq!((world.calls(), counted.counts().appends), (1, 2));
    let rest = append(1, &[], 1, rest(1, Due::Now));
    let answer = world.append(&run("a"), &rest).await.unwrap();
    assert_eq!(answer, Appended::Fenced, "the second answer, as after any resend of a rest");
}

#[tokio::test]
async fn what_comes_late_or_again_is_the_same_append() {
    for fault in [Fault::Late, Fault::Again] {
        let memory = MemoryWorld::new();
        let world = FaultLayer::new(memory.clone(), move |_| fault.clone());
        let _ = world.append(&run("a"), &create(Due::Now, 0)).await;
        assert_eq!(world.deliver_kept().await, 1);
        assert_eq!(world.deliver_kept().await, 0);
        assert_eq!(memory.read_all(&run("a")).await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn a_rest_that_comes_again_does_not_touch_the_next_lease() {
    let memory = MemoryWorld::new();
    memory.append(&run("a"), &create_leased(1, FAR, 0)).await.unwrap();
    let world = FaultLayer::new(memory.clone(), |_| Fault::Again);
    let rest = append(1, &[], 1, rest(1, Due::Now));
    assert_eq!(world.append(&run("a"), &rest).await.unwrap(), committed(1));
    let leases = memory.claim(&claim(&["queue"], 2, 1, 10, 1)).await.unwrap();
    world.deliver_kept().await;
    let step = append(1, &["step"], 2, owner(2));
    assert_eq!(memory.append(&run("a"), &step).await.unwrap(), committed(2));
    assert_eq!(leases[0].attempt, 1);
}

#[tokio::test]
async fn a_held_call_is_delivered_when_the_gate_opens() {
    for (is_done_first, held) in
        [(false, Fault::Held as fn(Gate) -> Fault), (true, Fault::AnswerHeld)]
    {
        let memory = MemoryWorld::new();
        let gate = Gate::new();
        let fault = held(gate.clone());
        let world = Arc::new(FaultLayer::new(memory.clone(), move |_| fault.clone()));
        let call = tokio::spawn({
            let world = world.clone();
            async move { world.append(&run("a"), &create(Due::Now, 0)).await }
        });
        gate.arrived(1).await;
        let records = memory.read_all(&run("a")).await.unwrap().records.len();
        assert_eq!(records, usize::from(is_done_first));
        assert!(!call.is_finished());
        gate.open();
        assert_eq!(call.await.unwrap().unwrap(), committed(1));
    }
}

#[tokio::test]
async fn a_crash_ends_every_call_and_answers_none_under_way() {
    let memory = MemoryWorld::new();
    let gate = Gate::new();
    let held = gate.clone();
    let world = Arc::new(FaultLayer::new(memory.clone(), move |seen| match seen.number {
        1 => Fault::AnswerHeld(held.clone()),
        2 => Fault::Held(held.clone()),
        _ => Fault::None,
    }));
    let call = |name: &'static str| {
        let world = world.clone();
        tokio::spawn(async move { world.append(&run(name), &create(Due::Now, 0)).await })
    };
    let first = call("a");
    gate.arrived(1).await;
    let second = call("b");
    gate.arrived(2).await;
    world.crash();
    gate.open();
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    let error = world.read(&run("a"), Position::START, count(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(world.is_crashed());
    assert_eq!(memory.read_all(&run("a")).await.unwrap().head, pos(1));
    assert_eq!(memory.read_all(&run("b")).await.unwrap().head, pos(0));
}

#[tokio::test]
async fn a_plan_picks_the_nth_call_of_a_method() {
    let world = FaultLayer::new(MemoryWorld::new(), |seen| match (seen.method, seen.nth) {
        (Method::Read, 2) => Fault::Error(ErrorKind::Busy),
        _ => Fault::None,
    });
    let log = run("a");
    world.append(&log, &create(Due::Now, 0)).await.unwrap();
    world.read(&log, Position::START, count(1)).await.unwrap();
    world.read(&log, Position::START, count(1)).await.unwrap_err();
    world.read(&log, Position::START, count(1)).await.unwrap();
}

#[tokio::test]
async fn a_seed_breaks_the_same_calls_each_time_and_about_as_many_as_asked() {
    let broken = |seed: u64| async move {
        let plan = Fault::seeded(seed, vec![(Fault::Lost, 100), (Fault::AnswerLost, 100)]);
        let world = FaultLayer::new(MemoryWorld::new(), plan);
        let mut broken = Vec::new();
        for number in 0..1000 {
            if world.read(&run("a"), Position::START, count(1)).await.is_err() {
                broken.push(number);
            }
        }
        broken
    };
    let first = broken(1).await;
    assert_eq!(first, broken(1).await);
    assert_ne!(first, broken(2).await);
    assert!((120..280).contains(&first.len()), "{} of 1000", first.len());
}

#[tokio::test(start_paused = true)]
async fn every_append_answered_late_twice_or_not_at_all_leaves_one_copy() {
    for seed in 0..64 {
        let memory = MemoryWorld::new();
        let plan = Fault::seeded(
            seed,
            vec![
                (Fault::AnswerLost, 250),
                (Fault::Late, 250),
                (Fault::Twice, 200),
                (Fault::Again, 200),
                (Fault::Lost, 100),
            ],
        );
        let faulty = Arc::new(FaultLayer::new(memory.clone(), plan));
        let bounds = RetryBounds { tries_max: count(64), ..RetryBounds::default() };
        let world = RetryLayer::new(faulty.clone()).bounds(bounds);
        let log = token("token");
        for number in 0..32 {
            let body = format!("record {number}");
            let append = append(number, &[&body], number, By::Outsider);
            let answer = world.append(&log, &append).await.unwrap();
            assert_eq!(answer, committed(number + 1), "seed {seed}");
            if number % 3 == 0 {
                faulty.deliver_kept().await;
            }
        }
        faulty.deliver_kept().await;
        let page = memory.read_all(&log).await.unwrap();
        assert_eq!(page.head, pos(32), "seed {seed}");
        assert!(page.records.iter().map(|record| record.position.get()).eq(1..=32), "seed {seed}");
    }
}
