//! A log's head item: what it says, and how.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use bytes::Bytes;
use world_core::{
    Due, Error, KeyId, Kind, LogId, NewRun, Position, Queue, Result, RunId, Tag, Ticket, Timestamp,
    WorkflowName,
    head::{Class, Head, Place, Run, Turn},
};

use crate::{
    batch::Batch,
    error::corrupt,
    keys::{self, Life},
};

/// An item as the service gives and takes it.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) const STAMP: &str = "stamp";
pub(crate) const LIFE: &str = "life";
pub(crate) const POSITION: &str = "head";
pub(crate) const BASE: &str = "base";
pub(crate) const TAIL: &str = "tail";
pub(crate) const GONE: &str = "gone";
pub(crate) const TICKET: &str = "ticket";
pub(crate) const ATTEMPT: &str = "attempt";
pub(crate) const LAST: &str = "last";
pub(crate) const CLOSED: &str = "closed";
pub(crate) const WORKFLOW: &str = "workflow";
pub(crate) const CREATED: &str = "created";
pub(crate) const KEY: &str = "key";
pub(crate) const PARENT: &str = "parent";
pub(crate) const TAGS: &str = "tags";

/// The digits of a time in a sort key: those of the last millisecond of the year 9999.
const TIME_DIGITS: usize = 15;
const TAG_BYTES: usize = 16;

/// Names one version of an item: drawn anew for each write. A write replaces the version that was
/// seen, and no other; and who finds his own stamp knows that his write has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) [u8; 8]);

impl Stamp {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }
}

/// A head item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) stamp: Stamp,
    pub(crate) life: Life,
    pub(crate) head: Head,
    /// The log's last records; all before them are in batch items.
    pub(crate) tail: Batch,
}

impl Item {
    /// The position before the first record of the tail.
    pub(crate) fn before_tail(&self) -> Position {
        Position::new(self.head.head.get().saturating_sub(self.tail.count))
    }

    /// The ticket of the lease, run out or not.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.head.run.as_ref().and_then(Run::ticket)
    }

    /// The item as it is stored, but for its keys.
    pub(crate) fn attributes(&self, log: &LogId, shards: u16) -> Attributes {
        let mut to = Attributes::new();
        let mut put = |name: &str, value| to.insert(name.to_owned(), value);
        put(STAMP, bytes(&self.stamp.0));
        put(LIFE, bytes(&self.life.0));
        put(POSITION, number(self.head.head.get()));
        if self.head.base > Position::START {
            put(BASE, number(self.head.base.get()));
        }
        if self.head.deleted {
            put(GONE, AttributeValue::Bool(true));
        }
        if self.tail.count > 0 {
            put(TAIL, bytes(&self.tail.bytes));
        }
        let Some(run) = &self.head.run else { return to };
        let new = &run.new;
        put(keys::QUEUE, text(keys::queue(log.shard(shards), &new.queue)));
        if let Some(place) = run.turn.place() {
            put(keys::DUE, text(due(place)));
        }
        if let Some(ticket) = run.ticket() {
            put(TICKET, bytes(ticket.as_bytes()));
        }
        put(ATTEMPT, number(u64::from(run.attempt)));
        put(LAST, number(u64::from(run.last.0)));
        if run.closed {
            put(CLOSED, AttributeValue::Bool(true));
        }
        put(WORKFLOW, text(new.workflow.as_str()));
        put(CREATED, number(run.created.as_millis()));
        put(KEY, text(new.key.as_str()));
        if let Some(parent) = &new.parent {
            put(PARENT, text(parent.as_str()));
        }
        if !new.tags.is_empty() {
            let tags: Vec<u8> = new.tags.iter().flat_map(|tag| *tag.as_bytes()).collect();
            put(TAGS, bytes(&tags));
        }
        to
    }

    /// An item as it was stored.
    ///
    /// # Errors
    /// `Corrupt`, with the attribute, for what no program of ours has written.
    pub(crate) fn stored(log: &LogId, mut from: Attributes) -> Result<Self> {
        let mut from = Reader { log, from: &mut from };
        let (stamp, life) = (Stamp(from.array(STAMP)?), Life(from.array(LIFE)?));
        let position = from.number(POSITION)?;
        let base = from.optional(BASE, Reader::number)?.unwrap_or_default();
        let tail =
            from.optional(TAIL, Reader::bytes)?.map_or(Some(Batch::default()), Batch::stored);
        let tail = tail.ok_or_else(|| from.wrong(TAIL))?;
        let deleted = from.flag(GONE)?;
        if base.checked_add(tail.count).is_none_or(|least| least > position) {
            return Err(from.wrong(POSITION));
        }
        let (head, base) = (Position::new(position), Position::new(base));
        let run = match log {
            LogId::Run(_) if !deleted => Some(from.run()?),
            _ => None,
        };
        Ok(Self { stamp, life, head: Head { head, base, deleted, run }, tail })
    }
}

/// Takes an item apart.
struct Reader<'a> {
    log: &'a LogId,
    from: &'a mut Attributes,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<Run> {
        let queue = self.text(keys::QUEUE)?;
        let queue = queue.split_once('/').and_then(|(_, queue)| Queue::new(queue).ok());
        let tags = self.optional(TAGS, Self::bytes)?.unwrap_or_default();
        let (tags, rest) = tags.as_chunks::<TAG_BYTES>();
        if !rest.is_empty() {
            return Err(self.wrong(TAGS));
        }
        let new = NewRun {
            queue: queue.ok_or_else(|| self.wrong(keys::QUEUE))?,
            workflow: self.name(WORKFLOW, WorkflowName::new)?,
            due: Due::Now,
            parent: self.optional(PARENT, |from, name| from.name(name, RunId::new))?,
            tags: tags.iter().copied().map(Tag::from_bytes).collect(),
            key: self.name(KEY, KeyId::new)?,
            lease: None,
        };
        let place = self.optional(keys::DUE, Self::text)?;
        let place = match place {
            Some(place) => Some(place_of(&place).ok_or_else(|| self.wrong(keys::DUE))?),
            None => None,
        };
        let ticket = self.optional(TICKET, Self::array)?.map(Ticket::from_bytes);
        let turn = match (place, ticket) {
            (Some((Class::Timed, until)), Some(ticket)) => Turn::Leased { ticket, until },
            (Some((Class::Timed, time)), None) => Turn::Waiting(time),
            (Some((Class::Ready, since)), None) => Turn::Ready { since },
            (None, None) => Turn::Parked,
            (_, Some(_)) => return Err(self.wrong(TICKET)),
        };
        let created = self.number(CREATED)?;
        let (last, attempt) = (self.number(LAST)?, self.number(ATTEMPT)?);
        Ok(Run {
            new: Arc::new(new),
            created: Timestamp::try_from(created).map_err(|_| self.wrong(CREATED))?,
            last: Kind(u16::try_from(last).map_err(|_| self.wrong(LAST))?),
            closed: self.flag(CLOSED)?,
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            turn,
        })
    }

    fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.from.contains_key(name) { read(self, name).map(Some) } else { Ok(None) }
    }

    fn text(&mut self, name: &'static str) -> Result<String> {
        match self.from.remove(name) {
            Some(AttributeValue::S(text)) => Ok(text),
            _ => Err(self.wrong(name)),
        }
    }

    fn name<T>(&mut self, name: &'static str, new: impl FnOnce(String) -> Result<T>) -> Result<T> {
        let text = self.text(name)?;
        new(text).map_err(|error| self.wrong(name).source(error))
    }

    fn number(&mut self, name: &'static str) -> Result<u64> {
        match self.from.get(name) {
            Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| self.wrong(name)),
            _ => Err(self.wrong(name)),
        }
    }

    fn bytes(&mut self, name: &'static str) -> Result<Bytes> {
        match self.from.remove(name) {
            Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner().into()),
            _ => Err(self.wrong(name)),
        }
    }

    fn array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(name)?;
        <[u8; N]>::try_from(&bytes[..]).map_err(|_| self.wrong(name))
    }

    fn flag(&mut self, name: &'static str) -> Result<bool> {
        match self.from.get(name) {
            None => Ok(false),
            Some(AttributeValue::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name)),
        }
    }

    fn wrong(&self, name: &'static str) -> Error {
        corrupt(self.log, None, format!("an item whose attribute {name:?} is missing or wrong"))
    }
}

/// The sort key of a place in the index of due runs: the ready first, each class oldest first.
pub(crate) fn due((class, time): Place) -> String {
    let class = match class {
        Class::Ready => 'r',
        Class::Timed => 't',
    };
    format!("{class}{:0TIME_DIGITS$}", time.as_millis())
}

/// The place that a sort key names.
pub(crate) fn place_of(due: &str) -> Option<Place> {
    let (class, digits) = due.split_at_checked(1)?;
    let class = match class {
        "r" => Class::Ready,
        "t" => Class::Timed,
        _ => return None,
    };
    if digits.len() != TIME_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some((class, Timestamp::try_from(digits.parse::<u64>().ok()?).ok()?))
}

pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn bytes(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}
