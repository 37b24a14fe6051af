//! `conformance simulate`: many seeds, on several threads, until one of them fails.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    num::NonZeroUsize,
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Args as ClapArgs, value_parser};
use conformance::simulation::{
    Counts, Flaw, Options, Outcome, simulate as simulated, watch_panics,
};
use indicatif::{ProgressBar, ProgressStyle};
use world_core::layer::Method;

/// How often a line says how far it is, where no bar can be shown.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How many lines of a trace are shown of a failure.
const TRACE_SHOWN: usize = 60;

/// The greatest first seed, and the most seeds.
const SEED_MAX: u64 = 1 << 62;

/// What to simulate.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(..=SEED_MAX))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(..=SEED_MAX))]
    first: u64,
    /// Only this seed.
    #[arg(long, conflicts_with_all = ["seeds", "first", "jobs"])]
    seed: Option<u64>,
    /// Shows all that happens, and a digest of it; for one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many threads; as many as the machine has processors by default.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Gives the store this flaw, to see that it is found: one of the names of
    /// `conformance::simulation::Flaw`.
    #[arg(long)]
    flaw: Option<String>,
}

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    counts: Counts,
    virtual_time: Duration,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.counts.add(&outcome.counts);
        self.virtual_time += outcome.virtual_time;
    }
}

pub(crate) fn simulate(args: &Args) -> ExitCode {
    watch_panics();
    let flaw = match &args.flaw {
        None => None,
        Some(name) => match Flaw::ALL.into_iter().find(|flaw| flaw.to_string() == *name) {
            Some(flaw) => Some(flaw),
            None => {
                say(&format!("no flaw is called {name}; there are {:?}", Flaw::ALL));
                return ExitCode::from(2);
            }
        },
    };
    let options = Options { trace: args.trace, flaw };
    if args.trace
        && let Some(seed) = args.seed
    {
        return traced(seed, &options);
    }
    let began = Instant::now();
    let (sum, failed) = match args.seed {
        Some(seed) => many(seed..seed.saturating_add(1), NonZeroUsize::MIN, &options),
        None => {
            let jobs = args.jobs.or_else(|| thread::available_parallelism().ok());
            let seeds = args.first..args.first.saturating_add(args.seeds);
            many(seeds, jobs.unwrap_or(NonZeroUsize::MIN), &options)
        }
    };
    say(&summary(&sum, began.elapsed()));
    match failed {
        None => ExitCode::SUCCESS,
        Some(outcome) => {
            say(&failure(&outcome, &options));
            ExitCode::FAILURE
        }
    }
}

/// One seed, with all that happens.
fn traced(seed: u64, options: &Options) -> ExitCode {
    let outcome = simulated(seed, options);
    say(&outcome.trace.join("\n"));
    say(&format!("seed {seed}, digest {:016x}", outcome.digest));
    if outcome.objections.is_empty() {
        return ExitCode::SUCCESS;
    }
    say(&format!("violated: {}", outcome.objections.join("\nthen: ")));
    ExitCode::FAILURE
}

/// Simulates the seeds on so many threads; stops at the first that fails.
fn many(
    seeds: std::ops::Range<u64>,
    jobs: NonZeroUsize,
    options: &Options,
) -> (Sum, Option<Outcome>) {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (sender, outcomes) = mpsc::channel();
    let mut progress = Progress::new(seeds.end.saturating_sub(seeds.start));
    let (mut sum, mut failed): (Sum, Option<Outcome>) = (Sum::default(), None);
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    let seed = next.fetch_add(1, SeqCst);
                    if seed >= seeds.end || sender.send(simulated(seed, options)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for outcome in outcomes {
            sum.add(&outcome);
            progress.show(sum.seeds);
            if !outcome.objections.is_empty() {
                stop.store(true, SeqCst);
                if failed.as_ref().is_none_or(|other| outcome.seed < other.seed) {
                    failed = Some(outcome);
                }
            }
        }
    });
    progress.end();
    (sum, failed)
}

/// How far it is: a bar, or lines at intervals where there is no terminal.
struct Progress {
    bar: Option<ProgressBar>,
    seeds: u64,
    began: Instant,
    said: Instant,
}

impl Progress {
    fn new(seeds: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| ProgressBar::new(seeds));
        if let Some(bar) = &bar
            && let Ok(style) =
                ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { bar, seeds, began: now, said: now }
    }

    fn show(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(done);
        }
        if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let rate = done as f64 / self.began.elapsed().as_secs_f64();
            say(&format!("{done} of {} seeds, {rate:.0} a second", self.seeds));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn summary(sum: &Sum, took: Duration) -> String {
    let Counts { runs, bodies, calls, faults } = &sum.counts;
    let by_method: Vec<String> =
        Method::ALL.iter().zip(calls).map(|(method, calls)| format!("{method} {calls}")).collect();
    let faults: &BTreeMap<&str, u64> = faults;
    let by_kind: Vec<String> = faults.iter().map(|(kind, many)| format!("{kind} {many}")).collect();
    let seconds = took.as_secs_f64();
    format!(
        "seeds         {} ({:.0} a second)\n\
         runs          {runs}, bodies begun {bodies}\n\
         store calls   {} ({})\n\
         faults        {} ({})\n\
         virtual time  {:.1} days\n\
         took          {seconds:.1} s",
        sum.seeds,
        sum.seeds as f64 / seconds,
        calls.iter().sum::<u64>(),
        by_method.join(", "),
        faults.values().sum::<u64>(),
        by_kind.join(", "),
        sum.virtual_time.as_secs_f64() / 86_400.0,
    )
}

/// What went wrong, the end of the trace, and how to see it again.
fn failure(outcome: &Outcome, options: &Options) -> String {
    let seed = outcome.seed;
    let again = simulated(seed, &Options { trace: true, ..*options });
    let shown = again.trace.len().saturating_sub(TRACE_SHOWN);
    let flaw = options.flaw.map(|flaw| format!(" --flaw {flaw}")).unwrap_or_default();
    let differs = if again.digest == outcome.digest || outcome.digest == 0 {
        ""
    } else {
        "\nBEWARE: the second time it went otherwise; something is left to chance."
    };
    format!(
        "\nseed {seed} FAILED\nviolated: {}\n\nthe end of the trace:\n{}{differs}\n\n\
         again: cargo run -p conformance --release -- simulate --seed {seed} --trace{flaw}",
        outcome.objections.join("\nthen: "),
        again.trace[shown..].join("\n"),
    )
}

/// Says a line; nobody may listen.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
