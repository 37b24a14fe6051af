//! A payload in clear.

use std::fmt;

use zeroize::Zeroizing;

/// A payload in clear: never shown, and wiped when dropped. Only [`seal`](crate::seal) turns it
/// into something a World may see.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Plain(Zeroizing<Vec<u8>>);

impl Plain {
    /// Takes the bytes of a payload.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where the bytes are in memory, and how many: as long as it lives, no other has them there.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.0.as_ptr().addr(), self.0.len())
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plain({} bytes)", self.0.len())
    }
}
