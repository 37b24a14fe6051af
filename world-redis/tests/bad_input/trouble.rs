//! What befalls a server that a World is connected to.

use std::{fs, thread};

use redis_servers::{Address, Private};
use world_core::{ErrorKind, World};

use crate::kit::{
    METHODS, PASSWORD, PASSWORD_IN_URL, Scene, Trouble, USER, command, list, said,
    said_with_source, until,
};

/// The methods that write more than they take away.
const WRITING: &str = "create signal step rest tags close stream token token-again claim renew";
const READING: [&str; 5] = ["read-run", "read-spent", "read-stream", "read-token", "list"];

fn config(server: &Address, name: &str, value: &str) {
    command(server, &["CONFIG", "SET", name, value]);
}

#[tokio::test]
async fn a_full_memory_is_unavailable_and_deleting_goes_on() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let trouble = Trouble {
        kind: ErrorKind::Unavailable,
        words: "the server's memory is full",
        begin: &|_| config(address, "maxmemory", "1"),
        end: &|_| config(address, "maxmemory", "0"),
    };
    assert_eq!(trouble.refuses(address, "").await, WRITING);
    // Somebody new can come and delete.
    let scene = Scene::set(address, "").await;
    config(address, "maxmemory", "1");
    let url = format!("redis://{address}?prefix={}", scene.prefix);
    let world = world_redis::RedisWorld::connect(&url).await.unwrap();
    world.list(&list()).await.unwrap();
    for method in ["delete-run", "delete-token"] {
        assert!(scene.call(method).await.unwrap(), "{method}");
    }
    assert_eq!(scene.change(&["EXISTS", "log:closed"]).integer(), Some(0));
    assert_eq!(scene.change(&["EXISTS", "token:there"]).integer(), Some(0));
}

#[tokio::test]
async fn a_disk_that_cannot_be_saved_to_is_unavailable_for_all_that_write() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    // A directory stands where the snapshot is to be.
    let in_the_way = server.dir().join("dump.rdb").join("in the way");
    let save = |works: bool| {
        if works {
            fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
        } else {
            config(address, "save", "36000 1000000");
            let _ = fs::remove_file(in_the_way.parent().unwrap());
            fs::create_dir_all(&in_the_way).unwrap();
        }
        command(address, &["BGSAVE"]);
        until(address, "persistence", "rdb_bgsave_in_progress", "0");
        let status = if works { "ok" } else { "err" };
        until(address, "persistence", "rdb_last_bgsave_status", status);
    };
    let trouble = Trouble {
        kind: ErrorKind::Unavailable,
        words: "cannot save to its disk",
        begin: &|_| save(false),
        end: &|_| save(true),
    };
    for method in WRITING.split(' ').chain(["delete-run", "delete-token", "sweep"]) {
        let scene = Scene::set(address, "").await;
        assert_eq!(trouble.meets(&scene, method).await.as_deref(), Some(method));
    }
    let scene = Scene::set(address, "").await;
    for method in READING {
        assert_eq!(trouble.meets(&scene, method).await, None);
    }
}

/// Redis 6.2 does not ask for replicas where a script writes.
#[tokio::test]
async fn too_few_replicas_are_unavailable_for_all_that_write() {
    let server = Private::start(&[]).unwrap();
    if server.version().unwrap() < (7, 0) {
        return;
    }
    let address = server.address();
    let trouble = Trouble {
        kind: ErrorKind::Unavailable,
        words: "fewer replicas are connected",
        begin: &|_| config(address, "min-replicas-to-write", "1"),
        end: &|_| config(address, "min-replicas-to-write", "0"),
    };
    let refused = trouble.refuses(address, "").await;
    assert_eq!(refused, format!("{WRITING} delete-run delete-token sweep"));
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_of_anothers_is_unavailable() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    config(address, "lua-time-limit", "1");
    let trouble = Trouble {
        kind: ErrorKind::Unavailable,
        words: "busy with another's script",
        begin: &|_| {
            let another = address.connect();
            thread::spawn(move || {
                let mut connection = another.unwrap();
                // It is killed: an error.
                let _ = connection.command(&["EVAL", "while true do end", "0"]);
            });
            let mut connection = address.connect().unwrap();
            while connection.command(&["PING"]).is_ok() {
                thread::yield_now();
            }
        },
        end: &|_| {
            let mut connection = address.connect().unwrap();
            let _ = connection.command(&["SCRIPT", "KILL"]);
            while connection.command(&["PING"]).is_err() {
                thread::yield_now();
            }
        },
    };
    assert_eq!(trouble.refuses(address, "").await, METHODS.join(" "));
}

#[tokio::test]
async fn a_server_that_forgets_its_scripts_is_told_them_again() {
    let server = Private::start(&[]).unwrap();
    for method in METHODS {
        let scene = Scene::set(server.address(), "").await;
        command(server.address(), &["SCRIPT", "FLUSH"]);
        assert!(scene.call(method).await.unwrap(), "{method}");
    }
}

#[tokio::test]
async fn a_master_that_is_made_a_replica_is_unavailable_until_it_is_a_master_again() {
    let other = Private::start(&[]).unwrap();
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    // It lets nobody in, and so nothing is copied over what is here.
    config(other.address(), "requirepass", "unknown");
    for method in WRITING.split(' ').chain(["delete-run", "delete-token", "sweep"]) {
        let scene = Scene::set(address, "").await;
        let before = scene.everything();
        let port = other.address().port().to_string();
        command(address, &["REPLICAOF", "127.0.0.1", &port]);
        for _ in 0..2 {
            // The first is told by the server, the second finds it when connecting again.
            let error = scene.call(method).await.unwrap_err();
            said(&error, ErrorKind::Unavailable, "is a replica");
        }
        command(address, &["REPLICAOF", "NO", "ONE"]);
        assert!(before == scene.everything(), "{method}");
        // It may be another store by now, which owners are told once.
        match scene.call(method).await {
            Err(error) => {
                said(&error, ErrorKind::Regressed, "another took its place");
            }
            done => assert!(done.unwrap(), "{method}"),
        }
        assert!(scene.call("read-run").await.is_ok());
    }
}

#[tokio::test]
async fn a_password_that_is_changed_while_connected_is_told_until_it_is_right_again() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let right = |word: &str| {
        let all = ["ACL", "SETUSER", USER, "on", "resetpass", word, "+@all", "~*", "&*"];
        command(address, &all);
    };
    let password = format!(">{PASSWORD}");
    right(&password);
    for method in METHODS {
        let scene = Scene::set(address, &format!("{USER}:{PASSWORD_IN_URL}@")).await;
        let before = scene.everything();
        right(">another");
        command(address, &["CLIENT", "KILL", "USER", USER]);
        let error = loop {
            match scene.call(method).await {
                // The connection broke under it.
                Err(error) if error.kind() == ErrorKind::Unknown => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => {}
                answer => break answer.unwrap_err(),
            }
        };
        said_with_source(&error, ErrorKind::Invalid, "refuses the user's name or password");
        right(&password);
        assert!(before == scene.everything(), "{method}");
        assert!(scene.call(method).await.unwrap(), "{method}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_unknown_where_something_may_have_been_written() {
    let server = Private::start(&[]).unwrap();
    for method in METHODS {
        let options = "&response_timeout_ms=100";
        let scene = Scene::at("redis", vec![server.address().clone()], options).await;
        if method == "sweep" {
            continue; // here what is closed is kept for a week
        }
        server.pause().unwrap();
        let error = scene.call(method).await.unwrap_err();
        server.resume().unwrap();
        let is_read = READING.contains(&method);
        let kind = if is_read { ErrorKind::Unavailable } else { ErrorKind::Unknown };
        said_with_source(&error, kind, "the answer came too late");
        // The same again settles it; what a claim has taken is not given twice.
        match scene.call(method).await {
            Ok(done) => assert!(done || ["rest", "claim"].contains(&method), "{method}"),
            Err(error) => panic!("{method}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_was_killed_is_unavailable_until_it_is_back() {
    let mut server = Private::start(&[]).unwrap();
    let scene = Scene::set(server.address(), "").await;
    server.kill().unwrap();
    let error = scene.call("list").await.unwrap_err();
    said_with_source(&error, ErrorKind::Unavailable, "");
    let error = scene.call("signal").await.unwrap_err();
    said_with_source(&error, ErrorKind::Unavailable, "the server cannot be reached");
    server.restart().unwrap();
    assert!(scene.call("signal").await.unwrap());
}
