//! What a log tells: its decisions and intents, without what chance or a death may change.

use std::fmt::Write as _;

use world_core::event::{Event, Failure, Logged};

use crate::corpus::{Decided, Sample};

/// How many lines of a log a failure shows.
const SHOWN: usize = 40;

/// How a request to end is shown.
const CANCELLED: &str = "cancel_requested";

/// What a log tells: its events but for notes, times, attempts and seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    lines: Vec<Line>,
}

/// One event: what may be shown of it, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    shown: String,
    carried: Vec<u8>,
}

impl Told {
    pub(crate) fn of(log: &[Logged]) -> Self {
        let mut lines: Vec<Line> = Vec::new();
        for line in log.iter().filter_map(|logged| line(&logged.event)) {
            // Asking a run to end once more says nothing.
            if line.shown != CANCELLED || !lines.contains(&line) {
                lines.push(line);
            }
        }
        Self { lines }
    }

    /// What is wrong with this log of a sample, if an undisturbed one told `wanted`.
    pub(crate) fn objection(&self, sample: &Sample, wanted: &Self) -> Option<String> {
        let (mut here, mut there) = (self.lines.clone(), wanted.lines.clone());
        if sample.draws() {
            for line in here.iter_mut().chain(&mut there) {
                line.carried.clear();
            }
        }
        match sample.decided() {
            Decided::InOrder => {}
            Decided::InAnyOrder => {
                here.sort();
                there.sort();
            }
            Decided::ByARace => return None,
        }
        (here != there).then(|| diff(&there, &here))
    }
}

fn line(event: &Event) -> Option<Line> {
    let carried = match event {
        Event::RunCreated { workflow, version, input, .. } => {
            [workflow.as_str().as_bytes(), &version.to_le_bytes(), input.as_bytes()].concat()
        }
        Event::StepCompleted { result, .. } => result.as_bytes().to_vec(),
        Event::StepFailed { failure, .. } | Event::RunFailed { failure } => {
            without_attempts(failure).into_bytes()
        }
        Event::RunCompleted { output } => output.as_bytes().to_vec(),
        Event::CancelRequested { reason } | Event::RunCancelled { reason } => {
            reason.clone().into_bytes()
        }
        // Notes ride on what is written next, or are lost with it.
        Event::StepStarted { .. }
        | Event::StepRetrying { .. }
        | Event::StepAbandoned { .. }
        | Event::StepDeadline { .. }
        | Event::RunBlocked { .. }
        | Event::RunIsolated { .. } => return None,
        _ => Vec::new(),
    };
    Some(Line { shown: shown(event), carried })
}

/// An event's kind and key.
fn shown(event: &Event) -> String {
    match event.key() {
        Some(key) => format!("{} {key}", event.kind()),
        None => event.kind().to_string(),
    }
}

/// A failure without the number of attempts in its text: a worker that dies counts as one.
pub(crate) fn without_attempts(failure: &Failure) -> String {
    let text = failure.to_string();
    match text.split_once(" failed after ") {
        Some((step, rest)) => match rest.split_once(" attempts: ") {
            Some((_, why)) => format!("{step} failed: {why}"),
            None => text,
        },
        None => text,
    }
}

/// The lines that differ, with what stands before them.
fn diff(wanted: &[Line], seen: &[Line]) -> String {
    let same = wanted.iter().zip(seen).take_while(|(wanted, seen)| wanted == seen).count();
    let mut text = format!("after the first {same} events, which agree, ");
    let _ = write!(text, "the log tells (-: undisturbed, +: here)");
    for (sign, lines) in [('-', wanted), ('+', seen)] {
        for line in lines.iter().skip(same).take(SHOWN) {
            let _ = write!(text, "\n  {sign} {}", line.shown);
        }
    }
    if let (Some(wanted), Some(seen)) = (wanted.get(same), seen.get(same))
        && wanted.shown == seen.shown
    {
        text.push_str("\n  (the first of them carry something else)");
    }
    text
}

/// A log, an event a line, without what is sealed.
pub(crate) fn outline(log: &[Logged]) -> String {
    let mut text = String::new();
    for logged in log.iter().take(SHOWN) {
        let _ = write!(text, "\n  {} {}", logged.position, shown(&logged.event));
    }
    text
}
