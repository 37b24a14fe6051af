use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    event::{Failure, FailureKind, Seed, Seen},
    ids::{Position, RunId, WorkflowName},
};

/// One event of each kind and of each shape, under its name in the golden files.
pub(crate) fn samples() -> Vec<(&'static str, Event)> {
    let key = |text: &str| Key::new(text);
    let seen = Seen { after: Position::new(41), open: 0x0123_4567_89AB_CDEF };
    let failure = |kind, message: &str, causes: &[&str]| Failure {
        kind,
        message: message.to_owned(),
        causes: causes.iter().map(|cause| (*cause).to_owned()).collect(),
    };
    let created = |parent: Option<&str>| Event::RunCreated {
        workflow: WorkflowName::new("onboard").unwrap(),
        version: 2,
        input: Plain::new(vec![0xC0]),
        seed: Seed::from_bytes(std::array::from_fn(|at| at as u8)),
        parent: parent.map(|parent| RunId::new(parent).unwrap()),
    };
    let refused = failure(FailureKind::Fatal, "card refused", &["bank: 402", "limit"]);
    let at = Timestamp::from_millis;
    vec![
        ("run_created", created(None)),
        ("run_created_by_a_parent", created(Some("wrun_1"))),
        (
            "step_completed",
            Event::StepCompleted {
                key: key("charge#2"),
                result: Plain::new(vec![0xC3]),
                attempts: 1,
                seen,
            },
        ),
        (
            "step_completed_at_last",
            Event::StepCompleted {
                key: key("item#3/charge"),
                result: Plain::default(),
                attempts: 300,
                seen,
            },
        ),
        (
            "step_failed",
            Event::StepFailed { key: key("charge"), failure: refused, attempts: 3, seen },
        ),
        ("timer_fired", Event::TimerFired { key: key("sleep"), seen }),
        ("cancel_requested", Event::CancelRequested { reason: "sold out".to_owned() }),
        ("timer_set", Event::TimerSet { key: key("sleep"), at: at(1_700_000_000_000) }),
        ("run_completed", Event::RunCompleted { output: Plain::new(vec![7]) }),
        (
            "run_failed",
            Event::RunFailed { failure: failure(FailureKind::Poisoned, "three workers died", &[]) },
        ),
        ("run_cancelled", Event::RunCancelled { reason: "sold out".to_owned() }),
        ("step_started", Event::StepStarted { key: key("charge") }),
        (
            "step_retrying",
            Event::StepRetrying {
                key: key("charge"),
                failure: failure(FailureKind::TimedOut, "10 s are over", &[]),
                attempt: 1,
                retry_at: at(1_700_000_001_000),
            },
        ),
        ("step_abandoned", Event::StepAbandoned { key: key("charge") }),
        ("run_blocked", Event::RunBlocked { why: "panicked: nächste → 👩".to_owned() }),
        ("run_isolated", Event::RunIsolated { deaths: 300, round: 3, alone: 1 }),
        (
            "step_deadline",
            Event::StepDeadline {
                key: key("charge"),
                at: Timestamp::from_millis(1_700_000_300_000),
            },
        ),
    ]
}

fn plain<T: Serialize>(value: &T) -> Plain {
    encode_value(value).unwrap()
}

#[test]
fn no_event_outgrows_the_buffer_it_is_given() {
    for (name, event) in samples() {
        assert!(encode(&event).unwrap().as_bytes().len() <= size_hint(&event), "{name}");
    }
}

#[test]
fn every_kind_of_failure_keeps_its_number() {
    use FailureKind as F;
    let all =
        [F::Error, F::Fatal, F::TimedOut, F::Panicked, F::Interrupted, F::TooLarge, F::Poisoned];
    for (number, kind) in (1..).zip(all) {
        let failure = Failure { kind, message: String::new(), causes: Vec::new() };
        let event = Event::RunFailed { failure };
        let bytes = encode(&event).unwrap();
        assert!(bytes.as_bytes().windows(6).any(|at| at == [&b"\xA4kind"[..], &[number]].concat()));
        assert_eq!(decode(Kind::RUN_FAILED, &bytes).unwrap(), event);
    }
    let newer = plain(&BTreeMap::from([(
        "failure",
        BTreeMap::from([("kind", Mixed::Number(200)), ("message", Mixed::Text("m"))]),
    )]));
    let error = decode(Kind::RUN_FAILED, &newer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("200"));
}

#[derive(Serialize)]
#[serde(untagged)]
enum Mixed {
    Number(u64),
    Text(&'static str),
    Nested(Vec<u8>),
}

#[test]
fn a_field_from_the_future_is_stepped_over() {
    let newer = BTreeMap::from([
        ("key", Mixed::Text("sleep")),
        ("at", Mixed::Number(5)),
        ("zone", Mixed::Nested(vec![1, 2])),
        ("shade", Mixed::Text("x")),
    ]);
    let event = decode(Kind::TIMER_SET, &plain(&newer)).unwrap();
    assert_eq!(event, Event::TimerSet { key: Key::new("sleep"), at: Timestamp::from_millis(5) });
}

#[test]
fn unknown_and_reserved_kinds_are_unsupported_and_named() {
    let read: Vec<Kind> = samples().iter().map(|(_, event)| event.kind()).collect();
    for number in 0..=u16::MAX {
        let kind = Kind(number);
        if read.contains(&kind) {
            continue;
        }
        let error = decode(kind, &Plain::new(vec![0x80])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&kind.name().map_or(number.to_string(), str::to_owned)));
    }
}

#[test]
fn what_is_not_the_event_is_corrupt_and_never_shown() {
    let canary = "canary-5150";
    for (_, event) in samples() {
        for wrong in [
            plain(&canary),
            plain(&BTreeMap::from([("key", canary), ("result", canary), ("reason", canary)])),
            plain(&(canary, canary, canary)),
            plain(&BTreeMap::<String, u8>::new()),
            Plain::new(Vec::new()),
            Plain::new([encode(&event).unwrap().as_bytes(), b"\xC0"].concat()),
        ] {
            // A text is a reason.
            let Err(error) = decode(event.kind(), &wrong) else { continue };
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(event.kind().name().unwrap()), "{error}");
            assert!(!format!("{error} {error:?}").contains(canary), "{error:?}");
        }
    }
}

#[test]
fn a_truncated_event_is_corrupt() {
    for (name, event) in samples() {
        let whole = encode(&event).unwrap();
        for len in 0..whole.as_bytes().len() {
            let cut = Plain::new(whole.as_bytes()[..len].to_vec());
            let error = decode(event.kind(), &cut).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} at {len}");
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum List {
    End,
    Link(Box<List>),
}

fn list(links: usize) -> List {
    (0..links).fold(List::End, |list, _| List::Link(Box::new(list)))
}

#[test]
fn a_value_is_as_deep_as_can_be_read_again_and_no_deeper() {
    assert_eq!(decode_value::<List>(&plain(&list(DEPTH_MAX))).unwrap(), list(DEPTH_MAX));
    let error = encode_value(&list(DEPTH_MAX + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // Without a bound this would take the stack of the worker.
    let bomb = Plain::new([b"\x81\xA4Link".repeat(1_000_000), b"\xA3End".to_vec()].concat());
    assert_eq!(decode_value::<List>(&bomb).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_value_of_another_type_is_invalid_and_never_shown() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Order {
        id: String,
        amount: u64,
    }
    #[derive(Debug, Deserialize)]
    enum Colour {
        Red,
    }
    let check = |error: Error, wanted: &str| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(wanted), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    };
    let order = plain(&Order { id: "canary".to_owned(), amount: 1 });
    assert_eq!(decode_value::<Order>(&order).unwrap().amount, 1);
    check(decode_value::<u64>(&order).unwrap_err(), "as u64: a field of another type");
    check(decode_value::<Colour>(&plain(&"canary")).unwrap_err(), "Red");
    check(decode_value::<bool>(&plain(&1)).unwrap_err(), "expected a boolean");
    check(
        decode_value::<Option<char>>(&plain(&"canary, expected canary")).unwrap_err(),
        "expected a character",
    );
    check(
        decode_value::<Order>(&plain(&BTreeMap::from([("id", "canary")]))).unwrap_err(),
        "field amount is missing",
    );
    check(decode_value::<u8>(&plain(&300)).unwrap_err(), "expected u8");
    check(decode_value::<char>(&plain(&"canary")).unwrap_err(), "expected a character");
}

#[test]
fn a_value_that_refuses_is_invalid_and_what_it_says_is_not_repeated() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("canary"))
        }
    }
    impl<'de> Deserialize<'de> for Refuses {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("canary"))
        }
    }
    let errors =
        [encode_value(&Refuses).err().unwrap(), decode_value::<Refuses>(&plain(&1)).err().unwrap()];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!format!("{error:?}").contains("canary"));
    }
}

/// Bytes that look like MessagePack more often than random ones.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec!["key", "result", "after", "open", "failure", "kind", "message"])
            .prop_map(|name| [&[0xA0 | name.len() as u8], name.as_bytes()].concat()),
        (0x80..=0x9Fu8).prop_map(|marker| vec![marker]),
        (0xC0..=0xDFu8).prop_map(|marker| vec![marker]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop_oneof![likely(), prop::collection::vec(any::<u8>(), 0..64)]) {
        let plain = Plain::new(bytes);
        for (_, event) in samples() {
            let _ = decode(event.kind(), &plain);
        }
        let _ = decode_value::<List>(&plain);
        let _ = decode_value::<BTreeMap<String, Option<Vec<f64>>>>(&plain);
        let _ = decode_value::<(Option<char>, String, [u8; 4])>(&plain);
        let _ = decode_value::<serde::de::IgnoredAny>(&plain);
    }

    #[test]
    fn a_completed_step_comes_back(
        key in ".{0,40}",
        result in prop::collection::vec(any::<u8>(), 0..3000),
        attempts: u32,
        after: u64,
        open: u64,
    ) {
        let event = Event::StepCompleted {
            key: Key::new(key.as_str()),
            result: Plain::new(result),
            attempts,
            seen: Seen { after: Position::new(after), open },
        };
        let encoded = encode(&event).unwrap();
        prop_assert!(encoded.as_bytes().len() <= size_hint(&event));
        prop_assert_eq!(decode(Kind::STEP_COMPLETED, &encoded).unwrap(), event);
    }
}
