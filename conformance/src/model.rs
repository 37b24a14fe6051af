//! The contract as a model: random operations are made, and each answer is compared with what the
//! contract allows.
//!
//! - [`State`] is the sequential specification: all that a World keeps, as a value, and whether
//!   an [`Answer`] to an [`Op`] is allowed and what follows from it.
//! - Histories of one writer are checked operation by operation; the first that is not allowed
//!   names the rule that is broken, and the history is made as short as still fails.
//! - Histories of several writers, with answers that never came, are checked for
//!   linearizability: see [`linear`].

mod blame;
mod concurrent;
mod draw;
mod forget;
mod intent;
mod known;
pub mod linear;
mod op;
mod perform;
mod random;
mod sequential;
mod shrink;
mod spec;
mod text;

pub(crate) use concurrent::{Troubles, any_history_of_many_writers};
pub(crate) use draw::Family;
pub use op::{Answer, Op};
pub(crate) use sequential::any_history_of_one_writer;
pub use spec::State;

#[cfg(test)]
mod tests;
