//! The corpus on a store that answers late, twice or not at all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{sync::Arc, time::Duration};

use conformance::corpus::{Sample, corpus};
use tokio::time::{sleep, timeout};
use workflows::{Trying, mix, told};
use world_core::{
    ErrorKind, MemoryWorld, Residency,
    layer::{Fault, FaultLayer, Method},
    testing::{Replay, TestEngine},
};

async fn survives(case: &Sample, seed: u64) {
    let _trying = Trying(format!("{}, seed {seed}", case.name));
    let memory = MemoryWorld::new();
    let faults = Fault::seeded(
        seed,
        vec![
            (Fault::AnswerLost, 100),
            (Fault::Late, 100),
            (Fault::Twice, 80),
            (Fault::Again, 80),
            (Fault::Lost, 100),
            (Fault::Error(ErrorKind::Unavailable), 40),
        ],
    );
    let world = Arc::new(FaultLayer::new(memory.clone(), move |seen| match seen.method {
        Method::Append | Method::Renew => faults(seen),
        _ => Fault::None,
    }));
    let residency = if seed.is_multiple_of(2) { Residency::Resident } else { Residency::Replay };
    let t = TestEngine::on(Arc::clone(&world))
        .configure(|builder| case.register(builder.residency(residency)));
    let kept = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(7)).await;
            world.deliver_kept().await;
        }
    });
    let run = t.start(case.workflow(), 3).await.unwrap();
    if case.cancel {
        t.turn().await.unwrap();
        run.cancel("the corpus says so").await.unwrap();
    }
    let ended = timeout(Duration::from_secs(7_200), t.finish(&run)).await;
    kept.abort();
    let log = t.log(run.id()).await.unwrap();
    let ended = ended.unwrap_or_else(|_| panic!("it hangs\n{log:#?}"));
    if let Some(objection) = case.objection(&ended) {
        panic!("{objection}\n{log:#?}");
    }
    let _ = told(&log);
    let replay = Replay::of(log.clone()).run(run.id()).with(case.workflow(), case.function());
    replay.check().unwrap_or_else(|error| panic!("{error}\n{log:#?}"));
}

#[tokio::test(start_paused = true)]
async fn each_of_the_corpus_survives_faults_at_random() {
    let first: u64 = std::env::var("WORLD_SEED").map_or(1, |seed| seed.parse().unwrap());
    for case in corpus().iter().filter(|case| case.name != "all_of_2000") {
        for seed in first..first + 12 {
            survives(case, mix(seed)).await;
        }
    }
}
