//! What this process knows of the logs that it writes: their head items as it has last left them.
//!
//! A guess that saves a read: a write replaces the item with the stamp that is known, and if that is
//! not the one that is there, it is told what is. A refusal is never answered from here.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
};

use world_core::{LogId, Position};

use crate::{batch::Batch, item::Item};

/// The logs that are remembered; beyond them all are forgotten.
const LOGS_MAX: usize = 16_384;

/// A head item as it was last seen, and what of its tail has been copied.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) item: Item,
    pub(crate) copied: Arc<Copied>,
}

impl Seen {
    pub(crate) fn new(item: Item) -> Self {
        Self { item, copied: Arc::default() }
    }

    /// The tail without what is in batch items already.
    pub(crate) fn tail_left(&self) -> Batch {
        let before = self.item.before_tail().get();
        self.item.tail.without(self.copied.last().get().saturating_sub(before))
    }
}

/// How far the tail has been copied into batch items.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    last: AtomicU64,
    is_under_way: AtomicBool,
}

impl Copied {
    /// The last position that is certain to be in a batch item, which ends with it.
    pub(crate) fn last(&self) -> Position {
        Position::new(self.last.load(Acquire))
    }

    /// Whether the caller is to copy: nobody else does at the moment.
    pub(crate) fn begin(&self) -> bool {
        !self.is_under_way.swap(true, AcqRel)
    }

    /// Ends what was begun: up to here, or without success.
    pub(crate) fn end(&self, last: Option<Position>) {
        if let Some(last) = last {
            self.last.fetch_max(last.get(), AcqRel);
        }
        self.is_under_way.store(false, Release);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<LogId, Seen>>);

impl Known {
    /// What is known of a log, which is not known any more: a write that is cut short leaves nothing.
    pub(crate) fn take(&self, log: &LogId) -> Option<Seen> {
        self.lock().remove(log)
    }

    pub(crate) fn get(&self, log: &LogId) -> Option<Seen> {
        self.lock().get(log).cloned()
    }

    pub(crate) fn put(&self, log: &LogId, seen: Seen) {
        let mut known = self.lock();
        if known.len() >= LOGS_MAX {
            known.clear();
        }
        known.insert(log.clone(), seen);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LogId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
