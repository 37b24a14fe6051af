//! What the second process does.

use std::{
    env,
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process,
    sync::Arc,
    thread,
};

use world_core::World;

use super::{ARGUMENTS, DIR, MARK, PART, SITE, SUITE};
use crate::{
    cases,
    factory::Factory,
    failure::{Failure, Verdict},
    site::Site,
};

/// Where a part is played.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    factory: Factory,
    site: Site,
    arguments: Vec<u64>,
}

impl Stage {
    /// A new handle on the World at the case's site.
    pub(crate) async fn open(&self) -> Verdict<Arc<dyn World>> {
        let world = self.factory.open(self.site.clone()).await;
        world.map_err(|error| Failure::failed(format!("the factory gave no World: {error}")))
    }

    /// One of the numbers that the case gave; 0 for one that it did not give.
    pub(crate) fn argument(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or(0)
    }

    /// Tells the case a line. Once it is told, it is true: what it says has happened before.
    pub(crate) fn tell(line: impl Display) {
        let line = format!("{MARK}{line}\n");
        let mut output = io::stdout().lock();
        let told = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        if told.is_err() {
            process::exit(1); // nobody listens
        }
    }
}

/// Plays the part that the environment asks this suite for, if it asks for one; gives the exit code.
pub(crate) fn play(suite: &str, factory: &Factory) -> Option<i32> {
    let part = env::var(PART).ok()?;
    if env::var(SUITE).ok()? != suite {
        return None;
    }
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(1); // the case is over
    });
    let site = Site::of(&env::var(SITE).ok()?, PathBuf::from(env::var_os(DIR)?));
    let arguments = env::var(ARGUMENTS).unwrap_or_default();
    let arguments = arguments.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let stage = Stage { factory: factory.clone(), site, arguments };
    Stage::tell_first();
    let played = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))
        .and_then(|runtime| runtime.block_on(cases::play(&part, stage)));
    Some(match played {
        Ok(()) => 0,
        Err(failure) => {
            Stage::tell(format!("failed {}", failure.to_string().replace('\n', " ")));
            1
        }
    })
}

impl Stage {
    /// Begins a line of its own: another harness may have begun one.
    fn tell_first() {
        let _ = io::stdout().lock().write_all(b"\n");
        Self::tell("ready");
    }
}
