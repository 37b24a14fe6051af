//! Runs whose store answers late, twice, wrongly or not at all end as if nothing had happened.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use workflows::*;
use world_core::{
    layer::{Fault, FaultLayer, Gate, Method, Seen},
    seal::Key,
    *,
};

/// Runs a workflow on a World that breaks as planned, and checks what became of it.
async fn survives(
    workflow: Workflow<u64, u64>,
    wanted: &Told,
    residency: Residency,
    what: String,
    plan: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static,
) -> u64 {
    let _trying = Trying(format!("{} {residency:?}: {what}", workflow.name()));
    let key = Key::generate();
    let memory = MemoryWorld::new();
    let world = Arc::new(FaultLayer::new(Least(memory.clone()), plan));
    let builder = Engine::builder(Arc::clone(&world)).key(key.clone()).clock(TokioClock::new());
    let engine = register(builder.residency(residency)).build().unwrap();
    let worker = engine.spawn_worker();
    // What is kept is delivered again and again, whatever was written since.
    let kept = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            loop {
                sleep(Duration::from_millis(7)).await;
                world.deliver_kept().await;
            }
        }
    });
    let id = RunId::new("run").unwrap();
    let client = engine.client();
    for _ in 0..20 {
        // A client that is told nothing asks again.
        match client.start(workflow, 5).id(id.as_str()).await {
            Ok(_) => break,
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Unavailable),
                "{error}"
            ),
        }
    }
    let look = outsider(memory.clone(), &key);
    ends(&look, &id).await;
    world.deliver_kept().await;
    kept.abort();
    worker.abort();
    let log = log_of(&look, &id).await;
    assert_eq!(told(&log), *wanted, "{log:#?}");
    replays_cold(&memory, &key, &id, &log).await;
    world.calls()
}

/// Waits until a run has ended; one that is blocked or takes too long has failed.
async fn ends(look: &Client, id: &RunId) {
    for _ in 0..200 {
        let handle = handle_of(look, id).await;
        if timeout(Duration::from_secs(60), handle.output()).await.is_ok() {
            return;
        }
        let status = handle_of(look, id).await.status().await.unwrap();
        assert_eq!(status, Status::Open, "{:#?}", log_of(look, id).await);
    }
    panic!("it never ends: {:#?}", log_of(look, id).await);
}

fn gate_for(delay: Duration) -> Gate {
    let gate = Gate::new();
    let opens = gate.clone();
    tokio::spawn(async move {
        opens.arrived(1).await;
        sleep(delay).await;
        opens.open();
    });
    gate
}

type Break = fn() -> Fault;

/// What can become of an append.
const BREAKS: [(&str, Break); 9] = [
    ("answer lost", || Fault::AnswerLost),
    ("twice", || Fault::Twice),
    ("late", || Fault::Late),
    ("again", || Fault::Again),
    ("lost", || Fault::Lost),
    ("unavailable", || Fault::Error(ErrorKind::Unavailable)),
    ("held for 100 ms", || Fault::Held(gate_for(Duration::from_millis(100)))),
    ("answered after 100 ms", || Fault::AnswerHeld(gate_for(Duration::from_millis(100)))),
    ("answered after 40 s", || Fault::AnswerHeld(gate_for(Duration::from_secs(40)))),
];

#[tokio::test(start_paused = true)]
async fn any_one_append_may_be_late_doubled_or_lost() {
    for workflow in ALL {
        let wanted = undisturbed(workflow, 5).await;
        for (number, (name, fault)) in (0_u64..).zip(BREAKS) {
            for nth in 1..=24 {
                let residency = match (number + nth) % 3 {
                    0 => Residency::Replay,
                    _ => Residency::Resident,
                };
                let what = format!("append {nth} {name}");
                let hit = Arc::new(Mutex::new(false));
                let told = Arc::clone(&hit);
                survives(workflow, &wanted, residency, what, move |seen| {
                    if seen.method == Method::Append && seen.nth == nth {
                        *told.lock().unwrap() = true;
                        return fault();
                    }
                    Fault::None
                })
                .await;
                if !*hit.lock().unwrap() {
                    break; // it makes fewer appends
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_append_may_be_late_doubled_or_lost_the_first_time() {
    for workflow in ALL {
        let wanted = undisturbed(workflow, 5).await;
        for (name, fault) in BREAKS {
            let tried = Mutex::new(HashMap::new());
            let what = format!("each append {name}");
            survives(workflow, &wanted, Residency::Resident, what, move |seen| {
                let Some(append) = seen.append else { return Fault::None };
                let mut tried = tried.lock().unwrap();
                let first = append.records.first().map(|record| record.body.clone());
                let times = tried.entry((append.expected, first)).or_insert(0);
                *times += 1;
                if *times == 1 { fault() } else { Fault::None }
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_one_call_may_fail() {
    for workflow in ALL {
        let wanted = undisturbed(workflow, 5).await;
        for kind in [ErrorKind::Unavailable, ErrorKind::Unknown] {
            for number in 1..=40 {
                let what = format!("call {number} {kind}");
                let calls = survives(workflow, &wanted, Residency::Resident, what, move |seen| {
                    if seen.number == number { Fault::Error(kind) } else { Fault::None }
                })
                .await;
                if calls < number {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_second_or_third_call_of_a_method_may_fail() {
    for workflow in ALL {
        let wanted = undisturbed(workflow, 5).await;
        for every in [2, 3, 5] {
            for fault in [Fault::Error(ErrorKind::Unavailable), Fault::AnswerLost, Fault::Lost] {
                let what = format!("call {every}n: {fault:?}");
                survives(workflow, &wanted, Residency::Resident, what, move |seen| {
                    // Claims might then be lost whenever there is something to claim.
                    let is_hit = seen.method != Method::Claim && seen.nth.is_multiple_of(every);
                    if is_hit { fault.clone() } else { Fault::None }
                })
                .await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_may_go_wrong_at_random() {
    let first: u64 = std::env::var("WORLD_SEED").map_or(1, |seed| seed.parse().unwrap());
    for (number, workflow) in ALL.into_iter().enumerate() {
        let wanted = undisturbed(workflow, 5).await;
        for seed in first..first + 24 {
            let seed = mix(seed) ^ number as u64;
            let residency =
                if seed.is_multiple_of(2) { Residency::Resident } else { Residency::Replay };
            let plan = Fault::seeded(
                seed,
                vec![
                    (Fault::AnswerLost, 80),
                    (Fault::Late, 80),
                    (Fault::Twice, 60),
                    (Fault::Again, 60),
                    (Fault::Lost, 80),
                    (Fault::Error(ErrorKind::Unavailable), 40),
                ],
            );
            survives(workflow, &wanted, residency, format!("seed {seed}"), plan).await;
        }
    }
}
