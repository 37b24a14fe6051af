//! The cases on the engine.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use tokio::task::JoinSet;
use world_core::{
    Ctx, Engine, EngineBuilder, KeyId, Kind, List, LogId, MemoryWorld, PhaseKind, Residency, RunId,
    StepError, Worker, Workflow, World, WorldExt, seal::Key,
};
use world_redis::RedisWorld;
use world_sqlite::{Options, SqliteWorld, Synchronous};

use crate::{
    args::{Case, CaseArgs, ResidencyName, Switch, Sync, WorldName},
    machine::{self, Lap, Stopwatch},
    measure::runtime,
    redis,
    text::Text,
};

const SEQUENCE: Workflow<u64, u64> = Workflow::new("sequence");
const FAN: Workflow<u64, u64> = Workflow::new("fan");
const TEXTS: Workflow<u64, u64> = Workflow::new("texts");
const WAIT: Workflow<u64, u64> = Workflow::new("wait");

/// How long the run of w5 sleeps. Its first life ends within this time, and its second begins
/// after it.
const SLEEP: Duration = Duration::from_millis(500);

/// The id of the one run of a case.
const RUN: &str = "r";

/// What one measurement found.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) lap: Lap,
    pub(crate) peak_rss_mib: f64,
    /// When the store and the engine were open; w5 only.
    pub(crate) open: Option<Duration>,
    /// When the workflow had got past its sleep; w5 only.
    pub(crate) body_end: Option<Duration>,
    pub(crate) sizes: Sizes,
}

/// How many bytes the store was given: what the limit writes too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes {
    /// Of the results, run by run.
    pub(crate) runs: Vec<Vec<usize>>,
}

/// What the workflows note.
#[derive(Debug, Default)]
struct Notes {
    /// Step bodies that ran.
    bodies: AtomicU64,
    /// When the workflow of w5 got past its sleep.
    past_sleep: Mutex<Option<Instant>>,
}

impl Notes {
    fn body(&self) {
        self.bodies.fetch_add(1, Relaxed);
    }
}

async fn sequence(mut ctx: Ctx, steps: u64, notes: Arc<Notes>) -> Result<u64, StepError> {
    steps_of(&mut ctx, steps, &notes).await
}

async fn steps_of(ctx: &mut Ctx, steps: u64, notes: &Notes) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        let body = async || {
            notes.body();
            Ok::<_, StepError>(sum + 1)
        };
        sum = ctx.step("inc", body).await?;
    }
    Ok(sum)
}

async fn fan(mut ctx: Ctx, steps: u64, notes: Arc<Notes>) -> Result<u64, StepError> {
    let notes = &*notes;
    let body = |step: u64| {
        move || async move {
            notes.body();
            Ok::<_, StepError>(step + 1)
        }
    };
    let steps: Vec<_> = (0..steps).map(|step| ctx.step("inc", body(step))).collect();
    Ok(try_join_all(steps).await?.into_iter().sum())
}

async fn texts(
    mut ctx: Ctx,
    steps: u64,
    text: Arc<Text>,
    notes: Arc<Notes>,
) -> Result<u64, StepError> {
    let mut bytes = 0;
    for step in 0..steps {
        let body = async || {
            notes.body();
            Ok::<_, StepError>(text.piece(step))
        };
        bytes += ctx.step("text", body).await?.len() as u64;
    }
    Ok(bytes)
}

async fn wait(mut ctx: Ctx, steps: u64, notes: Arc<Notes>) -> Result<u64, StepError> {
    let sum = steps_of(&mut ctx, steps, &notes).await?;
    ctx.sleep(SLEEP).await?;
    *notes.past_sleep.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    Ok(sum + 7)
}

/// Where the runs of one measurement are kept.
enum Store {
    Memory(MemoryWorld),
    File(PathBuf, Options),
    Redis(String),
}

impl Store {
    fn new(case: &CaseArgs, dir: &Path) -> Result<Self> {
        Ok(match case.world {
            WorldName::Memory => Self::Memory(MemoryWorld::new()),
            WorldName::Sqlite => {
                let synchronous = match case.sync {
                    Sync::Full => Synchronous::Full,
                    Sync::Normal => Synchronous::Normal,
                };
                Self::File(dir.join("world.db"), Options::new().synchronous(synchronous))
            }
            WorldName::Redis => Self::Redis(case.redis.clone().context("no Redis server")?),
        })
    }

    async fn builder(&self) -> Result<EngineBuilder> {
        Ok(match self {
            Self::Memory(world) => Engine::builder(world.clone()),
            Self::File(path, options) => Engine::builder(SqliteWorld::open(path, *options)?),
            Self::Redis(url) => Engine::builder(RedisWorld::connect(url).await?),
        })
    }

    /// A handle of its own, to look at what was written.
    async fn world(&self) -> Result<Box<dyn World>> {
        Ok(match self {
            Self::Memory(world) => Box::new(world.clone()),
            Self::File(path, options) => Box::new(SqliteWorld::open(path, *options)?),
            Self::Redis(url) => Box::new(RedisWorld::connect(url).await?),
        })
    }

    /// The bytes of every result of these runs.
    async fn sizes_of(&self, runs: impl IntoIterator<Item = String>) -> Result<Sizes> {
        let world = self.world().await?;
        let mut sizes = Sizes::default();
        for run in runs {
            let log = world.read_all(&LogId::Run(RunId::new(run)?)).await?;
            let results = log.records.iter().filter(|record| record.kind == Kind::STEP_COMPLETED);
            sizes.runs.push(results.map(|record| record.body.as_bytes().len()).collect());
        }
        Ok(sizes)
    }
}

async fn engine(case: &CaseArgs, store: &Store, notes: &Arc<Notes>) -> Result<Engine> {
    let text = (case.case == Case::W4).then(|| Text::of(case));
    let mut builder =
        store.builder().await?.key(Key::from_bytes(KeyId::new("bench")?, [7; 32])).residency(
            match case.residency {
                ResidencyName::Resident => Residency::Resident,
                ResidencyName::Replay => Residency::Replay,
            },
        );
    if case.cache == Switch::Off {
        builder = builder.hydration_bytes_max(0);
    }
    if case.case == Case::W5 {
        // A sleep rests in the store, however short.
        builder = builder.linger(Duration::ZERO);
    }
    let on = || Arc::clone(notes);
    let (for_sequence, for_fan, for_texts, for_wait) = (on(), on(), on(), on());
    let builder = builder
        .workflow(SEQUENCE, move |ctx, steps| sequence(ctx, steps, Arc::clone(&for_sequence)))
        .workflow(FAN, move |ctx, steps| fan(ctx, steps, Arc::clone(&for_fan)))
        .workflow(WAIT, move |ctx, steps| wait(ctx, steps, Arc::clone(&for_wait)));
    let builder = match text {
        Some(text) => builder.workflow(TEXTS, move |ctx, steps| {
            texts(ctx, steps, Arc::clone(&text), Arc::clone(&for_texts))
        }),
        None => builder,
    };
    Ok(builder.build()?)
}

/// Measures the case once, in a directory that is empty; a Redis database is emptied first.
pub(crate) async fn measure(case: &CaseArgs, dir: &Path) -> Result<Ours> {
    let store = Store::new(case, dir)?;
    if let Store::Redis(url) = &store {
        redis::empty(url)?;
    }
    match case.case {
        Case::W5 => resume(case, &store, dir).await,
        Case::W1 | Case::W2 | Case::W3 | Case::W4 => run(case, &store).await,
    }
}

async fn run(case: &CaseArgs, store: &Store) -> Result<Ours> {
    let notes = Arc::new(Notes::default());
    let engine = engine(case, store, &notes).await?;
    let worker = engine.spawn_worker();
    let client = engine.client();
    let warm = client.start(SEQUENCE, 3).id("warm").await?.output().await?;
    ensure!(warm == 3, "the warm-up run gave {warm}");
    notes.bodies.store(0, Relaxed);

    let (n, m) = (case.n, case.m);
    let watch = Stopwatch::start();
    let (output, wanted) = match case.case {
        Case::W1 => (client.start(SEQUENCE, n).id(RUN).await?.output().await?, n),
        Case::W2 => (client.start(FAN, n).id(RUN).await?.output().await?, n * (n + 1) / 2),
        Case::W4 => (client.start(TEXTS, n).id(RUN).await?.output().await?, n * case.bytes),
        Case::W3 => {
            let mut runs = JoinSet::new();
            for run in 0..n {
                let client = client.clone();
                runs.spawn(async move {
                    let run = client.start(SEQUENCE, m).id(run_name(run)).await?;
                    anyhow::Ok(run.output().await?)
                });
            }
            let mut sum = 0;
            while let Some(ended) = runs.join_next().await {
                sum += ended??;
            }
            (sum, n * m)
        }
        Case::W5 => bail!("w5 is measured over two lives"),
    };
    let lap = watch.stop();
    let peak_rss_mib = machine::peak_rss_mib();

    ensure!(output == wanted, "the result is {output}, where {wanted} is right");
    let bodies = notes.bodies.load(Relaxed);
    ensure!(bodies == case.steps(), "{bodies} step bodies ran");
    worker.shutdown().await;
    drop((client, engine));
    let sizes = match case.case {
        Case::W3 => store.sizes_of((0..n).map(run_name)).await?,
        _ => store.sizes_of([RUN.to_owned()]).await?,
    };
    Ok(Ours { lap, peak_rss_mib, open: None, body_end: None, sizes })
}

fn run_name(run: u64) -> String {
    format!("{RUN}{run}")
}

// ---- w5: one run in two lives ----

async fn resume(case: &CaseArgs, store: &Store, dir: &Path) -> Result<Ours> {
    match store {
        // A memory has one process: its first life is another engine, whose worker is aborted.
        Store::Memory(_) => live_until_the_sleep(case, store, Worker::abort).await?,
        Store::File(..) | Store::Redis(_) => {
            let case = CaseArgs { dir: dir.to_owned(), ..case.clone() };
            let mut first = process::Command::new(std::env::current_exe()?);
            let ended = first.arg("first-life").args(case.flags()).status()?;
            ensure!(ended.success(), "the first life ended with {ended}");
        }
    }
    tokio::time::sleep(SLEEP).await;

    let notes = Arc::new(Notes::default());
    let watch = Stopwatch::start();
    let engine = engine(case, store, &notes).await?;
    let worker = engine.spawn_worker();
    let open = watch.started().elapsed();
    let output = engine.client().run(WAIT, RUN)?.output().await?;
    let lap = watch.stop();
    let peak_rss_mib = machine::peak_rss_mib();

    ensure!(output == case.n + 7, "the result is {output}");
    let bodies = notes.bodies.load(Relaxed);
    ensure!(bodies == 0, "{bodies} step bodies ran again");
    let past_sleep = *notes.past_sleep.lock().unwrap_or_else(PoisonError::into_inner);
    let past_sleep = past_sleep.context("the run ended before it was resumed")?;
    worker.shutdown().await;
    drop(engine);
    let sizes = store.sizes_of([RUN.to_owned()]).await?;
    let body_end = Some(past_sleep.duration_since(watch.started()));
    Ok(Ours { lap, peak_rss_mib, open: Some(open), body_end, sizes })
}

/// Runs the steps of w5 until the run rests in its sleep, then `end`s with all in its place.
async fn live_until_the_sleep(
    case: &CaseArgs,
    store: &Store,
    end: impl FnOnce(Worker),
) -> Result<()> {
    let engine = engine(case, store, &Arc::default()).await?;
    let worker = engine.spawn_worker();
    let _run = engine.client().start(WAIT, case.n).id(RUN).await?;
    let world = store.world().await?;
    loop {
        let page = world.list(&List::all(NonZeroU32::MIN)).await?;
        let run = page.runs.first().context("the run is not listed")?;
        match run.phase.kind() {
            PhaseKind::Waiting => break,
            PhaseKind::Closed => bail!("the run ended in its first life"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    end(worker);
    Ok(())
}

/// The process of w5's first life: it ends with no destructor run.
pub(crate) fn first_life(case: &CaseArgs) -> Result<()> {
    let store = Store::new(case, &case.dir)?;
    let end = |_| process::exit(0);
    runtime(case.threads)?.block_on(live_until_the_sleep(case, &store, end))
}
