//! Reads the shape of MessagePack before anything is made of it.
//!
//! `rmp-serde` counts the depth of arrays and maps, but not of enums, and leaves what follows a
//! value unread; the scanner of `rmp` panics at extension types.

use super::DEPTH_MAX;

const CUT_SHORT: &str = "it is cut short";

/// Checks that the bytes are exactly one MessagePack value, whole, and at most [`DEPTH_MAX`] deep.
#[inline]
pub(super) fn one_value(mut bytes: &[u8]) -> Result<(), &'static str> {
    // How many values are still to come, on each level outside the current one.
    let mut outer = [0; DEPTH_MAX];
    let (mut depth, mut left) = (0, 1);
    loop {
        while left == 0 {
            if depth == 0 {
                return if bytes.is_empty() { Ok(()) } else { Err("something follows its end") };
            }
            depth -= 1;
            left = outer[depth];
        }
        left -= 1;
        let (data, children) = head(&mut bytes)?;
        bytes = bytes.get(data..).ok_or(CUT_SHORT)?;
        if children > 0 {
            // Each takes a byte at least.
            if children > bytes.len() {
                return Err(CUT_SHORT);
            }
            *outer.get_mut(depth).ok_or("it is nested too deep")? = left;
            depth += 1;
            left = children;
        }
    }
}

/// Reads the head of a value: how many bytes of data follow it, and how many values.
#[inline]
pub(super) fn head(bytes: &mut &[u8]) -> Result<(usize, usize), &'static str> {
    let (&marker, rest) = bytes.split_first().ok_or(CUT_SHORT)?;
    *bytes = rest;
    let low = usize::from(marker);
    Ok(match marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0),
        0x80..=0x8f => (0, 2 * (low & 0x0f)),
        0x90..=0x9f => (0, low & 0x0f),
        0xa0..=0xbf => (low & 0x1f, 0),
        0xc1 => return Err("it is no MessagePack"),
        0xc4 | 0xd9 => (number::<1>(bytes)?, 0),
        0xc5 | 0xda => (number::<2>(bytes)?, 0),
        0xc6 | 0xdb => (number::<4>(bytes)?, 0),
        // An extension has a byte for its type.
        0xc7 => (number::<1>(bytes)?.saturating_add(1), 0),
        0xc8 => (number::<2>(bytes)?.saturating_add(1), 0),
        0xc9 => (number::<4>(bytes)?.saturating_add(1), 0),
        0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
        0xcc | 0xd0 => (1, 0),
        0xcd | 0xd1 => (2, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        0xdc => (0, number::<2>(bytes)?),
        0xdd => (0, number::<4>(bytes)?),
        0xde => (0, number::<2>(bytes)?.saturating_mul(2)),
        0xdf => (0, number::<4>(bytes)?.saturating_mul(2)),
    })
}

/// Reads a length of `N` bytes.
fn number<const N: usize>(bytes: &mut &[u8]) -> Result<usize, &'static str> {
    let (number, rest) = bytes.split_first_chunk::<N>().ok_or(CUT_SHORT)?;
    *bytes = rest;
    Ok(number.iter().fold(0, |all, byte| (all << 8) | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_measured() {
        let values: &[&[u8]] = &[
            b"\x00",
            b"\x7f",
            b"\xe0",
            b"\xc0",
            b"\xc2",
            b"\xc3",
            b"\x80",
            b"\x90",
            b"\xa0",
            b"\xa2ab",
            b"\x81\x01\x02",
            b"\x92\x01\x91\x02",
            b"\xc4\x01a",
            b"\xc5\x00\x01a",
            b"\xc6\x00\x00\x00\x01a",
            b"\xd9\x01a",
            b"\xda\x00\x01a",
            b"\xdb\x00\x00\x00\x01a",
            b"\xc7\x01ta",
            b"\xc8\x00\x01ta",
            b"\xc9\x00\x00\x00\x01ta",
            b"\xd4ta",
            b"\xd5tab",
            b"\xd6tabcd",
            b"\xd7tabcdefgh",
            b"\xd8tabcdefghabcdefgh",
            b"\xcaabcd",
            b"\xcbabcdefgh",
            b"\xcca",
            b"\xcdab",
            b"\xceabcd",
            b"\xcfabcdefgh",
            b"\xd0a",
            b"\xd1ab",
            b"\xd2abcd",
            b"\xd3abcdefgh",
            b"\xdc\x00\x01\x05",
            b"\xdd\x00\x00\x00\x01\x05",
            b"\xde\x00\x01\x05\x05",
            b"\xdf\x00\x00\x00\x01\x05\x05",
        ];
        for value in values {
            assert_eq!(one_value(value), Ok(()), "{value:02x?}");
            assert_eq!(one_value(&value[..value.len() - 1]), Err(CUT_SHORT), "{value:02x?}");
            assert!(one_value(&[value, b"\x00".as_slice()].concat()).is_err(), "{value:02x?}");
        }
        assert!(one_value(b"\xc1").is_err());
    }

    #[test]
    fn depth_is_bounded_and_no_length_overflows() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0]].concat();
        assert_eq!(one_value(&nested(DEPTH_MAX)), Ok(()));
        assert!(one_value(&nested(DEPTH_MAX + 1)).is_err());
        for marker in [0xc6, 0xdb, 0xc9, 0xdd, 0xdf] {
            assert_eq!(one_value(&[marker, 255, 255, 255, 255, 0]), Err(CUT_SHORT));
        }
    }
}
