//! What a program has for its log: intents it asked for, notes, and finished bodies.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Key, slots::OpId};
use crate::{
    event::{Event, Failure, Seen},
    ids::Position,
    seal::Plain,
};

/// The outcome of an operation, on its way into the log.
#[derive(Debug)]
pub(crate) enum Deposit {
    Completed { key: Key, result: Plain, attempts: u32 },
    Failed { key: Key, failure: Failure, attempts: u32 },
    Fired { key: Key },
}

impl Deposit {
    fn into_event(self, seen: Seen) -> Event {
        match self {
            Self::Completed { key, result, attempts } => {
                Event::StepCompleted { key, result, attempts, seen }
            }
            Self::Failed { key, failure, attempts } => {
                Event::StepFailed { key, failure, attempts, seen }
            }
            Self::Fired { key } => Event::TimerFired { key, seen },
        }
    }
}

/// The notes of failed attempts since the last append.
#[derive(Debug, Default)]
struct Retries {
    /// When the first was made, by the monotonic clock.
    since: Option<Duration>,
    /// How many of each step stand among the outbox's notes.
    kept: BTreeMap<OpId, u32>,
    /// The latest of each step that has more.
    latest: BTreeMap<OpId, Event>,
}

/// What waits to be written. Intents and abandonments are a function of the log so far: they
/// leave when the log is seen to hold them, live and in replay alike. Notes and deposits leave
/// when the driver takes them; it keeps them until they are committed.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    intents: BTreeMap<Key, (Position, Event)>,
    /// The sum of the hashes of the intents' keys.
    intents_hash: u64,
    abandoned: BTreeSet<Key>,
    pub(super) notes: Vec<Event>,
    retries: Retries,
    pub(super) deposits: Vec<Deposit>,
    /// A note is worth an append of its own.
    pub(super) urgent: bool,
}

impl Outbox {
    /// The program asked for something after it was given `position`.
    pub(super) fn ask(&mut self, key: Key, position: Position, intent: Event) {
        self.intents_hash = self.intents_hash.wrapping_add(key.stable_hash());
        self.intents.insert(key, (position, intent));
    }

    pub(super) fn abandon(&mut self, key: Key) {
        self.abandoned.insert(key);
    }

    /// The log holds this intent; false if the program did not ask for it.
    pub(super) fn confirm(&mut self, key: &Key) -> bool {
        let asked = self.intents.remove(key).is_some();
        if asked {
            self.intents_hash = self.intents_hash.wrapping_sub(key.stable_hash());
        }
        asked
    }

    /// How many intents the log does not hold yet, and an order-free hash over their keys.
    pub(super) fn intents_digest(&self) -> (usize, u64) {
        (self.intents.len(), self.intents_hash)
    }

    pub(super) fn confirm_abandoned(&mut self, key: &Key) {
        self.abandoned.remove(key);
    }

    /// An intent that should stand before a decision written after `position`.
    pub(super) fn missing(&self, position: Position) -> Option<&Key> {
        self.intents.iter().find(|(_, (asked, _))| *asked <= position).map(|(key, _)| key)
    }

    pub(super) fn intent_keys(&self) -> impl Iterator<Item = &Key> {
        self.intents.keys()
    }

    /// Whether something waits that is worth an append.
    pub(super) fn is_pressing(&self) -> bool {
        self.urgent || !self.deposits.is_empty()
    }

    /// Keeps the note of a failed attempt until the next append, and returns for how long the
    /// oldest such note has waited. Of a step with many, the first few and the latest are kept.
    pub(super) fn note_retry(&mut self, op: OpId, note: Event, now: Duration) -> Duration {
        /// The most notes of one step that wait, but for the latest.
        const NOTES_A_STEP_MAX: u32 = 8;
        let since = *self.retries.since.get_or_insert(now);
        let kept = self.retries.kept.entry(op).or_default();
        if *kept < NOTES_A_STEP_MAX {
            *kept += 1;
            self.notes.push(note);
        } else {
            self.retries.latest.insert(op, note);
        }
        now.saturating_sub(since)
    }

    /// How many notes wait.
    #[cfg(test)]
    pub(in crate::replay) fn notes_count(&self) -> usize {
        self.notes.len() + self.retries.latest.len()
    }

    /// Whether something waits that the log so far does not lead to by itself.
    pub(super) fn holds_news(&self) -> bool {
        self.is_pressing() || !self.notes.is_empty()
    }

    /// All that waits, in the order in which it is to be written: the intents of a delivery stand
    /// before the next decision.
    pub(super) fn take(&mut self, seen: Seen, batch: &mut VecDeque<Event>) {
        self.urgent = false;
        let mut intents: Vec<_> = self.intents.values().collect();
        intents.sort_by_key(|(position, _)| *position);
        batch.extend(intents.into_iter().map(|(_, event)| event.clone()));
        batch.extend(self.abandoned.iter().map(|key| Event::StepAbandoned { key: key.clone() }));
        batch.extend(self.notes.drain(..));
        if self.retries.since.is_some() {
            batch.extend(std::mem::take(&mut self.retries).latest.into_values());
        }
        batch.extend(self.deposits.drain(..).map(|deposit| deposit.into_event(seen)));
    }
}
