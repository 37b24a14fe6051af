//! What the service refuses, and what is no service.

use std::{num::NonZeroU32, time::Duration};

use dynamodb_servers::{aws_sdk_dynamodb::Client, builder};
use world_core::{
    ErrorKind::{self, *},
    *,
};
use world_dynamo::{DynamoWorld, Options};

use crate::{
    kit::{
        Scene, append, claim, held, lease, run,
        wire::{
            Fault::{self, Refused, Says},
            Wire,
        },
    },
    said,
};

const EXPIRED: &str = "Signature expired: 20261126T230000Z is now earlier than 20261126T231000Z";
const EARLY: &str =
    "Signature not yet current: 20261126T235900Z is still later than 20261126T231000Z";
const WRONG: &str = "The request signature we calculated does not match the signature you provided";

/// A refusal that lasts, what it means, and what is said of it.
const REFUSALS: [(Fault, ErrorKind, &str); 13] = [
    (Refused(400, "ResourceNotFoundException", "no"), NotFound, "there is no such table"),
    (Refused(400, "AccessDeniedException", "no"), Unsuitable, "may not do what a World does"),
    (Refused(400, "UnrecognizedClientException", "no"), Invalid, "does not know these credentials"),
    (Refused(403, "InvalidClientTokenId", "no"), Invalid, "does not know these credentials"),
    (Refused(403, "MissingAuthenticationTokenException", "no"), Invalid, "wants credentials"),
    (Refused(400, "ExpiredTokenException", "no"), Unavailable, "the credentials have expired"),
    (Refused(403, "InvalidSignatureException", WRONG), Invalid, "then at the secret key"),
    (Refused(403, "InvalidSignatureException", EXPIRED), Unavailable, "set this machine's clock"),
    (Refused(403, "InvalidSignatureException", EARLY), Unavailable, "set this machine's clock"),
    (Refused(400, "ThrottlingException", "slow down"), Unavailable, "is throttled"),
    (
        Refused(400, "ProvisionedThroughputExceededException", "slow down"),
        Unavailable,
        "the table or its index is throttled",
    ),
    (Refused(400, "RequestLimitExceeded", "slow down"), Unavailable, "the account is throttled"),
    (Refused(400, "ValidationException", "no"), Invalid, "the service refuses the request"),
];

/// Each method's error on a World whose requests all meet a fault.
async fn errors(scene: &Scene, fault: Fault) -> Vec<(&'static str, Error)> {
    let (world, log) = (&scene.world, run("r"));
    scene.wire.always("", fault);
    let errors = vec![
        ("append", world.append(&log, &append(1, "b", By::Outsider)).await.unwrap_err()),
        ("create", world.append(&run("s"), &append(0, "a", held())).await.unwrap_err()),
        ("read", world.read(&log, Position::START, NonZeroU32::MIN).await.unwrap_err()),
        ("claim", world.claim(&claim(2, 1)).await.unwrap_err()),
        ("renew", world.renew(&lease("r", 1), Timestamp::MAX).await.unwrap_err()),
        ("list", world.list(&List::all(NonZeroU32::MIN)).await.unwrap_err()),
        ("delete", world.delete(&log, Position::new(1)).await.unwrap_err()),
    ];
    scene.wire.clear();
    errors
}

#[tokio::test]
async fn a_refusal_that_lasts_is_said_by_each_method_and_nothing_happens() {
    let scene = Scene::within(Duration::from_millis(250)).await;
    scene.quiet.append(&run("r"), &append(0, "a", held())).await.unwrap();
    for (fault, kind, words) in REFUSALS {
        for (method, error) in errors(&scene, fault.clone()).await {
            assert_eq!(error.kind(), kind, "{method}: {fault:?}: {error:?}");
            said(&error, kind, words);
        }
    }
    let all = List::all(NonZeroU32::MAX);
    let runs = scene.quiet.list(&all).await.unwrap().runs;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0].head, Position::new(1));
}

#[tokio::test]
async fn what_is_no_dynamodb_is_an_error_that_says_so() {
    let scene = Scene::within(Duration::from_millis(250)).await;
    for (status, body) in [
        (200, "<html>It works!</html>"),
        (200, "{}"),
        (200, "[]"),
        (200, ""),
        (404, "not found"),
        (502, "bad gateway"),
        (200, r#"{"Item":{"pk":{"S":"run/r"}}}"#),
        (200, r#"{"Items":[{"pk":{"N":"7"}}],"Attributes":{"x":{"S":"y"}},"Table":{}}"#),
    ] {
        let says = Says(status, body.to_owned());
        let wire = Wire::default();
        wire.always("", says.clone());
        let client = Client::from_conf(builder("http://127.0.0.1:9").http_client(wire).build());
        let options = Options::new().timeout(Duration::from_millis(100));
        let error = DynamoWorld::from_client(&client, "runs", options).await.unwrap_err();
        let kinds = [Unavailable, Unsupported, Unsuitable, Invalid];
        assert!(kinds.contains(&error.kind()), "{says:?}: {error:?}");

        // And where it takes the place of the service later on, nothing panics.
        let (world, log) = (&scene.world, run("r"));
        scene.wire.always("", says);
        let _ = world.append(&log, &append(1, "b", By::Outsider)).await;
        let _ = world.read(&log, Position::START, NonZeroU32::MIN).await;
        let _ = world.claim(&claim(2, 1)).await;
        let _ = world.renew(&lease("r", 1), Timestamp::MAX).await;
        let _ = world.list(&List::all(NonZeroU32::MIN)).await;
        let _ = world.delete(&log, Position::new(1)).await;
        scene.wire.clear();
    }
}

#[tokio::test]
async fn no_error_shows_a_ticket_or_a_body() {
    let scene = Scene::within(Duration::from_millis(250)).await;
    let (world, log) = (&scene.world, run("r"));
    world.append(&log, &append(0, "hunter2", held())).await.unwrap();
    let shown = |error: &Error| {
        let text = format!("{error} {error:?} {:#?}", std::error::Error::source(error));
        // Its bytes as text, as numbers and in Base64.
        for secret in ["hunter2", "1, 1, 1, 1", "104, 117, 110", "AQEBAQ", "aHVudGVy"] {
            assert!(!text.contains(secret), "{text}");
        }
    };
    for (fault, ..) in REFUSALS {
        errors(&scene, fault).await.iter().for_each(|(_, error)| shown(error));
    }
    // One that comes from an item that has both in it.
    let edit =
        scene.client.update_item().table_name(&scene.table).update_expression("SET attempt = :x");
    let text =
        |text: &str| dynamodb_servers::aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let edit = edit.key("pk", text("run/r")).key("sk", text("head"));
    edit.expression_attribute_values(":x", text("hunter2")).send().await.unwrap();
    shown(&world.read(&log, Position::START, NonZeroU32::MIN).await.unwrap_err());
    shown(&world.append(&log, &append(1, "b", By::Outsider)).await.unwrap_err());
    shown(&world.renew(&lease("r", 1), Timestamp::MAX).await.unwrap_err());
}
