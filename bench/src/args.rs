//! The flags.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures what a durable step costs, beside the raw store.
#[derive(Debug, Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) case: CaseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures every case on every World and prints Markdown.
    Suite(SuiteArgs),
    /// The process of w5 that ends in the middle of a run.
    #[command(hide = true)]
    FirstLife {
        #[command(flatten)]
        case: CaseArgs,
    },
}

/// One case on one World.
#[derive(Clone, Debug, Args)]
pub(crate) struct CaseArgs {
    /// What is run.
    #[arg(long, value_enum, default_value = "w1")]
    pub(crate) case: Case,
    /// Where it is kept.
    #[arg(long, value_enum, default_value = "memory")]
    pub(crate) world: WorldName,
    /// Whether SQLite syncs the disk at every commit, for us and for the limit.
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) sync: Sync,
    /// How the Redis server that is started for the measurement keeps its append-only file.
    #[arg(long, value_enum, default_value = "everysec")]
    pub(crate) aof: Aof,
    /// A Redis server that runs, with an empty database, instead of one of our own.
    #[arg(long)]
    pub(crate) redis: Option<String>,
    /// The endpoint of a DynamoDB server that runs, instead of one of our own.
    #[arg(long)]
    pub(crate) dynamo: Option<String>,
    /// Milliseconds that each request to DynamoDB takes longer, ours and the limit's.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub(crate) away_ms: u64,
    /// The table on it, which is there, instead of one of our own.
    #[arg(long, hide = true)]
    pub(crate) table: Option<String>,
    /// Steps of the run; in w3, runs.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) n: u64,
    /// In w3, steps of each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) m: u64,
    /// In w4, bytes of each result.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) bytes: u64,
    /// In w4, what the results are.
    #[arg(long, value_enum, default_value = "random")]
    pub(crate) text: TextKind,
    /// Where files are made; each measurement has a directory of its own in it, and removes it.
    #[arg(long, default_value = "scratch")]
    pub(crate) dir: PathBuf,
    /// Whether programs stay in memory between turns.
    #[arg(long, value_enum, default_value = "resident")]
    pub(crate) residency: ResidencyName,
    /// Whether results once opened are kept for the next replay.
    #[arg(long, value_enum, default_value = "on")]
    pub(crate) cache: Switch,
    /// Pairs of a measurement of ours and one of the limit; medians are reported.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: u32,
    /// Threads of the runtime: tokio's default, or one thread for everything.
    #[arg(long, value_enum, default_value = "many")]
    pub(crate) threads: Threads,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SuiteArgs {
    /// Small sizes and few pairs: to see that everything works.
    #[arg(long)]
    pub(crate) quick: bool,
    /// A directory with the built binaries of other libraries, run in the same hour.
    #[arg(long)]
    pub(crate) peers: Option<PathBuf>,
    /// Runs of each case of a peer.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) peer_runs: u32,
    /// Seconds after which a run of a peer is given up, with all its larger sizes.
    #[arg(long, default_value_t = 90)]
    pub(crate) peer_seconds: u64,
    /// Pairs of each measurement.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: Option<u32>,
    /// A Redis server that runs, with an empty database, instead of servers of our own.
    #[arg(long)]
    pub(crate) redis: Option<String>,
    /// The endpoint of a DynamoDB server that runs, instead of servers of our own.
    #[arg(long)]
    pub(crate) dynamo: Option<String>,
    /// Only these Worlds.
    #[arg(long, value_enum)]
    pub(crate) world: Vec<WorldName>,
    /// Only these cases.
    #[arg(long, value_enum)]
    pub(crate) case: Vec<Case>,
    /// Where files are made.
    #[arg(long, default_value = "scratch")]
    pub(crate) dir: PathBuf,
    /// Where each JSON line is written too.
    #[arg(long)]
    pub(crate) lines: Option<PathBuf>,
}

/// What is run; the same work as the peers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Case {
    /// One run of n sequential steps.
    W1,
    /// One run that joins n concurrent steps.
    W2,
    /// n runs of m sequential steps, started at once.
    W3,
    /// One run of n sequential steps, each returning a long string.
    W4,
    /// The cold resume of a run of n steps.
    W5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorldName {
    Memory,
    Sqlite,
    Redis,
    Dynamo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sync {
    Full,
    Normal,
}

/// How Redis keeps its append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Aof {
    /// Not at all.
    Off,
    /// Written at once, synced every second.
    Everysec,
    /// Synced before each answer.
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextKind {
    /// Random printable characters: compression saves what 95 of 256 byte values leave, a sixth.
    Random,
    /// Records as they are found in practice, which compress well.
    Compressible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResidencyName {
    Resident,
    Replay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Threads {
    Many,
    One,
}

/// A value as it stands on a command line.
fn flag(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl CaseArgs {
    /// The flags that give the same.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = [
            ("--case", flag(self.case)),
            ("--world", flag(self.world)),
            ("--sync", flag(self.sync)),
            ("--aof", flag(self.aof)),
            ("--n", self.n.to_string()),
            ("--m", self.m.to_string()),
            ("--bytes", self.bytes.to_string()),
            ("--text", flag(self.text)),
            ("--away-ms", self.away_ms.to_string()),
            ("--dir", self.dir.display().to_string()),
            ("--residency", flag(self.residency)),
            ("--cache", flag(self.cache)),
            ("--pairs", self.pairs.to_string()),
            ("--threads", flag(self.threads)),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        let given =
            [("--redis", &self.redis), ("--dynamo", &self.dynamo), ("--table", &self.table)];
        for (name, value) in given {
            flags.extend(value.iter().flat_map(|value| [name.to_owned(), value.clone()]));
        }
        flags
    }

    /// The case's name in a line.
    pub(crate) fn case_name(&self) -> String {
        let case = flag(self.case);
        match (self.case, self.text) {
            (Case::W3, _) => format!("{case}x{}", self.m),
            (Case::W4, TextKind::Random) => format!("{case}b{}", self.bytes),
            (Case::W4, TextKind::Compressible) => format!("{case}b{}-compressible", self.bytes),
            _ => case,
        }
    }

    /// Who we are in a line: everything that changes the figures and is no size.
    pub(crate) fn peer_name(&self) -> String {
        let mut name = format!("world-{}", flag(self.world));
        let is_given = match self.world {
            WorldName::Memory | WorldName::Sqlite => false,
            WorldName::Redis => self.redis.is_some(),
            WorldName::Dynamo => self.dynamo.is_some(),
        };
        match self.world {
            _ if is_given => name.push_str("-given"),
            WorldName::Memory | WorldName::Dynamo => {}
            WorldName::Sqlite => name = format!("{name}-{}", flag(self.sync)),
            WorldName::Redis => name = format!("{name}-{}", flag(self.aof)),
        }
        if self.residency == ResidencyName::Replay {
            name.push_str("-replay");
        }
        if self.cache == Switch::Off {
            name.push_str("-uncached");
        }
        if self.threads == Threads::One {
            name.push_str("-1thread");
        }
        if self.away_ms > 0 {
            name.push_str(&format!("-away{}ms", self.away_ms));
        }
        name
    }

    /// How much longer each request to DynamoDB takes.
    pub(crate) fn away(&self) -> Duration {
        Duration::from_millis(self.away_ms)
    }

    /// Steps in all: what the wall is divided by.
    pub(crate) fn steps(&self) -> u64 {
        match self.case {
            Case::W3 => self.n * self.m,
            _ => self.n,
        }
    }
}
