//! Workflows whose process is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use world_core::{
    Alarm, Clock, Ctx, Engine, KeyId, StepError, SystemClock, Timestamp, Workflow, seal::Key,
};

use super::{DONE, draw, durable, killed_after};
use crate::{
    failure::{Failure, Verdict, ensure, error_text},
    part::Stage,
    subject::Subject,
};

pub(super) const PART: &str = "flows";

const KILLS: u64 = 6;
const RUNS: u64 = 8;
const STEPS: u64 = 24;

/// Longer than any lease: those of the process before have run out.
const AHEAD_SECONDS: u64 = 600;

const CHAIN: Workflow<u64, u64> = Workflow::new("chain");

async fn chain(mut ctx: Ctx, run: u64) -> Result<u64, StepError> {
    let mut sum = run;
    for number in 0..STEPS {
        let body = async || {
            Stage::tell(format!("begun {run} {number}"));
            Ok::<_, StepError>(draw(run, number) % 1000)
        };
        sum += ctx.step(&format!("step-{number}"), body).await?;
        // Its result was delivered, so it was committed before.
        Stage::tell(format!("taken {run} {number}"));
    }
    Ok(sum)
}

fn output(run: u64) -> u64 {
    run + (0..STEPS).map(|number| draw(run, number) % 1000).sum::<u64>()
}

/// The machine's clock, some seconds fast.
#[derive(Clone, Copy, Debug)]
struct Fast(u64);

impl Clock for Fast {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0))
    }

    fn alarm(&self, until: Timestamp) -> Alarm {
        let until = until.as_millis().saturating_sub(self.0 * 1000);
        SystemClock.alarm(Timestamp::from_millis(until))
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn pause(&self, time: Duration) -> Alarm {
        SystemClock.pause(time)
    }
}

/// Works until it is killed, or every run has ended.
pub(super) async fn play(stage: Stage) -> Verdict {
    let world = stage.open().await?;
    let key = Key::from_bytes(KeyId::new("durability")?, [7; 32]);
    let engine = Engine::builder(world)
        .key(key)
        .clock(Fast(stage.argument(0)))
        .poll(Duration::from_millis(20))
        .workflow(CHAIN, chain)
        .build()?;
    let worker = engine.spawn_worker();
    for run in 0..RUNS {
        engine.client().start(CHAIN, run).id(format!("chain-{run}")).await?;
    }
    for run in 0..RUNS {
        let handle = engine.client().run(CHAIN, &format!("chain-{run}"))?;
        let found = handle.output().await.map_err(|error| Failure::failed(error_text(&error)))?;
        Stage::tell(format!("output {run} {found}"));
    }
    Stage::tell(DONE);
    worker.shutdown().await;
    Ok(())
}

pub(super) async fn a_step_that_was_taken_never_begins_again(subject: Subject) -> Verdict {
    durable(&subject).await?;
    let first = subject.settings().seed;
    let mut seen = Seen::default();
    for (process, seed) in (0..).zip(subject.seeds(KILLS)) {
        let player = subject.play(PART, &[process * AHEAD_SECONDS])?;
        let lines = killed_after(player, 1 + draw(seed, 2) % 90).await?;
        subject.injected(1);
        seen.add(&lines).map_err(|failure| failure.at_seed(first))?;
    }
    // The last process is not killed before it has ended every run.
    let processes = KILLS.saturating_mul(subject.settings().effort);
    let player = subject.play(PART, &[processes * AHEAD_SECONDS])?;
    let lines = killed_after(player, u64::MAX).await?;
    seen.add(&lines).map_err(|failure| failure.at_seed(first))?;
    for run in 0..RUNS {
        let (found, wanted) = (seen.outputs.get(&run), output(run));
        ensure!(
            R1,
            found == Some(&wanted),
            "run chain-{run}: its output is {found:?}, not {wanted}"
        );
    }
    Ok(())
}

/// What the processes have told.
#[derive(Debug, Default)]
struct Seen {
    taken: BTreeSet<(u64, u64)>,
    outputs: BTreeMap<u64, u64>,
}

impl Seen {
    fn add(&mut self, lines: &[String]) -> Verdict {
        for line in lines {
            let mut words = line.split(' ');
            let what = words.next();
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
            let (Some(run), Some(number)) = (number(), number()) else { continue };
            match what {
                Some("begun") => ensure!(
                    R1,
                    !self.taken.contains(&(run, number)),
                    "run chain-{run}: the body of step-{number} began again, though its result was \
                     committed and taken before a kill"
                ),
                Some("taken") => {
                    self.taken.insert((run, number));
                }
                Some("output") => {
                    self.outputs.insert(run, number);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
