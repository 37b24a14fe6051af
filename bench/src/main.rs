//! What a durable step costs: the engine on a World, beside the same writes on the raw store.
//!
//! See the README for the cases, the limits and the fields of a line.

mod args;
mod dynamo;
mod limit;
mod line;
mod machine;
mod measure;
mod ours;
mod progress;
mod redis;
mod store;
mod suite;
mod text;

use std::io::Write;

use anyhow::Result;
use clap::Parser;

use args::{Cli, Command};

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => {
            let line = measure::case(&cli.case)?;
            let mut out = std::io::stdout().lock();
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
            Ok(())
        }
        Some(Command::Suite(args)) => suite::run(&args),
        Some(Command::FirstLife { case }) => ours::first_life(&case),
    }
}
