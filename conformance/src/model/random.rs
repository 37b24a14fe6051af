//! Numbers from a seed: the same on every machine and in every version.

/// A source of numbers that its seed alone decides.
///
/// It is SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators"
/// (OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        match self.next().checked_rem(bound) {
            Some(number) => number,
            None => 0,
        }
    }

    /// True so often in a hundred.
    pub(crate) const fn is(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }

    /// One of several; `None` of none.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = self.below(all.len() as u64);
        all.get(usize::try_from(index).ok()?)
    }

    /// Something, so often in a hundred.
    pub(crate) fn maybe<T>(
        &mut self,
        per_cent: u64,
        some: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if self.is(per_cent) { Some(some(self)) } else { None }
    }
}
