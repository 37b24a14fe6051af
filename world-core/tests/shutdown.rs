//! The end of a worker: what it lets end, what it gives back, and how long it takes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use workflows::{TokioClock, log_of, outsider};
use world_core::{
    event::Event,
    layer::{Fault, FaultLayer, Gate, Method},
    seal::Key,
    *,
};

const ONE: Workflow<u64, u64> = Workflow::new("one");

/// What a shutdown takes when nothing is waited for, in virtual time.
const AT_ONCE: Duration = Duration::from_millis(50);

fn builder(world: impl World, key: &Key) -> EngineBuilder {
    Engine::builder(world).key(key.clone()).clock(TokioClock::new())
}

/// Counts the bodies that begin, and tells of each.
#[derive(Clone, Default)]
struct Bodies {
    begun: Arc<AtomicU64>,
    told: Arc<Notify>,
}

impl Bodies {
    fn begin(&self) {
        self.begun.fetch_add(1, SeqCst);
        self.told.notify_one();
    }

    fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }
}

/// A workflow of two steps, whose bodies take this long; the first runs at most once.
fn two_steps(
    bodies: &Bodies,
    takes: Duration,
) -> impl Fn(Ctx, u64) -> futures::future::BoxFuture<'static, anyhow::Result<u64>> + Send + Sync + 'static
{
    let bodies = bodies.clone();
    move |mut ctx, input| {
        let bodies = bodies.clone();
        Box::pin(async move {
            let first = ctx.step("first", async || {
                bodies.begin();
                sleep(takes).await;
                anyhow::Ok(input)
            });
            let first = first.at_most_once().await?;
            let second = ctx.step("second", async || {
                bodies.begin();
                sleep(takes).await;
                anyhow::Ok(first + 1)
            });
            Ok(second.await?)
        })
    }
}

/// Lets another worker finish a run, and says what it gives.
async fn finished_elsewhere(
    memory: &MemoryWorld,
    key: &Key,
    run: RunHandle<u64>,
    workflow: impl Fn(Ctx, u64) -> futures::future::BoxFuture<'static, anyhow::Result<u64>>
    + Send
    + Sync
    + 'static,
) -> Result<u64, RunError> {
    let engine = builder(memory.clone(), key).workflow(ONE, workflow).build().unwrap();
    let worker = engine.spawn_worker();
    let output = timeout(Duration::from_secs(600), run.output()).await;
    worker.shutdown().await;
    output.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_at_most_once_body_in_flight_ends_and_the_next_body_begins_elsewhere() {
    let (key, memory, bodies) = (Key::generate(), MemoryWorld::new(), Bodies::default());
    let workflow = || two_steps(&bodies, Duration::from_secs(6));
    let engine = builder(memory.clone(), &key).workflow(ONE, workflow()).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(ONE, 1).await.unwrap();
    bodies.told.notified().await;
    let start = Instant::now();
    let shutdown = worker.shutdown().await;
    let took = start.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
    assert_eq!((shutdown.given_back, bodies.begun()), (1, 1), "{shutdown:?}");
    assert!(shutdown.cut_off.is_empty() && shutdown.still_leased.is_empty(), "{shutdown:?}");
    assert_eq!(finished_elsewhere(&memory, &key, run, workflow()).await.unwrap(), 2);
    assert_eq!(bodies.begun(), 2, "each body ran once");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_last_body_ends_in_the_grace_is_finished() {
    let (key, memory, told) = (Key::generate(), MemoryWorld::new(), Arc::new(Notify::new()));
    let begun = Arc::clone(&told);
    let workflow = move |mut ctx: Ctx, input: u64| {
        let begun = Arc::clone(&begun);
        async move {
            let body = ctx.step("body", async || {
                begun.notify_one();
                sleep(Duration::from_secs(1)).await;
                anyhow::Ok(input)
            });
            anyhow::Ok(body.await?)
        }
    };
    let engine = builder(memory, &key).workflow(ONE, workflow).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(ONE, 7).await.unwrap();
    told.notified().await;
    let shutdown = worker.shutdown().await;
    assert_eq!((shutdown.finished, shutdown.given_back), (1, 0), "{shutdown:?}");
    assert_eq!(run.output().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_announcement_is_in_flight_begins_and_ends() {
    let (key, memory, bodies) = (Key::generate(), MemoryWorld::new(), Bodies::default());
    let held = Gate::new();
    let to_hold = held.clone();
    let world = FaultLayer::new(memory.clone(), move |seen| match seen.method {
        Method::Append if seen.nth == 2 => Fault::AnswerHeld(to_hold.clone()),
        _ => Fault::None,
    });
    let workflow = || two_steps(&bodies, Duration::from_secs(1));
    let engine = builder(world, &key).workflow(ONE, workflow()).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(ONE, 1).await.unwrap();
    held.arrived(1).await; // step_started is in the log, and the worker does not know
    let (shutdown, ()) = tokio::join!(worker.shutdown(), async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(bodies.begun(), 0);
        held.open();
    });
    assert_eq!((shutdown.given_back, bodies.begun()), (1, 1), "{shutdown:?}");
    assert_eq!(finished_elsewhere(&memory, &key, run, workflow()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn runs_that_wait_for_a_timer_or_a_retry_are_given_back_at_once_and_keep_their_times() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let workflow = |mut ctx: Ctx, input: u64| async move {
        if input == 0 {
            ctx.sleep(Duration::from_secs(900)).await?;
        } else {
            let fails = ctx.step_with("fails", async |at: Attempt| match at.number() {
                1 => Err("not yet"),
                number => Ok(u64::from(number)),
            });
            fails.retry(Retry::fixed(2, Duration::from_secs(900))).await?;
        }
        anyhow::Ok(input)
    };
    // Both wait in the worker.
    let waits =
        |world: &MemoryWorld| builder(world.clone(), &key).linger(Duration::from_secs(3600));
    let engine = waits(&memory).workflow(ONE, workflow).build().unwrap();
    let worker = engine.spawn_worker();
    let mut runs = Vec::new();
    for input in 0..2 {
        runs.push(engine.client().start(ONE, input).await.unwrap());
    }
    sleep(Duration::from_secs(10)).await;
    let start = Instant::now();
    let shutdown = worker.shutdown().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(shutdown.given_back, 2, "{shutdown:?}");
    let claim = Claim {
        queues: vec![Queue::new("one").unwrap()],
        ticket: Ticket::from_bytes([7; 16]),
        now: TokioClock::START.plus(Duration::from_secs(600)),
        until: TokioClock::START.plus(Duration::from_secs(601)),
        limit: std::num::NonZeroU32::MAX,
        except: Vec::new(),
    };
    assert_eq!(memory.claim(&claim).await.unwrap(), [], "neither is due yet");
    let other = waits(&memory).workflow(ONE, workflow).build().unwrap();
    let worker = other.spawn_worker();
    for (input, run) in (0..).zip(runs) {
        assert_eq!(timeout(Duration::from_secs(2000), run.output()).await.unwrap().unwrap(), input);
    }
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_room_for_its_body_is_given_back_without_beginning_it() {
    let (key, memory, bodies) = (Key::generate(), MemoryWorld::new(), Bodies::default());
    let workflow = || two_steps(&bodies, Duration::from_secs(1));
    let engine =
        builder(memory.clone(), &key).bodies_max(1).workflow(ONE, workflow()).build().unwrap();
    let worker = engine.spawn_worker();
    let _first = engine.client().start(ONE, 1).await.unwrap();
    let second = engine.client().start(ONE, 1).await.unwrap();
    bodies.told.notified().await;
    let shutdown = worker.shutdown().await;
    assert_eq!((shutdown.given_back, bodies.begun()), (2, 1), "{shutdown:?}");
    let log = log_of(&outsider(memory, &key), second.id()).await;
    assert!(!log.iter().any(|logged| matches!(logged.event, Event::StepCompleted { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_drains_takes_no_run_from_a_client_and_claims_none() {
    let (key, memory, bodies) = (Key::generate(), MemoryWorld::new(), Bodies::default());
    let workflow = || two_steps(&bodies, Duration::from_secs(5));
    let engine = builder(memory.clone(), &key).workflow(ONE, workflow()).build().unwrap();
    let worker = engine.spawn_worker();
    let _first = engine.client().start(ONE, 1).await.unwrap();
    bodies.told.notified().await;
    let (_, second) = tokio::join!(worker.shutdown(), async {
        sleep(Duration::from_millis(1)).await;
        engine.client().start(ONE, 2).await.unwrap()
    });
    assert_eq!(bodies.begun(), 1);
    let log = log_of(&outsider(memory.clone(), &key), second.id()).await;
    assert_eq!(log.len(), 1, "nobody has taken it: {log:#?}");
    assert_eq!(finished_elsewhere(&memory, &key, second, workflow()).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outlasts_the_grace_is_cut_off_and_its_run_goes_on_elsewhere_at_once() {
    let (key, memory, told) = (Key::generate(), MemoryWorld::new(), Arc::new(Notify::new()));
    let begun = Arc::clone(&told);
    let hangs = move |mut ctx: Ctx, _: u64| {
        let begun = Arc::clone(&begun);
        async move {
            let body = ctx.step("body", async || {
                begun.notify_one();
                pending::<anyhow::Result<u64>>().await
            });
            anyhow::Ok(body.await?)
        }
    };
    let engine = builder(memory.clone(), &key).workflow(ONE, hangs).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(ONE, 1).await.unwrap();
    told.notified().await;
    let start = Instant::now();
    let shutdown = worker.shutdown_within(Duration::from_secs(2)).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(2) + AT_ONCE, "{took:?}");
    assert_eq!(shutdown.cut_off, [run.id().clone()], "{shutdown:?}");
    assert!(shutdown.given_back == 0 && shutdown.still_leased.is_empty(), "{shutdown:?}");
    let bodies = Bodies::default();
    let start = Instant::now();
    let ended = two_steps_without_announcement(&bodies);
    assert_eq!(finished_elsewhere(&memory, &key, run, ended).await.unwrap(), 1);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

fn two_steps_without_announcement(
    bodies: &Bodies,
) -> impl Fn(Ctx, u64) -> futures::future::BoxFuture<'static, anyhow::Result<u64>> + Send + Sync + 'static
{
    let bodies = bodies.clone();
    move |mut ctx, input| {
        let bodies = bodies.clone();
        Box::pin(async move {
            let body = ctx.step("body", async || {
                bodies.begin();
                anyhow::Ok(input)
            });
            Ok(body.await?)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_returns_in_its_time_whether_the_store_stalls_or_fails() {
    for stalls in [true, false] {
        let (key, memory, bodies) = (Key::generate(), MemoryWorld::new(), Bodies::default());
        let (gate, down) = (Gate::new(), Arc::new(AtomicU64::new(0)));
        let (held, is_down) = (gate.clone(), Arc::clone(&down));
        let world = FaultLayer::new(memory.clone(), move |_| match is_down.load(SeqCst) {
            0 => Fault::None,
            _ if stalls => Fault::Held(held.clone()),
            _ => Fault::Error(ErrorKind::Unavailable),
        });
        let workflow = two_steps(&bodies, Duration::from_secs(1));
        let engine = builder(world, &key).workflow(ONE, workflow).build().unwrap();
        let worker = engine.spawn_worker();
        let run = engine.client().start(ONE, 1).await.unwrap();
        bodies.told.notified().await;
        down.store(1, SeqCst);
        let start = Instant::now();
        let shutdown = worker.shutdown_within(Duration::from_secs(3)).await;
        let took = start.elapsed();
        assert!(took <= Duration::from_secs(8) + AT_ONCE, "{took:?}");
        assert_eq!(shutdown.cut_off, [run.id().clone()], "{stalls}: {shutdown:?}");
        assert_eq!(shutdown.still_leased, [run.id().clone()], "{stalls}: {shutdown:?}");
    }
}

#[test]
fn a_shutdown_returns_in_its_time_where_a_body_blocks_the_only_thread_of_the_workers() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let (begun, is_begun) = mpsc::channel();
    let blocks = move |mut ctx: Ctx, input: u64| {
        let (begun, gate) = (begun.clone(), Arc::clone(&gate));
        async move {
            let body = ctx.step("body", async || {
                begun.send(()).unwrap();
                let _ = gate.lock().unwrap().recv(); // blocks its thread, as a body must not
                anyhow::Ok(input)
            });
            anyhow::Ok(body.await?)
        }
    };
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .workflow(ONE, blocks)
        .build()
        .unwrap();
    let (worker, run) = runtime.block_on(async {
        let worker = engine.spawn_worker();
        (worker, engine.client().start(ONE, 1).await.unwrap())
    });
    is_begun.recv().unwrap();
    let shutdown = runtime.block_on(worker.shutdown_within(Duration::ZERO));
    assert_eq!(shutdown.cut_off, [run.id().clone()], "{shutdown:?}");
    drop(open);
}
