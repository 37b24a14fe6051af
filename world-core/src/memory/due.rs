//! The runs of a queue that want a worker, in the order in which they get one (rule L2).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
};

use crate::{
    head::{Class, Turn},
    ids::{Queue, RunId, Timestamp},
    lease::Claim,
};

/// A run's place among those that want a worker: a time, and a number that is unique and rises,
/// so that runs of the same time go in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age(Timestamp, u64);

/// Where a run stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    class: Class,
    age: Age,
}

/// One queue.
#[derive(Debug, Default)]
struct Line {
    ready: BTreeMap<Age, RunId>,
    timed: BTreeMap<Age, RunId>,
    /// A ready run of any queue went before a timed one of this queue, so that one is next.
    owed: bool,
}

/// The runs that a claim passes over (rule L6), and how far it has come in each queue, so that it
/// looks at each of them once.
#[derive(Debug)]
pub(super) struct Except<'a> {
    runs: HashSet<&'a RunId>,
    passed: HashMap<&'a Queue, Age>,
}

impl<'a> Except<'a> {
    pub(super) fn of(claim: &'a Claim) -> Self {
        Self { runs: claim.except.iter().collect(), passed: HashMap::new() }
    }

    /// The oldest timed run of a queue that is not passed over, if its time has come by `now`.
    fn oldest_timed(&mut self, queue: &'a Queue, line: &Line, now: Timestamp) -> Option<Age> {
        if self.runs.is_empty() {
            return line.timed.first_key_value().map(|(age, _)| *age).filter(|age| age.0 <= now);
        }
        let from = self.passed.get(queue).map_or(Bound::Unbounded, |age| Bound::Excluded(*age));
        for (age, run) in line.timed.range((from, Bound::Unbounded)) {
            if age.0 > now {
                return None;
            }
            if !self.runs.contains(run) {
                return Some(*age);
            }
            self.passed.insert(queue, *age);
        }
        None
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Due {
    lines: HashMap<Queue, Line>,
    placed: u64,
}

impl Due {
    /// Whether a run of this queue is ready.
    pub(super) fn has_ready(&self, queue: &Queue) -> bool {
        self.lines.get(queue).is_some_and(|line| !line.ready.is_empty())
    }

    /// Puts a run where its turn belongs; `None` for a parked one, which wants nobody.
    pub(super) fn place(&mut self, queue: &Queue, run: &RunId, turn: Turn) -> Option<Place> {
        let (class, time) = turn.place()?;
        self.placed += 1;
        let age = Age(time, self.placed);
        let line = self.lines.entry(queue.clone()).or_default();
        line.class(class).insert(age, run.clone());
        Some(Place { class, age })
    }

    /// Takes a run out of its place.
    pub(super) fn remove(&mut self, queue: &Queue, place: Place) -> Option<RunId> {
        let line = self.lines.get_mut(queue)?;
        let run = line.class(place.class).remove(&place.age);
        if line.ready.is_empty() && line.timed.is_empty() {
            self.lines.remove(queue);
        }
        run
    }

    /// Takes out the run that is next in these queues: the oldest ready one, or the oldest whose
    /// time has come. When there are both, a timed one that was passed over goes first, so that
    /// neither starves the other. Timed runs that the claim excepts are passed over.
    pub(super) fn next<'a>(&mut self, claim: &'a Claim, except: &mut Except<'a>) -> Option<RunId> {
        let lines =
            || claim.queues.iter().filter_map(|queue| Some((queue, self.lines.get(queue)?)));
        let ready = lines()
            .filter_map(|(queue, line)| Some((*line.ready.first_key_value()?.0, queue)))
            .min_by_key(|(age, _)| *age);
        let timed = lines()
            .filter_map(|(queue, line)| Some((except.oldest_timed(queue, line, claim.now)?, queue)))
            .min_by_key(|(age, _)| *age);
        let takes_timed = match (ready, timed) {
            (None, None) => return None,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(_), Some((_, queue))) => {
                let line = self.lines.get_mut(queue)?;
                line.owed = !line.owed;
                !line.owed
            }
        };
        let (class, found) =
            if takes_timed { (Class::Timed, timed) } else { (Class::Ready, ready) };
        let (age, queue) = found?;
        self.remove(queue, Place { class, age })
    }
}

impl Line {
    fn class(&mut self, class: Class) -> &mut BTreeMap<Age, RunId> {
        match class {
            Class::Ready => &mut self.ready,
            Class::Timed => &mut self.timed,
        }
    }
}
