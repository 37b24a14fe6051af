//! Another program's key in place of each of a World's.

use redis_servers::Private;
use world_core::{ErrorKind, World};
use world_redis::RedisWorld;

use crate::kit::{Trouble, command, fresh_prefix, list, said, said_with_source};
use crate::support::everything_of;

/// Each key, and the methods that are refused while it holds something else. The others have nothing
/// to do with it. An answer other than the usual is marked with `?`.
const KEYS: [(&str, &str); 18] = [
    (
        "runs",
        "create signal step rest tags close stream read-run read-spent read-stream claim renew list \
         delete-run sweep",
    ),
    ("about", "create tags list delete-run sweep"),
    ("ids", "create list delete-run sweep"),
    ("due", "create rest close claim renew delete-run sweep"),
    ("log:new", "create"),
    ("spent:new", "create?"),
    ("streams:new", "create?"),
    ("log:ready", "signal"),
    ("log:held", "step rest tags close"),
    ("log:closed", "read-run delete-run sweep"),
    ("spent:spent", "read-spent"),
    ("streams:held", "stream"),
    ("streams:closed", "delete-run sweep"),
    ("stream:4:held:out", "stream read-stream"),
    ("stream:6:closed:out", ""),
    ("token:there", "token read-token delete-token"),
    ("base:there", "token read-token delete-token"),
    ("base:gone", "token-again"),
];

#[tokio::test]
async fn a_key_of_another_type_is_corrupt_for_each_method_that_needs_it_and_nothing_is_written() {
    let server = Private::start(&[]).unwrap();
    let mut found = Vec::new();
    for (key, _) in KEYS {
        let trouble = Trouble {
            kind: ErrorKind::Corrupt,
            words: "holds something else",
            begin: &|scene| {
                let mut server = scene.servers[0].connect().unwrap();
                let _ = server.command(&["RENAME", &scene.key(key), "kept"]); // if it is there
                scene.change(&["SETRANGE", key, "0", "of another program"]);
                if key.starts_with("base") || key.starts_with("spent") {
                    scene.change(&["DEL", key]);
                    scene.change(&["RPUSH", key, "of another program"]);
                }
            },
            end: &|scene| {
                let mut server = scene.servers[0].connect().unwrap();
                server.command(&["DEL", &scene.key(key)]).unwrap();
                let _ = server.command(&["RENAME", "kept", &scene.key(key)]);
            },
        };
        found.push((key, trouble.refuses(server.address(), "").await));
    }
    let found: Vec<_> = found.iter().map(|(key, refused)| (*key, refused.as_str())).collect();
    assert_eq!(found, KEYS, "{found:#?}");
}

#[tokio::test]
async fn a_world_that_does_not_say_how_it_was_made_is_corrupt_and_left_as_it_is() {
    let server = Private::start(&[]).unwrap();
    let server = server.address();
    for (commands, words) in [
        (&["SET META x"][..], "holds something else"),
        (&["RPUSH META x"], "holds something else"),
        (&["HSET META shards 1"], "cannot be read"),
        (&["HSET META layout 1"], "cannot be read"),
        (&["HSET META layout 1 shards many"], "cannot be read"),
        (&["HSET META layout 1 shards 0"], "cannot be read"),
        (&["HSET META layout 1 shards 9999"], "cannot be read"),
    ] {
        let prefix = fresh_prefix();
        let meta = format!("{{{prefix}}}:world");
        for line in commands {
            command(server, &line.replace("META", &meta).split(' ').collect::<Vec<_>>());
        }
        let all = || everything_of(&prefix, std::slice::from_ref(server)).unwrap();
        let before = all();
        let url = format!("redis://{server}?prefix={prefix}");
        let error = RedisWorld::connect(&url).await.unwrap_err();
        if words.starts_with("holds") {
            said_with_source(&error, ErrorKind::Corrupt, words);
        } else {
            said(&error, ErrorKind::Corrupt, words);
        }
        assert!(before == all(), "{commands:?}");
        command(server, &["DEL", &meta]);
        RedisWorld::connect(&url).await.unwrap().list(&list()).await.unwrap();
    }
}
