//! Makes a recorded history that is not linearizable shorter, without making it anew: what is left
//! proves less, never more.
//!
//! - The beginning of a linearizable history is one.
//! - It stays one without an operation whose answer is that nothing changed.
//! - It stays one when an answer is forgotten: what may take effect at any time or never may also
//!   do so when it did.
//!
//! So if what is left is not linearizable, the whole is not.

use super::{
    linear::{Event, Found, Stuck, check},
    op::Answer,
};

/// The shortest history found that is still not linearizable, and where it is stuck.
pub(crate) fn shortest(events: &[Event]) -> (Vec<Event>, Option<Box<Stuck>>) {
    let mut best = events.to_vec();
    let mut answers: Vec<u64> = events.iter().filter_map(|event| event.answered).collect();
    answers.sort_unstable();
    for end in answers {
        let beginning = beginning(events, end);
        if stuck(&beginning).is_some() {
            best = beginning;
            break;
        }
    }
    let mut index = 0;
    while index < best.len() {
        let mut fewer = best.clone();
        let changes_nothing = best.get(index).is_some_and(|event| event.answer.changes_nothing());
        if changes_nothing {
            fewer.remove(index);
        } else if let Some(event) = fewer.get_mut(index) {
            forget(event);
        }
        if stuck(&fewer).is_none() {
            index += 1;
        } else {
            index += usize::from(!changes_nothing);
            best = fewer;
        }
    }
    let stuck = stuck(&best);
    (best, stuck)
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

fn stuck(events: &[Event]) -> Option<Box<Stuck>> {
    match check(events) {
        Found::Stuck(stuck) => Some(stuck),
        Found::Linearizable | Found::NotDecided => None,
    }
}
