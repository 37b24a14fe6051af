//! Sizes: what every World takes, its own limits, long logs; strange names and bodies.

mod bodies;
mod far;
mod keys;
mod long;
mod names;
mod sizes;
mod strange;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [sizes::cases(), long::cases(), far::cases(), bodies::cases(), names::cases(), keys::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// So many bytes, none of them NUL, in which a piece that is lost, repeated or moved shows.
fn bytes(count: usize) -> Vec<u8> {
    let block: Vec<_> =
        (0..4093_u32).map(|index| (index % 251) as u8 ^ (index / 251) as u8 | 1).collect();
    let mut bytes = block.repeat(count.div_ceil(block.len()));
    bytes.truncate(count);
    bytes
}
