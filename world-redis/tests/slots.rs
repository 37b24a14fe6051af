//! A Cluster whose slots move and whose masters change while workers drive runs on it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "what was seen is shown")]

mod runs;

use std::time::Instant;

use redis_servers::{PrivateCluster, Reply};
use runs::{Crew, nothing_lost, runtime, undisturbed, world_at};
use world_core::ErrorKind::{Regressed, Unavailable, Unknown};

/// Runs that are started, and records that are acknowledged, in each state of a move.
const STARTED: u64 = 12;
const WRITTEN: usize = 20;

fn url(cluster: &PrivateCluster) -> String {
    // Before a call that meets a moving slot is given up, as little is waited as can be.
    format!("redis-cluster://{}?shards=3&response_timeout_ms=2000", cluster.nodes()[0].address())
}

/// Moves a few keys of a slot, so that a script finds some of its keys here and some there.
fn move_some_keys(cluster: &PrivateCluster, slot: u16, from: usize, to: usize) -> usize {
    let mut source = cluster.nodes()[from].address().connect().unwrap();
    let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "5"]).unwrap();
    let port = cluster.nodes()[to].address().port().to_string();
    let mut command =
        ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"].map(Vec::from).to_vec();
    command.extend(keys.array().iter().filter_map(|key| match key {
        Reply::Bytes(key) => Some(key.clone()),
        _ => None,
    }));
    source.command(&command).unwrap();
    keys.array().len()
}

/// Lets the workers go on for a while; what is started need not be there yet.
async fn go_on(crew: &mut Crew, starting: &mut tokio::task::JoinSet<()>) {
    let before = crew.notes.count();
    starting.spawn(crew.start(STARTED));
    crew.notes.more(before, WRITTEN).await;
}

#[test]
fn a_slot_that_moves_and_comes_back_loses_and_doubles_nothing() {
    let wanted = undisturbed();
    let cluster = PrivateCluster::start(&[]).unwrap();
    let begin = Instant::now();
    runtime().block_on(async {
        let mut crew = Crew::new(world_at(&url(&cluster))).await;
        let mut starting = tokio::task::JoinSet::new();
        let slot = cluster.slot("{world:0}:runs").unwrap();
        let home = cluster.owner("{world:0}:runs").unwrap();
        let away = (home + 1) % 3;
        let mut moved = Vec::new();
        for (from, to) in [(home, away), (away, home)] {
            go_on(&mut crew, &mut starting).await;
            cluster.begin_move(slot, from, to).unwrap();
            go_on(&mut crew, &mut starting).await;
            let some = move_some_keys(&cluster, slot, from, to);
            go_on(&mut crew, &mut starting).await;
            let rest = cluster.move_keys(slot, from, to).unwrap();
            go_on(&mut crew, &mut starting).await;
            cluster.finish_move(slot, to).unwrap();
            go_on(&mut crew, &mut starting).await;
            assert_eq!(cluster.owner("{world:0}:runs").unwrap(), to);
            moved.push((some, rest));
        }
        let (time, started) = (begin.elapsed(), crew.started());
        while let Some(done) = starting.join_next().await {
            done.unwrap();
        }
        let notes = crew.finish(&wanted).await;
        println!(
            "keys moved {moved:?} in {time:?}, ended in {:?}; {started} runs, {} acknowledged \
             records, errors {:?}",
            begin.elapsed(),
            notes.count(),
            notes.errors()
        );
        assert!(moved.iter().all(|(some, rest)| some + rest > 0), "{moved:?}");
        notes.only(&[Unavailable, Unknown, Regressed]); // another node knows, perhaps, less
        nothing_lost(&world_at(&url(&cluster)), &notes).await;
    });
}

#[test]
fn a_master_that_dies_is_replaced_by_its_replica_and_every_run_ends() {
    let wanted = undisturbed();
    let mut cluster = PrivateCluster::start(&[]).unwrap();
    let master = cluster.owner("{world:0}:runs").unwrap();
    let replica = cluster.add_replica(master).unwrap();
    let begin = Instant::now();
    runtime().block_on(async {
        // Another node is named, since this one dies.
        let named = cluster.nodes()[(master + 1) % 3].address();
        let mut crew = Crew::new(world_at(&format!(
            "redis-cluster://{named}?shards=3&response_timeout_ms=2000"
        )))
        .await;
        crew.start(48).await;
        let before = crew.notes.count();
        crew.notes.more(before, WRITTEN).await;
        tokio::task::block_in_place(|| {
            cluster.node_mut(master).unwrap().kill().unwrap();
            cluster.fail_over(replica).unwrap();
        });
        crew.start(24).await;
        let started = crew.started();
        let notes = crew.finish(&wanted).await;
        println!(
            "ended in {:?}; {started} runs, {} acknowledged records, errors {:?}",
            begin.elapsed(),
            notes.count(),
            notes.errors()
        );
        notes.only(&[Unavailable, Unknown, Regressed]);
    });
}
