use world_core::{WorkflowName, event::Seed, seal::Plain};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn created() -> Event {
    Event::RunCreated {
        workflow: WorkflowName::new("w").unwrap(),
        version: 1,
        input: Plain::default(),
        seed: Seed::from_bytes([0; 32]),
        parent: None,
    }
}

fn completed(attempts: u32, after: u64) -> Event {
    let seen = Seen { after: Position::new(after), open: 0 };
    Event::StepCompleted { key: Key::new("k"), result: Plain::default(), attempts, seen }
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Error, message: "no".to_owned(), causes: Vec::new() }
}

fn retrying(attempt: u32) -> Event {
    Event::StepRetrying { key: Key::new("k"), failure: failure(), attempt, retry_at: NOW }
}

fn set(at: u64) -> Event {
    Event::TimerSet { key: Key::new("k"), at: Timestamp::from_millis(at) }
}

fn fired() -> Event {
    Event::TimerFired { key: Key::new("k"), seen: Seen { after: Position::new(1), open: 0 } }
}

fn started() -> Event {
    Event::StepStarted { key: Key::new("k") }
}

fn end() -> Event {
    Event::RunCompleted { output: Plain::default() }
}

/// What is wrong with a log of these after its first record.
fn wrong(events: Vec<Event>) -> Option<String> {
    let log: Vec<Logged> = std::iter::once(created())
        .chain(events)
        .zip(1..)
        .map(|(event, nth)| Logged { position: Position::new(nth), at: NOW, event })
        .collect();
    audit(&log).err().map(|objection| objection.to_string())
}

#[test]
fn what_an_engine_writes_is_not_objected_to() {
    assert_eq!(wrong(vec![retrying(1), retrying(3), completed(4, 1), end()]), None);
    assert_eq!(wrong(vec![set(1_000), fired(), end()]), None);
    assert_eq!(wrong(vec![started(), completed(1, 1)]), None);
}

#[test]
fn what_no_engine_writes_is_objected_to() {
    let cases = [
        (vec![end(), completed(1, 1)], "after the end"),
        (vec![end(), end()], "after the end"),
        (vec![created()], "run_created as record 2"),
        (vec![completed(1, 1), completed(1, 1)], "after it had ended"),
        (vec![completed(1, 2)], "comes later"),
        (vec![retrying(2), completed(2, 1)], "ends with attempt 2"),
        (vec![retrying(2), retrying(2)], "attempt 2 fails after attempt 2"),
        (vec![fired()], "was never set"),
        (vec![set(1_001), fired()], "1ms before its time"),
        (vec![set(1_000), set(1_000)], "set twice"),
        (vec![set(1_000), completed(1, 1)], "of what was a timer"),
        (vec![retrying(1), set(1_000)], "of what was a step"),
        (vec![started(), started()], "announced twice"),
        (vec![started(), retrying(1)], "is to be tried again"),
    ];
    for (events, expected) in cases {
        let found = wrong(events);
        assert!(found.as_ref().is_some_and(|found| found.contains(expected)), "{found:?}");
    }
}

#[test]
fn a_gap_and_an_empty_log_are_objected_to() {
    assert!(audit(&[]).is_err());
    let at = |nth, event| Logged { position: Position::new(nth), at: NOW, event };
    let log = [at(1, created()), at(3, end())];
    let found = audit(&log).unwrap_err().to_string();
    assert_eq!(found, "at position 3: it stands where position 2 belongs");
}
