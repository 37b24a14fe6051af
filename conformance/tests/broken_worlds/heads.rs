//! The heads of all logs, and the queues that follow from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
    sync::LazyLock,
};

use world_core::{
    LogId, NAME_BYTES_MAX, Queue, RunId, Timestamp,
    head::{Head, Turn},
};

/// Where a run stands in its queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) queue: Queue,
    pub(crate) is_timed: bool,
    pub(crate) time: Timestamp,
    pub(crate) run: RunId,
}

/// The heads of all logs. What is changed is put in its queue anew when somebody asks for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heads {
    heads: BTreeMap<LogId, Head>,
    lines: BTreeSet<Place>,
    places: BTreeMap<LogId, Place>,
    changed: BTreeSet<LogId>,
    is_all_changed: bool,
}

impl Deref for Heads {
    type Target = BTreeMap<LogId, Head>;
    fn deref(&self) -> &Self::Target {
        &self.heads
    }
}

impl DerefMut for Heads {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.is_all_changed = true;
        &mut self.heads
    }
}

impl Heads {
    /// One head, to be changed.
    pub(crate) fn one(&mut self, log: &LogId) -> Option<&mut Head> {
        self.changed.insert(log.clone());
        self.heads.get_mut(log)
    }

    pub(crate) fn put(&mut self, log: LogId, head: Head) {
        self.changed.insert(log.clone());
        self.heads.insert(log, head);
    }

    /// The due runs of one kind in a queue, from the oldest to the newest.
    pub(crate) fn due(
        &mut self,
        queue: &Queue,
        is_timed: bool,
        now: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &Place> {
        self.put_in_line();
        let end = if is_timed { now } else { Timestamp::MAX };
        let at =
            |time, run: &RunId| Place { queue: queue.clone(), is_timed, time, run: run.clone() };
        self.lines.range(at(Timestamp::ZERO, &FIRST)..=at(end, &LAST))
    }

    fn put_in_line(&mut self) {
        if std::mem::take(&mut self.is_all_changed) {
            self.changed.extend(self.heads.keys().chain(self.places.keys()).cloned());
        }
        for log in std::mem::take(&mut self.changed) {
            if let Some(old) = self.places.remove(&log) {
                self.lines.remove(&old);
            }
            if let Some(place) = self.heads.get(&log).and_then(|head| place(&log, head)) {
                self.lines.insert(place.clone());
                self.places.insert(log, place);
            }
        }
    }
}

fn place(log: &LogId, head: &Head) -> Option<Place> {
    let (LogId::Run(id), Some(run)) = (log, &head.run) else { return None };
    let (is_timed, time) = match run.turn {
        Turn::Ready { since } => (false, since),
        Turn::Waiting(time) | Turn::Leased { until: time, .. } => (true, time),
        Turn::Parked => return None,
    };
    Some(Place { queue: run.new.queue.clone(), is_timed, time, run: id.clone() })
}

/// The first of all names, and the last.
static FIRST: LazyLock<RunId> = LazyLock::new(|| name("\0".to_owned()));
static LAST: LazyLock<RunId> = LazyLock::new(|| name("\u{10ffff}".repeat(NAME_BYTES_MAX / 4)));

#[allow(clippy::expect_used, reason = "both are of 1 to 512 bytes")]
fn name(text: String) -> RunId {
    RunId::new(text).expect("a name")
}
