//! Workflows to break an engine with, and what must hold of their logs however it was broken.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt::{self, Write as _},
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use conformance::audit::{Standing, audit};
use futures::future::join_all;
use tokio::time::{Instant, sleep};
use world_core::{event::Event, event::Logged, seal::Key, *};

/// A clock that runs with tokio's, which a test may pause.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(Instant);

impl TokioClock {
    /// What every such clock says first.
    pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Self::START.plus(self.0.elapsed())
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let clock = *self;
        Box::pin(async move {
            while clock.now() < until {
                sleep(until.since(clock.now())).await;
            }
        })
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn pause(&self, time: Duration) -> Alarm {
        Box::pin(sleep(time))
    }
}

thread_local! {
    static BODIES: Cell<u64> = const { Cell::new(0) };
}

/// What is told of each body that begins.
pub static ON_BODY: OnceLock<fn()> = OnceLock::new();

fn begin() {
    BODIES.set(BODIES.get() + 1);
    if let Some(told) = ON_BODY.get() {
        told();
    }
}

/// How many bodies have been begun on this thread.
pub fn bodies_begun() -> u64 {
    BODIES.get()
}

pub type Outcome<T> = Result<T, StepError>;

/// A number that looks random, the same in every run.
pub fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A body: takes up to 3 ms, and gives what its arguments say.
pub async fn work(input: u64, number: u64) -> Outcome<u64> {
    begin();
    match mix(input ^ mix(number)) % 4 {
        0 => {}
        1 => tokio::task::yield_now().await,
        pause => sleep(Duration::from_millis(pause)).await,
    }
    Ok(mix(input).wrapping_add(number))
}

pub const CHAIN: Workflow<u64, u64> = Workflow::new("chain");
pub const FAN: Workflow<u64, u64> = Workflow::new("fan");
pub const TIMERS: Workflow<u64, u64> = Workflow::new("timers");
pub const RACE: Workflow<u64, u64> = Workflow::new("race");
pub const RETRIES: Workflow<u64, u64> = Workflow::new("retries");
pub const CAREFUL: Workflow<u64, u64> = Workflow::new("careful");
pub const FAILS: Workflow<u64, u64> = Workflow::new("fails");
pub const BULKY: Workflow<u64, u64> = Workflow::new("bulky");

pub const ALL: [Workflow<u64, u64>; 8] = [CHAIN, FAN, TIMERS, RACE, RETRIES, CAREFUL, FAILS, BULKY];

/// Registers all workflows.
pub fn register(builder: EngineBuilder) -> EngineBuilder {
    builder
        .workflow(CHAIN, chain)
        .workflow(FAN, fan)
        .workflow(TIMERS, timers)
        .workflow(RACE, race)
        .workflow(RETRIES, retries)
        .workflow(CAREFUL, careful)
        .workflow(FAILS, fails)
        .workflow(BULKY, bulky)
}

async fn chain(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    let mut sum = ctx.random() % 2; // 0 or 1, and taken off again
    let first = sum;
    for number in 0..6 {
        sum = sum.wrapping_add(ctx.step("link", async || work(input, number).await).await?);
    }
    Ok(sum - first)
}

async fn fan(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    let branches: Vec<_> = (0..5).map(|n| (n, ctx.branch("arm"))).collect();
    let arms = branches.into_iter().map(|(n, mut ctx)| async move {
        let a = ctx.step("pick", async || work(input, n * 2).await).await?;
        let b = ctx.step("pack", async || work(a, n * 2 + 1).await).await?;
        Ok(a ^ b)
    });
    let all: Outcome<Vec<u64>> = join_all(arms).await.into_iter().collect();
    ctx.step("sum", async || Ok::<_, StepError>(0)).await?;
    Ok(all?.into_iter().fold(0, u64::wrapping_add))
}

async fn timers(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    ctx.sleep(Duration::from_millis(5)).await?;
    let first = ctx.step("first", async || work(input, 1).await).await?;
    let (mut left, mut right) = (ctx.branch("left"), ctx.branch("right"));
    let (a, b) = tokio::join!(
        async {
            left.sleep(Duration::from_millis(20)).await?;
            left.step("after", async || work(input, 2).await).await
        },
        async {
            for _ in 0..3 {
                right.sleep(Duration::from_millis(3)).await?;
            }
            right.step("after", async || work(input, 3).await).await
        },
    );
    ctx.sleep(Duration::ZERO).await?;
    Ok(first ^ a? ^ b?)
}

/// The keys of what loses are called `loser`: whether their results are in the log is chance.
async fn race(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    let mut sum = 0_u64;
    for number in 0..3 {
        let mut ctx = ctx.branch("heat");
        let mut late = ctx.branch("loser");
        let winner = tokio::select! { biased;
            winner = ctx.step("winner", async || work(input, number).await) => winner?,
            lost = late.sleep(Duration::from_secs(3_600 * 24 * 30)) => { lost?; 1 }
            lost = late.step("slow", async || {
                sleep(Duration::from_secs(7_200)).await;
                Ok::<_, StepError>(2)
            }) => lost?,
        };
        sum = sum.wrapping_add(winner);
    }
    Ok(sum)
}

async fn retries(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    let retry = Retry::fixed(64, Duration::from_millis(2));
    let mut sum = 0_u64;
    for number in 0..2 {
        let (mut a, mut b) = (ctx.branch("fixed"), ctx.branch("straight"));
        let (retried, straight) = tokio::join!(
            a.step_with("third", async |at: Attempt| match at.number() {
                1 | 2 => Err(std::io::Error::other("not yet")),
                _ => Ok(number),
            })
            .retry(retry),
            b.step("once", async || work(input, number).await),
        );
        sum = sum.wrapping_add(retried?).wrapping_add(straight?);
    }
    let slow = Retry::fixed(64, Duration::from_secs(6));
    let last = ctx
        .step_with("slow", async |at: Attempt| match at.number() {
            1 => Err(std::io::Error::other("not yet")),
            _ => Ok(7_u64),
        })
        .retry(slow)
        .await?;
    Ok(sum.wrapping_add(last))
}

/// A body that may have run counts as one that has.
async fn careful(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    for number in 0..3 {
        match ctx.step("charge", async || work(input, number).await).at_most_once().await {
            Ok(_) | Err(StepError::Interrupted { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    ctx.step("done", async || work(input, 9).await).await
}

/// How many attempts it took depends on how often its worker died, so the error does not say.
async fn fails(mut ctx: Ctx, input: u64) -> Result<u64, String> {
    let first = ctx.step("before", async || work(input, 0).await).await;
    let second = ctx.step("refuse", async || Err::<u64, _>(Fatal::new("refused"))).await;
    match (first, second) {
        (Ok(_), Err(StepError::Failed { failure, .. })) => Err(failure.message),
        other => panic!("{other:?}"),
    }
}

/// More results at once than the least append holds.
async fn bulky(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    let branches: Vec<_> = (0..70).map(|n| (n, ctx.branch("part"))).collect();
    let parts = branches.into_iter().map(|(n, mut ctx)| async move {
        ctx.step("load", async || {
            begin();
            Ok::<_, StepError>(mix(input ^ n))
        })
        .await
    });
    let sums: Outcome<Vec<u64>> = join_all(parts).await.into_iter().collect();
    Ok(sums?.into_iter().fold(0, u64::wrapping_add))
}

/// How a run ended, and what it has decided: what must be the same however often it was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub end: String,
    pub decisions: BTreeSet<String>,
}

fn is_losing(key: &replay::Key) -> bool {
    key.as_str().contains("loser")
}

/// Audits the log of a run that has ended and was not blocked, and tells what it says.
pub fn told(log: &[Logged]) -> Told {
    match audit(log) {
        Ok(Standing::Ended) => {}
        other => panic!("{other:?}: {log:#?}"),
    }
    let (mut end, mut decisions) = (None, BTreeSet::new());
    for logged in log {
        let kind = logged.event.kind();
        match &logged.event {
            Event::RunCreated { input, .. } => {
                decisions.insert(format!("{kind} {:?}", input.as_bytes()));
            }
            Event::StepCompleted { key, .. }
            | Event::StepFailed { key, .. }
            | Event::TimerFired { key, .. } => {
                let result = match &logged.event {
                    Event::StepCompleted { result, .. } => format!("{:?}", result.as_bytes()),
                    Event::StepFailed { failure, .. } => failure.to_string(),
                    _ => String::new(),
                };
                if !is_losing(key) && !key.as_str().starts_with("charge") {
                    decisions.insert(format!("{kind} {key} {result}"));
                }
            }
            Event::TimerSet { key, .. } if !is_losing(key) => {
                decisions.insert(format!("{kind} {key}"));
            }
            Event::RunCompleted { output } => {
                end = Some(format!("{kind} {:?}", output.as_bytes()));
            }
            Event::RunFailed { failure } => end = Some(format!("{kind} {failure}")),
            Event::RunCancelled { reason } => end = Some(format!("{kind} {reason}")),
            Event::RunBlocked { why } => panic!("the run was blocked: {why}\n{log:#?}"),
            _ => {}
        }
    }
    Told { end: end.unwrap(), decisions }
}

/// Lets a fresh engine replay a log from which the end was taken, in a World of its own: it must
/// come to the same end, without a body begun and without anything else written.
pub async fn replays_cold(world: &dyn World, key: &Key, run: &RunId, log: &[Logged]) {
    let copy = without_end(world, key, run).await;
    let engine = register(Engine::builder(copy.clone()).key(key.clone()).clock(TokioClock::new()))
        .build()
        .unwrap();
    let before = bodies_begun();
    let worker = engine.spawn_worker();
    let handle = handle_of(&engine.client(), run).await;
    let _ = handle.output().await;
    worker.shutdown().await;
    let again = handle.log().await.unwrap();
    assert_eq!(told(&again).end, told(log).end, "{log:#?}");
    assert_eq!(again.len(), log.len(), "{again:#?}");
    assert_eq!(bodies_begun(), before, "a body was begun in a replay of {log:#?}");
}

/// A World with one run, whose log lacks its end.
pub async fn without_end(world: &dyn World, key: &Key, run: &RunId) -> MemoryWorld {
    let records = world.read_all(&LogId::Run(run.clone())).await.unwrap().records;
    let copy = MemoryWorld::new();
    rebuild(&copy, world, key, run, &records[..records.len() - 1], None).await;
    copy
}

/// Writes these records of a run into another World; the run is due, or leased as said.
pub async fn rebuild(
    copy: &dyn World,
    world: &dyn World,
    key: &Key,
    run: &RunId,
    records: &[Record],
    lease: Option<(Ticket, Timestamp)>,
) {
    let mut list = List::all(NonZeroU32::MAX);
    let meta = loop {
        let page = world.list(&list).await.unwrap();
        match page.runs.into_iter().find(|meta| meta.run == *run) {
            Some(meta) => break meta,
            None => list.after = Some(page.next.unwrap()),
        }
    };
    let id = LogId::Run(run.clone());
    let (ticket, until) = lease.unwrap_or((Ticket::from_bytes([9; 16]), Timestamp::MAX));
    let new = NewRun {
        queue: meta.queue,
        workflow: meta.workflow,
        due: Due::Now,
        parent: None,
        tags: Vec::new(),
        key: key.id().clone(),
        lease: Some((ticket, until)),
    };
    let append = |n: usize, records: Vec<Record>, by| Append {
        expected: Position::new(n as u64),
        at: meta.created,
        records,
        by,
    };
    for (n, record) in records.iter().enumerate() {
        let by = match n {
            0 => By::Creator(new.clone()),
            _ => By::Owner { ticket, close: false, rest: None, tags: None },
        };
        let answer = copy.append(&id, &append(n, vec![record.clone()], by)).await.unwrap();
        assert_eq!(answer, Appended::Committed { head: record.position });
    }
    if lease.is_none() {
        let rest =
            By::Owner { ticket, close: false, rest: Some(Release::driven(Due::Now)), tags: None };
        copy.append(&id, &append(records.len(), Vec::new(), rest)).await.unwrap();
    }
}

/// Keeps what is said at a level or above, a line each; by default what is warned of.
#[derive(Clone)]
pub struct Warnings(Arc<Mutex<Vec<String>>>, tracing::Level);

impl Default for Warnings {
    fn default() -> Self {
        Self(Arc::default(), tracing::Level::WARN)
    }
}

impl Warnings {
    pub fn everything() -> Self {
        Self(Arc::default(), tracing::Level::TRACE)
    }

    /// Whether a line has all these parts.
    pub fn has(&self, parts: &[&str]) -> bool {
        let lines = self.0.lock().unwrap();
        lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Line<'a>(&'a mut String);

impl tracing::field::Visit for Line<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.1
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut line = span.metadata().name().to_owned();
        span.record(&mut Line(&mut line));
        self.0.lock().unwrap().push(line);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Line(&mut line));
        self.0.lock().unwrap().push(line);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Shows what is being tried if it fails.
pub struct Trying(pub String);

impl Drop for Trying {
    #[allow(clippy::print_stderr, reason = "a seed is shown when its run fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while trying {}", self.0);
        }
    }
}

/// What a run tells that nobody has disturbed.
pub async fn undisturbed(workflow: Workflow<u64, u64>, input: u64) -> Told {
    let builder = Engine::builder(MemoryWorld::new()).key(Key::generate());
    let engine = register(builder.clock(TokioClock::new())).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(workflow, input).await.unwrap();
    let handle = engine.client().run(workflow, run.id().as_str()).unwrap();
    let _ = run.output().await;
    worker.shutdown().await;
    told(&handle.log().await.unwrap())
}

/// An engine on a World that nobody breaks, to look and to ask from outside.
pub fn outsider(world: impl World, key: &Key) -> Client {
    Engine::builder(world).key(key.clone()).clock(TokioClock::new()).build().unwrap().client()
}

/// A handle of a run, whichever workflow it is of.
pub async fn handle_of(client: &Client, run: &RunId) -> RunHandle<u64> {
    let handle = client.run(CHAIN, run.as_str()).unwrap();
    let error = handle.status().await.err();
    match error.as_ref().and_then(Error::wrong_workflow) {
        Some(wrong) => {
            let name = wrong.found.as_str().to_owned().leak();
            client.run(Workflow::<u64, u64>::new(name), run.as_str()).unwrap()
        }
        None => handle,
    }
}

/// The whole log of a run, opened.
pub async fn log_of(client: &Client, run: &RunId) -> Vec<Logged> {
    handle_of(client, run).await.log().await.unwrap()
}

/// A World that takes no more than every World must (rule B1).
#[derive(Debug)]
pub struct Least<W>(pub W);

#[async_trait]
impl<W: World> World for Least<W> {
    fn info(&self) -> WorldInfo {
        WorldInfo { limits: Limits::LEAST, ..self.0.info() }
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &Limits::LEAST)?;
        self.0.append(log, append).await
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.0.read(log, after, limit).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.0.claim(claim).await
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.0.renew(lease, until).await
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.0.list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.0.delete(log, head).await
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.0.wait(wait).await
    }
}
