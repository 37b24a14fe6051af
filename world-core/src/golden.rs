//! The golden files of `tests/golden`: every version is read, the newest is written.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Due, Kind, LogId, NewRun, Position, Queue, RunId, StreamName, Tag, Ticket, Timestamp, Token,
    WorkflowName, codec,
    head::{Head, Run, Turn},
    ids::KeyId,
    record::{Record, Sealed},
    seal::{Key, Keyring, Plain, Seal},
};

type Block = BTreeMap<String, String>;

/// The blocks of every `<what>_v*.txt`, oldest first.
fn blocks(what: &str) -> Vec<Vec<Block>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let versions: Vec<Vec<Block>> = (1..)
        .map_while(|version| fs::read_to_string(folder.join(format!("{what}_v{version}.txt"))).ok())
        .map(|text| {
            text.split("\n\n")
                .map(|block| {
                    block
                        .lines()
                        .filter(|line| !line.starts_with('#'))
                        .filter_map(|line| line.split_once(':'))
                        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                        .collect()
                })
                .filter(|block: &Block| !block.is_empty())
                .collect()
        })
        .collect();
    assert!(!versions.is_empty() && versions.iter().all(|blocks| !blocks.is_empty()));
    versions
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn text(hexed: &str) -> String {
    String::from_utf8(hex(hexed)).unwrap()
}

#[test]
fn every_event_of_every_version_is_read_as_it_was_written() {
    let samples = codec::tests::samples();
    for block in blocks("events").concat() {
        let expected = &samples.iter().find(|(name, _)| *name == block["name"]).unwrap().1;
        let kind = Kind(block["kind"].parse().unwrap());
        let event = codec::decode(kind, &Plain::new(hex(&block["hex"]))).unwrap();
        assert_eq!(&event, expected, "{}", block["name"]);
    }
}

#[test]
fn every_event_is_written_as_the_newest_golden_file_has_it() {
    let newest = blocks("events").pop().unwrap();
    for (name, event) in codec::tests::samples() {
        let block = newest.iter().find(|block| block["name"] == name).unwrap();
        assert_eq!(event.kind().0.to_string(), block["kind"], "{name}");
        let plain = codec::encode(&event).unwrap();
        assert_eq!(plain.as_bytes(), hex(&block["hex"]), "{name}");
    }
}

fn seal_and_log(block: &Block) -> (Seal, LogId) {
    let realm = text(&block["realm"]);
    let seal = match block["cipher"].as_str() {
        "0" => Seal::none(&realm),
        _ => {
            let id = KeyId::new(text(&block["key_id"])).unwrap();
            let master = <[u8; 32]>::try_from(hex(&block["master"])).unwrap();
            Seal::new(&realm, Keyring::new(Key::from_bytes(id, master)))
        }
    };
    let mut names = block["names"].split(' ').map(text);
    let mut name = || names.next().unwrap();
    let log = match block["log"].as_str() {
        "1" => LogId::Run(RunId::new(name()).unwrap()),
        "2" => LogId::Stream(RunId::new(name()).unwrap(), StreamName::new(name()).unwrap()),
        _ => LogId::Token(Token::new(name()).unwrap()),
    };
    (seal, log)
}

fn record(block: &Block) -> Record {
    Record {
        position: Position::new(block["position"].parse().unwrap()),
        kind: Kind(block["kind"].parse().unwrap()),
        at: Timestamp::from_millis(block["at"].parse().unwrap()),
        body: Sealed::from_stored(hex(&block["body"])),
    }
}

#[tokio::test]
async fn every_envelope_of_every_version_opens() {
    for block in blocks("envelopes").concat() {
        let (seal, log) = seal_and_log(&block);
        let record = record(&block);
        let log = seal.of(log, &record.body).await.unwrap();
        let plain = log.open_plain(&record).unwrap();
        assert_eq!(plain.as_bytes(), hex(&block["plain"]), "{}", block["name"]);
    }
}

#[tokio::test]
async fn every_envelope_is_written_as_the_newest_golden_file_has_it() {
    for block in blocks("envelopes").pop().unwrap() {
        if block["compression"] != "0" {
            continue;
        }
        let (seal, log) = seal_and_log(&block);
        let log = seal.fresh(log).await.unwrap();
        let nonce = hex(&block["nonce"]).try_into().unwrap();
        let wanted = record(&block);
        let Record { position, kind, at, .. } = wanted;
        let sealed = log.seal_with(&nonce, position, kind, at, &hex(&block["plain"])).unwrap();
        assert_eq!(sealed.body.as_bytes(), wanted.body.as_bytes(), "{}", block["name"]);
    }
}

/// Checks that a value is what the golden files have under its name, as MessagePack and as JSON,
/// in every version read and in the newest written.
fn is_stored_as<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    name: &str,
    value: &T,
) {
    let versions = blocks("stored");
    for block in versions.concat().iter().filter(|block| block["name"] == name) {
        let read: T = rmp_serde::from_slice(&hex(&block["hex"])).unwrap();
        assert_eq!(&read, value, "{name}");
        let read: T = serde_json::from_str(&block["json"]).unwrap();
        assert_eq!(&read, value, "{name}");
    }
    let newest = versions.last().unwrap().iter().find(|block| block["name"] == name).unwrap();
    assert_eq!(serde_json::to_string(value).unwrap(), newest["json"], "{name}");
    assert_eq!(rmp_serde::to_vec_named(value).unwrap(), hex(&newest["hex"]), "{name}");
}

fn head_of_a_run(due: Due, turn: Turn) -> Head {
    let at = Timestamp::from_millis;
    let ticket = Ticket::from_bytes([7; 16]);
    let new = NewRun {
        queue: Queue::new("parcels").unwrap(),
        workflow: WorkflowName::new("ship").unwrap(),
        due,
        parent: (due == Due::Never).then(|| RunId::new("order-7").unwrap()),
        tags: vec![Tag::from_bytes([9; 16])],
        key: KeyId::new("k1").unwrap(),
        lease: (due == Due::Now).then(|| (ticket, at(1_700_000_015_000))),
    };
    let run = Run {
        new: new.into(),
        created: at(1_700_000_000_000),
        last: Kind(2),
        closed: due == Due::Never,
        attempt: 1,
        turn,
    };
    Head { head: Position::new(300), base: Position::START, deleted: false, run: Some(run) }
}

#[test]
fn what_a_world_stores_is_written_and_read_as_the_golden_files_have_it() {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let (ticket, until) = (Ticket::from_bytes([7; 16]), Timestamp::from_millis(1_700_000_015_000));
    for (name, due, turn) in [
        ("leased", Due::Now, Turn::Leased { ticket, until }),
        ("ready", Due::At(at), Turn::Ready { since: at }),
        ("waiting", Due::At(at), Turn::Waiting(until)),
        ("parked", Due::Never, Turn::Parked),
    ] {
        is_stored_as(name, &head_of_a_run(due, turn));
    }
    let head = Position::new(5);
    is_stored_as("token", &Head { head, base: Position::new(2), deleted: false, run: None });
    is_stored_as("tombstone", &Head { head, base: head, deleted: true, run: None });
    let body = Sealed::from_stored(vec![0, 255, 1]);
    is_stored_as("record", &Record { position: head, kind: Kind(2), at, body });
    let (run, stream) = (RunId::new("order-7").unwrap(), StreamName::new("lines").unwrap());
    is_stored_as("run log", &LogId::Run(run.clone()));
    is_stored_as("stream log", &LogId::Stream(run, stream));
    is_stored_as("token log", &LogId::Token(Token::new("door").unwrap()));
}
