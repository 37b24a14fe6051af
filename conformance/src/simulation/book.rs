//! What is known of the store from what it has answered: the book that its answers must agree with.

use std::{collections::BTreeMap, sync::Mutex};

use tokio::time::Instant;
use world_core::{NewRun, Position, Record, RunId, Ticket, Timestamp, layer::Method};

use super::{Counts, ledger::Ledger, trace::Trace, wire::Mishap};

/// The most objections that are kept: the first says most.
const OBJECTIONS_MAX: usize = 20;

/// What all parts of one simulation share.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) trace: Trace,
    state: Mutex<State>,
}

/// What is known of the store and of who works on it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) runs: BTreeMap<RunId, RunBook>,
    pub(super) ledger: Ledger,
    pub(super) objections: Vec<String>,
    pub(super) counts: Counts,
    /// How much has happened.
    now: u64,
}

/// What is known of one run.
#[derive(Debug)]
pub(super) struct RunBook {
    pub(super) new: NewRun,
    pub(super) created: Timestamp,
    /// Its records, each with the moment of its commit.
    pub(super) records: Vec<(Record, u64)>,
    /// Its current lease: the ticket, and until when.
    pub(super) lease: Option<(Ticket, Timestamp)>,
    /// When each of its leases was given.
    pub(super) given: BTreeMap<Ticket, u64>,
    pub(super) closed: bool,
    pub(super) deleted: bool,
}

impl RunBook {
    pub(super) fn head(&self) -> Position {
        Position::new(self.records.len() as u64)
    }
}

impl State {
    /// The next moment: a number that rises.
    pub(super) const fn moment(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub(super) fn objects(&mut self, what: String) {
        if self.objections.len() < OBJECTIONS_MAX {
            self.objections.push(what);
        }
    }
}

impl Book {
    pub(super) fn new(began: Instant, in_words: bool) -> Self {
        Self { trace: Trace::new(began, in_words), state: Mutex::default() }
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        super::lock(&self.state)
    }

    /// Says that a rule was broken.
    pub(super) fn objects(&self, what: String) {
        self.trace.note("!", format_args!("{what}"));
        self.state().objects(what);
    }

    pub(super) fn called(&self, method: Method) {
        self.state().counts.calls[method as usize] += 1;
    }

    pub(super) fn befell(&self, mishap: Mishap) {
        *self.state().counts.faults.entry(mishap.name()).or_default() += 1;
    }
}
