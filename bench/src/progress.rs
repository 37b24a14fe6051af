//! How far a measurement is: a bar on a terminal, elsewhere a line now and then.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// The least time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Says on stderr how far a measurement is. It draws when it is told and never by itself, so
/// that nothing of it runs while something is measured.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    said: Instant,
}

impl Progress {
    pub(crate) fn new(what: String, of: u64) -> Self {
        let bar = ProgressBar::new(of);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.clone());
        Self { bar, what, said: Instant::now() }
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.bar.inc(1);
        if self.bar.is_hidden() && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let (done, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let _ = writeln!(std::io::stderr(), "{}: {done} of {of}", self.what);
        }
    }

    /// Another thing is under way.
    pub(crate) fn say(&mut self, what: String) {
        self.bar.set_message(what.clone());
        self.what = what;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
