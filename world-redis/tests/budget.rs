//! What a run costs the server, counted there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use redis_servers::Private;
use world_core::{Ctx, Engine, StepError, Workflow, layer::CountLayer, seal::Key};
use world_redis::RedisWorld;

const ADD: Workflow<u64, u64> = Workflow::new("add");

/// Calls of one command that a run may cost however long it is: claims, looks, subscriptions.
const ONCE_MAX: u64 = 40;
/// The same for each second that passes: whoever waits looks once a second, and leases are renewed.
const A_SECOND_MAX: u64 = 10;

async fn add(mut ctx: Ctx, steps: u64) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Ok::<_, StepError>(sum + 1)).await?;
    }
    Ok(sum)
}

/// How often each command has been called, by clients and by scripts.
async fn calls(server: &mut redis::aio::MultiplexedConnection) -> BTreeMap<String, u64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(server).await.unwrap();
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
    lines
        .map(|(name, rest)| {
            let calls = rest.split(',').find_map(|field| field.strip_prefix("calls="));
            (name.to_owned(), calls.unwrap().parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_sequential_step_is_one_script_that_reads_twice_and_writes_twice() {
    const STEPS: u64 = 1000;
    // A server of its own: nobody else's commands are counted.
    let server = Private::start(&[]).unwrap();
    let url = format!("redis://{}", server.address());
    let redis = RedisWorld::connect(&url).await.unwrap();
    let world = Arc::new(CountLayer::new(redis));
    let engine = Engine::builder(Arc::clone(&world))
        .key(Key::generate())
        .workflow(ADD, add)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    // The first run makes the server know the scripts.
    assert_eq!(engine.client().start(ADD, 1).await.unwrap().output().await.unwrap(), 1);

    let client = redis::Client::open(url).unwrap();
    let mut counted = client.get_multiplexed_async_connection().await.unwrap();
    let (before, began, counts) = (calls(&mut counted).await, Instant::now(), world.counts());
    let run = engine.client().start(ADD, STEPS).await.unwrap();
    assert_eq!(run.output().await.unwrap(), STEPS);
    let counts = world.counts().since(&counts);
    let after = calls(&mut counted).await;
    let fixed = ONCE_MAX + A_SECOND_MAX * (1 + began.elapsed().as_secs());
    worker.shutdown().await;

    assert_eq!((counts.appends, counts.records_written), (STEPS + 2, STEPS + 2), "{counts:?}");
    assert!(counts.reads <= 2, "{counts:?}");
    // Each command that is called, and how often a step: the script, and what the script calls.
    let of_a_step = ["evalsha", "hget", "llen", "rpush", "hset"];
    for (name, calls) in after {
        let calls = calls - before.get(&name).copied().unwrap_or(0);
        let appends = if of_a_step.contains(&name.as_str()) { STEPS + 2 } else { 0 };
        assert!((appends..=appends + fixed).contains(&calls), "{name}: {calls} calls");
    }
}
