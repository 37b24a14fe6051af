//! Short words for what cases say all the time.
#![allow(clippy::unwrap_used, reason = "the names that cases give are valid")]

use std::num::NonZeroU32;

use world_core::{
    Append, Appended, By, Claim, Due, KeyId, Kind, LogId, NewRun, Position, Queue, Record, Release,
    RunId, Sealed, StreamName, Ticket, Timestamp, Token, WorkflowName,
};

pub(crate) const FAR: Timestamp = Timestamp::MAX;

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn pos(number: u64) -> Position {
    Position::new(number)
}

pub(crate) fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

pub(crate) fn ticket(number: u8) -> Ticket {
    Ticket::from_bytes([number; 16])
}

pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(name).unwrap()
}

pub(crate) fn id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub(crate) fn run(name: &str) -> LogId {
    LogId::Run(id(name))
}

pub(crate) fn stream(run: &str, name: &str) -> LogId {
    LogId::Stream(id(run), StreamName::new(name).unwrap())
}

pub(crate) fn token(name: &str) -> LogId {
    LogId::Token(Token::new(name).unwrap())
}

pub(crate) fn committed(head: u64) -> Appended {
    Appended::Committed { head: pos(head) }
}

pub(crate) fn conflict(head: u64) -> Appended {
    Appended::Conflict { head: pos(head) }
}

/// An append of one record for each body, at `expected`, written at that many milliseconds.
pub(crate) fn append(expected: u64, bodies: &[&str], millis: u64, by: By) -> Append {
    let record = |(number, body): (u64, &&str)| Record {
        position: pos(expected).plus(number),
        kind: Kind(1),
        at: at(millis),
        body: Sealed::from_stored(body.as_bytes().to_vec()),
    };
    let records = (1..).zip(bodies).map(record).collect();
    Append { expected: pos(expected), records, at: at(millis), by }
}

pub(crate) fn new_run(due: Due) -> NewRun {
    NewRun {
        queue: queue("queue"),
        workflow: WorkflowName::new("workflow").unwrap(),
        due,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("key").unwrap(),
        lease: None,
    }
}

pub(crate) fn create(due: Due, millis: u64) -> Append {
    append(0, &["created"], millis, By::Creator(new_run(due)))
}

pub(crate) fn create_in(name: &str, due: Due, millis: u64) -> Append {
    let new = NewRun { queue: queue(name), ..new_run(due) };
    append(0, &["created"], millis, By::Creator(new))
}

/// Creates a run that its creator drives under the ticket with this number.
pub(crate) fn create_leased(number: u8, until: Timestamp, millis: u64) -> Append {
    let new = NewRun { lease: Some((ticket(number), until)), ..new_run(Due::Now) };
    append(0, &["created"], millis, By::Creator(new))
}

pub(crate) fn owner(number: u8) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: None, tags: None }
}

pub(crate) fn rest(number: u8, due: Due) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: Some(Release::driven(due)), tags: None }
}

/// The owner under the ticket with this number, who gives the run back and has not driven it.
pub(crate) fn rest_undriven(number: u8, due: Due) -> By {
    let rest = Some(Release::undriven(due));
    By::Owner { ticket: ticket(number), close: false, rest, tags: None }
}

pub(crate) fn close(number: u8, rest: Option<Due>) -> By {
    By::Owner { ticket: ticket(number), close: true, rest: rest.map(Release::driven), tags: None }
}

pub(crate) fn claim(names: &[&str], number: u8, now: u64, until: u64, limit: u32) -> Claim {
    Claim {
        queues: names.iter().map(|name| queue(name)).collect(),
        ticket: ticket(number),
        now: at(now),
        until: at(until),
        limit: count(limit),
        except: Vec::new(),
    }
}
