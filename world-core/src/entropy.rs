//! The one door to randomness: tickets, run ids, seeds, keys, nonces and the jitter of retries.
//!
//! It is the thread's cryptographic source. Under the cargo feature `simulation` a test may put a
//! predictable one in its place, on its own thread and for as long as it holds a guard.

#[cfg(feature = "simulation")]
mod predictable;

use rand::Rng;

#[cfg(feature = "simulation")]
pub use predictable::Predictable;

/// Fills these bytes.
pub(crate) fn fill(bytes: &mut [u8]) {
    #[cfg(feature = "simulation")]
    if predictable::fill(bytes) {
        return;
    }
    rand::rng().fill_bytes(bytes);
}

/// So many random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// A random part of 1, from 0 up to but without 1.
pub(crate) fn share() -> f64 {
    const STEPS: u64 = 1 << 53; // as many as an f64 between 0 and 1 tells apart
    let step = u64::from_be_bytes(bytes()) % STEPS;
    step as f64 / STEPS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_the_same_and_a_share_is_below_one() {
        assert_ne!(bytes::<16>(), bytes::<16>());
        assert!((0..1000).map(|_| share()).all(|share| (0.0..1.0).contains(&share)));
    }
}
