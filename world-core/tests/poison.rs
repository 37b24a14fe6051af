//! Runs that kill their workers, and runs whose code cannot go on with their log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use workflows::*;
use world_core::{
    event::{Event, FailureKind, Logged},
    layer::CountLayer,
    seal::Key,
    *,
};

const DEADLY: Workflow<u64, u64> = Workflow::new("deadly");

/// Workers die one after the other as soon as the deadly body begins; gives the times at which it
/// did.
async fn deaths(memory: &MemoryWorld, key: &Key, poison_after: u32, most: usize) -> Vec<Duration> {
    let (start, clock) = (Instant::now(), TokioClock::new());
    let mut times = Vec::new();
    for round in 0..most {
        let begun = Arc::new(Notify::new());
        let told = Arc::clone(&begun);
        let deadly = move |mut ctx: Ctx, _: u64| {
            let told = Arc::clone(&told);
            async move {
                let body = async || {
                    told.notify_one();
                    pending::<Outcome<u64>>().await
                };
                ctx.step("kills", body).await
            }
        };
        let builder = Engine::builder(memory.clone()).key(key.clone()).clock(clock);
        let engine = register(builder.poison_after(poison_after).workflow(DEADLY, deadly));
        let engine = engine.build().unwrap();
        let worker = engine.spawn_worker();
        let client = engine.client();
        if round == 0 {
            client.start(DEADLY, 0).id("deadly").await.unwrap();
        }
        let ended = client.run(DEADLY, "deadly").unwrap().output();
        tokio::select! {
            () = begun.notified() => times.push(start.elapsed()),
            ended = ended => {
                let Err(RunError::Failed { run, failure }) = ended else { panic!("{ended:?}") };
                assert_eq!((run.as_str(), failure.kind), ("deadly", FailureKind::Poisoned));
                assert!(failure.message.contains("5 workers"), "{failure}");
                worker.shutdown().await;
                return times;
            }
        }
        worker.abort();
        sleep(Duration::from_millis(1)).await;
    }
    times
}

#[tokio::test(start_paused = true)]
async fn a_run_that_kills_its_workers_alone_slows_down_by_itself() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let times = deaths(&memory, &key, 0, 9).await;
    let waits: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    // Two deaths prove nothing. Alone it is 15 s, then doubled with each death up to 5 minutes; a
    // worker looks once a second.
    for (wait, lease) in waits.iter().zip([15, 15, 15, 30, 60, 120, 240, 300]) {
        assert!((lease..lease + 3).contains(wait), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_killed_five_workers_alone_ends_as_poisoned_if_that_was_asked_for() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let times = deaths(&memory, &key, 5, 9).await;
    assert_eq!(times.len(), 2 + 5, "{times:?}");
    let log = log_of(&outsider(memory, &key), &RunId::new("deadly").unwrap()).await;
    assert_eq!(log.len(), 1 + 5 + 1, "{log:#?}");
}

const HEALED: Workflow<u64, u64> = Workflow::new("healed");

/// What the code of a deployment does after its first two steps.
#[derive(Clone, Copy, Debug)]
enum Code {
    Good,
    /// Its first step has another name.
    Renamed,
    /// So it has, and another one.
    RenamedAgain,
    Panics,
    ReadsText,
}

async fn healed(mut ctx: Ctx, input: u64, code: Code) -> Outcome<u64> {
    let name = match code {
        Code::Renamed => "other",
        Code::RenamedAgain => "another",
        _ => "first",
    };
    let first = match code {
        Code::ReadsText => {
            let text: String = ctx.step(name, async || Ok::<_, StepError>(String::new())).await?;
            text.len() as u64
        }
        _ => ctx.step(name, async || work(input, 1).await).await?,
    };
    let second = ctx.step("second", async || work(input, 2).await).await?;
    assert!(!matches!(code, Code::Panics), "canary-in-a-panic");
    ctx.sleep(Duration::from_secs(22)).await?;
    let third = ctx.step("third", async || work(input, 3).await).await?;
    Ok(first ^ second ^ third)
}

fn deployed(world: impl World, key: &Key, clock: TokioClock, code: Code) -> Engine {
    let healed = move |ctx, input| healed(ctx, input, code);
    let builder = Engine::builder(world).key(key.clone()).clock(clock);
    register(builder.workflow(HEALED, healed)).build().unwrap()
}

fn notes(log: &[Logged]) -> Vec<String> {
    log.iter()
        .filter_map(|logged| match &logged.event {
            Event::RunBlocked { why } => Some(why.clone()),
            _ => None,
        })
        .collect()
}

/// A run is begun by good code, then deployments follow each other; gives what was noted and how
/// often the run was claimed.
async fn deployments(codes: &[(Code, u64)]) -> (Vec<String>, u64) {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let world = Arc::new(CountLayer::new(memory.clone()));
    let clock = TokioClock::new();
    let id = RunId::new("run").unwrap();
    let good = deployed(memory.clone(), &key, clock, Code::Good);
    let worker = good.spawn_worker();
    let wanted = good.client().start(HEALED, 5).id("undisturbed").await.unwrap();
    let wanted = wanted.output().await.unwrap();
    good.client().start(HEALED, 5).id("run").await.unwrap();
    sleep(Duration::from_secs(20)).await;
    worker.shutdown().await;
    for (code, seconds) in codes {
        let engine = deployed(Arc::clone(&world), &key, clock, *code);
        let worker = engine.spawn_worker();
        let healthy = engine.client().start(CHAIN, 5).await.unwrap();
        healthy.output().await.unwrap();
        sleep(Duration::from_secs(*seconds)).await;
        worker.shutdown().await;
    }
    let claims = world.counts().leases;
    let log = log_of(&outsider(memory.clone(), &key), &id).await;
    let noted = notes(&log);
    let good = deployed(memory.clone(), &key, clock, Code::Good);
    let worker = good.spawn_worker();
    let output =
        timeout(Duration::from_secs(2_000), good.client().run(HEALED, "run").unwrap().output());
    let output = output.await;
    let log = log_of(&outsider(memory, &key), &id).await;
    assert_eq!(output.unwrap_or_else(|_| panic!("{log:#?}")).unwrap(), wanted);
    assert_eq!(notes(&log), noted, "more notes came");
    worker.shutdown().await;
    (noted, claims)
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_code_diverged_is_blocked_once_rests_longer_and_longer_and_heals() {
    let (noted, claims) = deployments(&[(Code::Renamed, 2_000)]).await;
    assert_eq!(noted.len(), 1, "{noted:#?}");
    for part in
        ["position 2", "step_completed first", "never asked for it", "open: other", "deploy"]
    {
        assert!(noted[0].contains(part), "{part} in {}", noted[0]);
    }
    assert!(claims < 20, "{claims} claims in 2000 s");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_code_panics_is_blocked_once_and_heals() {
    let (noted, claims) = deployments(&[(Code::Panics, 500), (Code::Panics, 500)]).await;
    assert_eq!(noted.len(), 1, "{noted:#?}");
    assert!(noted[0].contains("the workflow panicked: canary-in-a-panic"), "{}", noted[0]);
    assert!(claims < 20, "{claims} claims in 1000 s");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_result_no_longer_decodes_is_blocked_and_heals() {
    let (noted, _) = deployments(&[(Code::ReadsText, 50)]).await;
    assert_eq!(noted.len(), 1, "{noted:#?}");
    for part in ["position 2", "first", "alloc::string::String"] {
        assert!(noted[0].contains(part), "{part} in {}", noted[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_reason_is_noted_once_however_often_deployments_take_turns() {
    let codes: Vec<_> = (0..6)
        .flat_map(|_| [(Code::Renamed, 40), (Code::RenamedAgain, 40), (Code::Panics, 40)])
        .collect();
    let (noted, _) = deployments(&codes).await;
    assert_eq!(noted.len(), 3, "{noted:#?}");
}
