//! Appends in flight while bodies run and others append.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod heard;
mod workflows;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use heard::Heard;
use tokio::time::{sleep, timeout};
use workflows::*;
use world_core::{
    event::{Event, Logged},
    layer::{CountLayer, Fault, FaultLayer, Gate, Method},
    seal::Key,
    *,
};

const MIXED: Workflow<u64, Vec<Option<u64>>> = Workflow::new("mixed");

/// Twelve arms of two steps; a cancellation reaches every other one.
async fn mixed(mut ctx: Ctx, seed: u64) -> Outcome<Vec<Option<u64>>> {
    let mut shield = ctx.shield();
    let arms: Vec<_> = (0..12_u64)
        .map(|n| (n, if n % 2 == 0 { shield.branch("arm") } else { ctx.branch("arm") }))
        .collect();
    let arms = arms.into_iter().map(|(n, mut ctx)| async move {
        let mut last = None;
        for number in 0..2 {
            let pause = Duration::from_millis(mix(seed ^ mix(n * 2 + number)) % 60);
            let step = ctx.step("step", async || {
                sleep(pause).await;
                Ok::<_, StepError>(n * 2 + number)
            });
            match step.await {
                Ok(value) => last = Some(value),
                Err(StepError::Cancelled) => return Ok(last),
                Err(other) => return Err(other),
            }
        }
        Ok(last)
    });
    join_all(arms).await.into_iter().collect()
}

fn completions(log: &[Logged]) -> Vec<String> {
    let mut keys: Vec<_> = log
        .iter()
        .filter(|logged| matches!(logged.event, Event::StepCompleted { .. }))
        .filter_map(|logged| logged.event.key().map(ToString::to_string))
        .collect();
    keys.sort();
    keys
}

/// What one seed's run went through.
struct Seen {
    conflicts: u64,
    cancels: usize,
}

/// Holds every other append, or its answer, while bodies go on and outsiders append.
async fn with_held_appends(seed: u64) -> Seen {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let counted = Arc::new(CountLayer::new(memory.clone()));
    let gates: Vec<Gate> = (0..6).map(|_| Gate::new()).collect();
    let (held, next) = (gates.clone(), AtomicUsize::new(0));
    let world = FaultLayer::new(Arc::clone(&counted), move |seen| {
        if seen.method != Method::Append || seen.nth < 2 {
            return Fault::None;
        }
        let n = next.fetch_add(1, SeqCst);
        match held.get(n / 2) {
            Some(gate) if n.is_multiple_of(2) => {
                if mix(seed ^ n as u64).is_multiple_of(3) {
                    Fault::AnswerHeld(gate.clone())
                } else {
                    Fault::Held(gate.clone())
                }
            }
            _ => Fault::None,
        }
    });
    let residency = if seed.is_multiple_of(4) { Residency::Replay } else { Residency::Resident };
    let engine = Engine::builder(world)
        .key(key.clone())
        .clock(TokioClock::new())
        .residency(residency)
        .workflow(MIXED, mixed)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(MIXED, seed).await.unwrap();
    let id = run.id().clone();
    let look = outsider(memory.clone(), &key);
    let mut cancels = 0;
    let output = tokio::spawn(run.output());
    for (n, gate) in (0_u64..).zip(&gates) {
        tokio::select! {
            () = gate.arrived(1) => {}
            () = sleep(Duration::from_secs(1)) => break, // it makes no more appends
        }
        // Bodies finish meanwhile; the lease is renewed at the longest wait.
        let wait = [0, 5, 30, 100, 8_000][(mix(seed ^ mix(n)) % 5) as usize];
        sleep(Duration::from_millis(wait)).await;
        for _ in 0..mix(seed.wrapping_mul(31) ^ n) % 3 {
            match look.run(MIXED, id.as_str()).unwrap().cancel("from outside").await {
                Ok(()) => cancels += 1,
                // It is the answer to the end that is held.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Ended, "{error}"),
            }
        }
        gate.open();
    }
    gates.iter().for_each(Gate::open);
    let output = timeout(Duration::from_secs(600), output).await;
    let log = log_of(&look, &id).await;
    let output = output.unwrap_or_else(|_| panic!("it never ends: {log:#?}"));
    let output = output.unwrap().unwrap_or_else(|error| panic!("{error}: {log:#?}"));
    worker.shutdown().await;
    check(seed, cancels, &output, &log);
    cold(&memory, &key, &log, &id, &output).await;
    Seen { conflicts: counted.counts().conflicts, cancels }
}

/// Holds the log against what the workflow must have done.
fn check(seed: u64, cancels: usize, output: &[Option<u64>], log: &[Logged]) {
    let _ = told(log);
    let asked = log.iter().filter(|l| matches!(l.event, Event::CancelRequested { .. })).count();
    assert_eq!(asked, cancels, "an outsider's record is lost or doubled: {log:#?}");
    let done = completions(log);
    for (n, last) in (0_u64..).zip(output) {
        if n % 2 == 0 || cancels == 0 {
            assert_eq!(*last, Some(n * 2 + 1), "seed {seed}, arm {n}: {log:#?}");
        }
        // What the output says was done stands in the log.
        let branch = if n % 2 == 0 { "shield/arm" } else { "arm" };
        let branch = match n / 2 {
            0 => branch.to_owned(),
            n => format!("{branch}#{}", n + 1),
        };
        for number in 0..last.map_or(0, |last| last - n * 2 + 1) {
            let step = if number == 0 { "step" } else { "step#2" };
            let key = format!("{branch}/{step}");
            assert!(done.contains(&key), "seed {seed}: no {key} in {done:?}");
        }
    }
}

/// The log without its end leads a new engine to the same end.
async fn cold(world: &MemoryWorld, key: &Key, log: &[Logged], id: &RunId, output: &[Option<u64>]) {
    let copy = without_end(world, key, id).await;
    let engine = Engine::builder(copy)
        .key(key.clone())
        .clock(TokioClock::new())
        .workflow(MIXED, mixed)
        .build()
        .unwrap();
    let (heard, guard) = Heard::listen();
    let worker = {
        let _guard = guard;
        let worker = engine.spawn_worker();
        let again = engine.client().run(MIXED, id.as_str()).unwrap().output().await.unwrap();
        assert_eq!(again, output, "{log:#?}");
        worker
    };
    worker.shutdown().await;
    let lines = heard.lines();
    let is_warning = |line: &&String| line.starts_with("WARN") || line.starts_with("ERROR");
    assert_eq!(lines.iter().find(is_warning), None, "{log:#?}");
    let again = engine.client().run(MIXED, id.as_str()).unwrap().log().await.unwrap();
    assert_eq!(again.len(), log.len(), "a replay has written: {again:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_held_append_that_meets_others_is_sealed_again_and_nothing_is_lost_or_doubled() {
    let first: u64 = std::env::var("WORLD_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (mut conflicts, mut cancels) = (0, 0);
    for seed in first..first + 300 {
        let trying = Trying(format!("seed {seed}"));
        let seen = with_held_appends(seed).await;
        drop(trying);
        conflicts += seen.conflicts;
        cancels += seen.cancels;
    }
    assert!(conflicts > 200 && cancels > 400, "{conflicts} conflicts, {cancels} cancels");
}
