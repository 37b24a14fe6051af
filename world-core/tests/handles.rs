//! What a handle does with its run: checks it, waits for its end, says where it stands, and what
//! that costs the store.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    future::pending,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use workflows::TokioClock;
use world_core::{
    layer::{CountLayer, Fault, FaultLayer, Method},
    seal::Key,
    *,
};

/// Steps, each of 20 ms, and then an hour's sleep if so asked.
const ORDER: Workflow<(u64, bool), u64> = Workflow::new("order");
const MAIL: Workflow<(u64, bool), u64> = Workflow::new("mail");

const HOUR: Duration = Duration::from_secs(3600);

async fn order(mut ctx: Ctx, (steps, sleeps): (u64, bool)) -> Result<u64, StepError> {
    for _ in 0..steps {
        ctx.step("step", async || {
            sleep(Duration::from_millis(20)).await;
            Ok::<_, StepError>(())
        })
        .await?;
    }
    if sleeps {
        ctx.sleep(HOUR).await?;
    }
    Ok(steps)
}

fn engine(world: impl World, key: &Key) -> Engine {
    Engine::builder(world)
        .key(key.clone())
        .clock(TokioClock::new())
        .workflow(ORDER, order)
        .workflow(MAIL, order)
        .build()
        .unwrap()
}

/// A World that gives one record of a log otherwise than it was written.
#[derive(Debug)]
struct Tampered {
    world: MemoryWorld,
    /// Which one; 0 for none.
    position: AtomicU64,
}

impl Tampered {
    fn new(world: &MemoryWorld, position: u64) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), position: AtomicU64::new(position) })
    }
}

#[async_trait]
impl World for Tampered {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        self.world.append(log, append).await
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let mut page = self.world.read(log, after, limit).await?;
        let position = Position::new(self.position.load(SeqCst));
        for record in page.records.iter_mut().filter(|record| record.position == position) {
            let mut bytes = record.body.as_bytes().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            record.body = Sealed::from_stored(bytes);
        }
        Ok(page)
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.world.claim(claim).await
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.world.renew(lease, until).await
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.world.list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.world.delete(log, head).await
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world.wait(wait).await
    }
}

fn world_error<T: std::fmt::Debug>(answer: Result<T, RunError>) -> Error {
    match answer {
        Err(RunError::World(error)) => error,
        other => panic!("not an error of the World: {other:?}"),
    }
}

// ---- the workflow of a run ----

#[tokio::test(start_paused = true)]
async fn handle_of_another_workflow_reads_cancels_and_answers_nothing() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let engine = engine(memory.clone(), &key);
    let client = engine.client();
    let worker = engine.spawn_worker();
    for (id, sleeps) in [("open", true), ("ended", false)] {
        let started = client.start(ORDER, (1, sleeps)).id(id).await.unwrap();
        if !sleeps {
            started.output().await.unwrap();
        }
        let wrong = client.run(MAIL, id).unwrap();
        for _ in 0..2 {
            let errors = [
                wrong.cancel("oops").await.unwrap_err(),
                wrong.status().await.unwrap_err(),
                wrong.log().await.unwrap_err(),
                world_error(wrong.output().await),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{id}: {error}");
                let wrong = error.wrong_workflow().unwrap();
                assert_eq!((wrong.asked.as_str(), wrong.found.as_str()), ("mail", "order"));
                assert_eq!(wrong.run.as_str(), id);
                let text = error.to_string();
                assert!(text.contains("mail") && text.contains("order"), "{text}");
            }
        }
        let right = client.run(ORDER, id).unwrap();
        let log = right.log().await.unwrap();
        assert!(log.iter().all(|logged| logged.event.kind() != Kind::CANCEL_REQUESTED), "{log:?}");
    }
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn handle_checks_the_workflow_of_its_run_once() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let counts = Arc::new(CountLayer::new(memory.clone()));
    let starter = engine(memory, &key);
    starter.client().start(ORDER, (1, false)).id("a").await.unwrap();
    let run = engine(Arc::clone(&counts), &key).client().run(ORDER, "a").unwrap();
    assert_eq!(counts.counts().reads, 0, "a handle is made without the store");
    run.status().await.unwrap();
    let before = counts.counts();
    run.clone().status().await.unwrap();
    let again = counts.counts().since(&before);
    assert!(again.reads <= 2 && again.records_read <= 1, "{again:?}");
}

// ---- waiting for the end ----

#[tokio::test(start_paused = true)]
async fn output_is_given_to_every_clone_and_as_often_as_asked() {
    let engine = engine(MemoryWorld::new(), &Key::generate());
    let worker = engine.spawn_worker();
    let run = engine.client().start(ORDER, (2, false)).id("a").await.unwrap();
    let asked = [tokio::spawn(run.output()), tokio::spawn(run.clone().output())];
    for output in asked {
        assert_eq!(output.await.unwrap().unwrap(), 2);
    }
    assert_eq!(run.output().await.unwrap(), 2);
    assert_eq!(engine.client().run(ORDER, "a").unwrap().output().await.unwrap(), 2);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn output_outlasts_an_outage_of_the_store() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let broken = FaultLayer::new(memory.clone(), move |seen| match seen.method {
        Method::Read | Method::Wait if is_down.load(SeqCst) => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let worker_engine = engine(memory, &key);
    let run = worker_engine.client().start(ORDER, (3, false)).id("a").await.unwrap();
    let far = engine(broken, &key).client();
    let at_the_first_look = far.run(ORDER, run.id().as_str()).unwrap();
    let in_the_middle = far.run(ORDER, run.id().as_str()).unwrap();
    let waits_already = tokio::spawn(in_the_middle.output());
    sleep(Duration::from_secs(1)).await;
    down.store(true, SeqCst);
    let waits_from_now = tokio::spawn(at_the_first_look.output());
    sleep(Duration::from_secs(600)).await;
    assert!(!waits_already.is_finished() && !waits_from_now.is_finished());
    let worker = worker_engine.spawn_worker();
    run.output().await.unwrap();
    let up = Instant::now();
    down.store(false, SeqCst);
    assert_eq!(waits_already.await.unwrap().unwrap(), 3);
    assert_eq!(waits_from_now.await.unwrap().unwrap(), 3);
    assert!(up.elapsed() < Duration::from_secs(15), "{:?}", up.elapsed());
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn output_of_a_run_under_a_wrong_key_ends_with_that_error() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    engine(memory.clone(), &key).client().start(ORDER, (1, false)).id("a").await.unwrap();
    let wrong = engine(memory, &Key::generate());
    let worker = wrong.spawn_worker();
    let run = wrong.client().run(ORDER, "a").unwrap();
    let expected = run.status().await.unwrap_err();
    let output = timeout(HOUR, run.output()).await.expect("it ends");
    assert_eq!(world_error(output).kind(), expected.kind());
    assert_eq!(expected.kind(), ErrorKind::Key);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn output_of_a_run_whose_log_is_corrupt_ends_with_that_error_wherever_the_record_stands() {
    for position in [1, 2, 4] {
        for is_driven_here in [true, false] {
            let (key, memory) = (Key::generate(), MemoryWorld::new());
            // Four records, and time to go on.
            let before = engine(memory.clone(), &key);
            let worker = before.spawn_worker();
            let run = before.client().start(ORDER, (2, true)).id("a").await.unwrap();
            sleep(Duration::from_secs(10)).await;
            assert_eq!(run.log().await.unwrap().len(), 4);
            worker.shutdown().await;

            let tampered = engine(Tampered::new(&memory, position), &key);
            let worker = is_driven_here.then(|| tampered.spawn_worker());
            let output = timeout(2 * HOUR, tampered.client().run(ORDER, "a").unwrap().output());
            let error = world_error(output.await.expect("it ends"));
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{position}: {error}");
            assert_eq!(error.at_position(), Some(Position::new(position)), "{error}");
            if let Some(worker) = worker {
                worker.shutdown().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn output_of_a_started_run_ends_when_its_log_becomes_unreadable() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let tampered = Tampered::new(&memory, 0);
    let engine = engine(Arc::clone(&tampered), &key);
    let worker = engine.spawn_worker();
    let run = engine.client().start(ORDER, (2, true)).id("a").await.unwrap();
    let output = tokio::spawn(run.output());
    sleep(Duration::from_secs(10)).await;
    worker.shutdown().await;
    tampered.position.store(2, SeqCst);
    let worker = Engine::builder(memory).key(key).clock(TokioClock::new());
    let worker = worker.workflow(MAIL, order).build().unwrap().spawn_worker();
    let error = world_error(timeout(2 * HOUR, output).await.expect("it ends").unwrap());
    assert_eq!((error.kind(), error.at_position()), (ErrorKind::Corrupt, Some(Position::new(2))));
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn output_learns_at_once_that_another_engine_has_ended_a_run_that_this_one_let_go() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let (first, second) = (engine(memory.clone(), &key), engine(memory.clone(), &key));
    let worker = first.spawn_worker();
    let run = first.client().start(ORDER, (1_000, false)).id("a").await.unwrap();
    let output = tokio::spawn(async move { (run.output().await, Instant::now()) });
    sleep(Duration::from_secs(1)).await;
    worker.shutdown().await;
    let other = second.spawn_worker();
    let run = second.client().run(ORDER, "a").unwrap();
    run.cancel("no longer wanted").await.unwrap();
    let cancelled = run.output().await;
    let ended = Instant::now();
    assert!(matches!(cancelled, Err(RunError::Cancelled { .. })), "{cancelled:?}");
    let (output, told) = output.await.unwrap();
    assert!(matches!(output, Err(RunError::Cancelled { .. })), "{output:?}");
    assert!(told - ended < Duration::from_millis(100), "{:?}", told - ended);
    other.shutdown().await;
}

// ---- what it costs ----

/// What a client costs its store that starts a run of some steps, which another engine drives.
async fn watched_from_afar(steps: u64) -> layer::Counts {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let counts = Arc::new(CountLayer::new(memory.clone()));
    let (near, far) = (engine(memory, &key), engine(Arc::clone(&counts), &key));
    let worker = near.spawn_worker();
    let run = far.client().start(ORDER, (steps, false)).await.unwrap();
    assert_eq!(run.output().await.unwrap(), steps);
    worker.shutdown().await;
    counts.counts()
}

#[tokio::test(start_paused = true)]
async fn watching_a_run_of_another_engine_costs_one_read_a_change_at_most() {
    for steps in [0, 1, 5, 100] {
        let counts = watched_from_afar(steps).await;
        // A change is a step or the end; each is one record, read once.
        assert!(counts.reads <= steps + 1, "{steps}: {counts:?}");
        assert!(counts.waits <= steps + 2, "{steps}: {counts:?}");
        assert!(counts.records_read <= steps + 1, "{steps}: {counts:?}");
        assert_eq!(counts.appends, 1, "{steps}: {counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn output_of_an_ended_run_is_read_in_one_look() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let near = engine(memory.clone(), &key);
    let worker = near.spawn_worker();
    for (id, steps, reads) in [("short", 5, 1), ("long", 100, 2)] {
        near.client().start(ORDER, (steps, false)).id(id).await.unwrap().output().await.unwrap();
        let counts = Arc::new(CountLayer::new(memory.clone()));
        let far = engine(Arc::clone(&counts), &key);
        assert_eq!(far.client().run(ORDER, id).unwrap().output().await.unwrap(), steps);
        let counts = counts.counts();
        assert_eq!((counts.reads, counts.waits), (reads, 0), "{id}: {counts:?}");
        assert!(counts.records_read <= 9, "{id}: {counts:?}");
    }
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn output_of_a_run_that_is_driven_here_asks_the_store_nothing_while_it_is() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let counts = Arc::new(CountLayer::new(memory));
    let engine = engine(Arc::clone(&counts), &key);
    let worker = engine.spawn_worker();
    let run = engine.client().start(ORDER, (1_000, false)).await.unwrap();
    assert_eq!(run.output().await.unwrap(), 1_000); // twenty seconds
    assert_eq!(counts.counts().reads, 0, "{:?}", counts.counts());
    worker.shutdown().await;
}

// ---- where a run stands ----

#[tokio::test(start_paused = true)]
async fn status_costs_the_same_for_a_log_of_any_length() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let near = engine(memory.clone(), &key);
    let worker = near.spawn_worker();
    for (id, steps, sleeps) in [("a", 2_000, false), ("b", 2_000, true), ("c", 0, true)] {
        let run = near.client().start(ORDER, (steps, sleeps)).id(id).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        if !sleeps {
            run.output().await.unwrap();
        }
        let counts = Arc::new(CountLayer::new(memory.clone()));
        let run = engine(Arc::clone(&counts), &key).client().run(ORDER, id).unwrap();
        let expected = if sleeps { Status::Open } else { Status::Completed };
        assert_eq!(run.status().await.unwrap(), expected, "{id}");
        let counts = counts.counts();
        assert!(counts.reads <= 2 && counts.records_read <= 9, "{id}: {counts:?}");
    }
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn status_passes_over_requests_to_end_up_to_a_bound() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let old = engine(memory.clone(), &key);
    let worker = old.spawn_worker();
    let run = old.client().start(ORDER, (1, true)).id("a").await.unwrap();
    sleep(Duration::from_secs(10)).await;
    worker.shutdown().await;
    // The next deployment has other code, and is stopped once it has noted that it cannot go on.
    let next = Engine::builder(memory.clone()).key(key.clone()).clock(TokioClock::new());
    let other = async |mut ctx: Ctx, _| {
        ctx.step("other", async || pending::<Result<u64, StepError>>().await).await
    };
    let next = next.workflow(ORDER, other).build().unwrap();
    let worker = next.spawn_worker();
    sleep(Duration::from_secs(2 * 3600)).await;
    worker.shutdown().await;
    let Status::Blocked { why } = run.status().await.unwrap() else { panic!("not blocked") };
    for wanted in [1, 1_000] {
        for _ in 0..wanted {
            run.cancel("please").await.unwrap();
        }
        assert_eq!(run.status().await.unwrap(), Status::Blocked { why: why.clone() });
    }
    for _ in 0..100 {
        run.cancel("please").await.unwrap();
    }
    let counts = Arc::new(CountLayer::new(memory));
    let run = engine(Arc::clone(&counts), &key).client().run(ORDER, "a").unwrap();
    assert_eq!(run.status().await.unwrap(), Status::Open, "beyond the bound nobody looks");
    assert!(counts.counts().records_read < 1_100, "{:?}", counts.counts());
}
