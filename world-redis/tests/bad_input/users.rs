//! Users who may not do all that a World does.

use std::time::Duration;

use redis_servers::{Address, Private, PrivateCluster};
use world_core::*;
use world_redis::RedisWorld;

use crate::kit::{
    METHODS, PASSWORD, PASSWORD_IN_URL, Scene, Trouble, USER, claim, command, creator,
    fresh_prefix, list, one, run, said, said_with_source,
};
use crate::support::everything_of;

/// The commands that a World cannot do without.
const NEEDED: [&str; 27] = [
    "evalsha",
    "info",
    "eval",
    "exists",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hlen",
    "hset",
    "lindex",
    "llen",
    "lrange",
    "persist",
    "publish",
    "rpush",
    "sadd",
    "scard",
    "set",
    "smembers",
    "subscribe",
    "time",
    "unlink",
    "zadd",
    "zcard",
    "zrangebylex",
    "zrem",
];

fn user(server: &Address, rights: &[&str]) {
    let password = format!(">{PASSWORD}");
    let all = ["ACL", "SETUSER", USER, "reset", "on", &password, "+@all", "~*", "&*"];
    command(server, &[&all[..], rights].concat());
}

fn login() -> String {
    format!("{USER}:{PASSWORD_IN_URL}@")
}

#[tokio::test]
async fn a_user_who_may_not_do_all_that_is_needed_is_refused_when_connecting_and_nothing_is_kept() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let rights = NEEDED.map(|command| format!("-{command}"));
    let rights = rights.iter().map(String::as_str).chain(["resetkeys", "resetchannels"]);
    for right in rights {
        // What is known to the server need not be loaded.
        command(address, &["SCRIPT", "FLUSH"]);
        user(address, &[right]);
        let prefix = fresh_prefix();
        let url = format!("redis://{}{address}?prefix={prefix}", login());
        let error = RedisWorld::connect(&url).await.unwrap_err();
        said_with_source(&error, ErrorKind::Unsuitable, "this user may not do");
        let kept = everything_of(&prefix, std::slice::from_ref(address)).unwrap();
        assert!(kept.is_empty(), "{right}: {kept:?}");
        user(address, &[]);
        RedisWorld::connect(&url).await.unwrap().list(&list()).await.unwrap();
    }
}

#[tokio::test]
async fn a_user_of_this_worlds_keys_alone_may_do_everything() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let prefix = fresh_prefix();
    user(address, &["resetkeys", &format!("~{{{prefix}}}*"), &format!("~{{{prefix}:*")]);
    let url = |prefix| format!("redis://{}{address}?prefix={prefix}&clock_check=off", login());
    let world = RedisWorld::connect(&url(prefix.clone())).await.unwrap();
    world.append(&run("a"), &one(0, creator(false))).await.unwrap();
    assert_eq!(world.claim(&claim()).await.unwrap().len(), 1);
    let error = RedisWorld::connect(&url(fresh_prefix())).await.unwrap_err();
    said_with_source(&error, ErrorKind::Unsuitable, "this user may not do");
}

/// The user of the page on how Redis keeps its data, for any prefix.
fn named_by_the_page(server: &Address, more: &[&str]) {
    const PAGE: &str = include_str!("../../../docs/layouts/redis.md");
    let (_, rights) = PAGE.split_once("ACL SETUSER app on >secret ").unwrap();
    let (rights, _) = rights.split_once("```").unwrap();
    let rights = rights.replace("{app", "{*");
    let password = format!(">{PASSWORD}");
    let named = ["ACL", "SETUSER", USER, "reset", "on", &password];
    let rights = named.into_iter().chain(rights.split_whitespace()).chain(more.iter().copied());
    command(server, &rights.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_user_that_the_page_names_may_do_everything() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    named_by_the_page(address, &[]);
    for method in METHODS {
        let scene = Scene::set(address, &login()).await;
        assert!(scene.call(method).await.unwrap(), "{method}");
    }
    let url = format!("redis://{}{address}/1?wait_replicas=1&wait_timeout_ms=1", login());
    let world = RedisWorld::connect(&url).await.unwrap();
    let error = world.append(&run("a"), &one(0, creator(false))).await.unwrap_err();
    said(&error, ErrorKind::Unknown, "confirmed by 0 replicas");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_that_the_page_names_may_do_everything_on_a_cluster() {
    let cluster = PrivateCluster::start(&[]).unwrap();
    for node in cluster.nodes() {
        named_by_the_page(node.address(), &["+cluster|slots", "+asking"]);
    }
    let prefix = fresh_prefix();
    let node = cluster.nodes()[0].address();
    let url = format!("redis-cluster://{}{node}?prefix={prefix}&shards=1", login());
    let world = RedisWorld::connect(&url).await.unwrap();
    world.append(&run("a"), &one(0, creator(false))).await.unwrap();
    // The keys are at another node before the slot is.
    let runs = format!("{{{prefix}:0}}:runs");
    let (slot, from) = (cluster.slot(&runs).unwrap(), cluster.owner(&runs).unwrap());
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to).unwrap();
    cluster.move_keys(slot, from, to).unwrap();
    assert_eq!(world.list(&list()).await.unwrap().runs.len(), 1);
    cluster.finish_move(slot, to).unwrap();
    world.append(&run("a"), &one(1, By::Outsider)).await.unwrap();
}

#[tokio::test]
async fn who_may_no_longer_publish_or_subscribe_looks_instead_of_being_told() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    for rights in [&["-publish"][..], &["-subscribe"], &["resetchannels"]] {
        user(address, &[]);
        let scene = Scene::set(address, &login()).await;
        user(address, rights);
        for method in ["create", "signal", "step", "close", "stream", "token", "delete-token"] {
            user(address, &[]);
            let scene = Scene::set(address, &login()).await;
            user(address, rights);
            assert!(scene.call(method).await.unwrap(), "{rights:?} {method}");
        }
        let wait = Wait {
            queues: Vec::new(),
            logs: vec![(run("ready"), Position::new(1))],
            at_most: Duration::from_secs(20),
        };
        let began = std::time::Instant::now();
        let (waited, signalled) = tokio::join!(scene.world.wait(&wait), async {
            scene.world.append(&run("ready"), &one(1, By::Outsider)).await
        });
        waited.unwrap();
        signalled.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{rights:?}");
    }
}

#[tokio::test]
async fn the_name_of_a_user_is_not_taken_for_what_is_wrong() {
    let server = Private::start(&[]).unwrap();
    for name in ["OOM", "BUSY", "READONLY"] {
        for right in ["-evalsha", "-zadd"] {
            command(server.address(), &["ACL", "SETUSER", name, "on", ">a", "~*", "+@all", right]);
            let url = format!("redis://{name}:a@{}", server.address());
            let error = RedisWorld::connect(&url).await.unwrap_err();
            said_with_source(&error, ErrorKind::Unsuitable, "this user may not do");
        }
    }
}

/// Redis 6.2 cannot be asked whether a user may, and so is not tested.
#[tokio::test]
async fn a_right_that_is_taken_away_while_connected_leaves_nothing_half_written() {
    let server = Private::start(&[]).unwrap();
    if server.version().unwrap() < (7, 0) {
        return;
    }
    let address = server.address();
    for right in NEEDED {
        user(address, &[]);
        let change = |sign: &str| {
            command(address, &["ACL", "SETUSER", USER, &format!("{sign}{right}")]);
        };
        let trouble = Trouble {
            kind: ErrorKind::Unsuitable,
            words: "this user may not do",
            begin: &|_| change("-"),
            end: &|_| change("+"),
        };
        let refused = trouble.refuses(address, &login()).await;
        // For opening alone, or for waiting for replicas.
        let is_rare = ["info", "eval", "lindex", "publish", "subscribe"].contains(&right);
        assert!(is_rare || !refused.is_empty(), "nothing needs {right}");
    }
}
