//! The cases on the engine.

use std::{
    num::NonZeroU32,
    path::Path,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dynamodb_servers::Metered;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use world_core::{
    Ctx, Engine, KeyId, List, PhaseKind, Residency, StepError, Worker, Workflow, seal::Key,
};

use crate::{
    args::{Case, CaseArgs, ResidencyName, Switch},
    machine::{self, Lap, Stopwatch},
    measure::runtime,
    store::{Sizes, Store},
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
    /// What the requests within the lap have cost, if it was counted.
    pub(crate) cost: Option<Metered>,
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

/// Measures the case once, in a directory that is empty; a Redis database is emptied first, and a
/// table made, and removed.
pub(crate) async fn measure(case: &CaseArgs, dir: &Path) -> Result<Ours> {
    in_store(case, Store::new(case, dir)?, dir).await
}

/// Does the same with what the requests cost counted, where the store says it. Its times are not
/// to be compared: counting takes some.
pub(crate) async fn metered(case: &CaseArgs, dir: &Path) -> Result<Option<Metered>> {
    Ok(in_store(case, Store::new(case, dir)?.metered(), dir).await?.cost)
}

async fn in_store(case: &CaseArgs, store: Store, dir: &Path) -> Result<Ours> {
    store.make().await?;
    let measured = match case.case {
        Case::W5 => resume(case, &store, dir).await,
        Case::W1 | Case::W2 | Case::W3 | Case::W4 => run(case, &store).await,
    };
    // Also after a failure: the server may be somebody's.
    let removed = store.remove().await;
    let ours = measured?;
    removed.map(|()| ours)
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
    let _before = store.cost();
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
    let (lap, cost) = (watch.stop(), store.cost());
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
    Ok(Ours { lap, peak_rss_mib, open: None, body_end: None, sizes, cost })
}

fn run_name(run: u64) -> String {
    format!("{RUN}{run}")
}

// ---- w5: one run in two lives ----

async fn resume(case: &CaseArgs, store: &Store, dir: &Path) -> Result<Ours> {
    match store {
        // A memory has one process: its first life is another engine, whose worker is aborted.
        Store::Memory(_) => live_until_the_sleep(case, store, Worker::abort).await?,
        Store::File(..) | Store::Redis(_) | Store::Dynamo(_) => {
            let case = store.shared(case, dir);
            let mut first = process::Command::new(std::env::current_exe()?);
            let ended = first.arg("first-life").args(case.flags()).status()?;
            ensure!(ended.success(), "the first life ended with {ended}");
        }
    }
    tokio::time::sleep(SLEEP).await;

    let notes = Arc::new(Notes::default());
    let _before = store.cost();
    let watch = Stopwatch::start();
    let engine = engine(case, store, &notes).await?;
    let worker = engine.spawn_worker();
    let open = watch.started().elapsed();
    let output = engine.client().run(WAIT, RUN)?.output().await?;
    let (lap, cost) = (watch.stop(), store.cost());
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
    Ok(Ours { lap, peak_rss_mib, open: Some(open), body_end, sizes, cost })
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
