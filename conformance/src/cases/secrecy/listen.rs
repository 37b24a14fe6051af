//! Hears every trace of this process while a case listens.

use std::{
    fmt::{self, Write as _},
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use tracing::{
    Event, Metadata, Subscriber,
    dispatcher::{self, Dispatch},
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::failure::{Failure, Verdict};

/// What is heard, a line each.
#[derive(Clone, Debug, Default)]
pub(super) struct Listener(Arc<Mutex<String>>);

/// The most text that is kept: a World that says more has been heard enough.
const TEXT_BYTES_MAX: usize = 16 << 20;

impl Listener {
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, metadata: &Metadata<'_>, values: impl FnOnce(&mut Line<'_>)) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() < TEXT_BYTES_MAX {
            let _ = write!(text, "{} {} {}", metadata.level(), metadata.target(), metadata.name());
            values(&mut Line(&mut text));
            text.push('\n');
        }
    }
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }
}

/// Hands on what it hears to whoever listens now.
#[derive(Clone, Debug, Default)]
struct Ear(Arc<Mutex<Option<Listener>>>);

impl Ear {
    fn listener(&self) -> Option<Listener> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, listener: Option<Listener>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = listener;
    }
}

impl Subscriber for Ear {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        self.listener().is_some()
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        if let Some(listener) = self.listener() {
            listener.note(span.metadata(), |line| span.record(line));
        }
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        if let Some(listener) = self.listener() {
            let mut text = listener.0.lock().unwrap_or_else(PoisonError::into_inner);
            values.record(&mut Line(&mut text));
            text.push('\n');
        }
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if let Some(listener) = self.listener() {
            listener.note(event.metadata(), |line| event.record(line));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The ear of this process: also of the threads that a World makes, unless the program has a
/// subscriber of its own.
fn ear() -> &'static Ear {
    static EAR: OnceLock<Ear> = OnceLock::new();
    EAR.get_or_init(|| {
        let ear = Ear::default();
        let _ = dispatcher::set_global_default(Dispatch::new(ear.clone())); // it may have one
        ear
    })
}

/// Does something in a thread and runtime of its own, and listens to all that is traced meanwhile.
pub(super) async fn listening<T: Send + 'static>(
    listener: &Listener,
    doing: impl Future<Output = Verdict<T>> + Send + 'static,
) -> Verdict<T> {
    let ear = ear();
    ear.set(Some(listener.clone()));
    let (tell, told) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime
            .map_err(|error| Failure::failed(format!("no runtime: {error}")))
            .and_then(|runtime| {
                let hearing = Dispatch::new(ear.clone());
                dispatcher::with_default(&hearing, || runtime.block_on(doing))
            });
        let _ = tell.send(done); // the case may be over
    });
    let done = told.await;
    ear.set(None);
    done.unwrap_or_else(|_| Err(Failure::failed("what was listened to has panicked")))
}
