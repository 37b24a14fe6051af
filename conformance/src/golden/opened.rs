//! An opened event as one line of text, with all it holds but the run's seed.

use world_core::event::{Event, Logged, Seen};

use super::hex;

/// The line of an event.
pub(crate) fn opened(logged: &Logged) -> String {
    let event = &logged.event;
    let mut line = event.kind().to_string();
    if let Some(key) = event.key() {
        line.push_str(&format!(" key={:?}", key.as_str()));
    }
    line + &match event {
        Event::RunCreated { workflow, version, input, parent, .. } => {
            let input = hex(input.as_bytes());
            format!(" workflow={workflow} version={version} input={input} parent={parent:?}")
        }
        Event::StepCompleted { result, attempts, seen, .. } => {
            format!(" result={} attempts={attempts} {}", hex(result.as_bytes()), saw(*seen))
        }
        Event::StepFailed { failure, attempts, seen, .. } => {
            format!(" {failure:?} attempts={attempts} {}", saw(*seen))
        }
        Event::TimerFired { seen, .. } => format!(" {}", saw(*seen)),
        Event::CancelRequested { reason } | Event::RunCancelled { reason } => {
            format!(" reason={reason:?}")
        }
        Event::TimerSet { at, .. } | Event::StepDeadline { at, .. } => {
            format!(" at={}", at.as_millis())
        }
        Event::RunCompleted { output } => format!(" output={}", hex(output.as_bytes())),
        Event::RunFailed { failure } => format!(" {failure:?}"),
        Event::StepRetrying { failure, attempt, retry_at, .. } => {
            format!(" {failure:?} attempt={attempt} retry_at={}", retry_at.as_millis())
        }
        Event::RunBlocked { why } => format!(" why={why:?}"),
        Event::RunIsolated { deaths, round, alone } => {
            format!(" deaths={deaths} round={round} alone={alone}")
        }
        _ => String::new(),
    }
}

fn saw(seen: Seen) -> String {
    format!("after={} open={:016x}", seen.after.get(), seen.open)
}
