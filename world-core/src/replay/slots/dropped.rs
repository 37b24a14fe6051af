//! The keys of operations that the program dropped before their results came.

use std::collections::{HashSet, VecDeque};

use crate::{ids::Position, replay::Key};

/// The keys whose results may still come, though nobody waits for them. Any other result without an
/// operation is one that the code never asked for.
///
/// Each key is kept as long as its result may come and no longer, so that a loop that drops an
/// operation in every round does not grow:
///
/// - What an owner writes it takes in batches, each of *all* finished operations, and it takes the
///   next one only when the last is in the log. Every decision of a batch is marked with the position
///   at which it was taken (`Seen::after`), so these marks never go back in a log, also not when
///   another worker takes over, and those of two batches differ.
/// - No body runs for an operation dropped at position `d`, so its result is in a batch taken before
///   `d`, or in the first one taken at `d` or after it: whatever had finished by then is in that one.
/// - So once a decision is marked with a later position than another decision that was itself marked
///   with `d` or later, the result has come or never will.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    keys: HashSet<Key>,
    /// The same keys, each with the position at which it was dropped, in that order.
    since: VecDeque<(Position, Key)>,
    /// The latest mark of a decision.
    marked: Position,
}

impl Dropped {
    /// The program, standing at this position, dropped an operation without a result.
    pub(super) fn insert(&mut self, key: Key, position: Position) {
        if self.keys.insert(key.clone()) {
            self.since.push_back((position, key));
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// A decision with this mark stands in the log.
    #[inline]
    pub(super) fn decided(&mut self, mark: Position) {
        if mark <= self.marked {
            return;
        }
        while let Some((position, key)) = self.since.front()
            && *position <= self.marked
        {
            self.keys.remove(key);
            self.since.pop_front();
        }
        self.marked = mark;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_until_a_second_batch_after_it_was_dropped() {
        let (mut dropped, key) = (Dropped::default(), Key::new("step"));
        let pos = Position::new;
        dropped.decided(pos(5));
        dropped.insert(key.clone(), pos(6));
        for mark in [5, 6, 6] {
            dropped.decided(pos(mark));
            assert!(dropped.contains(&key), "its result may be in the batch taken at 6");
        }
        dropped.decided(pos(9));
        assert!(!dropped.contains(&key) && dropped.len() == 0 && dropped.since.is_empty());
    }
}
