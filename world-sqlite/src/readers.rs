//! The connections that read, beside the one that writes.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use rusqlite::Connection;
use world_core::Result;

use crate::open::File;

/// Connections that read at the same time; further readers wait for one of them.
const READERS_MAX: usize = 4;

/// A few connections to a file, each opened when it is first needed.
#[derive(Debug)]
pub(crate) struct Readers {
    file: File,
    slots: [Mutex<Option<Connection>>; READERS_MAX],
    next: AtomicUsize,
    watch: Mutex<Option<Connection>>,
}

impl Readers {
    pub(crate) fn of(file: File) -> Self {
        Self { file, slots: Default::default(), next: AtomicUsize::new(0), watch: Mutex::default() }
    }

    /// Reads with the connection that never writes nor changes, whose `data_version` can be compared.
    pub(crate) fn watch<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(self.watch.lock().unwrap_or_else(PoisonError::into_inner), read)
    }

    /// Reads with a connection that nobody else is using.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(self.slot(), read)
    }

    fn read<T>(
        &self,
        mut slot: MutexGuard<'_, Option<Connection>>,
        read: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let conn = match &mut *slot {
            Some(conn) => conn,
            empty => empty.insert(self.file.reader()?),
        };
        read(conn)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Connection>> {
        if let Some(free) = self.slots.iter().find_map(|slot| slot.try_lock().ok()) {
            return free;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed) % READERS_MAX;
        self.slots[next].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
