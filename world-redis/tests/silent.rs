//! A master of a Cluster that is there and does not answer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod kit;

use std::time::Duration;

use kit::{append, claim_of, committed, creator, run};
use redis_servers::PrivateCluster;
use tokio::time::timeout;
use world_core::{Due, World};
use world_redis::RedisWorld;

/// Far longer than a claim takes.
const HANGS: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_master_holds_up_neither_who_opens_the_world_nor_claims_of_other_shards() {
    const SHARDS: usize = 8;
    let cluster = PrivateCluster::start(&[]).unwrap();
    let home = cluster.owner("{world}:world").unwrap();
    let owners: Vec<usize> = (0..SHARDS)
        .map(|shard| cluster.owner(&format!("{{world:{shard}}}:runs")).unwrap())
        .collect();
    let silent = owners.iter().copied().find(|owner| *owner != home).unwrap();
    let named = cluster.nodes()[home].address();
    // An answer is waited for so long that a claim which does so would not end here.
    let timeouts = "connect_timeout_ms=500&response_timeout_ms=600000";
    let url = format!("redis-cluster://{named}?shards={SHARDS}&clock_check=off&{timeouts}");
    let world = RedisWorld::connect(&url).await.unwrap();
    for number in 0..64 {
        let new = creator("q", Due::Now, None);
        let made = world.append(&run(&format!("run-{number}")), &append(0, "0", new)).await;
        assert_eq!(made.unwrap(), committed(1));
    }
    cluster.nodes()[silent].pause().unwrap();
    let new = RedisWorld::connect(&url).await.unwrap();
    for (number, one) in (1..).zip([&world, &new]) {
        let claim = claim_of("q", number);
        let leases = timeout(HANGS, one.claim(&claim)).await.expect("it waits for the silent one");
        assert!(!leases.unwrap().is_empty());
    }
    cluster.nodes()[silent].resume().unwrap();
}
