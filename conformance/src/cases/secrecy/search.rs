//! Looks for bytes in other bytes, however they were encoded.

use std::collections::HashMap;

/// Secrets, each in every encoding that a store may use.
#[derive(Debug, Default)]
pub(super) struct Search {
    needles: Vec<Needle>,
    /// The needles that begin with these bytes.
    by_beginning: HashMap<[u8; BEGINNING], Vec<usize>>,
}

#[derive(Debug)]
struct Needle {
    name: &'static str,
    encoding: &'static str,
    bytes: Vec<u8>,
}

/// Where a secret was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) encoding: &'static str,
    pub(super) at: usize,
}

const BEGINNING: usize = 4;

/// How much of a secret is looked for at once: a page of a store may end inside the rest.
const PIECE: usize = 24;

/// How many pieces of a long secret are looked for.
const PIECES: usize = 16;

impl Search {
    /// Looks for this too, of which pieces suffice.
    pub(super) fn secret(mut self, (name, secret): (&'static str, &[u8])) -> Self {
        let last = secret.len().saturating_sub(PIECE);
        let step = last.div_ceil(PIECES).max(1);
        for from in (0..=last).step_by(step).chain([last]) {
            let piece = &secret[from..secret.len().min(from + PIECE)];
            for (encoding, bytes) in encodings(piece) {
                self.add(Needle { name, encoding, bytes });
            }
        }
        self
    }

    fn add(&mut self, needle: Needle) {
        let Some(beginning) = needle.bytes.first_chunk::<BEGINNING>() else { return };
        let known = self.by_beginning.entry(*beginning).or_default();
        if known.iter().all(|known| self.needles[*known].bytes != needle.bytes) {
            known.push(self.needles.len());
            self.needles.push(needle);
        }
    }

    /// The first place where one of them is.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Found> {
        (0..bytes.len()).find_map(|at| {
            let rest = &bytes[at..];
            let candidates = self.by_beginning.get(rest.first_chunk::<BEGINNING>()?)?;
            let found = candidates.iter().map(|index| &self.needles[*index]);
            let Needle { name, encoding, .. } =
                found.into_iter().find(|needle| rest.starts_with(&needle.bytes))?;
            Some(Found { name, encoding, at })
        })
    }
}

/// The ways in which a store may write bytes.
fn encodings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("as it is", bytes.to_vec()),
        ("reversed", bytes.iter().rev().copied().collect()),
        ("in hexadecimal digits", joined(bytes, "", |byte| format!("{byte:02x}"))),
        ("in hexadecimal digits", joined(bytes, "", |byte| format!("{byte:02X}"))),
        ("in hexadecimal digits", joined(bytes, " ", |byte| format!("{byte:02x}"))),
        ("as numbers", joined(bytes, ",", |byte| byte.to_string())),
        ("as numbers", joined(bytes, ", ", |byte| byte.to_string())),
        ("in percents", joined(bytes, "", |byte| format!("%{byte:02X}"))),
        ("in percents", joined(bytes, "", |byte| format!("%{byte:02x}"))),
        ("in percents", joined(bytes, "", |byte| percent(byte, "%20"))),
        ("in percents", joined(bytes, "", |byte| percent(byte, "+"))),
        ("as escapes of JSON", joined(bytes, "", |byte| format!("\\u00{byte:02x}"))),
        ("as escapes of a language", joined(bytes, "", |byte| format!("\\x{byte:02x}"))),
        ("as escapes of a language", bytes.escape_ascii().collect()),
    ];
    for (first, last) in [(b'+', b'/'), (b'-', b'_')] {
        all.extend((0..3).map(|skip| ("in base64", base64(bytes, skip, first, last))));
    }
    // A piece may begin or end inside a character.
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(char::REPLACEMENT_CHARACTER);
    if !text.contains(char::REPLACEMENT_CHARACTER) {
        let little = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        all.push(("in UTF-16", little));
        all.push(("in UTF-16", text.encode_utf16().flat_map(u16::to_be_bytes).collect()));
        if let Ok(json) = serde_json::to_string(text) {
            all.push(("as a string of JSON", json.trim_matches('"').as_bytes().to_vec()));
        }
        all.push(("as a string of JSON", json_of_ascii(text).into_bytes()));
    }
    all
}

fn joined(bytes: &[u8], between: &str, word: impl Fn(u8) -> String) -> Vec<u8> {
    let words: Vec<_> = bytes.iter().map(|byte| word(*byte)).collect();
    words.join(between).into_bytes()
}

fn percent(byte: u8, space: &str) -> String {
    match byte {
        b' ' => space.to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

/// JSON whose characters beyond ASCII are escaped.
fn json_of_ascii(text: &str) -> String {
    let escaped = |letter: char| match letter {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        ' '..='~' => letter.to_string(),
        _ => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    text.chars().map(escaped).collect()
}

/// The digits of base64 that these bytes alone decide, when `skip` bytes stand before them in
/// their group of three.
fn base64(bytes: &[u8], skip: usize, first: u8, last: u8) -> Vec<u8> {
    let whole = &bytes[((3 - skip) % 3).min(bytes.len())..];
    let digit = |bits: u32| match bits & 63 {
        bits @ 0..26 => b'A' + bits as u8,
        bits @ 26..52 => b'a' + (bits - 26) as u8,
        bits @ 52..62 => b'0' + (bits - 52) as u8,
        62 => first,
        _ => last,
    };
    let group = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| digit(bits >> shift))
    };
    whole.chunks_exact(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = "a canary: \"ä\" / 0123456789".as_bytes();

    fn search() -> Search {
        Search::default().secret(("it", SECRET))
    }

    #[test]
    fn a_secret_is_found_in_every_encoding_and_wherever_it_stands() {
        for (encoding, bytes) in encodings(&SECRET[..PIECE]) {
            for before in 0..4 {
                let mut haystack = vec![b'.'; before];
                haystack.extend(&bytes);
                haystack.extend(b"...");
                let found = search().find(&haystack);
                assert!(found.is_some(), "{encoding}: {}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn base64_is_the_one_of_the_others() {
        assert_eq!(base64(b"light work", 0, b'+', b'/'), b"bGlnaHQgd29y");
        // "xlight work" is eGxpZ2h0IHdvcms=, of which xl decide the first group with l.
        assert_eq!(base64(b"light work", 1, b'+', b'/'), b"Z2h0IHdv");
        assert_eq!(base64(b"\xFB\xFF\xFE", 0, b'-', b'_'), b"-__-");
    }

    #[test]
    fn a_part_of_a_long_secret_is_found_and_nothing_else_is() {
        let secret: Vec<u8> = (0..4000_u32).flat_map(u32::to_be_bytes).collect();
        let search = Search::default().secret(("it", &secret));
        assert_eq!(search.find(&secret[5_000..9_000]).map(|found| found.name), Some("it"));
        assert_eq!(search.find(&[7; 10_000]), None);
        assert_eq!(search.find(b"a canary"), None);
    }
}
