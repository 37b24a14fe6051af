//! Golden logs: written once by an engine, sealed under a key that everybody knows, and read back
//! by every World and every later version.
//!
//! They stand in `conformance/golden`, a file each. After a change that is meant to change them,
//! `CONFORMANCE_BLESS=1 cargo test -p conformance golden` writes them anew; what is old is not to
//! be thrown away then, since later versions must read it for ever: keep it under another name.

mod opened;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use world_core::{
    Kind, LogId, Position, Record, RunId, Sealed, Timestamp,
    event::Logged,
    seal::{Keyring, Seal},
};

use crate::{
    failure::{Failure, Verdict},
    flows::public_test_key,
};

pub(crate) use opened::opened;

macro_rules! golden {
    ($($name:literal),* $(,)?) => {
        /// The samples of the golden logs, each with its file.
        const FILES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../golden/", $name, ".log")))),*];
    };
}

golden!(
    "one_step",
    "sequence",
    "same_name",
    "strange_names",
    "error_caught",
    "error_not_caught",
    "retried",
    "random",
    "sleeps_and_steps",
    "all",
    "nested_branches",
    "race",
    "cancelled_with_shield",
    "retry_beats_timer",
    "timers_in_branches",
    "undone_by_hand",
    "orders_at_once",
);

/// The log of one run, as it was stored and as it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Golden {
    pub(crate) sample: String,
    pub(crate) run: RunId,
    pub(crate) records: Vec<Record>,
    /// Its events, a line each.
    pub(crate) opened: Vec<String>,
}

/// All of them.
pub(crate) fn all() -> Verdict<Vec<Golden>> {
    FILES.iter().map(|(name, text)| Golden::parse(name, text)).collect()
}

impl Golden {
    /// The run of this sample's golden log.
    pub(crate) fn run_of(sample: &str) -> Verdict<RunId> {
        Ok(RunId::new(format!("golden-{sample}"))?)
    }

    fn parse(sample: &str, text: &str) -> Verdict<Self> {
        let wrong = |line: &str| {
            let line: String = line.chars().take(60).collect();
            Failure::failed(format!("the golden log of {sample} has a line {line:?}"))
        };
        let (mut records, mut opened) = (Vec::new(), Vec::new());
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        while let Some(head) = lines.next() {
            let mut numbers = head.split(' ').map(str::parse::<u64>);
            let (Some(Ok(position)), Some(Ok(kind)), Some(Ok(at))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return Err(wrong(head));
            };
            let kind = u16::try_from(kind).map_err(|_| wrong(head))?;
            opened.push(lines.next().ok_or_else(|| wrong(head))?.to_owned());
            let body = lines.next().and_then(bytes_of).ok_or_else(|| wrong(head))?;
            records.push(Record {
                position: Position::new(position),
                kind: Kind(kind),
                at: Timestamp::from_millis(at),
                body: Sealed::from_stored(body),
            });
        }
        if records.is_empty() {
            return Err(wrong("that is the last, and no record"));
        }
        Ok(Self { sample: sample.to_owned(), run: Self::run_of(sample)?, records, opened })
    }

    /// The file that holds it.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let mut text = "# A golden log: see conformance/src/golden. A record is three lines:\n\
                        # position, kind and time; the event as it opens; the sealed bytes.\n"
            .to_owned();
        for (record, opened) in self.records.iter().zip(&self.opened) {
            let Record { position, kind, at, body } = record;
            let (position, kind, at) = (position.get(), kind.0, at.as_millis());
            let _ = write!(text, "\n{position} {kind} {at}\n{opened}\n");
            text.push_str(&hex(body.as_bytes()));
            text.push('\n');
        }
        text
    }

    /// The log that these records of its run open to.
    pub(crate) async fn open(&self, records: &[Record]) -> Verdict<Vec<Logged>> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let seal = Seal::new("default", Keyring::new(public_test_key()?));
        let seal = seal.of(LogId::Run(self.run.clone()), &first.body).await?;
        let log: world_core::Result<_> = records.iter().map(|record| seal.open(record)).collect();
        Ok(log?)
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
