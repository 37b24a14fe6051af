//! A test for every rule on a log's head and its edges, and what holds after any sequence.

mod appends;
pub(crate) mod kept;
mod leases;
mod logs;
mod properties;
mod stored;
