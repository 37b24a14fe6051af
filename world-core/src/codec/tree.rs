//! Compares payloads by what they say, not by how it is written.

use super::scan::{head, one_value};
use crate::seal::{Buffer, Plain};

/// Returns true if two payloads hold the same MessagePack tree.
///
/// The entries of a map have no order, an integer is its value however many bytes it takes, a
/// floating-point number is its bits, and arrays have an order. A payload that is not one whole
/// value, or is nested deeper than [`DEPTH_MAX`](super::DEPTH_MAX), is the same as its own bytes only.
///
/// ```
/// # use world_core::codec::{encode_value, same_tree};
/// # use std::collections::HashMap;
/// let prices = || HashMap::from([("pen", 3), ("ink", 7), ("paper", 2)]);
/// assert!(same_tree(&encode_value(&prices())?, &encode_value(&prices())?));
/// assert!(!same_tree(&encode_value(&[1, 2])?, &encode_value(&[2, 1])?));
/// # Ok::<(), world_core::Error>(())
/// ```
#[must_use]
pub fn same_tree(left: &Plain, right: &Plain) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    // Those of other lengths may still be the same tree, as an integer may be written longer.
    left == right
        || matches!((normal_form(left), normal_form(right)), (Some(left), Some(right))
            if left.as_bytes() == right.as_bytes())
}

/// Rewrites a payload such that the same tree is always the same bytes.
fn normal_form(mut bytes: &[u8]) -> Option<Buffer> {
    // The depth of what follows is bounded by this.
    one_value(bytes).ok()?;
    let mut out = Buffer::with_capacity(bytes.len().saturating_mul(2));
    write_normal(&mut bytes, &mut out)?;
    Some(out)
}

/// What stands before each value in the normal form; nil and booleans are their own markers.
mod tag {
    pub(super) const INTEGER: u8 = 1;
    pub(super) const TEXT: u8 = 2;
    pub(super) const BYTES: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const EXTENSION: u8 = 6;
}

/// Takes one value off the bytes and writes it in its normal form.
fn write_normal(bytes: &mut &[u8], out: &mut Buffer) -> Option<()> {
    let marker = *bytes.first()?;
    let (len, children) = head(bytes).ok()?;
    let (data, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    match marker {
        0x00..=0x7f => integer(i128::from(marker), out),
        0xe0..=0xff => integer(i128::from(marker.cast_signed()), out),
        0xcc..=0xcf => integer(number(data, 0), out),
        0xd0..=0xd3 => {
            let sign = data.first().map_or(0, |first| first.cast_signed() >> 7);
            integer(number(data, i128::from(sign)), out);
        }
        0xa0..=0xbf | 0xd9..=0xdb => sized(tag::TEXT, data, out),
        0xc4..=0xc6 => sized(tag::BYTES, data, out),
        // The first byte of an extension's data is its type.
        0xc7..=0xc9 | 0xd4..=0xd8 => sized(tag::EXTENSION, data, out),
        // Floats keep their marker, as the same number with other bits is another value.
        0xc0..=0xc3 | 0xca | 0xcb => {
            out.push(&[marker]);
            out.push(data);
        }
        0x90..=0x9f | 0xdc | 0xdd => {
            count(tag::ARRAY, children, out);
            for _ in 0..children {
                write_normal(bytes, out)?;
            }
        }
        0x80..=0x8f | 0xde | 0xdf => write_map(bytes, children / 2, out)?,
    }
    Some(())
}

/// Writes the entries of a map, sorted.
fn write_map(bytes: &mut &[u8], entries: usize, out: &mut Buffer) -> Option<()> {
    count(tag::MAP, entries, out);
    let start = out.as_bytes().len();
    let mut places = Vec::with_capacity(entries);
    for _ in 0..entries {
        let from = out.as_bytes().len() - start;
        write_normal(bytes, out)?; // the key
        write_normal(bytes, out)?;
        places.push(from..out.as_bytes().len() - start);
    }
    let written = out.as_mut_bytes().get_mut(start..)?;
    let mut unsorted = Buffer::with_capacity(written.len());
    unsorted.push(written);
    let entry = |place: &std::ops::Range<usize>| unsorted.as_bytes().get(place.clone());
    places.sort_by(|left, right| entry(left).cmp(&entry(right)));
    let mut to = written;
    for place in &places {
        let (here, after) = to.split_at_mut_checked(place.len())?;
        here.copy_from_slice(entry(place)?);
        to = after;
    }
    Some(())
}

fn integer(value: i128, out: &mut Buffer) {
    out.push(&[tag::INTEGER]);
    out.push(&value.to_be_bytes());
}

fn number(data: &[u8], sign: i128) -> i128 {
    data.iter().fold(sign, |all, byte| (all << 8) | i128::from(*byte))
}

fn count(tag: u8, children: usize, out: &mut Buffer) {
    out.push(&[tag]);
    out.push(&(children as u64).to_be_bytes());
}

fn sized(tag: u8, data: &[u8], out: &mut Buffer) {
    count(tag, data.len(), out);
    out.push(data);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::{super::encode_value, *};
    use crate::codec::DEPTH_MAX;

    fn same(left: &[u8], right: &[u8]) -> bool {
        same_tree(&Plain::new(left.to_vec()), &Plain::new(right.to_vec()))
    }

    #[test]
    fn an_integer_is_its_value_in_whatever_form() {
        let forms_of_5: &[&[u8]] = &[
            b"\x05",
            b"\xcc\x05",
            b"\xcd\0\x05",
            b"\xce\0\0\0\x05",
            b"\xcf\0\0\0\0\0\0\0\x05",
            b"\xd0\x05",
            b"\xd1\0\x05",
            b"\xd2\0\0\0\x05",
            b"\xd3\0\0\0\0\0\0\0\x05",
        ];
        let forms_of_minus_3: &[&[u8]] = &[
            b"\xfd",
            b"\xd0\xfd",
            b"\xd1\xff\xfd",
            b"\xd2\xff\xff\xff\xfd",
            b"\xd3\xff\xff\xff\xff\xff\xff\xff\xfd",
        ];
        for forms in [forms_of_5, forms_of_minus_3] {
            assert!(forms.iter().all(|form| same(form, forms[0])));
        }
        assert!(!same(b"\x05", b"\xfd"));
        assert!(!same(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff"));
    }

    #[test]
    fn texts_bytes_and_extensions_are_the_same_in_each_width_and_never_one_another() {
        let (text, bytes, extension) = (b"\xa1a", b"\xc4\x01a", b"\xd4ta");
        assert!(same(text, b"\xd9\x01a") && same(text, b"\xdb\0\0\0\x01a"));
        assert!(same(bytes, b"\xc5\0\x01a") && same(extension, b"\xc7\x01ta"));
        assert!(!same(text, bytes) && !same(bytes, extension) && !same(text, extension));
        assert!(!same(extension, b"\xd4ua"));
    }

    #[test]
    fn a_float_is_its_bits() {
        let plain = |value: f64| encode_value(&value).unwrap();
        assert!(same_tree(&plain(f64::NAN), &plain(f64::NAN)));
        assert!(!same_tree(&plain(0.0), &plain(-0.0)));
        assert!(!same_tree(&plain(1.0), &encode_value(&1).unwrap()));
        assert!(!same_tree(&plain(1.0), &encode_value(&1.0_f32).unwrap()));
    }

    #[test]
    fn arrays_have_an_order_and_maps_have_none_at_any_depth() {
        assert!(!same(b"\x92\x01\x02", b"\x92\x02\x01"));
        assert!(same(b"\x82\x01\x02\x03\x04", b"\x82\x03\x04\x01\x02"));
        assert!(!same(b"\x82\x01\x02\x03\x04", b"\x82\x01\x04\x03\x02"));
        // A map as a key, in a map of maps.
        assert!(same(
            b"\x82\x82\x01\x02\x03\x04\x05\x06\x07",
            b"\x82\x06\x07\x82\x03\x04\x01\x02\x05"
        ));
        assert!(same(
            b"\x82\x01\x82\x02\x03\x04\x05\x06\x07",
            b"\x82\x06\x07\x01\x82\x04\x05\x02\x03"
        ));
        // How often an entry stands there counts.
        assert!(!same(b"\x83\x01\x02\x01\x02\x03\x04", b"\x83\x01\x02\x03\x04\x03\x04"));
        assert!(!same(b"\x81\x01\x02", b"\x92\x01\x02"));
        assert!(!same(b"\x80", b"\x90"));
    }

    #[test]
    fn what_is_no_value_is_only_its_own_bytes() {
        for broken in [b"".as_slice(), b"\xc1", b"\x92\x01", b"\x01\x02", b"\xdf\xff\xff\xff\xff"] {
            assert!(same(broken, broken));
            assert!(!same(broken, b"\x01"));
        }
        let deep = |depth: usize, leaf: &[u8]| [vec![0x91; depth], leaf.to_vec()].concat();
        assert!(same(&deep(DEPTH_MAX, b"\x05"), &deep(DEPTH_MAX, b"\xcc\x05")));
        assert!(!same(&deep(DEPTH_MAX + 1, b"\x05"), &deep(DEPTH_MAX + 1, b"\xcc\x05")));
    }

    /// A tree whose maps can be written in any order.
    #[derive(Clone, Debug)]
    enum Tree {
        Nil,
        Integer(i64),
        Text(String),
        Array(Vec<Tree>),
        Map(Vec<(Tree, Tree)>),
    }

    impl Serialize for Tree {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self {
                Self::Nil => to.serialize_unit(),
                Self::Integer(integer) => to.serialize_i64(*integer),
                Self::Text(text) => to.serialize_str(text),
                Self::Array(items) => to.collect_seq(items),
                Self::Map(entries) => {
                    to.collect_map(entries.iter().map(|(key, value)| (key, value)))
                }
            }
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Nil),
            any::<i64>().prop_map(Tree::Integer),
            "[a-c]{0,3}".prop_map(Tree::Text),
        ];
        leaf.prop_recursive(4, 48, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::Array),
                prop::collection::vec((inner.clone(), inner), 0..5).prop_map(Tree::Map),
            ]
        })
    }

    /// The same tree with each map turned around.
    fn turned(tree: &Tree) -> Tree {
        match tree {
            Tree::Array(items) => Tree::Array(items.iter().map(turned).collect()),
            Tree::Map(entries) => {
                let turned = |(key, value): &(Tree, Tree)| (turned(key), turned(value));
                Tree::Map(entries.iter().rev().map(turned).collect())
            }
            leaf => leaf.clone(),
        }
    }

    /// The same tree with one more nil in it.
    fn longer(tree: &Tree) -> Tree {
        match tree {
            Tree::Array(items) => Tree::Array(items.iter().cloned().chain([Tree::Nil]).collect()),
            Tree::Map(entries) => {
                let more = [(Tree::Nil, Tree::Nil)];
                Tree::Map(entries.iter().cloned().chain(more).collect())
            }
            leaf => Tree::Array(vec![leaf.clone()]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_tree_is_the_same_with_its_maps_turned_around_and_another_with_more_in_it(tree in tree()) {
            let plain = encode_value(&tree).unwrap();
            prop_assert!(same_tree(&plain, &encode_value(&turned(&tree)).unwrap()));
            prop_assert!(!same_tree(&plain, &encode_value(&longer(&tree)).unwrap()));
        }

        #[test]
        fn no_bytes_make_the_comparison_panic(
            left in prop::collection::vec(any::<u8>(), 0..64),
            right in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            prop_assert_eq!(same(&left, &right), same(&right, &left));
            prop_assert!(same(&left, &left));
        }
    }
}
