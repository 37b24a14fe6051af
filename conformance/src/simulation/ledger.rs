//! Which bodies began where, under which leases.

use std::{collections::BTreeMap, sync::Arc};

use world_core::{
    Kind, RunId, Ticket,
    event::{Event, Logged},
    replay::Key,
};

use super::book::{Book, RunBook, State};

/// Where a worker runs its bodies.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) who: String,
    pub(super) book: Arc<Book>,
    /// No body is to begin here.
    pub(super) is_cold: bool,
}

/// How often a step's body may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) at_most_once: bool,
    pub(super) attempts_max: Option<u32>,
}

/// The leases that workers believe they hold, and the bodies they began.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    held: BTreeMap<(String, RunId), BTreeMap<Ticket, u64>>,
    begun: Vec<Begun>,
}

/// A body that began.
#[derive(Debug)]
struct Begun {
    who: String,
    run: RunId,
    key: Key,
    /// The moment at which the oldest of the leases that its worker held was given.
    leased: u64,
    at_most_once: bool,
}

impl Ledger {
    /// A worker has learned that it has a lease, which was given at this moment.
    pub(super) fn holds(&mut self, who: &str, run: &RunId, ticket: Ticket, given: u64) {
        self.held.entry((who.to_owned(), run.clone())).or_default().insert(ticket, given);
    }

    /// A worker has learned that a lease is no longer its own.
    pub(super) fn lost(&mut self, who: &str, run: &RunId, ticket: Ticket) {
        let at = (who.to_owned(), run.clone());
        if let Some(held) = self.held.get_mut(&at) {
            held.remove(&ticket);
            if held.is_empty() {
                self.held.remove(&at);
            }
        }
    }

    /// The moment of the oldest lease that a worker holds on a run.
    fn oldest(&self, who: &str, run: &RunId) -> Option<u64> {
        self.held.get(&(who.to_owned(), run.clone()))?.values().min().copied()
    }
}

impl Site {
    pub(super) fn objects(&self, what: String) {
        self.book.objects(what);
    }

    /// A body begins whose key is not known.
    pub(super) fn begins_some(&self, name: &str, input: u64) {
        self.book.trace.note(&self.who, format_args!("body {name} of input {input:x}"));
        self.book.state().counts.bodies += 1;
        if self.is_cold {
            self.objects(format!("a replay begins the body {name} of input {input:x}"));
        }
    }

    /// A body begins.
    pub(super) fn begins(&self, run: &RunId, key: &Key, number: u32, bounds: Bounds) {
        self.book.trace.note(&self.who, format_args!("body {run} {key} attempt {number}"));
        if self.is_cold {
            return self.objects(format!("{run}: a replay begins the body of {key}"));
        }
        if bounds.attempts_max.is_some_and(|most| number > most) {
            self.objects(format!("{run}: {key} begins attempt {number}, more than it may have"));
        }
        let mut state = self.book.state();
        state.counts.bodies += 1;
        let Some(leased) = state.ledger.oldest(&self.who, run) else {
            drop(state);
            return self.objects(format!("{run}: {} begins {key} without a lease", self.who));
        };
        let (who, run, key) = (self.who.clone(), run.clone(), key.clone());
        let at_most_once = bounds.at_most_once;
        state.ledger.begun.push(Begun { who, run, key, leased, at_most_once });
    }
}

/// Holds the bodies of a run against its log: what was acknowledged never begins again under a
/// lease that was given later, and what may run at most once never runs twice.
pub(super) fn objection(
    state: &State,
    run: &RunId,
    book: &RunBook,
    log: &[Logged],
) -> Option<String> {
    let mut ended: BTreeMap<&Key, u64> = BTreeMap::new();
    for (logged, (_, moment)) in log.iter().zip(&book.records) {
        if matches!(logged.event, Event::StepCompleted { .. } | Event::StepFailed { .. })
            && let Some(key) = logged.event.key()
        {
            ended.insert(key, *moment);
        }
    }
    let closed = book.records.iter().find(|(record, _)| Kind::is_end(record.kind));
    let mut once: BTreeMap<&Key, &str> = BTreeMap::new();
    for begun in state.ledger.begun.iter().filter(|begun| begun.run == *run) {
        let Begun { who, key, leased, .. } = begun;
        if ended.get(key).is_some_and(|ended| leased > ended) {
            return Some(format!("{run}: {who} begins {key} again, which its log says has ended"));
        }
        if closed.is_some_and(|(_, closed)| leased > closed) {
            return Some(format!("{run}: {who} begins {key} after the run has ended"));
        }
        if begun.at_most_once
            && let Some(before) = once.insert(key, who)
        {
            return Some(format!("{run}: {key} may run at most once; {before} and {who} ran it"));
        }
    }
    None
}
