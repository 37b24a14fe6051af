//! Users who may not do all that a World does.

use std::time::Duration;

use redis_servers::{Address, Private};
use world_core::*;
use world_redis::RedisWorld;

use crate::kit::{
    PASSWORD, PASSWORD_IN_URL, Scene, Trouble, USER, claim, command, creator, fresh_prefix, list,
    one, run, said_with_source,
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
    let url = |prefix| format!("redis://{}{address}?prefix={prefix}", login());
    let world = RedisWorld::connect(&url(prefix.clone())).await.unwrap();
    world.append(&run("a"), &one(0, creator(false))).await.unwrap();
    assert_eq!(world.claim(&claim()).await.unwrap().len(), 1);
    let error = RedisWorld::connect(&url(fresh_prefix())).await.unwrap_err();
    said_with_source(&error, ErrorKind::Unsuitable, "this user may not do");
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
