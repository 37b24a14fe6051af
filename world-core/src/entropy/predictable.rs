//! Randomness from a seed, for one thread.

use std::{cell::Cell, marker::PhantomData};

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes all that the engine draws on this thread follow from a seed, for as long as it is held:
/// tickets, run ids, seeds, keys, **nonces** and the jitter of retries.
///
/// It is for tests only. Under it two runs of the same code make the same bytes, so whoever knows
/// the seed knows the keys, and a nonce may be used twice under one key. What is sealed under it
/// keeps no secret.
///
/// Guards nest: the inner one is in force until it is dropped, and then the outer one goes on.
///
/// ```
/// # use world_core::{seal::Key, testing::Predictable};
/// let key = |seed| {
///     let _predictable = Predictable::from_seed(seed);
///     Key::generate().id().clone()
/// };
/// assert_eq!(key(7), key(7));
/// assert_ne!(key(7), key(8));
/// assert_ne!(Key::generate().id(), Key::generate().id()); // the guard is gone
/// ```
#[derive(Debug)]
#[must_use = "what is drawn is predictable for as long as this is held"]
pub struct Predictable {
    before: Option<u64>,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Predictable {
    /// Draws from this seed on this thread from now on.
    pub fn from_seed(seed: u64) -> Self {
        Self { before: STATE.replace(Some(seed)), thread: PhantomData }
    }
}

impl Drop for Predictable {
    fn drop(&mut self) {
        STATE.set(self.before);
    }
}

/// Fills these bytes, if a guard is held on this thread.
pub(super) fn fill(bytes: &mut [u8]) -> bool {
    let Some(mut state) = STATE.get() else { return false };
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        chunk.copy_from_slice(&mixed(state).to_le_bytes()[..chunk.len()]);
    }
    STATE.set(Some(state));
    true
}

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
const fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
