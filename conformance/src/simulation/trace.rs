//! What happened, as a digest and, if asked for, in words.

use std::{
    fmt::{self, Write},
    hash::{DefaultHasher, Hasher},
    sync::Mutex,
};

use tokio::time::Instant;

/// Everything that happened, in order: one line each, with its virtual time.
#[derive(Debug)]
pub(super) struct Trace {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hasher: DefaultHasher,
    lines: Option<Vec<String>>,
}

/// Writes into a hash, and into a line if there is one.
struct Both<'a>(&'a mut DefaultHasher, Option<&'a mut String>);

impl Write for Both<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        self.1.as_mut().map_or(Ok(()), |line| line.write_str(text))
    }
}

impl Trace {
    /// Nothing yet; keeps lines if `in_words`.
    pub(super) fn new(began: Instant, in_words: bool) -> Self {
        // The hasher has fixed keys, so the digest is the same in every process.
        let state = State { hasher: DefaultHasher::new(), lines: in_words.then(Vec::new) };
        Self { began, state: Mutex::new(state) }
    }

    /// Adds what happened to `who`.
    pub(super) fn note(&self, who: &str, what: fmt::Arguments<'_>) {
        let mut state = super::lock(&self.state);
        let State { hasher, lines } = &mut *state;
        let mut line = lines.is_some().then(String::new);
        let micros = self.began.elapsed().as_micros();
        let _ = write!(
            Both(hasher, line.as_mut()),
            "{:>10}.{:03} {who:<9} {what}",
            micros / 1000,
            micros % 1000
        );
        hasher.write_u8(b'\n');
        if let Some(lines) = lines {
            lines.extend(line);
        }
    }

    /// Adds what is only for people to read.
    pub(super) fn say(&self, who: &str, what: fmt::Arguments<'_>) {
        let millis = self.began.elapsed().as_millis();
        if let Some(lines) = &mut super::lock(&self.state).lines {
            lines.push(format!("{millis:>10}     {who:<9} {what}"));
        }
    }

    /// The digest of everything so far, and the lines.
    pub(super) fn end(&self) -> (u64, Vec<String>) {
        let mut state = super::lock(&self.state);
        (state.hasher.finish(), state.lines.take().unwrap_or_default())
    }
}
