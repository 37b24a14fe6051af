//! Others append to a run's log without end while its owner writes.
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
use tokio::{sync::Notify, time::timeout};
use workflows::{TokioClock, outsider};
use world_core::{seal::Key, *};

const MANY: Workflow<u64, u64> = Workflow::new("many");

/// A World in which somebody else appends to the run before the owner does, but for every so many
/// tries of the owner.
#[derive(Debug)]
struct Crowded {
    world: MemoryWorld,
    others: Client,
    every: u64,
    tries: AtomicU64,
    on: AtomicBool,
    /// The most tries that one of the owner's appends has taken.
    most: AtomicU64,
    row: AtomicU64,
}

impl Crowded {
    fn new(world: &MemoryWorld, key: &Key, every: u64) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            others: outsider(world.clone(), key),
            every,
            tries: AtomicU64::new(0),
            on: AtomicBool::new(true),
            most: AtomicU64::new(0),
            row: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl World for Crowded {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        if let (LogId::Run(run), By::Owner { .. }) = (log, &append.by) {
            let nth = self.tries.fetch_add(1, SeqCst) + 1;
            if self.on.load(SeqCst) && !nth.is_multiple_of(self.every) {
                let run = self.others.run(MANY, run.as_str())?;
                let _ = run.cancel("again").await; // it may have ended
            }
        }
        let appended = self.world.append(log, append).await?;
        let row = self.row.fetch_add(1, SeqCst) + 1;
        if matches!(appended, Appended::Committed { .. }) {
            self.row.store(0, SeqCst);
            self.most.fetch_max(row, SeqCst);
        }
        Ok(appended)
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.world.read(log, after, limit).await
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

/// Steps that a cancellation does not reach, counted.
fn steps(
    begun: &Arc<AtomicU64>,
) -> impl Fn(Ctx, u64) -> futures::future::BoxFuture<'static, anyhow::Result<u64>> + Send + Sync + 'static
{
    let begun = Arc::clone(begun);
    move |mut ctx, steps| {
        let begun = Arc::clone(&begun);
        Box::pin(async move {
            let mut ctx = ctx.shield();
            for _ in 0..steps {
                let step = ctx.step("step", async || {
                    begun.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                    anyhow::Ok(())
                });
                step.await?;
            }
            Ok(steps)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_body_is_recorded_however_often_others_append_first() {
    let (key, memory, begun) = (Key::generate(), MemoryWorld::new(), Arc::default());
    let world = Crowded::new(&memory, &key, 200);
    let engine = Engine::builder(Arc::clone(&world))
        .key(key)
        .clock(TokioClock::new())
        .workflow(MANY, steps(&begun))
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(MANY, 3).await.unwrap();
    let output = timeout(Duration::from_secs(60), run.output()).await;
    assert_eq!(output.expect("no append is given up").unwrap(), 3);
    assert_eq!(begun.load(SeqCst), 3, "each body ran once");
    assert!(world.most.load(SeqCst) >= 200);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_is_given_back_however_often_others_append_first() {
    let (key, memory, told) = (Key::generate(), MemoryWorld::new(), Arc::new(Notify::new()));
    let world = Crowded::new(&memory, &key, 200);
    world.on.store(false, SeqCst);
    let begun = Arc::clone(&told);
    let hangs = move |mut ctx: Ctx, _: u64| {
        let begun = Arc::clone(&begun);
        async move {
            let mut ctx = ctx.shield();
            let step = ctx.step("step", async || {
                begun.notify_one();
                pending::<anyhow::Result<u64>>().await
            });
            anyhow::Ok(step.await?)
        }
    };
    let engine = Engine::builder(Arc::clone(&world))
        .key(key)
        .clock(TokioClock::new())
        .workflow(MANY, hangs)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(MANY, 1).await.unwrap();
    told.notified().await;
    world.on.store(true, SeqCst);
    let shutdown = worker.shutdown_within(Duration::ZERO).await;
    assert_eq!(shutdown.cut_off, [run.id().clone()], "{shutdown:?}");
    assert!(shutdown.still_leased.is_empty(), "{shutdown:?}");
    assert!(world.most.load(SeqCst) > 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_that_append_without_end_hold_no_owner_up() {
    /// Enough for the run to end among them, and few enough to read.
    const APPENDS_MAX: u64 = 20_000;
    let (key, memory, begun) = (Key::generate(), MemoryWorld::new(), Arc::default());
    let engine = Engine::builder(memory.clone())
        .key(key.clone())
        .workflow(MANY, steps(&begun))
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(MANY, 5).await.unwrap();
    let appended = Arc::new(AtomicU64::new(0));
    let others = (0..64).map(|nth| {
        // Half of them are of the owner's process, half of another.
        let client = if nth % 2 == 0 { engine.client() } else { outsider(memory.clone(), &key) };
        let (appended, id) = (Arc::clone(&appended), run.id().clone());
        tokio::spawn(async move {
            let run = client.run(MANY, id.as_str()).unwrap();
            while appended.fetch_add(1, SeqCst) < APPENDS_MAX && run.cancel("again").await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
    });
    let others: Vec<_> = others.collect();
    let output = timeout(Duration::from_secs(120), run.output()).await;
    assert_eq!(output.expect("it ends").unwrap(), 5);
    assert_eq!(begun.load(SeqCst), 5, "each body ran once");
    assert!(appended.load(SeqCst) < APPENDS_MAX, "it ended among the others");
    for other in others {
        other.await.unwrap();
    }
    worker.shutdown().await;
}
