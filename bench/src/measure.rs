//! Pairs of measurements: ours and the limit's, in turn, each in a fresh place.

use std::{fs, io, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dynamodb_servers::Private;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    args::{Case, CaseArgs, Threads, WorldName},
    limit::{self, Limit},
    line::{Beside, Cost, Line, Samples, rounded},
    machine,
    ours::{self, Ours},
    progress::Progress,
    redis::{self, Server},
};

pub(crate) fn runtime(threads: Threads) -> io::Result<Runtime> {
    let mut builder = match threads {
        Threads::Many => Builder::new_multi_thread(),
        Threads::One => Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

/// What the pairs say, a value a pair.
#[derive(Default)]
struct Series {
    wall_ms: Samples,
    cpu_ms: Samples,
    open_ms: Samples,
    body_end_ms: Samples,
    limit_us: Samples,
    limit_batch_us: Samples,
    ratio: Samples,
    overhead_us: Samples,
}

impl Series {
    fn push(&mut self, steps: u64, ours: &Ours, limit: &Limit) {
        let a_step = |wall: Duration| millis(wall) * 1e3 / steps as f64;
        let (our_us, limit_us) = (a_step(ours.lap.wall), a_step(limit.wall));
        self.wall_ms.push(millis(ours.lap.wall));
        self.cpu_ms.push(millis(ours.lap.cpu));
        ours.open.into_iter().for_each(|open| self.open_ms.push(millis(open)));
        ours.body_end.into_iter().for_each(|end| self.body_end_ms.push(millis(end)));
        self.limit_us.push(limit_us);
        limit.batch.into_iter().for_each(|batch| self.limit_batch_us.push(a_step(batch)));
        self.ratio.push(our_us / limit_us);
        self.overhead_us.push(our_us - limit_us);
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Measures a case as often as it asks for.
pub(crate) fn case(case: &CaseArgs) -> Result<Line> {
    fs::create_dir_all(&case.dir)
        .with_context(|| format!("the directory {} is not to be made", case.dir.display()))?;
    let runtime = runtime(case.threads)?;
    let (asked, started) = (case, start(case)?);
    let case = &match &started {
        Started::Redis(server, _) => CaseArgs { redis: Some(server.url.clone()), ..asked.clone() },
        Started::Dynamo(server) => CaseArgs { dynamo: Some(server.endpoint()), ..asked.clone() },
        Started::Nothing => asked.clone(),
    };
    let name = format!("{} {} n={}", asked.peer_name(), case.case_name(), case.n);
    let mut progress = Progress::new(name, u64::from(case.pairs));
    let mut series = Series::default();
    let mut last: Option<(Ours, Limit)> = None;
    let mut peak_rss_mib = None;
    for pair in 0..case.pairs {
        let place = tempfile::tempdir_in(&case.dir)?;
        let measure_ours = || runtime.block_on(ours::measure(case, place.path()));
        let measure_limit =
            |ours: &Ours| runtime.block_on(limit::measure(case, place.path(), &ours.sizes));
        // Whoever is second finds warm caches: each is first as often. The first pair's sizes
        // are known only afterwards, so there we are first.
        let (ours, limit) = match &last {
            Some((before, _)) if pair % 2 == 1 => {
                let limit = measure_limit(before)?;
                (measure_ours()?, limit)
            }
            _ => {
                let ours = measure_ours()?;
                let limit = measure_limit(&ours)?;
                (ours, limit)
            }
        };
        let written: usize = ours.sizes.runs.iter().map(Vec::len).sum();
        ensure!(written as u64 == case.steps(), "{written} results were stored");
        // Later the process has also held what the limit held.
        peak_rss_mib.get_or_insert(ours.peak_rss_mib);
        series.push(case.steps(), &ours, &limit);
        last = Some((ours, limit));
        progress.step();
    }
    drop(progress);
    let cost = if case.world == WorldName::Dynamo {
        let place = tempfile::tempdir_in(&case.dir)?;
        runtime.block_on(ours::metered(case, place.path()))?
    } else {
        None
    };
    if case.world == WorldName::Redis
        && let Some(url) = &case.redis
    {
        redis::empty(url)?;
    }
    let (_, limit) = last.context("no pairs")?;
    let cost = cost.map(|cost| Cost::of(&cost, case.steps()));
    Ok(Line { cost, ..line(asked, &series, limit.bytes, peak_rss_mib.unwrap_or(0.0)) })
}

/// A server that was started for a case, which ends with it, and where its files are.
enum Started {
    Nothing,
    Redis(Server, #[expect(dead_code, reason = "removed with the server")] TempDir),
    Dynamo(Private),
}

/// Starts the server that a case needs, if none is given. The database of a Redis server that is
/// given must be empty.
fn start(case: &CaseArgs) -> Result<Started> {
    match (case.world, &case.redis, &case.dynamo) {
        (WorldName::Redis, None, _) => {
            let dir = tempfile::tempdir_in(&case.dir)?;
            let server = Server::start(dir.path(), case.aof)?;
            return Ok(Started::Redis(server, dir));
        }
        (WorldName::Redis, Some(url), _) => redis::ensure_empty(url)?,
        (WorldName::Dynamo, _, None) => return Ok(Started::Dynamo(Private::start()?)),
        _ => {}
    }
    Ok(Started::Nothing)
}

fn line(case: &CaseArgs, series: &Series, limit_bytes: f64, peak_rss_mib: f64) -> Line {
    let wall_ms = series.wall_ms.median();
    let a_second = |count: u64| Some(rounded(count as f64 / wall_ms * 1e3, 1));
    let rates = case.case == Case::W3;
    let resumed = |samples: &Samples| (case.case == Case::W5).then(|| rounded(samples.median(), 3));
    Line {
        peer: case.peer_name(),
        case: case.case_name(),
        n: case.n,
        wall_ms: rounded(wall_ms, 3),
        per_step_us: rounded(wall_ms * 1e3 / case.steps() as f64, 3),
        peak_rss_mb: rounded(peak_rss_mib, 1),
        cpu_ms: rounded(series.cpu_ms.median(), 2),
        load1: machine::load(),
        runs_per_s: rates.then(|| a_second(case.n)).flatten(),
        steps_per_s: rates.then(|| a_second(case.steps())).flatten(),
        open_ms: resumed(&series.open_ms),
        body_end_ms: resumed(&series.body_end_ms),
        cost: None,
        beside: Some(Beside {
            limit_us: rounded(series.limit_us.median(), 3),
            limit_bytes: rounded(limit_bytes, 1),
            limit_batch_us: (case.case == Case::W2)
                .then(|| rounded(series.limit_batch_us.median(), 3)),
            ratio: rounded(series.ratio.median(), 3),
            ratio_min: rounded(series.ratio.least(), 3),
            ratio_max: rounded(series.ratio.most(), 3),
            overhead_us: rounded(series.overhead_us.median(), 3),
            overhead_min_us: rounded(series.overhead_us.least(), 3),
            overhead_max_us: rounded(series.overhead_us.most(), 3),
            pairs: case.pairs,
        }),
    }
}
