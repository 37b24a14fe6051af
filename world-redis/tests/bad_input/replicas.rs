//! Replicas that are waited for.

use redis_servers::Private;
use world_core::ErrorKind;

use crate::kit::{Scene, command, said, said_with_source, until};

#[tokio::test]
async fn a_server_that_cannot_be_asked_for_replicas_is_refused_when_connecting() {
    let server = Private::start(&[("rename-command", "WAIT \"\"")]).unwrap();
    let url = format!("redis://{}?wait_replicas=1", server.address());
    let error = world_redis::RedisWorld::connect(&url).await.unwrap_err();
    said_with_source(&error, ErrorKind::Unsupported, "does not know a command");
}

#[tokio::test]
async fn a_write_that_no_replica_confirms_is_unknown_and_settled_when_one_is_there() {
    for method in ["create", "signal", "step", "close", "stream", "token"] {
        let (master, replica) = (Private::start(&[]).unwrap(), Private::start(&[]).unwrap());
        let port = master.address().port().to_string();
        let follow = || {
            command(replica.address(), &["REPLICAOF", "127.0.0.1", &port]);
            until(replica.address(), "replication", "master_link_status", "up");
        };
        follow();
        let servers = vec![master.address().clone()];
        let scene = Scene::at("redis", servers, "&wait_replicas=1&wait_timeout_ms=2000").await;
        command(replica.address(), &["REPLICAOF", "NO", "ONE"]);
        until(master.address(), "replication", "connected_slaves", "0");
        let error = scene.call(method).await.unwrap_err();
        said(&error, ErrorKind::Unknown, "confirmed by 0 replicas, where 1 are asked for");
        follow();
        assert!(scene.call(method).await.unwrap(), "{method}");
    }
}
