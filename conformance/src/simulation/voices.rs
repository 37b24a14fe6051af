//! What the engines say, in the trace.

use std::{
    fmt::{self, Write},
    sync::{Arc, LazyLock},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::book::Book;

/// Adds what is said on this thread at a level of INFO or above to the trace, if there is one.
#[derive(Debug)]
pub(super) struct Voices(pub(super) Option<Arc<Book>>);

/// One that is always there. `tracing` decides at the first use of a place in the code whether
/// anyone listens to it; a thread that uses it just when another begins to listen would silence it.
static LISTENING: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Voices(None)));

/// Sees to it that nothing said from now on is missed.
pub(super) fn listen() {
    LazyLock::force(&LISTENING);
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Voices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let Some(book) = &self.0 else { return };
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        book.trace.say("engine", format_args!("{}", line.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
