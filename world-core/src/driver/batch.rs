//! Events on their way into a log, as one append that the World takes.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    error::{ErrorKind, Result},
    event::{Event, Failure, FailureKind},
    ids::{Position, Timestamp},
    record::{Append, By, Record},
    seal::LogSeal,
    world::Limits,
};

/// An append, and the events it was made of.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) append: Arc<Append>,
    pub(super) events: Vec<Event>,
}

impl Batch {
    /// Takes as many events from the front as one append holds. `by` is told whether it took all.
    pub(super) fn fill(
        events: &mut VecDeque<Event>,
        expected: Position,
        at: Timestamp,
        seal: &LogSeal,
        limits: &Limits,
        by: impl FnOnce(bool) -> By,
    ) -> Result<Self> {
        let (mut taken, mut records) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while records.len() < limits.records_max
            && let Some(event) = events.pop_front()
        {
            let position = expected.plus(records.len() as u64 + 1);
            let (event, record) = fit(event, position, at, seal, limits)?;
            let size = record.body.as_bytes().len();
            if bytes + size > limits.append_bytes_max && !records.is_empty() {
                events.push_front(event);
                break;
            }
            bytes += size;
            taken.push(event);
            records.push(record);
        }
        let by = by(events.is_empty());
        Ok(Self { append: Arc::new(Append { expected, records, at, by }), events: taken })
    }

    /// The same events for another head: allowed once the place they were sent to is seen taken.
    pub(super) fn reseal(&self, head: Position, at: Timestamp, seal: &LogSeal) -> Result<Self> {
        let mut records = Vec::with_capacity(self.events.len());
        for event in &self.events {
            records.push(seal.seal(head.plus(records.len() as u64 + 1), at, event)?);
        }
        let by = self.append.by.clone();
        let append = Arc::new(Append { expected: head, records, at, by });
        Ok(Self { append, events: self.events.clone() })
    }
}

/// Seals an event; a payload that the World does not take becomes the failure that says so.
fn fit(
    event: Event,
    position: Position,
    at: Timestamp,
    seal: &LogSeal,
    limits: &Limits,
) -> Result<(Event, Record)> {
    let size = match seal.seal(position, at, &event) {
        Ok(record) if record.body.as_bytes().len() <= limits.record_bytes_max => {
            return Ok((event, record));
        }
        Ok(record) => record.body.as_bytes().len(),
        Err(error) if error.kind() == ErrorKind::TooLarge => usize::MAX,
        Err(error) => return Err(error),
    };
    let max = limits.record_bytes_max;
    let message = if size == usize::MAX {
        format!("a result of more than 16 MiB, where {max} bytes are the most")
    } else {
        format!("a result of {size} bytes sealed, where {max} are the most")
    };
    let causes = vec!["store large data elsewhere and return a reference to it".to_owned()];
    let failure = Failure { kind: FailureKind::TooLarge, message, causes };
    let event = match event {
        Event::StepCompleted { key, attempts, seen, .. }
        | Event::StepFailed { key, attempts, seen, .. } => {
            Event::StepFailed { key, failure, attempts, seen }
        }
        Event::StepRetrying { key, attempt, retry_at, .. } => {
            Event::StepRetrying { key, failure, attempt, retry_at }
        }
        Event::RunCompleted { .. } | Event::RunFailed { .. } => Event::RunFailed { failure },
        Event::RunBlocked { .. } => Event::RunBlocked { why: failure.to_string() },
        other => other,
    };
    let record = seal.seal(position, at, &event)?;
    Ok((event, record))
}
