//! Every workflow of the corpus comes to what it should, under every timing, and its log replays
//! to the same decisions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{collections::BTreeSet, time::Duration};

use conformance::corpus::{Sample, corpus};
use kit::Lag;
use world_core::{
    MemoryWorld, Residency, RunError, RunId,
    event::Logged,
    testing::{Replay, TestEngine},
};

async fn live(
    case: &Sample,
    seed: u64,
    residency: Residency,
) -> (Result<String, RunError>, RunId, Vec<Logged>) {
    let t = TestEngine::on(Lag::new(MemoryWorld::new(), seed))
        .configure(|builder| case.register(builder.residency(residency)));
    let run = t.start(case.workflow(), seed).await.unwrap();
    if case.cancel {
        t.turn().await.unwrap();
        run.cancel("the corpus says so").await.unwrap();
    }
    // Nothing here takes real time: what takes this long hangs.
    let ended = tokio::time::timeout(Duration::from_secs(60), t.finish(&run)).await;
    let log = t.log(run.id()).await.unwrap();
    let ended = ended.unwrap_or_else(|_| panic!("{case:?} hangs, seed {seed}\n{log:#?}"));
    (ended, run.id().clone(), log)
}

async fn lives_and_replays(case: &Sample, seeds: std::ops::Range<u64>, residency: Residency) {
    for seed in seeds {
        let (ended, run, log) = live(case, seed, residency).await;
        if let Some(objection) = case.objection(&ended) {
            panic!("seed {seed}: {objection}\n{log:#?}");
        }
        let jitter = if log.len() > 1000 { 1 } else { 16 };
        let replay = Replay::of(log.clone()).run(&run).with(case.workflow(), case.function());
        if let Err(error) = replay.every_prefix().jitter(jitter).check() {
            panic!("{case:?}, seed {seed}: {error}\n{log:#?}");
        }
    }
}

#[test]
fn the_corpus_has_at_least_30_workflows_each_with_a_name_of_its_own() {
    let names: BTreeSet<_> = corpus().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), corpus().len());
    assert!(names.len() >= 30);
}

#[tokio::test]
async fn each_lives_and_replays_under_every_timing() {
    for case in corpus() {
        let seeds = if case.name == "all_of_2000" { 0..1 } else { 0..6 };
        lives_and_replays(&case, seeds, Residency::Resident).await;
    }
}

#[tokio::test]
async fn each_lives_and_replays_when_it_is_executed_anew_for_every_turn() {
    for case in corpus().iter().filter(|case| case.name != "all_of_2000") {
        lives_and_replays(case, 0..2, Residency::Replay).await;
    }
}
