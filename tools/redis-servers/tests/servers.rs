//! The servers that other tests rely on do what they are relied on for.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::{io::Write, os::unix::net::UnixStream, sync::mpsc, thread, time::Duration};

use redis_servers::{Private, PrivateCluster, cluster, shared};

#[test]
fn the_shared_server_is_the_same_one_for_all_and_durable() {
    let server = shared().unwrap();
    let mut first = server.connect().unwrap();
    first.command(&["SET", "servers", "1"]).unwrap();
    let again = shared().unwrap();
    assert_eq!(server, again);
    let mut again = again.connect().unwrap();
    assert_eq!(again.command(&["GET", "servers"]).unwrap().text(), Some("1"));
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
    ] {
        let said = again.command(&["CONFIG", "GET", name]).unwrap();
        assert_eq!(said.array()[1].text(), Some(value), "{name}");
    }
    UnixStream::connect(server.socket()).unwrap().write_all(b"PING\r\n").unwrap();
}

#[test]
fn a_key_survives_a_kill() {
    let mut server = Private::start(&[("appendfsync", "always")]).unwrap();
    let address = server.address().clone();
    let mut connection = address.connect().unwrap();
    let sync = connection.command(&["CONFIG", "GET", "appendfsync"]).unwrap();
    assert_eq!(sync.array()[1].text(), Some("always"));
    connection.command(&["SET", "key", "value"]).unwrap();
    server.kill().unwrap();
    address.connect().unwrap_err();
    server.restart().unwrap();
    assert_eq!(*server.address(), address);
    let value = address.connect().unwrap().command(&["GET", "key"]).unwrap();
    assert_eq!(value.text(), Some("value"));
}

#[test]
fn a_server_is_gone_with_its_value() {
    let server = Private::start(&[]).unwrap();
    let (address, dir) = (server.address().clone(), server.dir().to_owned());
    assert!(dir.exists());
    drop(server);
    address.connect().unwrap_err();
    assert!(!dir.exists());
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let error = Private::start(&[("appendfsync", "sometimes")]).unwrap_err().to_string();
    assert!(error.contains("has ended") && error.contains("sometimes"), "{error}");
}

#[test]
fn a_paused_server_answers_when_it_is_resumed() {
    let server = Private::start(&[]).unwrap();
    let mut connection = server.address().connect().unwrap();
    server.pause().unwrap();
    thread::scope(|scope| {
        let (told, answer) = mpsc::channel();
        scope.spawn(move || told.send(connection.command(&["PING"]).unwrap()).unwrap());
        answer.recv_timeout(Duration::from_millis(200)).unwrap_err();
        server.resume().unwrap();
        assert_eq!(answer.recv().unwrap().text(), Some("PONG"));
    });
}

#[test]
fn a_server_says_its_version_and_can_be_debugged() {
    let server = Private::start(&[]).unwrap();
    assert!(server.version().unwrap() >= (6, 2));
    server.address().connect().unwrap().command(&["DEBUG", "SLEEP", "0"]).unwrap();
}

#[test]
fn the_shared_cluster_answers_on_all_three() {
    let nodes = cluster().unwrap();
    assert_eq!(nodes.len(), 3);
    let mut owned = 0;
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        for node in &nodes {
            match node.connect().unwrap().command(&["SET", key, "1"]) {
                Ok(_) => owned += 1,
                Err(error) => assert!(error.to_string().starts_with("MOVED "), "{error}"),
            }
        }
    }
    assert_eq!(owned, 8);
    for node in &nodes {
        assert!(node.connect().unwrap().command(&["DBSIZE"]).unwrap().integer().unwrap() > 0);
    }
}

#[test]
fn a_slot_moves_step_by_step_and_a_replica_takes_over() {
    let mut cluster = PrivateCluster::start(&[]).unwrap();
    let slot = cluster.slot("{run}1").unwrap();
    let from = cluster.owner("{run}1").unwrap();
    let to = (from + 1) % 3;
    let at =
        |cluster: &PrivateCluster, node: usize| cluster.nodes()[node].address().connect().unwrap();
    for number in 0..250 {
        at(&cluster, from).command(&["SET", &format!("{{run}}{number}"), "x"]).unwrap();
    }

    cluster.begin_move(slot, from, to).unwrap();
    at(&cluster, from).command(&["GET", "{run}1"]).unwrap();
    let error = at(&cluster, from).command(&["GET", "{run}none"]).unwrap_err().to_string();
    assert!(error.starts_with("ASK "), "{error}");

    assert_eq!(cluster.move_keys(slot, from, to).unwrap(), 250);
    cluster.finish_move(slot, to).unwrap();
    for node in 0..3 {
        let said = at(&cluster, node).command(&["GET", "{run}1"]);
        match node == to {
            true => assert_eq!(said.unwrap().text(), Some("x")),
            false => assert!(said.unwrap_err().to_string().starts_with("MOVED ")),
        }
    }

    let replica = cluster.add_replica(to).unwrap();
    cluster.node_mut(to).unwrap().kill().unwrap();
    cluster.fail_over(replica).unwrap();
    assert_eq!(cluster.owner("{run}1").unwrap(), replica);
    let said = at(&cluster, replica).command(&["GET", "{run}1"]).unwrap();
    assert_eq!(said.text(), Some("x"));

    cluster.node_mut(to).unwrap().restart().unwrap();
    cluster.ready().unwrap();
}
