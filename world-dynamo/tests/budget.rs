//! What a run costs, counted on the wire.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod kit;

use std::{collections::BTreeMap, sync::Arc};

use kit::{wire::Asked, *};
use world_core::{layer::CountLayer, seal::Key, *};

const ADD: Workflow<u64, u64> = Workflow::new("add");

async fn add(mut ctx: Ctx, steps: u64) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Ok::<_, StepError>(sum + 1)).await?;
    }
    Ok(sum)
}

/// How often each operation was asked for; a write of a batch item is not one of a head item.
fn counted(asked: &[Asked]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for Asked { operation, sort } in asked {
        let what = if sort.starts_with("b/") { "copy" } else { operation };
        *counts.entry(what.to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_sequential_step_is_one_request_that_is_waited_for() {
    const STEPS: u64 = 1000;
    let Scene { wire, world, .. } = Scene::new().await;
    let world = Arc::new(CountLayer::new(world));
    let engine = Engine::builder(Arc::clone(&world));
    let engine = engine.key(Key::generate()).workflow(ADD, add).build().unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(ADD, STEPS).await.unwrap();
    assert_eq!(run.output().await.unwrap(), STEPS);
    let counts = world.counts();
    worker.shutdown().await;

    assert_eq!((counts.appends, counts.records_written), (STEPS + 2, STEPS + 2), "{counts:?}");
    assert!(counts.reads <= 2, "{counts:?}");
    let asked = counted(&wire.clear());
    let of = |operation: &str| asked.get(operation).copied().unwrap_or_default();
    // Nothing but copies stands beside the appends, and nobody waits for these.
    assert_eq!(of("PutItem") + of("TransactWriteItems"), STEPS + 2, "{asked:?}");
    assert!(of("copy") < STEPS && of("TransactWriteItems") < STEPS / 100, "{asked:?}");
    assert!(of("GetItem") + of("UpdateItem") < 20, "{asked:?}");
}

/// Nobody waits for a copy: with copies that never end, an append is one request all the same.
#[tokio::test]
async fn an_append_waits_for_no_copy() {
    let Scene { wire, world, quiet, .. } = Scene::new().await;
    wire.always("PutItem b/", wire::Fault::Silence);
    let log = run("r");
    world.append(&log, &append(0, "a", held())).await.unwrap();
    for number in 1..=100 {
        let next = append(number, &"b".repeat(150), owner(1, None));
        assert_eq!(world.append(&log, &next).await.unwrap(), committed(number + 1));
    }
    let asked = counted(&wire.clear());
    let waited: u64 =
        asked.iter().filter(|(what, _)| *what != "copy").map(|(_, count)| count).sum();
    assert_eq!(waited, 101, "{asked:?}");
    assert!(asked["copy"] >= 1, "{asked:?}");
    assert_eq!(letters(&quiet, &log).await.len(), 101);
}

#[tokio::test]
async fn each_call_asks_for_no_more_than_it_needs() {
    let Scene { wire, world, .. } = Scene::new().await;
    let (log, other) = (run("r"), run("other"));
    let only = |wanted: &[(&str, u64)]| {
        let found = counted(&wire.clear());
        let wanted = wanted.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        assert_eq!(found, wanted);
    };
    world.append(&log, &append(0, "a", creator(Due::Now, None))).await.unwrap();
    only(&[("PutItem", 1)]);
    assert_eq!(world.claim(&claim(1, 1)).await.unwrap().len(), 1);
    only(&[("Query", 4), ("UpdateItem", 1)]); // one each of 4 shards
    world.append(&log, &append(1, "b", owner(1, None))).await.unwrap();
    only(&[("PutItem", 1)]);
    world.append(&log, &append(2, &long('c'), owner(1, None))).await.unwrap();
    only(&[("TransactWriteItems", 1)]);
    world.append(&stream("r", "out"), &append(0, "x", owner(1, None))).await.unwrap();
    only(&[("TransactWriteItems", 1)]);
    world.renew(&lease("r", 1), at(2000)).await.unwrap();
    only(&[("UpdateItem", 1)]);
    world.append(&log, &append(3, "d", owner(1, Some(Due::Never)))).await.unwrap();
    only(&[("PutItem", 1)]);
    world.append(&log, &append(4, "e", By::Outsider)).await.unwrap();
    only(&[("GetItem", 1), ("PutItem", 1)]);
    world.read(&log, Position::new(3), std::num::NonZeroU32::MAX).await.unwrap();
    only(&[("GetItem", 1)]);
    world.read(&log, Position::START, std::num::NonZeroU32::MAX).await.unwrap();
    only(&[("GetItem", 1), ("Query", 1)]);
    // One that is refused is not answered from what is remembered.
    assert_eq!(
        world.append(&other, &append(1, "b", owner(1, None))).await.unwrap(),
        Appended::NotOpen
    );
    only(&[("GetItem", 1)]);
}
