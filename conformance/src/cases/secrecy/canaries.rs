//! Payloads that are found again wherever they are.

use super::super::durability::draw;

/// A payload of every kind, each of which is nowhere else.
#[derive(Clone, Debug)]
pub(super) struct Canaries {
    payloads: Vec<(&'static str, Vec<u8>)>,
}

/// What a payload is of.
pub(super) const INPUT: &str = "the input of a run";
pub(super) const TEXT: &str = "a step's result (text)";
pub(super) const BYTES: &str = "a step's result (bytes)";
pub(super) const LONG_TEXT: &str = "a step's result (long text that compresses)";
pub(super) const LONG_BYTES: &str = "a step's result (long bytes that do not compress)";
pub(super) const RETRIED: &str = "the message of a failed attempt";
pub(super) const FAILURE: &str = "the message of a failed step";
pub(super) const CAUSE: &str = "the cause of a failed step";
pub(super) const PANIC: &str = "the message of a panic";
pub(super) const OUTPUT: &str = "the output of a run";
pub(super) const RUN_FAILURE: &str = "the failure of a run";
pub(super) const REASON: &str = "the reason of a cancellation";

const SHORT: [&str; 10] =
    [INPUT, TEXT, BYTES, RETRIED, FAILURE, CAUSE, PANIC, OUTPUT, RUN_FAILURE, REASON];

/// Repetitions of the long one that compresses; bytes of the one that does not.
const REPEATED: usize = 400;
const LONG: u64 = 20_000;

impl Canaries {
    pub(super) fn drawn(seed: u64) -> Self {
        let mut payloads: Vec<_> = (0..)
            .zip(SHORT)
            .map(|(number, name)| {
                let text = text(draw(seed, number));
                (name, if name == BYTES { hidden(&text) } else { text.into_bytes() })
            })
            .collect();
        payloads.push((LONG_TEXT, text(draw(seed, 100)).repeat(REPEATED).into_bytes()));
        let bytes = (0..LONG / 8).flat_map(|word| draw(seed, 200 + word).to_be_bytes());
        payloads.push((LONG_BYTES, bytes.collect()));
        Self { payloads }
    }

    /// Every one, by what it is of.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.payloads.iter().map(|(name, payload)| (*name, payload.as_slice()))
    }

    /// Those that the engine does not compress, sealed or not.
    pub(super) fn uncompressed(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.all().filter(|(name, _)| *name != LONG_TEXT)
    }

    /// One of them.
    pub(super) fn bytes(&self, wanted: &str) -> Vec<u8> {
        let found = self.all().find(|(name, _)| *name == wanted);
        found.map(|(_, payload)| payload.to_vec()).unwrap_or_default()
    }

    /// One of them that is text.
    pub(super) fn text(&self, wanted: &str) -> String {
        String::from_utf8_lossy(&self.bytes(wanted)).into_owned()
    }

    /// A short one.
    pub(super) fn short(&self) -> (&'static str, &[u8]) {
        self.all().next().unwrap_or(("nothing", b"canary"))
    }
}

/// Text that JSON and URLs write otherwise, too.
fn text(drawn: u64) -> String {
    format!("canary \"{drawn:016x}\"/ä+%{:016x}", drawn.rotate_left(20).wrapping_mul(3))
}

/// The same as bytes that are no text.
fn hidden(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| byte ^ 0xA5).collect()
}
