//! Compression of payloads: zstd (RFC 8878), where it saves enough.

use std::{cell::RefCell, io};

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::get_frame_content_size,
};

use super::Buffer;

/// A payload shorter than this is kept as it is.
pub(super) const COMPRESS_BYTES_MIN: usize = 1024;

/// The longest payload in clear, in bytes: what is longer is not sealed, and a frame that claims
/// more is not unpacked.
pub const PLAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// zstd's level: speed first, as a log is written once and mostly read from memory.
const LEVEL: i32 = 1;

// Making one takes longer than compressing a few kilobytes with it.
thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn kept_or_new<T>(kept: &mut Option<T>, new: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    let one = match kept.take() {
        Some(one) => one,
        None => new()?,
    };
    Ok(kept.insert(one))
}

/// Writes `plain` compressed behind what `out` holds, if that saves at least 5 %. Otherwise
/// leaves `out` as it was.
pub(super) fn compress(plain: &[u8], out: &mut Buffer) -> bool {
    if plain.len() < COMPRESS_BYTES_MIN {
        return false;
    }
    let start = out.as_bytes().len();
    let most = plain.len() - plain.len().div_ceil(20);
    out.set_len(start + most);
    // A frame that would not fit is given up: it saves too little.
    let packed = COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = kept_or_new(kept, || Compressor::new(LEVEL))?;
        compressor.compress_to_buffer(plain, &mut out.as_mut_bytes()[start..])
    });
    match packed {
        Ok(written) => {
            out.cut(start + written);
            true
        }
        Err(_) => {
            // What stands behind is overwritten by the payload, which is longer.
            out.set_len(start);
            false
        }
    }
}

/// Unpacks a frame; the frame says how long it becomes, and is held to it.
pub(super) fn decompress(frame: &[u8]) -> Result<Buffer, &'static str> {
    let claimed = match get_frame_content_size(frame) {
        Ok(Some(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
        Ok(None) | Err(_) => return Err("its zstd frame does not say its length"),
    };
    if claimed > PLAIN_BYTES_MAX {
        return Err("its zstd frame claims more than 16 MiB");
    }
    let mut plain = Buffer::with_capacity(claimed);
    plain.set_len(claimed);
    let unpacked = DECOMPRESSOR.with_borrow_mut(|kept| {
        kept_or_new(kept, Decompressor::new)?.decompress_to_buffer(frame, plain.as_mut_bytes())
    });
    match unpacked {
        Ok(written) if written == claimed => Ok(plain),
        Ok(_) | Err(_) => Err("its zstd frame is damaged"),
    }
}
