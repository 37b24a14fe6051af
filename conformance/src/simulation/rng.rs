//! Numbers from a seed.

use std::time::Duration;

/// Numbers from a seed, the same on every machine: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The numbers of this seed, for this purpose.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        Self(mix(seed ^ name_hash(purpose)))
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        spread(self.0)
    }

    /// A number below `end`, which is not 0.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in about this many of 1000 draws.
    pub(super) const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these, of which there is at least one.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Up to but without `end`, in milliseconds; short times are as likely as long ones.
    pub(super) fn time(&mut self, end: Duration) -> Duration {
        let millis = (end.as_millis() as u64).max(1);
        let end = match self.below(4) {
            0 => return Duration::ZERO,
            1 => (millis / 100).max(1),
            2 => (millis / 10).max(1),
            _ => millis,
        };
        Duration::from_millis(self.below(end))
    }
}

/// A number that looks random, the same on every machine.
pub(super) const fn mix(number: u64) -> u64 {
    spread(number.wrapping_add(0x9E37_79B9_7F4A_7C15))
}

const fn spread(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a (draft-eastlake-fnv).
pub(super) fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
