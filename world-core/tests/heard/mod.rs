//! A subscriber that keeps what it hears.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::DefaultGuard,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Hears everything on this thread: a line for each event, with the spans around it.
///
/// `INFO run{id=a}:workflow: run started workflow=charge`
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: HashMap<u64, Span>,
    made: u64,
    entered: Vec<u64>,
    lines: Vec<String>,
}

struct Span {
    metadata: &'static Metadata<'static>,
    fields: String,
    parent: Option<u64>,
}

/// A subscriber that is always there: a place in the code that is first used by a thread without
/// one, just when another thread begins to listen, would stay silent.
static ALWAYS: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Heard::default()));

impl Heard {
    /// Hears what this thread says until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        LazyLock::force(&ALWAYS);
        let heard = Self::default();
        let guard = tracing::dispatcher::set_default(&Dispatch::new(heard.clone()));
        (heard, guard)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// The lines so far that contain this.
    pub(crate) fn with(&self, text: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Whether this thread is in a span.
    pub(crate) fn is_in_a_span(&self) -> bool {
        !self.state().entered.is_empty()
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What a World and the libraries below it say is not ours.
        !metadata.is_span() || metadata.target() != "world"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = String::new();
        span.record(&mut Fields(&mut fields));
        let mut state = self.state();
        let parent = match span.parent() {
            Some(parent) => Some(parent.into_u64()),
            None => state.entered.last().copied().filter(|_| span.is_contextual()),
        };
        state.made += 1;
        let id = state.made;
        state.spans.insert(id, Span { metadata: span.metadata(), fields, parent });
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(span) = self.state().spans.get_mut(&id.into_u64()) {
            values.record(&mut Fields(&mut span.fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = String::new();
        event.record(&mut Fields(&mut fields));
        let mut state = self.state();
        let mut scope = Vec::new();
        let mut next = state.entered.last().copied();
        while let Some(span) = next.and_then(|id| state.spans.get(&id)) {
            let name = span.metadata.name();
            scope.push(match &*span.fields {
                "" => name.to_owned(),
                fields => format!("{name}{{{fields}}}"),
            });
            next = span.parent;
        }
        scope.reverse();
        let line = format!("{} {}: {fields}", event.metadata().level(), scope.join(":"));
        state.lines.push(line);
    }

    fn enter(&self, id: &Id) {
        self.state().entered.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let left = self.state().entered.pop();
        assert_eq!(left, Some(id.into_u64()), "spans are left in the order they were entered in");
    }
}
