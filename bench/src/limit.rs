//! The same writes with no engine around them: what the store alone takes.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rusqlite::{Connection, params};
use world_core::{
    Append, Appended, By, Due, KeyId, Kind, LogId, MemoryWorld, NewRun, Position, Queue, Record,
    RunId, Sealed, Ticket, Timestamp, WorkflowName, World, WorldExt,
};

use crate::{
    args::{Case, CaseArgs, Sync, TextKind, WorldName},
    ours::Sizes,
    redis::{self, Raw},
};

/// What one measurement of the raw store found.
#[derive(Debug)]
pub(crate) struct Limit {
    /// One write a step.
    pub(crate) wall: Duration,
    /// All writes together, as few as they fit in; w2 only.
    pub(crate) batch: Option<Duration>,
    /// Bytes of a write, on average.
    pub(crate) bytes: f64,
}

/// Measures as many writes as the engine made for results, of the same sizes.
pub(crate) async fn measure(case: &CaseArgs, dir: &Path, sizes: &Sizes) -> Result<Limit> {
    let bodies = Arc::new(Bodies::new(case, sizes));
    let (wall, batch) = match case.world {
        WorldName::Memory => memory(case, &bodies).await?,
        WorldName::Sqlite => sqlite(case, dir, &bodies)?,
        // A task on the runtime, as the engine's are: there an answer finds who waits for it.
        WorldName::Redis => {
            let (case, bodies) = (case.clone(), Arc::clone(&bodies));
            tokio::spawn(async move { redis(&case, &bodies).await }).await??
        }
    };
    Ok(Limit { wall, batch, bytes: bodies.mean() })
}

/// The bodies to write, run by run: random, as what is sealed looks random.
struct Bodies(Vec<Vec<Vec<u8>>>);

impl Bodies {
    fn new(case: &CaseArgs, sizes: &Sizes) -> Self {
        let mut random = StdRng::seed_from_u64(5);
        let mut body = |(index, bytes): (usize, &usize)| {
            let bytes = match (case.case, case.text) {
                // What a store writes that does not compress.
                (Case::W4, TextKind::Compressible) => {
                    usize::try_from(case.bytes).unwrap_or(usize::MAX)
                }
                _ => *bytes,
            };
            let mut body = vec![0; bytes.max(NUMBER_BYTES)];
            random.fill_bytes(&mut body);
            body[..NUMBER_BYTES].copy_from_slice(&(index as u64 + 1).to_be_bytes());
            body
        };
        let mut bodies = |run: &Vec<usize>| run.iter().enumerate().map(&mut body).collect();
        Self(sizes.runs.iter().map(&mut bodies).collect())
    }

    fn mean(&self) -> f64 {
        let (count, bytes) = self
            .0
            .iter()
            .flatten()
            .fold((0, 0), |(count, bytes), body| (count + 1, bytes + body.len()));
        bytes as f64 / f64::from(count.max(1))
    }

    /// The only run's.
    fn first(&self) -> Result<&[Vec<u8>]> {
        Ok(self.0.first().context("nothing to write")?)
    }

    /// In the order in which runs that go on side by side write: run and body.
    fn interleaved(&self) -> impl Iterator<Item = (usize, usize, &[u8])> {
        let longest = self.0.iter().map(Vec::len).max().unwrap_or(0);
        (0..longest).flat_map(move |step| {
            let runs = self.0.iter().enumerate();
            runs.filter_map(move |(run, bodies)| Some((run, step, bodies.get(step)?.as_slice())))
        })
    }
}

/// A body begins with its number, which w5 decodes.
const NUMBER_BYTES: usize = 8;

fn number(body: &[u8]) -> Result<u64> {
    let number = body.first_chunk::<NUMBER_BYTES>().context("a body that is cut short")?;
    Ok(u64::from_be_bytes(*number))
}

// ---- SQLite: one INSERT a step, in the peers' table ----

fn open(case: &CaseArgs, path: &Path) -> Result<Connection> {
    let conn = Connection::open(path)?;
    let level = match case.sync {
        Sync::Full => "FULL",
        Sync::Normal => "NORMAL",
    };
    // As the World sets them.
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", level)?;
    conn.pragma_update(None, "cache_size", -(8 << 10))?;
    conn.pragma_update(None, "wal_autocheckpoint", 1000)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS steps (
            run TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, out BLOB NOT NULL,
            PRIMARY KEY (run, seq)) WITHOUT ROWID",
    )?;
    Ok(conn)
}

/// One step; outside a transaction it is one by itself.
fn insert(conn: &Connection, run: &str, step: usize, body: &[u8]) -> Result<()> {
    conn.prepare_cached("INSERT INTO steps VALUES (?1, ?2, 'inc', ?3)")?.execute(params![
        run,
        step as i64,
        body
    ])?;
    Ok(())
}

fn sqlite(case: &CaseArgs, dir: &Path, bodies: &Bodies) -> Result<(Duration, Option<Duration>)> {
    let path = dir.join("limit.db");
    if case.case == Case::W5 {
        return Ok((resume_sqlite(case, &path, bodies.first()?)?, None));
    }
    let mut conn = open(case, &path)?;
    for step in 0..3 {
        insert(&conn, "warm", step, &[0; NUMBER_BYTES])?;
    }
    let runs: Vec<String> = (0..bodies.0.len()).map(|run| format!("r{run}")).collect();
    let start = Instant::now();
    for (run, step, body) in bodies.interleaved() {
        insert(&conn, &runs[run], step, body)?;
    }
    let wall = start.elapsed();
    let count: i64 =
        conn.query_row("SELECT count(*) FROM steps WHERE run <> 'warm'", [], |row| row.get(0))?;
    ensure!(u64::try_from(count)? == case.steps(), "the limit wrote {count} rows");

    let batch = if case.case == Case::W2 {
        let start = Instant::now();
        let all = conn.transaction()?;
        for (step, body) in bodies.first()?.iter().enumerate() {
            insert(&all, "batch", step, body)?;
        }
        all.commit()?;
        Some(start.elapsed())
    } else {
        None
    };
    Ok((wall, batch))
}

/// Opens the file, reads and decodes every row, and writes one.
fn resume_sqlite(case: &CaseArgs, path: &Path, bodies: &[Vec<u8>]) -> Result<Duration> {
    {
        let mut conn = open(case, path)?;
        let all = conn.transaction()?;
        for (step, body) in bodies.iter().enumerate() {
            insert(&all, "r", step, body)?;
        }
        all.commit()?;
    }
    let start = Instant::now();
    let conn = open(case, path)?;
    let mut statement = conn.prepare("SELECT seq, out FROM steps WHERE run = ?1 ORDER BY seq")?;
    let mut rows = statement.query(["r"])?;
    let mut sum = 0;
    while let Some(row) = rows.next()? {
        sum += number(row.get_ref(1)?.as_blob()?)?;
    }
    insert(&conn, "r", bodies.len(), b"the last")?;
    let wall = start.elapsed();
    ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other rows than it wrote");
    Ok(wall)
}

// ---- Redis: one script a step, as the peers' ----

async fn redis(case: &CaseArgs, bodies: &Arc<Bodies>) -> Result<(Duration, Option<Duration>)> {
    let url = case.redis.as_deref().context("no Redis server")?;
    redis::empty(url)?;
    let mut raw = Raw::connect(url).await?;
    if case.case == Case::W5 {
        return Ok((resume_redis(case, raw, url, bodies.first()?).await?, None));
    }
    let runs: Vec<String> = (0..bodies.0.len()).map(|run| format!("r{run}")).collect();
    for run in runs.iter().map(String::as_str).chain(["warm", "batch"]) {
        raw.begin(run).await?;
    }
    for step in 0..3 {
        raw.step("warm", step, &[0; NUMBER_BYTES]).await?;
    }
    let start = Instant::now();
    match case.case {
        Case::W2 => raw.fan(&runs[0], bodies.first()?).await?,
        _ => {
            let tasks = runs.iter().cloned().enumerate().map(|(index, run)| {
                let (mut raw, bodies) = (raw.clone(), Arc::clone(bodies));
                let steps = async move {
                    for (step, body) in bodies.0[index].iter().enumerate() {
                        raw.step(&run, step, body).await?;
                    }
                    anyhow::Ok(())
                };
                async { tokio::spawn(steps).await? }
            });
            try_join_all(tasks).await?;
        }
    }
    let wall = start.elapsed();
    let mut count = 0;
    for run in &runs {
        count += raw.count(run).await?;
    }
    ensure!(count == case.steps(), "the limit wrote {count} entries");

    let batch = if case.case == Case::W2 {
        let start = Instant::now();
        for (index, bodies) in bodies.first()?.chunks(BATCH).enumerate() {
            raw.steps("batch", index * BATCH, bodies).await?;
        }
        Some(start.elapsed())
    } else {
        None
    };
    Ok((wall, batch))
}

/// The entries that one script adds, as many as one append of the World may hold.
const BATCH: usize = 1024;

/// Connects, reads and decodes every entry, and adds one.
async fn resume_redis(
    case: &CaseArgs,
    mut before: Raw,
    url: &str,
    bodies: &[Vec<u8>],
) -> Result<Duration> {
    before.begin("r").await?;
    before.fan("r", bodies).await?;
    drop(before);
    let start = Instant::now();
    let mut raw = Raw::connect(url).await?;
    let mut sum = 0;
    let add = |body: &[u8]| {
        sum += number(body)?;
        Ok(())
    };
    raw.read("r", add).await?;
    raw.step("r", bodies.len(), b"the last").await?;
    let wall = start.elapsed();
    ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other entries than it wrote");
    Ok(wall)
}

// ---- memory: one append of a ready-made record a step ----

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A run that is there, and whose worker writes to it.
struct Log {
    id: LogId,
    ticket: Ticket,
}

impl Log {
    async fn create(world: &dyn World, run: String) -> Result<Self> {
        let (id, ticket) = (LogId::Run(RunId::new(run)?), Ticket::from_bytes([9; 16]));
        let new = NewRun {
            queue: Queue::new("limit")?,
            workflow: WorkflowName::new("limit")?,
            due: Due::Now,
            parent: None,
            tags: Vec::new(),
            key: KeyId::new("limit")?,
            lease: Some((ticket, Timestamp::MAX)),
        };
        let created = record(Position::START.next(), Kind::RUN_CREATED, &[0; NUMBER_BYTES]);
        let by = By::Creator(new);
        let append = Append { expected: Position::START, records: vec![created], at: AT, by };
        committed(world.append(&id, &append).await?)?;
        Ok(Self { id, ticket })
    }

    /// An append of these bodies, the first of which is the `step`th result.
    fn ready_made(&self, step: usize, bodies: &[Vec<u8>]) -> Append {
        let expected = Position::START.plus(1 + step as u64);
        let mut position = expected;
        let records = bodies.iter().map(|body| {
            position = position.next();
            record(position, Kind::STEP_COMPLETED, body)
        });
        let records = records.collect();
        let by = By::Owner { ticket: self.ticket, close: false, rest: None, tags: None };
        Append { expected, records, at: AT, by }
    }
}

fn record(position: Position, kind: Kind, body: &[u8]) -> Record {
    Record { position, kind, at: AT, body: Sealed::from_stored(body.to_vec()) }
}

fn committed(answer: Appended) -> Result<()> {
    ensure!(matches!(answer, Appended::Committed { .. }), "the limit's append was {answer:?}");
    Ok(())
}

async fn memory(case: &CaseArgs, bodies: &Bodies) -> Result<(Duration, Option<Duration>)> {
    let world = MemoryWorld::new();
    let warm = Log::create(&world, "warm".to_owned()).await?;
    for step in 0..3 {
        let append = warm.ready_made(step, &[vec![0; NUMBER_BYTES]]);
        committed(world.append(&warm.id, &append).await?)?;
    }
    let mut logs = Vec::new();
    for run in 0..bodies.0.len() {
        logs.push(Log::create(&world, format!("r{run}")).await?);
    }
    let appends: Vec<(usize, Append)> = bodies
        .interleaved()
        .map(|(run, step, body)| (run, logs[run].ready_made(step, &[body.to_vec()])))
        .collect();
    let start = Instant::now();
    for (run, append) in &appends {
        committed(world.append(&logs[*run].id, append).await?)?;
    }
    let wall = start.elapsed();

    match case.case {
        Case::W2 => {
            let log = Log::create(&world, "batch".to_owned()).await?;
            let most = world.info().limits.records_max;
            let chunks = bodies.first()?.chunks(most).enumerate();
            let appends: Vec<Append> =
                chunks.map(|(index, chunk)| log.ready_made(index * most, chunk)).collect();
            let start = Instant::now();
            for append in &appends {
                committed(world.append(&log.id, append).await?)?;
            }
            Ok((wall, Some(start.elapsed())))
        }
        Case::W5 => {
            let log = logs.first().context("no log to resume")?;
            let last = log.ready_made(bodies.first()?.len(), &[b"the last".to_vec()]);
            let start = Instant::now();
            let page = world.read_all(&log.id).await?;
            let mut sum = 0;
            for record in page.records.iter().skip(1) {
                sum += number(record.body.as_bytes())?;
            }
            committed(world.append(&log.id, &last).await?)?;
            let wall = start.elapsed();
            ensure!(sum == case.n * (case.n + 1) / 2, "the limit read other records");
            Ok((wall, None))
        }
        _ => Ok((wall, None)),
    }
}
