//! The golden logs are what this version writes, or are written anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path, slice::from_ref, sync::Arc};

use world_core::{MemoryWorld, Residency, RunId};

use super::{FILES, Golden, opened};
use crate::flows::{
    BEGIN, Ended, Flow, Look, Process, Told, clock_at, samples, survived, unbroken,
};

/// The size of all of them together.
const BYTES_MAX: usize = 300 << 10;

async fn written_now(name: &str, run: &RunId) -> (Golden, Told) {
    let sample = samples(&[name]).unwrap().remove(0);
    let world = Arc::new(MemoryWorld::new());
    let look = Look::on(world.clone()).unwrap();
    let flow = Flow::new(&sample, run.as_str()).unwrap();
    let (clock, resident) = (clock_at(BEGIN), Residency::Resident);
    let process =
        Process::on(world, &look, from_ref(&sample), clock, resident, unbroken()).unwrap();
    let ended = process.drive(&flow).await.unwrap();
    assert!(matches!(ended, Ended::Run(_)));
    let told = survived(&look, &flow, &ended, None).await.unwrap();
    let records = look.records(run).await.unwrap();
    let opened = look.log(&flow).await.unwrap().iter().map(opened).collect();
    (Golden { sample: name.to_owned(), run: run.clone(), records, opened }, told)
}

#[tokio::test]
async fn the_golden_logs_are_what_this_version_writes() {
    let bless = std::env::var_os("CONFORMANCE_BLESS").is_some();
    for (name, text) in FILES {
        let (now, told) = written_now(name, &Golden::run_of(name).unwrap()).await;
        if bless {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.log"));
            fs::write(file, now.text()).unwrap();
            continue;
        }
        let golden = Golden::parse(name, text).unwrap();
        assert_eq!(golden.text(), *text, "{name}");
        let log = golden.open(&golden.records).await.unwrap();
        let sample = samples(&[name]).unwrap().remove(0);
        if let Some(objection) = told.objection(&sample, &Told::of(&log)) {
            panic!("{name}: {objection}");
        }
    }
}

#[test]
fn the_golden_logs_are_small() {
    assert!(FILES.iter().map(|(_, text)| text.len()).sum::<usize>() < BYTES_MAX);
}
