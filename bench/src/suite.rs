//! The whole table, as Markdown: every case on every World, and the peers beside it.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    args::{
        Aof, Case, CaseArgs, ResidencyName, SuiteArgs, Switch, Sync, TextKind, Threads, WorldName,
    },
    line::{Line, Samples},
    machine,
    progress::Progress,
    redis,
};

/// How often a peer that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Another library, as its benchmark is called.
struct Peer {
    binary: &'static str,
    flags: &'static [&'static str],
    /// Its name in a line.
    name: &'static str,
    /// The most steps that are asked of it.
    steps_max: u64,
}

const PEERS: &[Peer] = &[
    Peer {
        binary: "peer-limits",
        flags: &["--peer", "sqlite-normal"],
        name: "sqlite-normal",
        steps_max: u64::MAX,
    },
    Peer {
        binary: "peer-limits",
        flags: &["--peer", "sqlite-full"],
        name: "sqlite-full",
        steps_max: u64::MAX,
    },
    Peer { binary: "peer-durare", flags: &[], name: "durare", steps_max: u64::MAX },
    Peer {
        binary: "peer-durare",
        flags: &["--profile", "full"],
        name: "durare-full",
        steps_max: u64::MAX,
    },
    // Its history is read anew for every step: longer runs take minutes.
    Peer {
        binary: "peer-duroxide",
        flags: &["--profile", "tuned", "--poll-ms", "1", "--orch", "1", "--workers", "1"],
        name: "duroxide-tuned",
        steps_max: 2000,
    },
    // It sleeps a tenth of a second a step.
    Peer { binary: "peer-duroxide", flags: &[], name: "duroxide", steps_max: 100 },
];

pub(crate) fn run(args: &SuiteArgs) -> Result<()> {
    fs::create_dir_all(&args.dir)?;
    let plan = plan(args);
    let mut suite = Suite { args, given_up: HashSet::new(), notes: Vec::new() };
    if args.redis.is_none() && redis::program().is_none() {
        suite.notes.push("No Redis server was found: its World was left out.".to_owned());
    }
    if args.dynamo.is_none()
        && let Err(error) = dynamodb_servers::server_program()
    {
        suite.notes.push(format!("The World on DynamoDB was left out: {error}."));
    }
    let mut progress = Progress::new("suite".to_owned(), plan.len() as u64);
    let load_before = machine::load();
    let mut lines = Vec::new();
    for size in &plan {
        progress.say(format!("{} n={}", size.case_name(), size.n));
        let first = lines.len();
        for ours in variants(args, size) {
            lines.push(suite.ours(&ours)?);
        }
        if let Some(peers) = &args.peers {
            for peer in PEERS {
                lines.extend(suite.peer(peers, peer, size)?);
            }
        }
        if let Some(path) = &args.lines {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            for line in &lines[first..] {
                writeln!(file, "{}", serde_json::to_string(line)?)?;
            }
        }
        progress.step();
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    writeln!(
        out,
        "{}, {cores} cores, {}; load {load_before:.1} at the start and {:.1} at the end.\n",
        machine::processor(),
        std::env::consts::OS,
        machine::load()
    )?;
    write!(out, "{}", markdown(&lines))?;
    for note in suite.notes {
        writeln!(out, "\n{note}")?;
    }
    Ok(())
}

/// The sizes of every case.
fn plan(args: &SuiteArgs) -> Vec<CaseArgs> {
    let pairs = args.pairs.unwrap_or(if args.quick { 2 } else { 9 });
    let of = |case, n| CaseArgs {
        case,
        world: WorldName::Memory,
        sync: Sync::Full,
        aof: Aof::Everysec,
        redis: None,
        dynamo: None,
        away_ms: 0,
        table: None,
        n,
        m: 10,
        bytes: 10_000,
        text: TextKind::Random,
        dir: args.dir.clone(),
        residency: ResidencyName::Resident,
        cache: Switch::On,
        pairs,
        threads: Threads::Many,
    };
    let mut plan = Vec::new();
    let long: &[u64] = if args.quick { &[10, 100] } else { &[10, 100, 1000, 10_000] };
    plan.extend(long.iter().map(|n| of(Case::W1, *n)));
    let fans: &[u64] = if args.quick { &[50] } else { &[100, 1000] };
    plan.extend(fans.iter().map(|n| of(Case::W2, *n)));
    let runs: &[(u64, u64)] = if args.quick { &[(20, 5)] } else { &[(200, 10), (1000, 5)] };
    plan.extend(runs.iter().map(|(n, m)| CaseArgs { m: *m, ..of(Case::W3, *n) }));
    let texts: &[(u64, u64)] =
        if args.quick { &[(5, 10_000)] } else { &[(50, 10_000), (200, 100_000)] };
    plan.extend(texts.iter().map(|(n, bytes)| CaseArgs { bytes: *bytes, ..of(Case::W4, *n) }));
    plan.extend(texts.iter().take(1).map(|(n, bytes)| CaseArgs {
        bytes: *bytes,
        text: TextKind::Compressible,
        ..of(Case::W4, *n)
    }));
    let resumed: &[u64] = if args.quick { &[1, 100] } else { &[1, 1000, 10_000] };
    plan.extend(resumed.iter().map(|n| of(Case::W5, *n)));
    plan.retain(|size| args.case.is_empty() || args.case.contains(&size.case));
    plan
}

/// A size on every World; short sequences also with the program executed anew for every turn.
fn variants(args: &SuiteArgs, size: &CaseArgs) -> Vec<CaseArgs> {
    let sqlite = |sync| CaseArgs { world: WorldName::Sqlite, sync, ..size.clone() };
    let mut all = vec![size.clone(), sqlite(Sync::Normal), sqlite(Sync::Full)];
    if size.case == Case::W1 && size.n <= 1000 {
        let replay = |cache| CaseArgs { residency: ResidencyName::Replay, cache, ..size.clone() };
        all.extend([replay(Switch::On), replay(Switch::Off)]);
    }
    let redis = |aof, redis| CaseArgs { world: WorldName::Redis, aof, redis, ..size.clone() };
    match &args.redis {
        Some(url) => all.push(redis(Aof::Everysec, Some(url.clone()))),
        None if redis::program().is_some() => {
            all.extend([Aof::Off, Aof::Everysec, Aof::Always].map(|aof| redis(aof, None)));
        }
        None => {}
    }
    if args.dynamo.is_some() || dynamodb_servers::server_program().is_ok() {
        let dynamo = args.dynamo.clone();
        all.push(CaseArgs { world: WorldName::Dynamo, dynamo, ..size.clone() });
    }
    all.retain(|one| args.world.is_empty() || args.world.contains(&one.world));
    all
}

struct Suite<'a> {
    args: &'a SuiteArgs,
    /// Peers and cases that took too long.
    given_up: HashSet<(&'static str, Case)>,
    notes: Vec<String>,
}

impl Suite<'_> {
    /// Measures in a process of its own, so that no case is warmed by another.
    fn ours(&self, case: &CaseArgs) -> Result<Line> {
        let done = Command::new(std::env::current_exe()?)
            .args(case.flags())
            .stderr(Stdio::inherit())
            .output()?;
        if !done.status.success() {
            bail!("{} {} n={} failed", case.peer_name(), case.case_name(), case.n);
        }
        Ok(serde_json::from_slice(&done.stdout)?)
    }

    /// Runs a peer's case, each time in a directory of its own.
    fn peer(&mut self, dir: &Path, peer: &Peer, size: &CaseArgs) -> Result<Option<Line>> {
        let left_out = size.steps() > peer.steps_max
            || size.text == TextKind::Compressible
            || self.given_up.contains(&(peer.name, size.case));
        let binary = dir.join(peer.binary);
        if left_out || !binary.exists() {
            return Ok(None);
        }
        let mut lines = Vec::new();
        for _ in 0..self.args.peer_runs {
            let place = tempfile::tempdir_in(&self.args.dir)?;
            let Some(out) = self.finish(&binary, peer, size, place.path())? else {
                self.given_up.insert((peer.name, size.case));
                self.notes.push(format!(
                    "{} did not end {} n={} in {} s, or failed; its larger sizes were left out.",
                    peer.name,
                    size.case_name(),
                    size.n,
                    self.args.peer_seconds
                ));
                return Ok(None);
            };
            // Some of them log on stdout too.
            let line = out.lines().find(|line| line.starts_with('{')).context("no line")?;
            lines.push(serde_json::from_str::<Line>(line)?);
        }
        Ok(median(&lines))
    }

    /// What a peer says; `None` when it fails or takes too long.
    fn finish(
        &self,
        binary: &Path,
        peer: &Peer,
        size: &CaseArgs,
        place: &Path,
    ) -> Result<Option<String>> {
        let said = place.join("said");
        let flags = size.flags();
        let wanted = ["--case", "--n", "--m", "--bytes"];
        let flags = flags.chunks(2).filter(|pair| wanted.contains(&pair[0].as_str())).flatten();
        let mut child = Command::new(binary)
            .args(peer.flags)
            .args(flags)
            .arg("--dir")
            .arg(place.join("store"))
            .stdout(fs::File::create(&said)?)
            .stderr(Stdio::null())
            .spawn()?;
        let deadline = Instant::now() + Duration::from_secs(self.args.peer_seconds);
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(Some(fs::read_to_string(&said)?)),
                Some(_) => return Ok(None),
                None if Instant::now() >= deadline => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(None);
                }
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

/// One line of several runs of the same, with the median of each figure.
fn median(lines: &[Line]) -> Option<Line> {
    let of = |figure: fn(&Line) -> f64| {
        let mut samples = Samples::default();
        lines.iter().for_each(|line| samples.push(figure(line)));
        samples.median()
    };
    let mut line = lines.first()?.clone();
    line.wall_ms = of(|line| line.wall_ms);
    line.per_step_us = of(|line| line.per_step_us);
    line.peak_rss_mb = of(|line| line.peak_rss_mb);
    line.cpu_ms = of(|line| line.cpu_ms);
    line.steps_per_s = line.steps_per_s.map(|_| of(|line| line.steps_per_s.unwrap_or(0.0)));
    line.open_ms = line.open_ms.map(|_| of(|line| line.open_ms.unwrap_or(0.0)));
    Some(line)
}

// ---- Markdown ----

const CASES: &[(&str, &str)] = &[
    ("w1", "w1: one run of n sequential steps"),
    ("w2", "w2: one run that joins n steps"),
    ("w3", "w3: n runs at once"),
    ("w4", "w4: n sequential steps with long results"),
    ("w5", "w5: cold resume of a run of n steps"),
];

fn markdown(lines: &[Line]) -> String {
    let mut out = String::new();
    for (case, title) in CASES {
        let of_case: Vec<&Line> = lines.iter().filter(|line| line.case.starts_with(case)).collect();
        if of_case.is_empty() {
            continue;
        }
        out.push_str(&format!(
            "### {title}\n\n\
             | case | n | who | wall, ms | a step, µs | raw store, µs | ratio (least to most) | CPU, ms | memory, MiB | |\n\
             |---|---|---|---|---|---|---|---|---|---|\n"
        ));
        of_case.into_iter().for_each(|line| out.push_str(&row(line)));
        out.push('\n');
    }
    out
}

fn row(line: &Line) -> String {
    let (limit, ratio) = match &line.beside {
        Some(it) => (
            figure(it.limit_us),
            format!("{} ({} to {})", figure(it.ratio), figure(it.ratio_min), figure(it.ratio_max)),
        ),
        None => ("–".to_owned(), "–".to_owned()),
    };
    format!(
        "| {} | {} | {} | {} | {} | {limit} | {ratio} | {} | {} | {} |\n",
        line.case,
        line.n,
        line.peer,
        figure(line.wall_ms),
        figure(line.per_step_us),
        figure(line.cpu_ms),
        figure(line.peak_rss_mb),
        remarks(line).join(", ")
    )
}

fn remarks(line: &Line) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(steps) = line.steps_per_s {
        remarks.push(format!("{steps:.0} steps/s"));
    }
    if let Some(open) = line.open_ms {
        remarks.push(format!("open after {} ms", figure(open)));
    }
    if let Some(cost) = &line.cost {
        let (requests, units) = (figure(cost.requests_per_step), figure(cost.write_units_per_step));
        remarks.push(format!("{requests} requests and {units} write units a step"));
    }
    if let Some(beside) = &line.beside {
        if let Some(batch) = beside.limit_batch_us {
            let at_once = match &line.peer {
                peer if peer.starts_with("world-redis") => "in one script",
                peer if peer.starts_with("world-dynamo") => "in transactions of 100",
                _ => "in one transaction",
            };
            remarks.push(format!("{} µs {at_once}", figure(batch)));
        }
        if line.peer.starts_with("world-memory") {
            remarks.push(format!("engine {} µs", figure(beside.overhead_us)));
        }
        if line.case.starts_with("w4") {
            remarks.push(format!("{:.0} bytes in the limit", beside.limit_bytes));
        }
    }
    remarks
}

/// A figure with about three digits.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
