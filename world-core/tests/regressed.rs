//! A store that has lost what it acknowledged: the engine says so, and goes on from what is left.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod heard;
mod workflows;

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use heard::Heard;
use tokio::{sync::Notify, time::timeout};
use workflows::*;
use world_core::{seal::Key, *};

/// A World that forgets the last records of its one run when it is told to.
#[derive(Debug)]
struct Forgetful {
    world: Mutex<MemoryWorld>,
    key: Key,
    /// The last lease that was seen.
    ticket: Mutex<Option<Ticket>>,
    /// How many records to forget right after the next claim that gives a lease.
    after_claim: AtomicUsize,
    reads: AtomicU64,
}

impl Forgetful {
    fn new(key: &Key) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(MemoryWorld::new()),
            key: key.clone(),
            ticket: Mutex::new(None),
            after_claim: AtomicUsize::new(0),
            reads: AtomicU64::new(0),
        })
    }

    fn world(&self) -> MemoryWorld {
        self.world.lock().unwrap().clone()
    }

    /// Forgets the last records of the run, and its lease if that is to go too.
    async fn forget(&self, run: &RunId, count: usize, keeps_lease: bool) {
        let (old, new) = (self.world(), MemoryWorld::new());
        let records = old.read_all(&LogId::Run(run.clone())).await.unwrap().records;
        let ticket = self.ticket.lock().unwrap().filter(|_| keeps_lease);
        let lease = ticket.map(|ticket| (ticket, TokioClock::START.plus(Duration::from_secs(60))));
        rebuild(&new, &old, &self.key, run, &records[..records.len() - count], lease).await;
        *self.world.lock().unwrap() = new;
    }
}

#[async_trait]
impl World for Forgetful {
    fn info(&self) -> WorldInfo {
        self.world().info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        match &append.by {
            By::Creator(NewRun { lease: Some((ticket, _)), .. }) | By::Owner { ticket, .. } => {
                *self.ticket.lock().unwrap() = Some(*ticket);
            }
            _ => {}
        }
        self.world().append(log, append).await
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        assert!(self.reads.fetch_add(1, SeqCst) < 10_000, "it reads without end");
        self.world().read(log, after, limit).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let leases = self.world().claim(claim).await?;
        if let Some(lease) = leases.first() {
            *self.ticket.lock().unwrap() = Some(lease.ticket);
            match self.after_claim.swap(0, SeqCst) {
                0 => {}
                count => self.forget(&lease.run, count, true).await,
            }
        }
        Ok(leases)
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.world().renew(lease, until).await
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.world().list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.world().delete(log, head).await
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world().wait(wait).await
    }
}

const FIVE: Workflow<u64, u64> = Workflow::new("five");

/// Where the fourth body waits until it is told to go on.
#[derive(Debug, Default)]
struct Stage {
    reached: Notify,
    go: Notify,
    bodies: AtomicU64,
}

fn engine(world: &Arc<Forgetful>, key: &Key, stage: &Arc<Stage>) -> Engine {
    let stage = Arc::clone(stage);
    Engine::builder(Arc::clone(world))
        .key(key.clone())
        .clock(TokioClock::new())
        .workflow(FIVE, move |mut ctx: Ctx, input: u64| {
            let stage = Arc::clone(&stage);
            async move {
                let mut sum = input;
                for number in 1..=5 {
                    let stage = &*stage;
                    let step = ctx.step("step", async || {
                        if stage.bodies.fetch_add(1, SeqCst) == 3 {
                            stage.reached.notify_one();
                            stage.go.notified().await;
                        }
                        Ok::<_, StepError>(sum + number)
                    });
                    sum = step.await?;
                }
                Ok::<_, StepError>(sum)
            }
        })
        .build()
        .unwrap()
}

async fn forgotten(keeps_lease: bool) -> Vec<String> {
    let (key, stage) = (Key::generate(), Arc::new(Stage::default()));
    let world = Forgetful::new(&key);
    let engine = engine(&world, &key, &stage);
    let (heard, _guard) = Heard::listen();
    let worker = engine.spawn_worker();
    let run = engine.client().start(FIVE, 10).await.unwrap();
    let id = run.id().clone();
    stage.reached.notified().await;
    world.forget(&id, 2, keeps_lease).await; // steps 2 and 3
    stage.go.notify_one();
    let output = timeout(Duration::from_secs(600), run.output()).await.unwrap().unwrap();
    assert_eq!(output, 25);
    worker.shutdown().await;
    let log = log_of(&outsider(world.world(), &key), &id).await;
    assert_eq!(log.len(), 7, "{log:#?}");
    let _ = told(&log);
    assert_eq!(stage.bodies.load(SeqCst), 4 + 4, "steps 2 to 5 ran again");
    heard.lines()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_records_is_named_and_the_run_goes_on_from_what_is_left() {
    let lines = forgotten(true).await;
    assert!(lines.iter().any(|line| line.contains("store regressed")), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_the_lease_too_hands_the_run_out_again() {
    forgotten(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgets_between_a_claim_and_the_read_is_replayed_from_what_is_left() {
    let (key, stage) = (Key::generate(), Arc::new(Stage::default()));
    let world = Forgetful::new(&key);
    let first = engine(&world, &key, &stage);
    let worker = first.spawn_worker();
    let run = first.client().start(FIVE, 10).await.unwrap();
    let id = run.id().clone();
    stage.reached.notified().await;
    worker.shutdown().await;
    world.after_claim.store(2, SeqCst);
    let second = engine(&world, &key, &stage);
    let worker = second.spawn_worker();
    let run = second.client().run(FIVE, id.as_str()).unwrap();
    let output = timeout(Duration::from_secs(600), run.output()).await;
    assert_eq!(output.expect("it ends").unwrap(), 25);
    worker.shutdown().await;
}
