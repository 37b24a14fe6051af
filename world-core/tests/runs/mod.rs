//! Runs that workers drive on a store that is disturbed, and what must hold of them afterwards.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

#[path = "../workflows/mod.rs"]
pub mod workflows;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use workflows::{ALL, TokioClock, Told, log_of, outsider, register, replays_cold, told};
use world_core::{layer::RetryBounds, seal::Key, *};

/// The key of all engines.
pub fn key() -> Key {
    Key::from_bytes(KeyId::new("k1").unwrap(), [7; 32])
}

pub fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A runtime of two threads.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A clock that is twenty times as fast as the machine's: nobody waits long for a lease to run out.
#[derive(Clone, Copy, Debug)]
pub struct Quick(Instant);

const FASTER: u32 = 20;

impl Quick {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Quick {
    fn now(&self) -> Timestamp {
        TokioClock::START.plus(self.0.elapsed() * FASTER)
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let clock = *self;
        Box::pin(async move {
            while clock.now() < until {
                let left = until.since(clock.now()) / FASTER;
                tokio::time::sleep(left.max(Duration::from_millis(1))).await;
            }
        })
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed() * FASTER
    }

    fn pause(&self, time: Duration) -> Alarm {
        Box::pin(tokio::time::sleep(time / FASTER))
    }
}

/// Opens the World under test once more: a handle with connections of its own.
pub type Open = Arc<dyn Fn() -> Opening + Send + Sync>;
pub type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn World>>> + Send>>;

/// What Worlds have answered.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    acknowledged: Vec<(LogId, Record)>,
    errors: HashMap<ErrorKind, usize>,
}

impl Notes {
    /// How many records were acknowledged.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().acknowledged.len()
    }

    /// How many calls have failed, by the kind of the error.
    pub fn errors(&self) -> HashMap<ErrorKind, usize> {
        self.0.lock().unwrap().errors.clone()
    }

    /// Nothing has failed in any other way.
    pub fn only(&self, kinds: &[ErrorKind]) {
        let errors = self.errors();
        assert!(errors.keys().all(|kind| kinds.contains(kind)), "{errors:?}");
    }

    /// Returns once so many more records were acknowledged than there were.
    pub async fn more(&self, than: usize, more: usize) {
        let began = Instant::now();
        while self.count() < than + more {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(60), "nothing goes on: {:?}", self.errors());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn answer<T>(&self, answer: Result<T>) -> Result<T> {
        if let Err(error) = &answer {
            *self.0.lock().unwrap().errors.entry(error.kind()).or_default() += 1;
        }
        answer
    }
}

/// A World that notes what it answers.
#[derive(Debug)]
pub struct Noting {
    world: Arc<dyn World>,
    notes: Notes,
}

impl Noting {
    pub async fn open(open: &Open, notes: &Notes) -> Self {
        Self { world: open().await.unwrap(), notes: notes.clone() }
    }
}

#[async_trait]
impl World for Noting {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let answer = self.notes.answer(self.world.append(log, append).await)?;
        if let Appended::Committed { .. } = answer {
            let records = append.records.iter().map(|record| (log.clone(), record.clone()));
            self.notes.0.lock().unwrap().acknowledged.extend(records);
        }
        Ok(answer)
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.notes.answer(self.world.read(log, after, limit).await)
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.notes.answer(self.world.claim(claim).await)
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.notes.answer(self.world.renew(lease, until).await)
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.notes.answer(self.world.list(list).await)
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.notes.answer(self.world.delete(log, head).await)
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.notes.answer(self.world.wait(wait).await)
    }
}

/// An engine that does not give up soon, and comes back soon.
pub fn builder(world: impl World, clock: Quick) -> EngineBuilder {
    let retries = RetryBounds {
        tries_max: NonZeroU32::new(1000).unwrap(),
        delay_first_ms: 5,
        delay_max_ms: 20,
    };
    let builder = Engine::builder(world).key(key()).clock(clock).retries(retries);
    register(builder.lease(Duration::from_secs(20)))
}

/// Workers of two engines, each with a connection of its own, and a client with a third.
pub struct Crew {
    pub client: Client,
    pub notes: Notes,
    workers: Vec<Worker>,
    open: Open,
    started: u64,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crew({} runs)", self.started)
    }
}

/// Which workflow a run is of, and its input.
fn made_of(run: u64) -> (Workflow<u64, u64>, u64) {
    (ALL[(run % ALL.len() as u64) as usize], run / ALL.len() as u64 % 2)
}

impl Crew {
    pub async fn new(open: Open) -> Self {
        let (notes, clock) = (Notes::default(), Quick::new());
        let mut workers = Vec::new();
        for _ in 0..2 {
            let world = Noting::open(&open, &notes).await;
            workers.push(builder(world, clock).build().unwrap().spawn_worker());
        }
        let client = builder(Noting::open(&open, &notes).await, clock).build().unwrap().client();
        Self { client, notes, workers, open, started: 0 }
    }

    pub fn started(&self) -> u64 {
        self.started
    }

    /// Starts so many runs more; gives what does it, which need not be waited for.
    pub fn start(&mut self, count: u64) -> impl Future<Output = ()> + Send + use<> {
        let runs = self.started..self.started + count;
        self.started = runs.end;
        let client = self.client.clone();
        async move {
            for run in runs {
                let (workflow, input) = made_of(run);
                let start = client.start(workflow, input).id(format!("run-{run}"));
                tokio::time::timeout(Duration::from_secs(60), start).await.unwrap().unwrap();
            }
        }
    }

    /// How many runs are open.
    pub async fn open(&self) -> u64 {
        let mut list = List::all(NonZeroU32::new(4096).unwrap());
        let mut open = 0;
        loop {
            let page = self.client.list(&list).await.unwrap();
            open += page.runs.iter().filter(|run| run.phase != Phase::Closed).count() as u64;
            match page.next {
                Some(next) => list.after = Some(next),
                None => return open,
            }
        }
    }

    /// Waits until every run has ended, and then checks each: it ended as one that nobody disturbed,
    /// and nothing in its log is doubled or missing. What a store has forgotten is started again.
    pub async fn finish(mut self, wanted: &HashMap<(&str, u64), Told>) -> Notes {
        let began = Instant::now();
        let again = std::mem::take(&mut self.started);
        self.start(again).await;
        for run in 0..self.started {
            let (workflow, _) = made_of(run);
            let left = Duration::from_secs(60).saturating_sub(began.elapsed());
            let handle = self.client.run(workflow, &format!("run-{run}")).unwrap();
            if tokio::time::timeout(left, handle.output()).await.is_err() {
                let handle = self.client.run(workflow, &format!("run-{run}")).unwrap();
                panic!(
                    "run-{run} does not end: {:#?}\n{:?}\n{} open",
                    handle.log().await,
                    self.notes.errors(),
                    self.open().await
                );
            }
        }
        for worker in std::mem::take(&mut self.workers) {
            worker.shutdown().await;
        }
        let world = (self.open)().await.unwrap();
        let look = outsider((self.open)().await.unwrap(), &key());
        for run in 0..self.started {
            let (workflow, input) = made_of(run);
            let id = RunId::new(format!("run-{run}")).unwrap();
            let log = log_of(&look, &id).await;
            assert_eq!(told(&log), wanted[&(workflow.name(), input)], "{id}: {log:#?}");
            if run % 8 == 0 {
                replays_cold(&world, &key(), &id, &log).await;
            }
        }
        self.notes
    }
}

/// What each run tells that nobody has disturbed.
pub fn undisturbed() -> HashMap<(&'static str, u64), Told> {
    let mut paused = tokio::runtime::Builder::new_current_thread();
    paused.enable_all().start_paused(true).build().unwrap().block_on(async {
        let mut wanted = HashMap::new();
        for (workflow, input) in (0..2 * ALL.len() as u64).map(made_of) {
            let told = workflows::undisturbed(workflow, input).await;
            wanted.insert((workflow.name(), input), told);
        }
        wanted
    })
}

/// Every record that was ever acknowledged is there, byte for byte.
pub async fn nothing_lost(open: &Open, notes: &Notes) {
    let world = open().await.unwrap();
    let acknowledged = notes.0.lock().unwrap().acknowledged.clone();
    let logs: HashSet<LogId> = acknowledged.iter().map(|(log, _)| log.clone()).collect();
    let mut stored = BTreeMap::new();
    for log in logs {
        for record in world.read_all(&log).await.unwrap().records {
            stored.insert((log.to_string(), record.position), record);
        }
    }
    for (log, record) in acknowledged {
        let found = stored.get(&(log.to_string(), record.position));
        assert_eq!(found, Some(&record), "an acknowledged record of {log}");
    }
}
