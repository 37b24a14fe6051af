use super::*;
use crate::{
    Kind, Position, Record, RunId, StreamName, Timestamp, Token,
    event::{Event, Seen},
    replay::Key as OperationKey,
};

fn run(id: &str) -> LogId {
    LogId::Run(RunId::new(id).unwrap())
}

fn key(id: &str, byte: u8) -> Key {
    Key::from_bytes(KeyId::new(id).unwrap(), [byte; 32])
}

async fn sealed_by(realm: &str, keys: impl KeyProvider, log: LogId) -> LogSeal {
    Seal::new(realm, keys).fresh(log).await.unwrap()
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

#[tokio::test]
async fn what_is_sealed_opens_as_it_was() {
    for seal in [Seal::new("default", Keyring::new(key("a", 1))), Seal::none("default")] {
        let log = seal.fresh(run("r")).await.unwrap();
        for len in [0, 1, 15, 16, 17, 1023, 1024, 100_000] {
            let event = completed(&vec![7; len]);
            let record = log.seal(Position::new(2), AT, &event).unwrap();
            let again = seal.of(run("r"), &record.body).await.unwrap();
            let opened = again.open(&record).unwrap();
            assert_eq!((opened.position, opened.at, opened.event), (Position::new(2), AT, event));
        }
    }
}

#[tokio::test]
async fn a_record_opens_only_in_its_own_place() {
    let log = sealed_by("default", Keyring::new(key("a", 1)), run("r")).await;
    let record = log.seal(Position::new(2), AT, &completed(b"x")).unwrap();
    let moved = [
        Record { position: Position::new(3), ..record.clone() },
        Record { kind: Kind::RUN_COMPLETED, ..record.clone() },
        Record { at: AT.plus(std::time::Duration::from_millis(1)), ..record.clone() },
    ];
    for moved in moved {
        assert_eq!(log.open(&moved).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let stream = LogId::Stream(RunId::new("r").unwrap(), StreamName::new("s").unwrap());
    let token = LogId::Token(Token::new("r").unwrap());
    for (realm, other) in
        [("default", run("r2")), ("default", stream), ("default", token), ("else", run("r"))]
    {
        let other = sealed_by(realm, Keyring::new(key("a", 1)), other).await;
        let error = other.open(&record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.log_id(), Some(other.log()));
        assert!(error.to_string().contains("key a"), "{error}");
    }
}
