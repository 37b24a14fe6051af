//! The key of an operation: the path of branches and the operation, each a name and, from the
//! second on, its occurrence (`item#3/charge`, `charge#2`).
//!
//! Counters belong to a branch, and a branch to one piece of sequential code, so no key depends
//! on the order in which futures are polled.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

/// Names one operation of a run, for ever.
///
/// ```
/// # use world_core::*;
/// use world_core::replay::Key;
/// assert_eq!(Key::new("item#3/charge").as_str(), "item#3/charge");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key with this text, as it stands in a log.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The most bytes of a key that a workflow makes: the names of an operation and of the branches
    /// it stands in, with what is put between them. A run whose code makes a longer one is blocked.
    pub const BYTES_MAX: usize = 16 << 10;

    /// The beginning of a key that is too long to be shown.
    pub(crate) fn beginning(&self) -> String {
        const SHOWN_MAX: usize = 40;
        self.0.chars().take(SHOWN_MAX).collect()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash that is the same in every build and on every machine: FNV-1a
    /// (draft-eastlake-fnv), spread by the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
    /// Sums of these say which keys are open, whatever their order.
    #[must_use]
    pub(crate) fn stable_hash(&self) -> u64 {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for byte in self.0.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        hash ^ (hash >> 31)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Gives keys to the operations of one branch.
#[derive(Debug, Default)]
pub(crate) struct Namer {
    path: String,
    /// Where the next key is put together.
    text: String,
    seen: BTreeMap<Box<str>, u32>,
}

impl Namer {
    /// The key of the next operation with this name.
    pub(crate) fn operation(&mut self, name: &str) -> Key {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.push_str(&self.path);
        self.push_name(&mut text, name);
        let key = Key(Arc::from(text.as_str()));
        self.text = text;
        key
    }

    /// The namer of the next branch with this name.
    pub(crate) fn branch(&mut self, name: &str) -> Self {
        let mut path = String::with_capacity(self.path.len() + name.len() + 8);
        path.push_str(&self.path);
        self.push_name(&mut path, name);
        path.push('/');
        Self { path, ..Self::default() }
    }

    /// The branch's own path, empty for the workflow's.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn push_name(&mut self, text: &mut String, name: &str) {
        use fmt::Write;
        let nth = match self.seen.get_mut(name) {
            Some(nth) => {
                *nth += 1;
                *nth
            }
            None => {
                self.seen.insert(name.into(), 1);
                1
            }
        };
        text.push_str(&escape(name));
        if nth > 1 {
            let _ = write!(text, "#{nth}");
        }
    }
}

/// Keeps `/` and `#` for the key's own use (percent-encoding, RFC 3986, section 2.1).
fn escape(name: &str) -> Cow<'_, str> {
    if !name.contains(['/', '#', '%']) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.replace('%', "%25").replace('/', "%2F").replace('#', "%23"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_path_and_name_with_occurrences_from_the_second_on() {
        let mut root = Namer::default();
        assert_eq!(root.operation("charge").as_str(), "charge");
        assert_eq!(root.operation("charge").as_str(), "charge#2");
        let (mut first, mut second) = (root.branch("item"), root.branch("item"));
        assert_eq!(first.operation("pick").as_str(), "item/pick");
        assert_eq!(second.operation("pick").as_str(), "item#2/pick");
        assert_eq!(second.operation("pick").as_str(), "item#2/pick#2");
    }

    #[test]
    fn names_cannot_forge_another_key() {
        let mut root = Namer::default();
        let nested = root.branch("a").operation("b");
        let forged = root.operation("a/b");
        assert_ne!(nested, forged);
        assert_ne!(root.operation("x#2"), {
            root.operation("x");
            root.operation("x")
        });
    }

    #[test]
    fn the_stable_hash_never_changes() {
        assert_eq!(Key::new("charge#2").stable_hash(), 6_624_240_080_222_029_079);
    }
}
