//! What is still true after the store was started anew, or another has taken its place.
//!
//! A server that fails over or restarts may have forgotten the last that it acknowledged. An owner
//! that has seen what was forgotten must not go on as if it were there, also where others have
//! meanwhile written as much: its program has to be replayed from what is left.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use world_core::{Error, ErrorKind, Queue, Result, Ticket};

/// The tickets that are remembered; beyond them all are forgotten, which costs each a replay.
const REMEMBERED_MAX: usize = 65_536;

/// Which tickets belong to the store as it is.
#[derive(Debug, Default)]
pub(crate) struct Lineage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The store's lineage that the rest is about; in the first, everything is true.
    number: u64,
    tickets: HashSet<Ticket>,
    told: HashSet<Vec<Queue>>,
}

impl State {
    fn come_to(&mut self, number: u64) {
        if self.number != number {
            *self = Self { number, ..Self::default() };
        }
    }
}

impl Lineage {
    /// Notes that what is known of this ticket's runs is of this lineage.
    pub(crate) fn note(&self, number: u64, ticket: Ticket) {
        self.with(number, |state| {
            if state.tickets.len() >= REMEMBERED_MAX {
                state.tickets.clear();
            }
            state.tickets.insert(ticket);
        });
    }

    /// Refuses an owner whose ticket is of an earlier lineage.
    pub(crate) fn check(&self, number: u64, ticket: Ticket) -> Result<()> {
        let is_known = self.with(number, |state| state.tickets.contains(&ticket));
        if is_known.unwrap_or(true) { Ok(()) } else { Err(regressed()) }
    }

    /// Refuses the first claim of these queues in a lineage.
    pub(crate) fn tell(&self, number: u64, queues: &[Queue]) -> Result<()> {
        let is_told = self.with(number, |state| {
            if state.told.len() >= REMEMBERED_MAX {
                state.told.clear();
            }
            !state.told.insert(queues.to_vec())
        });
        if is_told.unwrap_or(true) { Ok(()) } else { Err(regressed()) }
    }

    /// Nothing is kept while the store is the first one seen.
    fn with<T>(&self, number: u64, does: impl FnOnce(&mut State) -> T) -> Option<T> {
        if number == 0 {
            return None;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.come_to(number);
        Some(does(&mut state))
    }
}

fn regressed() -> Error {
    Error::new(ErrorKind::Regressed, "the store was started anew, or another took its place")
        .help("what it acknowledged last may be lost: read again what it has, and go on from there")
}
