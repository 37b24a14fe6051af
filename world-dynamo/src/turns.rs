//! Whose turn it is among the due, and what this handle has seen of them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use world_core::{Queue, RunId, head};

/// The runs that are passed over since they cannot be claimed, and for how long.
const PASSED_OVER_MAX: usize = 1024;
const PASSED_OVER: Duration = Duration::from_secs(60);
/// The sets of queues that are remembered; beyond them all are forgotten, and begin anew.
const REMEMBERED_MAX: usize = 4096;

/// Whose turn it is: the shard that is asked first, for each set of queues, and in each shard the
/// ready or the timed.
#[derive(Debug)]
pub(crate) struct Turns {
    rounds: Mutex<HashMap<Vec<Queue>, Round>>,
    pub(crate) classes: Vec<head::Turns>,
    /// The runs that cannot be claimed as they are, and since when they are passed over.
    bad: Mutex<(Option<Instant>, HashSet<RunId>)>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    /// When a claim last saw that there was no more to be had.
    looked: Option<Instant>,
}

impl Turns {
    pub(crate) fn new(shards: u16) -> Self {
        let classes = (0..shards).map(|_| head::Turns::default()).collect();
        Self { rounds: Mutex::default(), classes, bad: Mutex::default() }
    }

    /// Passes a run over for a while, so that it keeps no other from being looked at.
    pub(crate) fn pass_over(&self, run: RunId) {
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        bad.0.get_or_insert_with(Instant::now);
        if bad.1.len() < PASSED_OVER_MAX {
            bad.1.insert(run);
        }
    }

    /// The runs that are passed over at the moment.
    pub(crate) fn bad(&self) -> HashSet<RunId> {
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        if bad.0.is_some_and(|since| since.elapsed() >= PASSED_OVER) {
            *bad = Default::default();
        }
        bad.1.clone()
    }

    /// This handle has made a run of this queue ready: the next look is not to wait.
    pub(crate) fn is_ready(&self, queue: &Queue) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        for (queues, round) in rounds.iter_mut().filter(|(_, round)| round.looked.is_some()) {
            if queues.contains(queue) {
                round.looked = None;
            }
        }
    }

    /// The shards, from the one whose turn it is. Each process begins elsewhere, so that not all
    /// workers want the same run.
    pub(crate) fn shards(&self, queues: &[Queue]) -> Vec<u16> {
        let shards = self.classes.len() as u64;
        let number = self.with(queues, |round| {
            round.number += 1;
            round.number
        });
        (0..shards).map(|shard| (number.wrapping_add(shard) % shards) as u16).collect()
    }

    /// When a claim of these queues last saw that there was no more to be had.
    pub(crate) fn looked(&self, queues: &[Queue]) -> Option<Instant> {
        self.with(queues, |round| round.looked)
    }

    /// Notes whether a claim of these queues has just seen that there is no more to be had.
    pub(crate) fn note(&self, queues: &[Queue], is_all: bool) {
        let looked = is_all.then(Instant::now);
        self.with(queues, |round| round.looked = looked);
    }

    fn with<T>(&self, queues: &[Queue], does: impl FnOnce(&mut Round) -> T) -> T {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        if rounds.len() >= REMEMBERED_MAX && !rounds.contains_key(queues) {
            rounds.clear();
        }
        let new = || Round { number: rand::random::<u64>() >> 1, looked: None };
        does(rounds.entry(queues.to_vec()).or_insert_with(new))
    }
}
