//! The command line of the conformance suite.
//!
//! ```text
//! conformance simulate --seeds 100000     from seed 1 on
//! conformance simulate --seed 7 --trace   one seed, with all that happens
//! ```

mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Proves that a World, and the engine on it, keep their contract.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulates workers, a store and clients under virtual time, each drawn from a seed.
    Simulate(simulate::Args),
}

fn main() -> ExitCode {
    let Cli { command: Command::Simulate(args) } = Cli::parse();
    simulate::simulate(&args)
}
