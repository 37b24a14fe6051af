//! Sizes: what every World takes, its own limits, long logs; strange names and bodies.

mod bodies;
mod keys;
mod long;
mod names;
mod sizes;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [sizes::cases(), long::cases(), bodies::cases(), names::cases(), keys::cases()]
        .into_iter()
        .flatten()
        .collect()
}
