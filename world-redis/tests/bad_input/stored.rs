//! Damage to what is stored of a run, a stream or a token.

use std::num::NonZeroU32;

use redis_servers::Private;
use world_core::*;

use crate::kit::{METHODS, Scene, claim, command, creator, list, one, run, said, stream, token};

async fn scene(server: &Private) -> Scene {
    command(server.address(), &["FLUSHALL"]);
    Scene::set(server.address(), "").await
}

/// Damages a key of a scene, and gives what each method says; nothing that fails changes anything.
async fn damaged(server: &Private, change: &[&str]) -> Vec<(&'static str, Result<bool>)> {
    let mut answers = Vec::new();
    for method in METHODS {
        let scene = scene(server).await;
        scene.change(change);
        let before = scene.everything();
        let answer = scene.call(method).await;
        if let Err(error) = &answer {
            said(error, ErrorKind::Corrupt, "");
            assert!(before == scene.everything(), "{change:?}: {method} is half-written");
        }
        answers.push((method, answer));
    }
    answers
}

fn refused(answers: &[(&'static str, Result<bool>)]) -> Vec<&'static str> {
    answers.iter().filter(|(_, answer)| answer.is_err()).map(|(method, _)| *method).collect()
}

const READY: &str = "1 1 open 0 ready 000000000000001 - queue";

#[tokio::test]
async fn a_run_whose_state_is_garbage_is_corrupt_and_keeps_nobody_from_the_others() {
    let server = Private::start(&[]).unwrap();
    let time = "000000000000001";
    for state in [
        "",
        "garbage",
        "\0\0",
        &format!("x 1 open 0 ready {time} - queue"),
        &format!("99999999999999999999999 1 open 0 ready {time} - queue"),
        &format!("1 99999999 open 0 ready {time} - queue"),
        &format!("1 1 ajar 0 ready {time} - queue"),
        &format!("1 1 open 99999999999999 ready {time} - queue"),
        &format!("1 1 open 0 perhaps {time} - queue"),
        "1 1 open 0 ready 1 - queue",
        &format!("1 1 open 0 ready {time} - "),
    ] {
        let scene = scene(&server).await;
        scene.change(&["HSET", "runs", "ready", state]);
        // Claimed from where its state would have it stand, too.
        let bad = &scene.world;
        let error = bad.read(&run("ready"), Position::START, NonZeroU32::MIN).await.unwrap_err();
        said(&error, ErrorKind::Corrupt, "run ready");
        let error = bad.append(&run("ready"), &one(1, By::Outsider)).await.unwrap_err();
        said(&error, ErrorKind::Corrupt, "run ready");
        let error = bad.list(&list()).await.unwrap_err();
        said(&error, ErrorKind::Corrupt, "run ready");
        bad.append(&run("other"), &one(0, creator(false))).await.unwrap();
        let leases = bad.claim(&claim()).await.unwrap();
        let claimed: Vec<_> = leases.iter().map(|lease| lease.run.as_str()).collect();
        assert_eq!(claimed, ["other"], "{state:?}");
        assert_eq!(scene.change(&["HGET", "runs", "ready"]).text(), Some(state));
        scene.change(&["HSET", "runs", "ready", READY]);
        assert_eq!(bad.claim(&claim()).await.unwrap().len(), 1, "{state:?}");
        assert_eq!(bad.list(&list()).await.unwrap().runs.len(), 4, "{state:?}");
    }
}

#[tokio::test]
async fn a_closed_run_whose_state_is_garbage_keeps_no_other_from_being_swept() {
    let server = Private::start(&[]).unwrap();
    let scene = scene(&server).await;
    let state = scene.change(&["HGET", "runs", "closed"]);
    scene.change(&["HSET", "runs", "closed", "garbage"]);
    scene.change(&["ZADD", "due", "0", "00003000000000000000"]); // of a run without a name
    scene.call("close").await.unwrap();
    let error = scene.call("sweep").await.unwrap_err();
    said(&error, ErrorKind::Corrupt, "run closed");
    let gone = scene.world.read(&run("held"), Position::START, NonZeroU32::MIN).await.unwrap();
    assert!(gone.records.is_empty());
    scene.change(&["ZREM", "due", "00003000000000000000"]);
    scene.change(&["HSET", "runs", "closed", state.text().unwrap()]);
    assert_eq!(scene.world.sweep().await.unwrap(), 1);
}

#[tokio::test]
async fn a_listing_names_the_run_of_which_it_cannot_read_what_never_changes() {
    let server = Private::start(&[]).unwrap();
    for change in [
        &["HSET", "about", "ready", ""][..],
        &["HSET", "about", "ready", "\u{1}short"],
        &["HSET", "about", "ready", "\0garbage"],
        &["HDEL", "about", "ready"],
        &["HDEL", "runs", "ready"],
    ] {
        let scene = scene(&server).await;
        scene.change(change);
        let error = scene.world.list(&list()).await.unwrap_err();
        said(&error, ErrorKind::Corrupt, "run ready");
        assert_eq!(
            scene.world.claim(&claim()).await.unwrap().len(),
            usize::from(change[1] != "runs")
        );
        assert!(scene.call("step").await.unwrap(), "{change:?}");
    }
    // Tags of a run whose tags cannot be read are set as if it had none.
    for change in [["HSET", "about", "held", ""], ["HSET", "about", "held", "\u{10}"]] {
        let answers = damaged(&server, &change).await;
        assert_eq!(refused(&answers), ["tags", "list"], "{change:?}");
    }
}

#[tokio::test]
async fn a_record_that_was_cut_short_is_corrupt_at_its_position() {
    let server = Private::start(&[]).unwrap();
    for (key, log) in [
        ("log:closed", run("closed")),
        ("token:there", token("there")),
        ("stream:4:held:out", stream("held", "out")),
    ] {
        for bytes in ["", "1", "123456789", "\0\u{1}~~~~~~~~ a time that is none"] {
            let scene = scene(&server).await;
            let last = scene.change(&["LLEN", key]).integer().unwrap().unsigned_abs();
            scene.change(&["LSET", key, "-1", bytes]);
            let page = scene.world.read(&log, Position::START, NonZeroU32::MAX).await;
            let error = page.unwrap_err();
            said(&error, ErrorKind::Corrupt, "a record");
            assert_eq!(error.log_id(), Some(&log));
            assert_eq!(error.at_position(), Some(Position::new(last)), "{bytes:?}");
        }
    }
}

#[tokio::test]
async fn a_log_that_does_not_fit_its_head_is_corrupt_and_takes_no_record() {
    let server = Private::start(&[]).unwrap();
    for change in [
        &["RPUSH", "log:held", "a record of nobody, long enough"][..],
        &["DEL", "log:held"],
        &[
            "HSET",
            "runs",
            "held",
            "7 1 open 1 leased 000000000005000 01010101010101010101010101010101 queue",
        ],
    ] {
        let answers = damaged(&server, change).await;
        let refused = refused(&answers);
        assert_eq!(refused, ["step", "rest", "tags", "close"], "{change:?}");
    }
    // Of a reader, from where it no longer fits.
    for (change, at) in [
        (&["RPOP", "log:closed"][..], 2),
        (&["DEL", "log:closed"], 1),
        (&["RPUSH", "log:closed", "a record of nobody, long enough"], 3),
    ] {
        let scene = scene(&server).await;
        scene.change(change);
        let error = match scene.world.read_all(&run("closed")).await {
            Err(error) => error,
            Ok(page) => panic!("{change:?}: {page:?}"),
        };
        said(&error, ErrorKind::Corrupt, "run closed");
        assert_eq!(error.at_position(), Some(Position::new(at)), "{change:?}");
    }
}

#[tokio::test]
async fn a_token_whose_base_is_garbage_is_corrupt_and_takes_no_record() {
    let server = Private::start(&[]).unwrap();
    for garbage in ["", "x", "-1", "1.5", "1e400", "nan"] {
        let answers = damaged(&server, &["SET", "base:there", garbage]).await;
        assert_eq!(refused(&answers), ["token", "read-token", "delete-token"], "{garbage:?}");
    }
    for garbage in ["", "x", "-1", "1.5"] {
        let answers = damaged(&server, &["SET", "spent:spent", garbage]).await;
        assert_eq!(refused(&answers), ["read-spent"], "{garbage:?}");
    }
}
