//! A Cluster whose slots move or are missing.

use redis_servers::{Address, PrivateCluster};
use world_core::ErrorKind;

use crate::kit::{METHODS, Scene, command, said_with_source};

fn servers(cluster: &PrivateCluster) -> Vec<Address> {
    cluster.nodes().iter().map(|node| node.address().clone()).collect()
}

/// The answer once there is one: a client learns of a slot's new place by and by.
async fn again(scene: &Scene, method: &str) -> bool {
    for _ in 0..20 {
        if let Ok(answer) = scene.call(method).await {
            return answer;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_or_are_missing_are_unavailable_and_nothing_is_half_written() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    for method in METHODS.into_iter().filter(|method| *method != "sweep") {
        let options = "&shards=1&response_timeout_ms=500";
        let scene = Scene::at("redis-cluster", servers(&cluster), options).await;
        let slot = cluster.slot(&scene.key("runs")).unwrap();
        let from = cluster.owner(&scene.key("runs")).unwrap();
        let to = (from + 1) % 3;
        let before = scene.everything();
        // Moving: what names a key that is not there is told to try again.
        cluster.begin_move(slot, from, to).unwrap();
        let answer = scene.call(method).await;
        if let Err(error) = &answer {
            said_with_source(error, ErrorKind::Unavailable, "");
            assert!(before == scene.everything(), "{method}");
        }
        cluster.move_keys(slot, from, to).unwrap();
        cluster.finish_move(slot, to).unwrap();
        if answer.is_err() {
            assert!(again(&scene, method).await, "{method}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cluster_refuses_to_write_has_not_happened() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    let options = "&shards=1&response_timeout_ms=500";
    let scene = Scene::at("redis-cluster", servers(&cluster), options).await;
    let before = scene.everything();
    let memory = |most: &str| {
        for node in servers(&cluster) {
            command(&node, &["CONFIG", "SET", "maxmemory", most]);
        }
    };
    memory("1");
    let error = scene.call("signal").await.unwrap_err();
    said_with_source(&error, ErrorKind::Unavailable, "the server's memory is full");
    assert!(scene.call("read-run").await.unwrap());
    memory("0");
    assert!(before == scene.everything());
    assert!(scene.call("signal").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_not_whole_is_unavailable_and_forgotten_scripts_are_sent_again() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    let options = "&shards=1&response_timeout_ms=500";
    let scene = Scene::at("redis-cluster", servers(&cluster), options).await;
    for node in servers(&cluster) {
        command(&node, &["SCRIPT", "FLUSH"]);
    }
    assert!(scene.call("create").await.unwrap());
    let slot = cluster.slot(&scene.key("runs")).unwrap().to_string();
    let owner = servers(&cluster)[cluster.owner(&scene.key("runs")).unwrap()].clone();
    let before = scene.everything();
    command(&owner, &["CLUSTER", "DELSLOTS", &slot]);
    for method in ["signal", "read-run"] {
        let error = scene.call(method).await.unwrap_err();
        said_with_source(&error, ErrorKind::Unavailable, "");
    }
    command(&owner, &["CLUSTER", "ADDSLOTS", &slot]);
    cluster.ready().unwrap();
    assert!(before == scene.everything());
    assert!(again(&scene, "signal").await);
}
