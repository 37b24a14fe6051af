//! The SQLite World: durable execution in one file, for one machine and any number of processes.
//!
//! A log is a small row and its records, keyed by (log, position). An append reads the row, asks
//! [`world_core::head`], inserts the records and updates the row, under `BEGIN IMMEDIATE`; it is
//! answered after `COMMIT`. The page `docs/layouts/sqlite.md` has every table, pragma and lock.
//!
//! # Threads
//!
//! Reads, and writes that find the connection free, run on the caller's thread: they take
//! microseconds, at [`Synchronous::Full`] one sync of the disk. A page of records is at most about
//! 1 MiB. Waiting for another process's write happens on a thread of the World's own.

mod append;
mod claim;
mod delete;
mod error;
mod job;
mod list;
mod open;
mod options;
mod read;
mod readers;
mod row;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod url;
mod wait;
mod world;
mod writer;

use world_core::Limits;

pub use options::{BUSY_TIMEOUT_MAX, Options, Synchronous};
pub use world::SqliteWorld;

/// What one append may hold here.
pub const LIMITS: Limits =
    Limits { records_max: 1024, record_bytes_max: 1 << 20, append_bytes_max: 8 << 20 };
