//! What is still true after a server was started anew, or another has taken its place.
//!
//! A server that fails over or restarts may have forgotten the last that it acknowledged. An owner
//! that has seen what was forgotten must not go on as if it were there, also where others have
//! meanwhile written as much: its program has to be replayed from what is left. So every shard
//! remembers which store answers for it. When it is another one, an owner is told by `Regressed`,
//! and believed again once it has renewed its lease as one who knows nothing of the log; who claims
//! is told once, for programs that may be kept between their turns.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use world_core::{Error, ErrorKind, Result, Ticket};

use crate::{
    keys::Shard,
    server::{Link, Source},
};

/// The tickets that a shard remembers; beyond them all are forgotten, which costs each a replay.
const REMEMBERED_MAX: usize = 16_384;

/// Which store answers for each shard, and which owners know it.
#[derive(Debug)]
pub(crate) struct Lineage {
    shards: Vec<Mutex<State>>,
    /// How often another store has come to answer for a shard.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The store, and the newest connection to it.
    source: Option<(Source, u64)>,
    /// It is not the first one seen: only these tickets belong to it.
    tickets: Option<HashSet<Ticket>>,
}

impl Lineage {
    pub(crate) fn new(shards: u16) -> Self {
        Self { shards: (0..shards).map(|_| Mutex::default()).collect(), changes: AtomicU64::new(0) }
    }

    /// How often another store has come to answer, as far as is known: a number that one who claims
    /// has to be told of.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Sees which store is at the other end of a connection.
    pub(crate) fn see(&self, shard: Shard, link: &Link) {
        self.with(shard, link, |_| ());
    }

    /// Notes that a ticket is of this store.
    pub(crate) fn note(&self, shard: Shard, link: &Link, ticket: Ticket) {
        self.with(shard, link, |state| {
            let Some(tickets) = &mut state.tickets else { return };
            if tickets.len() >= REMEMBERED_MAX {
                tickets.clear();
            }
            tickets.insert(ticket);
        });
    }

    /// Refuses an owner whose ticket is of another store.
    pub(crate) fn check(&self, shard: Shard, link: &Link, ticket: Ticket) -> Result<()> {
        let is_known = self.with(shard, link, |state| {
            state.tickets.as_ref().is_none_or(|tickets| tickets.contains(&ticket))
        });
        if is_known { Ok(()) } else { Err(regressed()) }
    }

    fn with<T>(&self, shard: Shard, link: &Link, does: impl FnOnce(&mut State) -> T) -> T {
        let none = Mutex::default();
        let state = self.shards.get(usize::from(shard)).unwrap_or(&none);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.comes_to(link) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        does(&mut state)
    }
}

impl State {
    /// Whether another store than before is at the other end of a connection. A connection to the
    /// same server that is older than the newest tells nothing.
    fn comes_to(&mut self, link: &Link) -> bool {
        let before = self.source.replace((link.source, link.number));
        match before {
            Some((source, number)) if source.node == link.source.node && link.number <= number => {
                self.source = before;
                false
            }
            Some((source, _)) if source != link.source => {
                self.tickets = Some(HashSet::new());
                true
            }
            _ => false,
        }
    }
}

/// What is said of it.
pub(crate) fn regressed() -> Error {
    Error::new(ErrorKind::Regressed, "the store was started anew, or another took its place")
        .help("what it acknowledged last may be lost: read again what it has, and go on from there")
}
