//! Whether a history of several writers is linearizable: whether each operation can be given one
//! instant between its call and its answer, so that all of them in that order are a history of
//! one writer that the contract allows.
//!
//! - Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects" (ACM
//!   TOPLAS 12, 1990): what is checked, and locality: a history is linearizable if it is so for
//!   each object alone. Here an object is a run with its streams, or a token. Every operation
//!   concerns one object, since a claim and a listing are taken apart into what they say of each
//!   run: no rule says that they see all runs at one instant.
//! - Wing and Gong, "Testing and verifying concurrent objects" (Journal of Parallel and
//!   Distributed Computing 17, 1993): the search for an order.
//! - Lowe, "Testing for linearizability" (Concurrency and Computation 29, 2017): remembering which
//!   operations in which state have led nowhere.
//! - Horn and Kroening, "Faster linearizability checking via P-compositionality" (FORTE 2015): the
//!   same, an object at a time; the way of the checker Porcupine.
//!
//! An operation without an answer may take effect at any time after its call, or never.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use world_core::{LogId, RunId};

use super::{
    op::{Answer, Op},
    spec::State,
};

/// An operation of a history.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who made it.
    pub writer: usize,
    /// What was asked.
    pub op: Op,
    /// What was answered.
    pub answer: Answer,
    /// When it was called, by a count of all calls and answers.
    pub called: u64,
    /// When it was answered, by the same count; `None` for never.
    pub answered: Option<u64>,
}

/// What the search came to.
#[derive(Clone, Debug)]
pub enum Found {
    /// There is an order: this one.
    Linearizable(Order),
    /// There is none.
    NotLinearizable,
    /// The search was given up: [`EVENTS_MAX`] or [`VISITED_MAX`] is exceeded.
    NotDecided,
}

/// An order of operations that the contract allows.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Their indices. Of those without an answer, the ones that took effect.
    pub events: Vec<usize>,
    /// The state after them.
    pub state: State,
}

/// The most operations on one object.
pub const EVENTS_MAX: usize = 128;
/// The most states that are looked at for one object.
pub const VISITED_MAX: usize = 200_000;

/// The history of each object, in the order of the calls; `runs` are those that an unanswered
/// claim may have taken.
#[must_use]
pub fn by_object(history: &[Event], runs: &BTreeSet<RunId>) -> BTreeMap<LogId, Vec<Event>> {
    let mut objects: BTreeMap<LogId, Vec<Event>> = BTreeMap::new();
    for event in history {
        for (op, answer) in event.op.parts(&event.answer, runs) {
            if let Some(object) = op.object() {
                objects.entry(object).or_default().push(Event { op, answer, ..event.clone() });
            }
        }
    }
    for events in objects.values_mut() {
        events.sort_by_key(|event| event.called);
    }
    objects
}

/// Looks for an order of the operations on one object.
#[must_use]
pub fn check(events: &[Event]) -> Found {
    if events.len() > EVENTS_MAX {
        return Found::NotDecided;
    }
    Search::new(events).run()
}

/// The operations that stand already, as a set of indices.
type Done = u128;

/// A beginning of an order.
struct Node {
    /// The node before, and the operation that came to it.
    from: Option<(usize, usize)>,
    done: Done,
    state: State,
}

struct Search<'a> {
    events: &'a [Event],
    /// The answered ones: all of them have to stand in the order.
    answered: Done,
    nodes: Vec<Node>,
    visited: HashSet<(Done, State)>,
}

impl<'a> Search<'a> {
    fn new(events: &'a [Event]) -> Self {
        let is_answered = |(index, event): (usize, &Event)| {
            if event.answered.is_some() { bit(index) } else { 0 }
        };
        let answered = events.iter().enumerate().map(is_answered).sum();
        let start = Node { from: None, done: 0, state: State::default() };
        Self { events, answered, nodes: vec![start], visited: HashSet::new() }
    }

    fn run(mut self) -> Found {
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            if node.done & self.answered == self.answered {
                return Found::Linearizable(Order {
                    events: self.path(at),
                    state: node.state.clone(),
                });
            }
            for (event, state) in self.followers(at) {
                let done = self.nodes.get(at).map_or(0, |node| node.done) | bit(event);
                if self.visited.insert((done, state.clone())) {
                    open.push(self.nodes.len());
                    self.nodes.push(Node { from: Some((at, event)), done, state });
                }
            }
            if self.visited.len() > VISITED_MAX {
                return Found::NotDecided;
            }
        }
        Found::NotLinearizable
    }

    fn path(&self, mut at: usize) -> Vec<usize> {
        let mut path = Vec::new();
        while let Some((before, event)) = self.nodes.get(at).and_then(|node| node.from) {
            path.push(event);
            at = before;
        }
        path.reverse();
        path
    }

    /// The operations that can be next, each with the state after it; the earliest called last.
    fn followers(&self, at: usize) -> Vec<(usize, State)> {
        let Some(node) = self.nodes.get(at) else { return Vec::new() };
        let is_left = |(index, _): &(usize, &Event)| node.done & bit(*index) == 0;
        let left = || self.events.iter().enumerate().filter(is_left);
        // Whatever was called after an answer comes after what was answered.
        let first_answer = left().filter_map(|(_, event)| event.answered).min();
        let may_be_next =
            |(_, event): &(usize, &Event)| first_answer.is_none_or(|answer| event.called < answer);
        let mut followers = Vec::new();
        for (index, event) in left().filter(may_be_next) {
            let Some(after) = node.state.step(&event.op, &event.answer) else { continue };
            if event.answered.is_some() && event.answer.changes_nothing() {
                // It is true here, and changes nothing anywhere: no order is lost by taking it now.
                return vec![(index, after)];
            }
            // One without an answer that has no effect here is better left for later, or never.
            if event.answered.is_some() || after != node.state {
                followers.push((index, after));
            }
        }
        followers.reverse();
        followers
    }
}

const fn bit(index: usize) -> Done {
    1 << index
}

#[cfg(test)]
mod tests;
