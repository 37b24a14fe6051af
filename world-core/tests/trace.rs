//! What the tracing layer says, and what it never says.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

mod support;

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use support::*;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    instrument::WithSubscriber,
    span,
};
use world_core::{
    Due, MemoryWorld, Position, World,
    layer::{Fault, FaultLayer, TraceLayer},
};

/// Writes down every span and event, a line each.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Written {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "world"
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut text = self.0.lock().unwrap();
        text.push_str(span.metadata().name());
        span.record(&mut Line(&mut text));
        text.push('\n');
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = self.0.lock().unwrap();
        write!(text, "{}", event.metadata().level()).unwrap();
        event.record(&mut Line(&mut text));
        text.push('\n');
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn trace_says_log_and_outcome_and_never_a_body() {
    let written = Written::default();
    let faulty = FaultLayer::new(MemoryWorld::new(), |seen| match seen.number {
        4 => Fault::AnswerLost,
        _ => Fault::None,
    });
    let world = TraceLayer::new(faulty);
    async {
        world.append(&run("a"), &create(Due::Now, 0)).await.unwrap();
        world.append(&run("a"), &append(0, &["canary"], 0, owner(7))).await.unwrap();
        world.claim(&claim(&["queue"], 7, 0, 10, 1)).await.unwrap();
        world.append(&run("a"), &append(1, &["canary"], 0, owner(7))).await.unwrap_err();
        world.read(&run("a"), Position::START, count(9)).await.unwrap();
    }
    .with_subscriber(written.clone())
    .await;
    let text = written.0.lock().unwrap().clone();
    for line in [
        "append world=\"memory\" log=run a by=\"creator\" expected=0 records=1 bytes=7",
        "DEBUG outcome=Committed { head: Position(1) } message=answered",
        "DEBUG outcome=Fenced message=answered",
        "DEBUG run=a attempt=1 head=1 closed=false message=leased",
        "read world=\"memory\" log=run a after=0 limit=9",
        "DEBUG records=2 head=2 message=answered",
    ] {
        assert!(text.lines().any(|found| same(found, line)), "no {line:?} in\n{text}");
    }
    assert!(text.contains("WARN") && text.contains("outcome unknown"), "{text}");
    for secret in ["canary", "99, 97, 110", &format!("{:?}", [7; 16])[1..40]] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

/// Whether a line has the same parts, in whatever order.
fn same(found: &str, wanted: &str) -> bool {
    wanted.split(' ').all(|part| found.split(' ').any(|other| other == part))
}
