mod compression;
mod secrets;

use proptest::prelude::*;

use super::{cipher::derive, *};
use crate::{
    Kind, Position, Record, RunId, StreamName, Timestamp, Token,
    event::{Event, Seen},
    replay::Key as OperationKey,
};

fn run(id: &str) -> LogId {
    LogId::Run(RunId::new(id).unwrap())
}

fn stream(id: &str, stream: &str) -> LogId {
    LogId::Stream(RunId::new(id).unwrap(), StreamName::new(stream).unwrap())
}

fn token(name: &str) -> LogId {
    LogId::Token(Token::new(name).unwrap())
}

fn key(id: &str, byte: u8) -> Key {
    Key::from_bytes(KeyId::new(id).unwrap(), [byte; 32])
}

fn keyed(realm: &str) -> Seal {
    Seal::new(realm, Keyring::new(key("a", 1)))
}

/// Waits for something that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn fresh(seal: &Seal, log: LogId) -> LogSeal {
    now(seal.fresh(log)).unwrap()
}

fn completed(result: &[u8]) -> Event {
    Event::StepCompleted {
        key: OperationKey::new("charge"),
        result: Plain::new(result.to_vec()),
        attempts: 1,
        seen: Seen { after: Position::new(1), open: 7 },
    }
}

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SECOND: Position = Position::new(2);

/// Refused as damaged, foreign or newer; never opened, and the place is named.
#[track_caller]
fn refused(log: &LogSeal, record: &Record) -> Error {
    let error = log.open(record).unwrap_err();
    let kinds = [ErrorKind::Corrupt, ErrorKind::Key, ErrorKind::Unsupported];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert_eq!((error.log_id(), error.at_position()), (Some(log.log()), Some(record.position)));
    error
}

#[test]
fn what_is_sealed_opens_as_it_was() {
    for seal in [keyed("default"), Seal::none("default")] {
        let log = fresh(&seal, run("r"));
        for len in [0, 1, 15, 16, 17, 900, 1023, 1024, 100_000] {
            for event in [completed(&vec![7; len]), completed(&noise(len))] {
                let record = log.seal(SECOND, AT, &event).unwrap();
                let again = now(seal.of(run("r"), &record.body)).unwrap();
                let opened = again.open(&record).unwrap();
                assert_eq!((opened.position, opened.at, opened.event), (SECOND, AT, event));
            }
        }
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (number, chunk) in bytes.chunks_mut(32).enumerate() {
        derive(b"noise", &number.to_be_bytes(), b"", chunk);
    }
    bytes
}

#[test]
fn every_flipped_bit_of_a_record_is_refused() {
    for (seal, result) in [
        (keyed("default"), b"x".to_vec()),
        (keyed("default"), vec![7; 2000]),
        (Seal::none("default"), b"x".to_vec()),
    ] {
        let log = fresh(&seal, run("r"));
        let record = log.seal(SECOND, AT, &completed(&result)).unwrap();
        let body = record.body.as_bytes();
        for bit in 0..body.len() * 8 {
            let mut body = body.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            refused(&log, &Record { body: Sealed::from_stored(body), ..record.clone() });
        }
        for bit in 0..64 {
            let position = Position::new(record.position.get() ^ (1 << bit));
            refused(&log, &Record { position, ..record.clone() });
            let at = Timestamp::from_millis(AT.as_millis() ^ (1 << bit));
            refused(&log, &Record { at, ..record.clone() });
        }
        for bit in 0..16 {
            refused(&log, &Record { kind: Kind(record.kind.0 ^ (1 << bit)), ..record.clone() });
        }
        assert!(log.open(&record).is_ok());
    }
}

#[test]
fn every_truncation_and_every_extension_of_a_body_is_refused() {
    for seal in [keyed("default"), Seal::none("default")] {
        let log = fresh(&seal, run("r"));
        let record = log.seal(SECOND, AT, &completed(b"x")).unwrap();
        let body = record.body.as_bytes();
        for len in 0..body.len() {
            let cut = Sealed::from_stored(body[..len].to_vec());
            let error = refused(&log, &Record { body: cut.clone(), ..record.clone() });
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            let _ = now(seal.of(run("r"), &cut));
        }
        let unnamed = Sealed::from_stored([&body[..4], &[0; 100]].concat());
        let error = now(seal.of(run("r"), &unnamed)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let longer = Sealed::from_stored([body, b"\0"].concat());
        refused(&log, &Record { body: longer, ..record.clone() });
    }
}

#[test]
fn a_record_opens_only_in_its_own_place() {
    for none in [false, true] {
        let seal = |realm: &str| if none { Seal::none(realm) } else { keyed(realm) };
        let log = fresh(&seal("default"), stream("r", "s"));
        let event = completed(b"x");
        let record = log.seal(SECOND, AT, &event).unwrap();
        for (realm, other) in [
            ("default", run("r")),
            ("default", run("s")),
            ("default", token("r")),
            ("default", stream("r", "t")),
            ("default", stream("q", "s")),
            ("default", stream("rs", "s")),
            ("else", stream("r", "s")),
            ("", stream("r", "s")),
        ] {
            let other = fresh(&seal(realm), other);
            let error = refused(&other, &record);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(if none { "checksum" } else { "key a" }), "{error}");
        }
        // A record of the same log at another place, and the same event sealed twice.
        let third = log.seal(Position::new(3), AT, &event).unwrap();
        refused(&log, &Record { position: SECOND, ..third });
        assert_ne!(log.seal(SECOND, AT, &event).unwrap().body, record.body);
    }
}

#[test]
fn a_wrong_key_of_the_right_id_opens_nothing_and_is_named() {
    let log = fresh(&keyed("default"), run("order-7"));
    let record = log.seal(SECOND, AT, &completed(b"x")).unwrap();
    let other = Seal::new("default", Keyring::new(key("a", 2)));
    let error = refused(&now(other.of(run("order-7"), &record.body)).unwrap(), &record);
    let shown = error.to_string();
    for part in ["key a", "run order-7", "position 2", "under another key of this id"] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn a_log_of_another_realm_is_an_error_that_names_the_realm_before_damage() {
    let sealing = [keyed, Seal::none as fn(&str) -> Seal];
    for seal in sealing {
        let record = fresh(&seal("live"), run("r")).seal(SECOND, AT, &completed(b"x")).unwrap();
        let other = now(seal("test").of(run("r"), &record.body)).unwrap();
        let shown = refused(&other, &record).to_string();
        assert!(shown.contains("in the realm \"test\""), "{shown}");
        let (realm, damage) = (shown.find("started in another realm"), shown.find("from a copy"));
        assert!(realm.is_some() && realm < damage, "{shown}");
    }
}

#[test]
fn a_damaged_record_of_a_log_that_has_opened_is_not_blamed_on_realm_or_key() {
    for seal in [keyed("default"), Seal::none("default")] {
        let log = fresh(&seal, run("r"));
        let record = log.seal(SECOND, AT, &completed(b"x")).unwrap();
        let opening = now(seal.of(run("r"), &record.body)).unwrap();
        opening.open(&record).unwrap();
        let moved = Record { position: Position::new(3), ..record };
        let shown = refused(&opening, &moved).to_string();
        assert!(shown.contains("key and realm are right"), "{shown}");
        assert!(!shown.contains("another realm"), "{shown}");
    }
}

#[test]
fn after_a_rotation_old_logs_keep_their_key_and_new_ones_get_the_new() {
    let before = keyed("default");
    let record = fresh(&before, run("r")).seal(SECOND, AT, &completed(b"x")).unwrap();

    let keys = Keyring::new(key("b", 2)).with_old(key("a", 1)).unwrap();
    let after = Seal::new("default", keys);
    let log = now(after.of(run("r"), &record.body)).unwrap();
    assert_eq!(log.key_id().as_str(), "a");
    assert!(log.open(&record).is_ok());
    assert_eq!(fresh(&after, run("new")).key_id().as_str(), "b");
    let id = KeyId::new("a").unwrap();
    assert_eq!(*now(after.under(stream("r", "s"), &id)).unwrap().key_id(), id);

    let error = refused(&fresh(&after, run("r")), &record);
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(error.to_string().contains("under the key a, in a log whose key is b"), "{error}");
}

#[test]
fn a_missing_key_names_key_and_run() {
    let record = fresh(&keyed("default"), run("r")).seal(SECOND, AT, &completed(b"x")).unwrap();
    let without = Seal::new("default", Keyring::new(key("b", 2)));
    let error = now(without.of(run("r"), &record.body)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(error.to_string().contains("the key a is not in the keyring (run r)"), "{error}");
}

#[test]
fn clear_and_sealed_records_never_mix() {
    let (sealed, clear) = (keyed("default"), Seal::none("default"));
    let (sealed_log, clear_log) = (fresh(&sealed, run("r")), fresh(&clear, run("r")));
    let event = completed(b"x");
    let sealed_record = sealed_log.seal(SECOND, AT, &event).unwrap();
    let clear_record = clear_log.seal(SECOND, AT, &event).unwrap();
    for error in [
        refused(&sealed_log, &clear_record),
        refused(&clear_log, &sealed_record),
        now(sealed.of(run("r"), &clear_record.body)).unwrap_err(),
        now(clear.of(run("r"), &sealed_record.body)).unwrap_err(),
        now(clear.under(run("r"), &KeyId::new("a").unwrap())).unwrap_err(),
        now(sealed.under(run("r"), &KeyId::new("none").unwrap())).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Key);
    }
    // A forger who names the key, and claims that nothing is encrypted.
    let mut forged = sealed_record.body.as_bytes().to_vec();
    forged[1] = 0;
    let body = Sealed::from_stored(forged);
    assert_eq!(refused(&sealed_log, &Record { body, ..clear_record }).kind(), ErrorKind::Key);
    assert_eq!((sealed.cipher(), clear.cipher()), (Cipher::Aes256Gcm, Cipher::none()));
}

#[test]
fn no_payload_is_stored_in_clear_unless_asked_for() {
    let canary = b"canary-5150-canary";
    let holds = |seal: Seal| {
        let record = fresh(&seal, run("r")).seal(SECOND, AT, &completed(canary)).unwrap();
        record.body.as_bytes().windows(6).any(|part| part == &canary[..6])
    };
    assert!(!holds(keyed("default")));
    assert!(holds(Seal::none("default")));
}

#[test]
fn what_is_newer_than_this_version_is_unsupported() {
    let log = fresh(&keyed("default"), run("r"));
    let record = log.seal(SECOND, AT, &completed(b"x")).unwrap();
    for (at, what) in [(0, "version"), (1, "cipher"), (2, "codec"), (3, "compression")] {
        let mut body = record.body.as_bytes().to_vec();
        body[at] = 9;
        let body = Sealed::from_stored(body);
        let error = refused(&log, &Record { body: body.clone(), ..record.clone() });
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("{what} 9")), "{error}");
        let error = now(keyed("default").of(run("r"), &body)).unwrap_err();
        assert_eq!((error.kind(), error.log_id()), (ErrorKind::Unsupported, Some(&run("r"))));
    }
}

proptest! {
    #[test]
    fn any_payload_in_any_log_comes_back(
        realm in ".{0,300}",
        names in (".{1,60}", ".{1,60}"),
        variant in 0..3,
        position: u64,
        kind: u16,
        at: u64,
        plain in prop::collection::vec(any::<u8>(), 0..3000),
        master: [u8; 32],
        none: bool,
    ) {
        let log = match variant {
            0 => run(&names.0),
            1 => stream(&names.0, &names.1),
            _ => token(&names.1),
        };
        let key = Key::from_bytes(KeyId::new(names.1.as_str()).unwrap(), master);
        let seal = if none { Seal::none(&realm) } else { Seal::new(&realm, Keyring::new(key)) };
        let (position, at) = (Position::new(position), Timestamp::from_millis(at));
        let plain = Plain::new(plain);
        let record = fresh(&seal, log.clone()).seal_plain(position, Kind(kind), at, &plain).unwrap();
        let opened = now(seal.of(log, &record.body)).unwrap().open_plain(&record).unwrap();
        prop_assert_eq!(opened, plain);
    }

    #[test]
    fn no_body_makes_opening_panic(
        start in prop::sample::select(vec![vec![], vec![1, 1, 1, 0], vec![1, 0, 1, 1], vec![1, 1, 1, 1, 0, 1, b'a']]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind: u16,
    ) {
        let body = Sealed::from_stored([start, bytes].concat());
        for seal in [keyed("default"), Seal::none("default")] {
            let record = Record { position: SECOND, kind: Kind(kind), at: AT, body: body.clone() };
            refused(&fresh(&seal, run("r")), &record);
            let _ = now(seal.of(run("r"), &body));
        }
    }
}
