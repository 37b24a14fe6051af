//! Two calls at once, each standing still in turn while the other is made.
//!
//! Whatever the order, the two answers and what is there afterwards have to be those of one call
//! after the other. Every World that keeps the contract passes, however it interleaves them.

mod appends;
mod deletes;
mod leases;

use crate::{case::Case, interleave::Order};

pub(super) fn cases() -> Vec<Case> {
    [appends::cases(), leases::cases(), deletes::cases()].into_iter().flatten().collect()
}

/// Every order, each with a name for what it is tried on.
fn rounds() -> impl Iterator<Item = (String, Order)> {
    (1..).zip(Order::all()).map(|(number, order)| (format!("round {number}"), order))
}
