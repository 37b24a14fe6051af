//! A server that is killed at any moment while workers drive runs on it, and started again on its file.
//!
//! `WORLD_KILLS` sets how often, `WORLD_SEED` when.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "the seed is shown")]

#[path = "../../world-core/tests/runs/mod.rs"]
mod runs;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dynamodb_servers::{Private, client};
use runs::{
    Crew, Open, nothing_lost, runtime, undisturbed, variable,
    workflows::{Trying, mix},
};
use world_core::{
    ErrorKind::{Unavailable, Unknown},
    World,
};
use world_dynamo::{DynamoWorld, Options};

/// How many runs are open at once, about.
const OPEN_MIN: u64 = 24;

const TABLE: &str = "runs";

fn options() -> Options {
    Options::new().timeout(Duration::from_secs(2)).poll(Duration::from_millis(20))
}

#[test]
fn a_server_may_be_killed_any_number_of_times() {
    let (kills, seed) = (variable("WORLD_KILLS", 20), variable("WORLD_SEED", 1));
    let trying = Trying(format!("WORLD_SEED={seed} WORLD_KILLS={kills}"));
    let wanted = undisturbed();
    let mut server = Private::start().unwrap();
    let endpoint = server.endpoint();
    let open: Open = Arc::new(move || {
        let client = client(&endpoint);
        Box::pin(async move {
            let world = DynamoWorld::from_client(&client, TABLE, options()).await?;
            Ok(Arc::new(world) as Arc<dyn World>)
        })
    });
    let begin = Instant::now();
    runtime().block_on(async {
        DynamoWorld::create_table(&client(&server.endpoint()), TABLE, options()).await.unwrap();
        let mut crew = Crew::new(open.clone()).await;
        for kill in 0..kills {
            let draw = mix(seed ^ mix(kill));
            let (before, open) = (crew.notes.count(), crew.open().await);
            crew.start(OPEN_MIN.saturating_sub(open)).await;
            if !draw.is_multiple_of(8) {
                crew.notes.more(before, (draw >> 32) as usize % 60).await;
            }
            tokio::task::block_in_place(|| server.restart().unwrap());
        }
        let (killed, started) = (begin.elapsed(), crew.started());
        let notes = crew.finish(&wanted).await;
        notes.only(&[Unavailable, Unknown]);
        nothing_lost(&open, &notes).await;
        let count = notes.count();
        println!(
            "seed {seed}: {kills} kills in {killed:?}, ended in {:?}, {started} runs, {count} \
             acknowledged records, errors {:?}",
            begin.elapsed(),
            notes.errors()
        );
        assert!(count as u64 > kills, "too little happened");
    });
    drop(trying);
}
