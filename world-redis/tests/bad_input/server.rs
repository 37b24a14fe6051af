//! Servers that cannot keep the contract, or Worlds made otherwise than asked for.

use redis_servers::{Private, cluster};
use world_core::{ErrorKind, World};
use world_redis::RedisWorld;

use crate::kit::{
    PASSWORD, PASSWORD_IN_URL, Scene, USER, command, fresh_prefix, list, said, said_with_source,
    until,
};

const EVICTING: [&str; 7] = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

#[tokio::test]
async fn a_server_that_evicts_is_unsuitable_also_when_it_is_found_later() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let set = |policy: &str| command(address, &["CONFIG", "SET", "maxmemory-policy", policy]);
    for policy in EVICTING {
        set(policy);
        let error = RedisWorld::connect(&format!("redis://{address}")).await.unwrap_err();
        said(&error, ErrorKind::Unsuitable, policy);
        assert_eq!(command(address, &["DBSIZE"]).integer(), Some(0));
        set("noeviction");
    }
    let scene = Scene::set(address, "").await;
    set("allkeys-lru");
    assert!(scene.call("step").await.unwrap(), "it is looked at when connecting");
    command(address, &["CLIENT", "KILL", "TYPE", "normal"]);
    let error = loop {
        match scene.call("list").await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {} // the connection broke
            Err(error) => break error,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    said(&error, ErrorKind::Unsuitable, "allkeys-lru");
    set("noeviction");
    assert!(scene.call("list").await.unwrap());
}

#[tokio::test]
async fn a_replica_is_unsuitable() {
    let master = Private::start(&[]).unwrap();
    let replica = Private::start(&[]).unwrap();
    let port = master.address().port().to_string();
    command(replica.address(), &["REPLICAOF", "127.0.0.1", &port]);
    let url = format!("redis://{}", replica.address());
    let error = RedisWorld::connect(&url).await.unwrap_err();
    said(&error, ErrorKind::Unsuitable, "is a replica");
    command(replica.address(), &["REPLICAOF", "NO", "ONE"]);
    RedisWorld::connect(&url).await.unwrap().list(&list()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_unavailable_until_it_has() {
    let server = Private::start(&[("rdbcompression", "no")]).unwrap();
    let address = server.address().clone();
    let scene = Scene::set(&address, "").await;
    command(&address, &["DEBUG", "POPULATE", "80", "filler", "200000"]);
    command(&address, &["CONFIG", "SET", "key-load-delay", "20000"]);
    let loading = {
        let address = address.clone();
        std::thread::spawn(move || command(&address, &["DEBUG", "RELOAD"]))
    };
    until(&address, "persistence", "loading", "1");
    for method in ["read-run", "step"] {
        let error = scene.call(method).await.unwrap_err();
        said_with_source(&error, ErrorKind::Unavailable, "is loading its data");
    }
    let url = format!("redis://{address}?prefix={}", scene.prefix);
    let error = RedisWorld::connect(&url).await.unwrap_err();
    said(&error, ErrorKind::Unavailable, "is loading its data");
    loading.join().unwrap();
    assert!(scene.call("step").await.unwrap());
    RedisWorld::connect(&url).await.unwrap().list(&list()).await.unwrap();
}

#[tokio::test]
async fn a_server_and_a_cluster_are_not_taken_for_each_other() {
    let node = &cluster().unwrap()[0];
    let error = RedisWorld::connect(&format!("redis://{node}")).await.unwrap_err();
    said(&error, ErrorKind::Unsuitable, "node of a Redis Cluster; write redis-cluster://");
    let server = Private::start(&[]).unwrap();
    let url = format!("redis-cluster://{}", server.address());
    let error = RedisWorld::connect(&url).await.unwrap_err();
    said(&error, ErrorKind::Unsuitable, "not a node of a Redis Cluster; write redis://");
}

#[tokio::test]
async fn a_server_without_a_command_that_is_needed_is_unsupported() {
    for name in ["HELLO", "INFO", "EVALSHA", "EVAL", "ZADD"] {
        let server = Private::start(&[("rename-command", &format!("{name} \"\""))]).unwrap();
        let login = format!("{USER}:{PASSWORD_IN_URL}@");
        command(
            server.address(),
            &["ACL", "SETUSER", USER, "on", &format!(">{PASSWORD}"), "+@all", "~*", "&*"],
        );
        let url = format!("redis://{login}{}", server.address());
        let error = RedisWorld::connect(&url).await.unwrap_err();
        said(&error, ErrorKind::Unsupported, "use Redis 6.2 or newer");
        assert_eq!(command(server.address(), &["DBSIZE"]).integer(), Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_world_that_was_made_otherwise_is_left_as_it_is() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let prefix = fresh_prefix();
    let url = format!("redis://{address}?prefix={prefix}");
    RedisWorld::connect(&format!("{url}&shards=4")).await.unwrap();
    let meta = format!("{{{prefix}}}:world");
    let error = RedisWorld::connect(&format!("{url}&shards=5")).await.unwrap_err();
    said(&error, ErrorKind::Unsuitable, "4 shards, where 5 are asked for");
    command(address, &["HSET", &meta, "layout", "2"]);
    let error = RedisWorld::connect(&url).await.unwrap_err();
    said(&error, ErrorKind::Unsupported, "a World of layout 2");
    let layout = command(address, &["HGET", &meta, "layout"]);
    assert_eq!(layout.text(), Some("2"));
    command(address, &["HSET", &meta, "layout", "1"]);
    RedisWorld::connect(&url).await.unwrap().list(&list()).await.unwrap();
}
