//! Runs whose workers die, beside runs that have nothing to do with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use workflows::*;
use world_core::{
    event::{Event, FailureKind, Logged},
    seal::Key,
    *,
};

const KILLER: Workflow<u64, u64> = Workflow::new("killer");
const GOOD: Workflow<u64, u64> = Workflow::new("good");

const SECOND: Duration = Duration::from_secs(1);

/// A store, and the processes that work on it one after the other.
struct Service {
    memory: MemoryWorld,
    key: Key,
    clock: TokioClock,
    lease: Duration,
    poison_after: u32,
    /// How long the body of an innocent run takes.
    body: Duration,
    /// The numbers of the attempts that the killer's body began.
    attempts: Arc<Mutex<Vec<u32>>>,
}

/// One process, which the body of a killer ends.
struct Process {
    engine: Engine,
    worker: Worker,
    killed: Arc<Notify>,
    /// An innocent body begins.
    begun: Arc<Notify>,
}

impl Service {
    fn new(lease: Duration, poison_after: u32, body: Duration) -> Self {
        Self {
            memory: MemoryWorld::new(),
            key: Key::generate(),
            clock: TokioClock::new(),
            lease,
            poison_after,
            body,
            attempts: Arc::default(),
        }
    }

    fn engine(&self, killed: &Arc<Notify>, begun: &Arc<Notify>) -> Engine {
        let (killed, attempts, body) = (Arc::clone(killed), Arc::clone(&self.attempts), self.body);
        let killer = move |mut ctx: Ctx, _: u64| {
            let (killed, attempts) = (Arc::clone(&killed), Arc::clone(&attempts));
            async move {
                let kills = async |attempt: Attempt| {
                    attempts.lock().unwrap().push(attempt.number());
                    sleep(Duration::from_millis(100)).await;
                    killed.notify_one();
                    pending::<Outcome<u64>>().await
                };
                ctx.step_with("kills", kills).await
            }
        };
        let begun = Arc::clone(begun);
        let good = move |mut ctx: Ctx, n: u64| {
            let begun = Arc::clone(&begun);
            async move {
                let work = async || {
                    begun.notify_one();
                    sleep(body).await;
                    Ok::<_, StepError>(n)
                };
                ctx.step("work", work).await
            }
        };
        let builder = Engine::builder(self.memory.clone()).key(self.key.clone()).clock(self.clock);
        let builder = builder.lease(self.lease).poison_after(self.poison_after);
        builder.workflow(KILLER, killer).workflow(GOOD, good).build().unwrap()
    }

    fn process(&self) -> Process {
        let (killed, begun) = (Arc::default(), Arc::default());
        let engine = self.engine(&killed, &begun);
        Process { worker: engine.spawn_worker(), engine, killed, begun }
    }

    fn client(&self) -> Client {
        self.engine(&Arc::default(), &Arc::default()).client()
    }

    /// Starts innocent runs, and no worker.
    async fn start_good(&self, runs: u64) -> Vec<RunId> {
        let client = self.client();
        let start = |n| client.start(GOOD, n).id(format!("good-{n}")).into_future();
        let started = join_all((0..runs).map(start)).await;
        started.into_iter().map(|run| run.unwrap().id().clone()).collect()
    }

    async fn log(&self, run: &RunId) -> Vec<Logged> {
        log_of(&outsider(self.memory.clone(), &self.key), run).await
    }

    /// Processes follow each other, each until it is killed, until these runs have ended or the
    /// time is up; gives how many were killed.
    async fn run_until_ended(&self, runs: &[RunId], at_most: Duration, pause: Duration) -> u32 {
        let mut deaths = 0;
        let begun = Instant::now();
        while begun.elapsed() < at_most {
            let process = self.process();
            let ended = join_all(runs.iter().map(|run| async {
                let client = process.engine.client();
                let _ = client.run(workflow_of(run), run.as_str()).unwrap().output().await;
            }));
            tokio::select! {
                _ = ended => {
                    process.worker.abort();
                    return deaths;
                }
                () = process.killed.notified() => {
                    process.worker.abort();
                    deaths += 1;
                }
                () = sleep(at_most) => process.worker.abort(),
            }
            sleep(pause).await;
        }
        panic!("after {:?} and {deaths} deaths: {}", begun.elapsed(), self.ended(runs).await);
    }

    /// How many of the runs have ended how.
    async fn ended(&self, runs: &[RunId]) -> String {
        let mut statuses = std::collections::BTreeMap::<String, u32>::new();
        for run in runs {
            let run = self.client().run(workflow_of(run), run.as_str()).unwrap();
            let status = run.status().await.unwrap();
            *statuses.entry(format!("{status:?}")).or_default() += 1;
        }
        format!("{statuses:?}")
    }
}

/// The workflow of a run, which its handle must name.
fn workflow_of(run: &RunId) -> Workflow<u64, u64> {
    if run.as_str() == "killer" { KILLER } else { GOOD }
}

/// What the notes of a run say: round, alone, deaths.
fn notes(log: &[Logged]) -> Vec<(u32, u32, u32)> {
    let note = |logged: &Logged| match logged.event {
        Event::RunIsolated { deaths, round, alone } => Some((round, alone, deaths)),
        _ => None,
    };
    log.iter().filter_map(note).collect()
}

async fn forty_innocents_beside_a_killer(poison_after: u32) -> (Service, RunId, u32) {
    let service = Service::new(SECOND, poison_after, 2 * SECOND);
    let mut good = service.start_good(20).await;
    let killer = service.client().start(KILLER, 0).id("killer").await.unwrap().id().clone();
    let later = service.client();
    for n in 20..40 {
        good.push(later.start(GOOD, n).id(format!("good-{n}")).await.unwrap().id().clone());
    }
    let deaths = service.run_until_ended(&good, 60 * SECOND, Duration::from_millis(1)).await;
    assert_eq!(service.ended(&good).await, r#"{"Completed": 40}"#);
    (service, killer, deaths)
}

#[tokio::test(start_paused = true)]
async fn forty_innocent_runs_beside_a_killer_end_within_a_minute() {
    let (service, killer, deaths) = forty_innocents_beside_a_killer(0).await;
    assert!(deaths <= 6, "{deaths} deaths");
    let log = service.log(&killer).await;
    assert!(log.iter().all(|logged| !logged.event.is_end()), "{log:#?}");
}

#[tokio::test(start_paused = true)]
async fn poison_after_three_ends_the_killer_and_none_of_forty_innocent_runs() {
    let (service, killer, _) = forty_innocents_beside_a_killer(3).await;
    service.run_until_ended(std::slice::from_ref(&killer), 300 * SECOND, SECOND).await;
    let log = service.log(&killer).await;
    let Some(Event::RunFailed { failure }) = log.last().map(|last| &last.event) else {
        panic!("{log:#?}");
    };
    assert_eq!(failure.kind, FailureKind::Poisoned);
    let notes = notes(&log);
    assert_eq!(notes.last().map(|(_, alone, _)| *alone), Some(3), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_an_attempt_counts_every_worker_that_died_with_the_run() {
    let service = Service::new(SECOND, 3, SECOND);
    let killer = service.client().start(KILLER, 0).id("killer").await.unwrap().id().clone();
    let deaths = service.run_until_ended(std::slice::from_ref(&killer), 300 * SECOND, SECOND).await;
    assert_eq!(deaths, 5, "two that prove nothing, and three alone");
    assert_eq!(*service.attempts.lock().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(notes(&service.log(&killer).await), [(1, 1, 2), (2, 2, 3), (3, 3, 4)]);
}

/// A healthy process is killed so often, each time this long after a body has begun in it, and
/// begins again after a second.
async fn kill_healthy(runs: u64, body: Duration, kills: &[Duration]) -> String {
    let service = Service::new(2 * SECOND, 3, body);
    let good = service.start_good(runs).await;
    for lived in kills {
        let process = service.process();
        timeout(60 * SECOND, process.begun.notified()).await.unwrap();
        sleep(*lived).await;
        process.worker.abort();
        sleep(SECOND).await;
    }
    assert_eq!(service.run_until_ended(&good, 600 * SECOND, SECOND).await, 0);
    service.ended(&good).await
}

#[tokio::test(start_paused = true)]
async fn three_kills_of_a_healthy_process_end_none_of_its_runs() {
    for lived in [0, 1, 100, 199] {
        let kills = [Duration::from_millis(lived); 3];
        let ended = kill_healthy(40, Duration::from_millis(200), &kills).await;
        assert_eq!(ended, r#"{"Completed": 40}"#, "killed after {lived} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_body_alone_survives_two_deaths_that_prove_nothing_and_two_that_may() {
    let kills = [3 * SECOND; 4];
    assert_eq!(kill_healthy(1, 9 * SECOND, &kills).await, r#"{"Completed": 1}"#);
    assert_eq!(kill_healthy(5, 9 * SECOND, &[3 * SECOND; 3]).await, r#"{"Completed": 5}"#);
}

/// Two processes die while they have this run; gives the third.
async fn third_process(service: &Service) -> Process {
    for _ in 0..2 {
        let process = service.process();
        tokio::select! {
            () = process.begun.notified() => {}
            () = process.killed.notified() => {}
        }
        process.worker.abort();
    }
    service.process()
}

#[tokio::test(start_paused = true)]
async fn what_is_started_while_a_suspect_is_alone_waits_for_a_lease_at_most() {
    let service = Service::new(2 * SECOND, 0, 20 * SECOND);
    let suspect = service.start_good(1).await.remove(0);
    let process = third_process(&service).await;
    process.begun.notified().await;
    let begun = Instant::now();
    let client = process.engine.client();
    let other = client.start(GOOD, 7).id("other").await.unwrap();
    sleep(SECOND).await;
    let waiting = client.list(&List::all(std::num::NonZeroU32::MAX)).await.unwrap().runs;
    let other_meta = waiting.iter().find(|meta| meta.run == *other.id()).unwrap();
    assert_eq!(other_meta.phase, Phase::Ready, "nobody drives it beside the suspect");
    process.begun.notified().await;
    let waited = begun.elapsed();
    assert!((2 * SECOND..4 * SECOND).contains(&waited), "{waited:?}");
    assert_eq!(client.run(GOOD, suspect.as_str()).unwrap().output().await.unwrap(), 0);
    assert_eq!(other.output().await.unwrap(), 7);
    assert_eq!(notes(&service.log(&suspect).await), [(1, 1, 2)]);
    process.worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_for_the_progress_of_the_others_and_not_for_ever() {
    let service = Service::new(2 * SECOND, 0, SECOND);
    let suspect = service.start_good(1).await.remove(0);
    let process = third_process(&service).await;
    // A body that never ends, begun before the lease of the suspect has run out.
    let killer = process.engine.client().start(KILLER, 0).await.unwrap();
    let before = Instant::now();
    assert_eq!(
        process.engine.client().run(GOOD, suspect.as_str()).unwrap().output().await.unwrap(),
        0
    );
    let waited = before.elapsed();
    assert!((60 * SECOND..70 * SECOND).contains(&waited), "{waited:?}");
    // It was not alone, so a death would have proved nothing.
    assert_eq!(notes(&service.log(&suspect).await), [(1, 0, 2)]);
    assert!(service.log(killer.id()).await.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_death_while_a_suspect_waits_is_no_attempt_of_its_step() {
    let service = Service::new(2 * SECOND, 0, 20 * SECOND);
    let suspect = service.start_good(1).await.remove(0);
    let mut process = third_process(&service).await;
    for n in 0..10 {
        // The suspect waits for this one, and the process dies before its body ends.
        process.engine.client().start(GOOD, n).await.unwrap();
        process.begun.notified().await;
        sleep(3 * SECOND).await;
        process.worker.abort();
        process = service.process();
    }
    let ended = process.engine.client().run(GOOD, suspect.as_str()).unwrap().output().await;
    assert_eq!(ended.unwrap(), 0);
    process.worker.abort();
    let log = service.log(&suspect).await;
    assert_eq!(notes(&log).first().map(|(_, _, deaths)| *deaths), Some(2), "{log:#?}");
    let attempts = log.iter().find_map(|logged| match logged.event {
        Event::StepCompleted { attempts, .. } => Some(attempts),
        _ => None,
    });
    assert_eq!(attempts, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_end_does_not_clear_a_suspect() {
    let service = Service::new(SECOND, 0, SECOND);
    let killer = service.client().start(KILLER, 0).id("killer").await.unwrap();
    let third = third_process(&service).await;
    third.killed.notified().await;
    third.worker.abort();
    killer.cancel("enough").await.unwrap();
    let fourth = service.process();
    assert!(matches!(killer.output().await, Err(RunError::Cancelled { .. })));
    fourth.worker.shutdown().await;
    let log = service.log(&RunId::new("killer").unwrap()).await;
    assert_eq!(notes(&log), [(1, 1, 2), (2, 2, 3)], "{log:#?}");
}
