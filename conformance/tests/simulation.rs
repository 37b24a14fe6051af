//! The simulation finds nothing wrong with the engine, and what is wrong with broken stores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

use std::process::Command;

use conformance::simulation::{Flaw, Options, simulate, watch_panics};

/// Where to begin, so that a failure can be seen again alone.
fn first_seed() -> u64 {
    std::env::var("WORLD_SEED").map_or(1, |seed| seed.parse().unwrap())
}

#[test]
fn nothing_is_found_in_a_few_hundred_seeds() {
    watch_panics();
    for seed in first_seed()..first_seed() + 200 {
        let outcome = simulate(seed, &Options::default());
        assert!(outcome.objections.is_empty(), "seed {seed}: {:#?}", outcome.objections);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    watch_panics();
    for seed in first_seed()..first_seed() + 20 {
        let options = Options { trace: true, ..Options::default() };
        let (first, second) = (simulate(seed, &options), simulate(seed, &options));
        for (nth, (first, second)) in first.trace.iter().zip(&second.trace).enumerate() {
            assert_eq!(first, second, "seed {seed}, line {nth}");
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        let unseen = simulate(seed, &Options::default());
        assert_eq!(first.digest, unseen.digest, "seed {seed}: the trace changes what it shows");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_in_another_process() {
    for seed in first_seed()..first_seed() + 5 {
        let trace = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
            let output =
                command.args(["simulate", "--trace", "--seed", &seed.to_string()]).output();
            let output = output.unwrap();
            assert!(output.status.success(), "seed {seed}");
            output.stdout
        };
        let first = trace();
        assert!(first.len() > 500, "seed {seed}");
        assert!(first == trace(), "seed {seed} goes otherwise in another process");
    }
}

/// The seeds after which a flaw must have been found.
const FOUND_WITHIN: u64 = 200;

#[test]
fn each_flaw_of_a_store_is_found_within_a_few_seeds() {
    watch_panics();
    for flaw in Flaw::ALL {
        let options = Options { flaw: Some(flaw), ..Options::default() };
        let found =
            (1..=FOUND_WITHIN).find(|seed| !simulate(*seed, &options).objections.is_empty());
        assert!(found.is_some(), "{flaw} was not found within {FOUND_WITHIN} seeds");
    }
}
