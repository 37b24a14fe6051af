//! Answers that are lost, cut, late or refused: each request is settled, and happens once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod kit;

use std::time::Duration;

use kit::{
    wire::Fault::{self, *},
    *,
};
use world_core::{
    ErrorKind::{Unavailable, Unknown},
    *,
};

/// Each makes the first try of a request fail, and no further one.
const ONCE: [Fault; 7] = [
    Lost,
    AnswerLost,
    AnswerUnsent,
    AnswerCut,
    AnswerIs500,
    Refused(400, "ProvisionedThroughputExceededException", "slow down"),
    Refused(503, "ServiceUnavailable", "not now"),
];

/// Those that only a write meets.
const OF_WRITES: [Fault; 2] = [
    Refused(400, "TransactionConflictException", "another is under way"),
    Refused(400, "ThrottlingException", "slow down"),
];

fn faults() -> impl Iterator<Item = Fault> {
    ONCE.into_iter().chain(OF_WRITES)
}

#[tokio::test]
async fn a6_an_append_whose_answer_is_lost_is_committed_once() {
    let scene = Scene::new().await;
    for (number, fault) in faults().enumerate() {
        let log = run(&format!("r{number}"));
        scene.wire.next("PutItem", [fault.clone()]);
        let new = scene.world.append(&log, &append(0, "a", held())).await.unwrap();
        assert_eq!(new, committed(1), "{fault:?}");
        scene.wire.next("PutItem", [fault.clone()]);
        let next = scene.world.append(&log, &append(1, "b", owner(1, None))).await.unwrap();
        assert_eq!(next, committed(2), "{fault:?}");
        // One that nobody remembers: an outsider's.
        scene.wire.next("PutItem", [fault.clone()]);
        let more = scene.world.append(&log, &append(2, "c", By::Outsider)).await.unwrap();
        assert_eq!(more, committed(3), "{fault:?}");
        // One without records has no A6; its stamp tells all the same.
        scene.wire.next("PutItem", [fault.clone()]);
        let rest = Append { records: Vec::new(), ..append(3, "", owner(1, Some(Due::Now))) };
        let rested = scene.world.append(&log, &rest).await.unwrap();
        assert_eq!(rested, committed(3), "{fault:?}");
        assert!(scene.wire.is_done(), "{fault:?}");
        assert_eq!(letters(&scene.quiet, &log).await, "abc", "{fault:?}");
    }
}

#[tokio::test]
async fn a6_a_transaction_whose_answer_is_lost_is_committed_once() {
    let scene = Scene::new().await;
    let cancelled = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    for (number, fault) in faults().chain(cancelled.map(Cancelled)).enumerate() {
        let log = run(&format!("r{number}"));
        scene.world.append(&log, &append(0, "a", held())).await.unwrap();
        scene.wire.next("TransactWriteItems", [fault.clone()]);
        let next = append(1, &long('b'), owner(1, None));
        assert_eq!(scene.world.append(&log, &next).await.unwrap(), committed(2), "{fault:?}");
        assert_eq!(scene.world.append(&log, &next).await.unwrap(), committed(2), "{fault:?}");
        let chunks = stream(&format!("r{number}"), "out");
        for (expected, body) in [(0, "x"), (1, "y")] {
            scene.wire.next("TransactWriteItems", [fault.clone()]);
            let chunk = append(expected, body, owner(1, None));
            let answer = scene.world.append(&chunks, &chunk).await.unwrap();
            assert_eq!(answer, committed(expected + 1), "{fault:?}");
        }
        assert!(scene.wire.is_done(), "{fault:?}");
        assert_eq!(letters(&scene.quiet, &log).await, "ab", "{fault:?}");
        assert_eq!(letters(&scene.quiet, &chunks).await, "xy", "{fault:?}");
    }
}

#[tokio::test]
async fn l5_a_claim_whose_answer_is_lost_is_one_claim() {
    let scene = Scene::new().await;
    for (number, fault) in (1..).zip(faults()) {
        let log = run(&format!("r{number}"));
        scene.quiet.append(&log, &append(0, "a", creator(Due::Now, None))).await.unwrap();
        scene.wire.next("UpdateItem", [fault.clone()]);
        let leases = scene.world.claim(&claim(number, 9)).await.unwrap();
        assert_eq!(leases.len(), 1, "{fault:?}");
        assert_eq!((leases[0].attempt, leases[0].head), (1, Position::new(1)), "{fault:?}");
        scene.wire.next("UpdateItem", [fault.clone()]);
        let held = scene.world.renew(&leases[0], at(2000)).await.unwrap();
        assert_eq!(held, Renewed::Held { head: Position::new(1) }, "{fault:?}");
        scene.wire.next("Query", [fault.clone()]);
        assert_eq!(scene.world.claim(&claim(100, 9)).await.unwrap(), [], "{fault:?}");
        assert!(scene.wire.is_done(), "{fault:?}");
    }
}

/// A run may stand in the index at two places for a moment.
#[tokio::test]
async fn l1_a_run_that_the_index_shows_twice_is_given_once() {
    let scene = Scene::new().await;
    scene.quiet.append(&run("r"), &append(0, "a", creator(Due::Now, None))).await.unwrap();
    let place = |due: &str| {
        format!(r#"{{"pk":{{"S":"run/r"}},"sk":{{"S":"head"}},"due":{{"S":"{due}"}}}}"#)
    };
    // Where it stands, and where a claim of this ticket would have it stand.
    let (ready, timed) = (place("r001700000000000"), place("t001700000000000"));
    let twice = format!(r#"{{"Count":2,"Items":[{ready},{timed}]}}"#);
    scene.wire.next("Query", [Says(200, twice.clone()), Says(200, twice)]);
    let leases = scene.world.claim(&claim(1, 5)).await.unwrap();
    assert_eq!(leases.len(), 1, "{leases:?}");
}

#[tokio::test]
async fn l2_runs_that_cannot_be_claimed_keep_no_other_from_it() {
    let scene = Scene::new().await;
    for number in 0..90 {
        let name = format!("bad{number}");
        scene.quiet.append(&run(&name), &append(0, "a", creator(Due::Now, None))).await.unwrap();
        let text =
            |text: String| dynamodb_servers::aws_sdk_dynamodb::types::AttributeValue::S(text);
        let edit = scene.client.update_item().table_name(&scene.table);
        let edit = edit.key("pk", text(format!("run/{name}"))).key("sk", text("head".to_owned()));
        let edit = edit.update_expression("SET attempt = :x");
        edit.expression_attribute_values(":x", text("x".to_owned())).send().await.unwrap();
    }
    let good = Append { at: at(1), ..append(0, "a", creator(Due::Now, None)) };
    scene.quiet.append(&run("good"), &good).await.unwrap();
    let mut claimed = Vec::new();
    for number in 0..20 {
        claimed.extend(scene.world.claim(&claim(100 + number, 1)).await.unwrap());
    }
    let claimed: Vec<_> = claimed.iter().map(|lease| lease.run.as_str()).collect();
    assert_eq!(claimed, ["good"]);
}

/// What this handle makes ready between a claim and a wait is not waited for.
#[tokio::test]
async fn a_run_made_ready_after_a_claim_ends_the_wait_at_once() {
    let scene = Scene::new().await;
    let options = world_dynamo::Options::new().poll(world_dynamo::POLL_MAX);
    let world = world_dynamo::DynamoWorld::from_client(&scene.client, &scene.table, options);
    let world = world.await.unwrap();
    assert_eq!(world.claim(&claim(1, 1)).await.unwrap(), []);
    world.append(&run("r"), &append(0, "a", creator(Due::Now, None))).await.unwrap();
    let queues = vec![Queue::new("q").unwrap()];
    let wait = Wait { queues, logs: Vec::new(), at_most: Duration::from_secs(3600) };
    let waited = tokio::time::timeout(world_dynamo::POLL_MAX / 2, world.wait(&wait)).await;
    waited.expect("it waits for the next look").unwrap();
}

/// The items of a transaction need not be seen together: a batch may be seen after its head item.
#[tokio::test]
async fn r3_a_batch_that_is_not_seen_yet_is_looked_for_again() {
    let scene = Scene::new().await;
    let log = run("r");
    scene.quiet.append(&log, &append(0, &long('a'), held())).await.unwrap();
    let nothing = || Says(200, r#"{"Count":0,"Items":[]}"#.to_owned());
    scene.wire.next("Query", [nothing(), nothing(), nothing()]);
    assert_eq!(letters(&scene.world, &log).await, "a");
    // The same where it is compared (rule A6).
    scene.wire.next("Query", [nothing(), nothing(), nothing()]);
    let again = append(0, &long('a'), held());
    assert_eq!(scene.world.append(&log, &again).await.unwrap(), committed(1));
    assert!(scene.wire.is_done());
}

/// A claim until the very time at which the run is due leaves that time as it is.
#[tokio::test]
async fn l5_a_claim_that_is_born_expired_is_one_claim_too() {
    let scene = Scene::new().await;
    let new = creator(Due::At(at(0)), None);
    scene.quiet.append(&run("r"), &append(0, "a", new)).await.unwrap();
    for attempt in 1..4 {
        scene.wire.next("UpdateItem", [AnswerLost]);
        let claim = Claim { until: at(0), ..claim(attempt, 1) };
        let leases = scene.world.claim(&claim).await.unwrap();
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].attempt, u32::from(attempt));
    }
}

#[tokio::test]
async fn d1_a_deletion_whose_answers_are_lost_is_done() {
    let scene = Scene::new().await;
    for (number, fault) in faults().chain([Unprocessed]).enumerate() {
        let (log, chunks) = (run(&format!("r{number}")), stream(&format!("r{number}"), "out"));
        scene.world.append(&log, &append(0, &long('a'), held())).await.unwrap();
        scene.world.append(&chunks, &append(0, &long('x'), owner(1, None))).await.unwrap();
        scene.world.append(&log, &append(1, "b", closer())).await.unwrap();
        if fault != Unprocessed {
            for operation in ["GetItem", "PutItem", "Query", "UpdateItem"] {
                scene.wire.next(operation, [fault.clone()]);
            }
        }
        scene.wire.next("BatchWriteItem", [fault.clone()]);
        let deleted = scene.world.delete(&log, Position::new(2)).await.unwrap();
        assert_eq!(deleted, Deleted::Done, "{fault:?}");
        assert!(scene.wire.is_done(), "{fault:?}");
        let left = scene.client.query().table_name(&scene.table);
        let left = left.key_condition_expression("pk = :pk").expression_attribute_values(
            ":pk",
            dynamodb_servers::aws_sdk_dynamodb::types::AttributeValue::S(format!("run/r{number}")),
        );
        let left = left.send().await.unwrap();
        assert_eq!(left.count(), 1, "only the tombstone is left: {fault:?}");
        assert!(left.items()[0].contains_key("expires"), "{fault:?}");
        assert_eq!(letters(&scene.quiet, &chunks).await, "", "{fault:?}");
    }
}

#[tokio::test]
async fn r1_reads_and_listings_go_on() {
    let scene = Scene::new().await;
    let log = run("r");
    scene.world.append(&log, &append(0, &long('a'), held())).await.unwrap();
    scene.world.append(&log, &append(1, "b", owner(1, None))).await.unwrap();
    for fault in ONCE {
        for operation in ["GetItem", "Query", "Scan"] {
            scene.wire.next(operation, [fault.clone()]);
        }
        assert_eq!(letters(&scene.world, &log).await, "ab", "{fault:?}");
        let all = List::all(std::num::NonZeroU32::MAX);
        assert_eq!(scene.world.list(&all).await.unwrap().runs.len(), 1, "{fault:?}");
        assert!(scene.wire.is_done(), "{fault:?}");
    }
}

/// What an error says of a write decides whether it is sent again, and so it must be true.
#[tokio::test]
async fn what_fails_for_good_says_whether_it_may_have_happened() {
    let scene = Scene::within(Duration::from_millis(600)).await;
    let throttled = Refused(400, "ProvisionedThroughputExceededException", "slow down");
    for (name, fault, kind, is_written) in [
        ("lost", Lost, Unknown, false),
        ("answers", AnswerLost, Unknown, true),
        ("unsent", AnswerUnsent, Unknown, true),
        ("cut", AnswerCut, Unknown, true),
        ("500", AnswerIs500, Unknown, true),
        ("silent", Silence, Unknown, false),
        ("unreadable", Says(200, "<html>".to_owned()), Unknown, false),
        ("slow", throttled.clone(), Unavailable, false),
        ("denied", Refused(400, "AccessDeniedException", "no"), ErrorKind::Unsuitable, false),
    ] {
        let log = run(name);
        scene.wire.always("PutItem", fault);
        let new = append(0, "a", held());
        let error = scene.world.append(&log, &new).await.unwrap_err();
        scene.wire.clear();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let found = letters(&scene.quiet, &log).await;
        assert_eq!(found, if is_written { "a" } else { "" }, "{name}");
        // The same bytes again settle it (rule A6).
        assert_eq!(scene.world.append(&log, &new).await.unwrap(), committed(1), "{name}");
        assert_eq!(letters(&scene.quiet, &log).await, "a", "{name}");

        scene.wire.always("GetItem", throttled.clone());
        let error = scene.world.read(&log, Position::START, std::num::NonZeroU32::MIN).await;
        assert_eq!(error.unwrap_err().kind(), Unavailable, "{name}");
        scene.wire.clear();
    }
    // A transaction that is put off first, and then not answered, may have happened.
    let log = run("put off, then silent");
    scene.wire.next("TransactWriteItems", [Cancelled("TransactionConflict")]);
    scene.wire.always("TransactWriteItems", Silence);
    let error = scene.world.append(&log, &append(0, &long('a'), held())).await.unwrap_err();
    assert_eq!(error.kind(), Unknown, "{error}");
    scene.wire.clear();
    for (reason, kind) in [
        ("TransactionConflict", Unavailable),
        ("ThrottlingError", Unavailable),
        ("ValidationError", ErrorKind::Invalid),
    ] {
        let log = run(reason);
        scene.wire.always("TransactWriteItems", Cancelled(reason));
        let new = append(0, &long('a'), held());
        let error = scene.world.append(&log, &new).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{reason}: {error}");
        scene.wire.clear();
        assert_eq!(letters(&scene.quiet, &log).await, "", "{reason}");
        assert_eq!(scene.world.append(&log, &new).await.unwrap(), committed(1), "{reason}");
    }
    // One that has happened, and of which then nothing can be read, may have happened.
    let log = run("then unreadable");
    scene.wire.next("TransactWriteItems", [AnswerLost]);
    scene.wire.always("GetItem", throttled.clone());
    let new = append(0, &long('a'), held());
    assert_eq!(scene.world.append(&log, &new).await.unwrap_err().kind(), Unknown);
    scene.wire.clear();
    assert_eq!(scene.world.append(&log, &new).await.unwrap(), committed(1));
    let ended = append(1, "b", closer());
    assert_eq!(scene.world.append(&log, &ended).await.unwrap(), committed(2));
    scene.wire.always("Query", throttled.clone());
    let error = scene.world.delete(&log, Position::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), Unknown, "{error}");
    scene.wire.clear();
    assert_eq!(scene.world.delete(&log, Position::new(2)).await.unwrap(), Deleted::Done);

    // One that may have happened, and is then refused, may have happened.
    let denied = Refused(400, "AccessDeniedException", "no");
    for (name, then) in [("then slow", throttled), ("then denied", denied)] {
        let log = run(name);
        scene.wire.next("PutItem", [AnswerLost]);
        scene.wire.always("PutItem", then);
        let new = append(0, "a", held());
        assert_eq!(scene.world.append(&log, &new).await.unwrap_err().kind(), Unknown, "{name}");
        scene.wire.clear();
        assert_eq!(scene.world.append(&log, &new).await.unwrap(), committed(1), "{name}");
    }
}

/// A tail that is not copied stays where it is, until it is too long and a transaction moves it.
#[tokio::test]
async fn a_copy_that_never_arrives_or_is_never_answered_loses_nothing() {
    let refused = Refused(400, "ValidationException", "no"); // fails at once
    for fault in [Lost, AnswerLost, Silence, refused] {
        let scene = Scene::within(Duration::from_millis(600)).await;
        scene.wire.always("PutItem b/", fault.clone());
        let log = run("r");
        scene.world.append(&log, &append(0, "a", held())).await.unwrap();
        for (number, letter) in (1..=60).zip(('a'..='z').cycle().skip(1)) {
            let next = append(number, &letter.to_string().repeat(200), owner(1, None));
            assert_eq!(scene.world.append(&log, &next).await.unwrap(), committed(number + 1));
        }
        let asked = scene.wire.clear();
        let count = |operation: &str| asked.iter().filter(|one| one.operation == operation).count();
        assert!(count("TransactWriteItems") > 0 && count("PutItem") > 50, "{fault:?}");
        let wanted: String = ('a'..='z').cycle().take(61).collect();
        assert_eq!(letters(&scene.quiet, &log).await, wanted, "{fault:?}");
    }
}
