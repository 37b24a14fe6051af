//! Makes a recorded history that is not linearizable shorter, without making it anew: what is left
//! proves less, never more.
//!
//! - The beginning of a linearizable history is one.
//! - It stays one without an operation whose answer is that nothing changed.
//!
//! So if what is left is not linearizable, the whole is not.

use super::{
    linear::{Event, Found, check},
    op::Answer,
};

/// The shortest history found that is still not linearizable. The one that is answered last is the
/// first answer that cannot be: without it, the history is linearizable.
pub(crate) fn shortest(events: &[Event]) -> Vec<Event> {
    let mut best = events.to_vec();
    let mut answers: Vec<u64> = events.iter().filter_map(|event| event.answered).collect();
    answers.sort_unstable();
    for end in answers {
        let beginning = beginning(events, end);
        if cannot_be(&beginning) {
            best = beginning;
            break;
        }
    }
    let mut index = 0;
    while let Some(event) = best.get(index) {
        let mut fewer = best.clone();
        if event.answer.changes_nothing() {
            fewer.remove(index);
        }
        if fewer.len() < best.len() && cannot_be(&fewer) {
            best = fewer;
        } else {
            index += 1;
        }
    }
    best
}

fn forget(event: &mut Event) {
    event.answer = Answer::Unknown;
    event.answered = None;
}

/// What had happened by then.
fn beginning(events: &[Event], end: u64) -> Vec<Event> {
    let mut beginning: Vec<_> = events.iter().filter(|event| event.called < end).cloned().collect();
    for event in &mut beginning {
        if event.answered.is_some_and(|answered| answered > end) {
            forget(event);
        }
    }
    beginning.retain(|event| event.op.changes() || event.answered.is_some());
    beginning
}

fn cannot_be(events: &[Event]) -> bool {
    matches!(check(events), Found::NotLinearizable)
}
