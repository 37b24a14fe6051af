//! A buffer for payloads in clear, which leaves no copy behind when it grows.

use std::io;

use zeroize::{Zeroize, Zeroizing};

use super::Plain;

/// Bytes in clear, being written. A `Vec` that grows frees its old memory as it is; this wipes it.
#[derive(Default)]
pub(crate) struct Buffer(Zeroizing<Vec<u8>>);

impl Buffer {
    /// A buffer that takes `bytes` before it has to grow.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.0.capacity() - self.0.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.0.extend_from_slice(bytes);
    }

    /// Makes it exactly this long, with zeros at the end where it was shorter.
    pub(crate) fn set_len(&mut self, bytes: usize) {
        if self.0.capacity() < bytes {
            self.grow(bytes - self.0.len());
        }
        self.0.resize(bytes, 0);
    }

    /// Cuts it to this length, wipes what stood behind, and gives memory back if it is much.
    pub(crate) fn cut(&mut self, bytes: usize) {
        /// What may still be written behind it: a tag.
        const SPARE_BYTES: usize = 16;
        let wanted = bytes + SPARE_BYTES;
        if self.0.capacity() > 2 * wanted {
            let mut smaller = Self::with_capacity(wanted);
            smaller.push(&self.0[..bytes]);
            *self = smaller;
        } else {
            self.0[bytes..].zeroize();
            self.0.truncate(bytes);
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The content, once nothing in clear is left in it.
    pub(crate) fn into_sealed_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// The content as a payload.
    pub(crate) fn into_plain(mut self) -> Plain {
        Plain::new(std::mem::take(&mut self.0))
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let capacity = (self.0.len() + more).max(self.0.capacity() * 2);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.0);
        self.0 = larger;
    }
}

impl io::Write for Buffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
