//! Taking turns between the ready and the timed.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::{ids::Queue, lease::Claim};

/// The sets of queues a process remembers; beyond them it forgets all, and begins with the ready.
const REMEMBERED_MAX: usize = 4096;

/// Which class of due run goes first where there are both: the other one than last time, for each
/// set of queues that is claimed (rule L2). A World keeps one.
///
/// ```
/// # use world_core::{*, head::Turns};
/// # let claim = |limit: u32| Ok::<_, Error>(Claim {
/// #     queues: vec![Queue::new("q")?], ticket: Ticket::from_bytes([1; 16]), now: Timestamp::ZERO,
/// #     until: Timestamp::MAX, limit: limit.try_into().unwrap(), except: vec![],
/// # });
/// let turns = Turns::default();
/// assert_eq!(turns.merge(&claim(3)?, vec!["r1", "r2"], vec!["t1", "t2"]), ["r1", "t1", "r2"]);
/// assert_eq!(turns.merge(&claim(3)?, vec!["r3"], vec!["t2", "t3"]), ["t2", "r3", "t3"]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Turns {
    /// The sets of queues of which the timed go first.
    timed_first: Mutex<HashSet<Vec<Queue>>>,
}

impl Turns {
    /// The due runs that a claim is to get, at most as many as it asks for: the ready and the
    /// timed in turn, each in the order given, oldest first.
    #[must_use]
    pub fn merge<T>(&self, claim: &Claim, ready: Vec<T>, timed: Vec<T>) -> Vec<T> {
        let limit = usize::try_from(claim.limit.get()).unwrap_or(usize::MAX);
        let is_timed_first =
            !ready.is_empty() && !timed.is_empty() && self.is_timed_first(&claim.queues);
        let (mut one, mut other) = (ready.into_iter(), timed.into_iter());
        if is_timed_first {
            std::mem::swap(&mut one, &mut other);
        }
        let mut chosen = Vec::new();
        loop {
            let before = chosen.len();
            chosen.extend(one.next());
            chosen.extend(other.next());
            if chosen.len() == before || chosen.len() >= limit {
                chosen.truncate(limit);
                return chosen;
            }
        }
    }

    /// Whether the timed go first, and the other way round next time.
    fn is_timed_first(&self, queues: &[Queue]) -> bool {
        let mut first = self.timed_first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.remove(queues) {
            return true;
        }
        if first.len() >= REMEMBERED_MAX {
            first.clear();
        }
        first.insert(queues.to_vec());
        false
    }
}
