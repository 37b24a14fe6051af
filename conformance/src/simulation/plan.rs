//! What a seed stands for: who works, what is started, what befalls them and when.

use std::time::Duration;

use super::{
    rng::{Rng, mix},
    wire::Weather,
};

/// The longest by which a clock is wrong.
const SKEW_MAX: Duration = Duration::from_secs(600);

/// Samples that are not drawn: one is as large as a hundred others, and the rest leave the order in
/// which branches are polled to `select!`, whose chance no seed reaches.
const NOT_DRAWN: [&str; 3] = ["all_of_2000", "futures_select", "tokio_select"];

/// Samples that sleep for hours or days.
const LONG: [&str; 20] = [
    "sleep",
    "sleeps_and_steps",
    "sleeps_at_once",
    "now",
    "retried_in_vain",
    "retry_after",
    "cancelled_with_shield",
    "cancelled_sleep",
    "cancellation_refused",
    "retry_beats_timer",
    "timer_beats_retry",
    "timers_in_branches",
    "race_of_branches",
    "race_then_all",
    "retries_in_a_fan",
    "poll_until_done",
    "undone_by_hand",
    "undone_in_branches",
    "orders_at_once",
    "in_time_or_never",
];

/// Samples with a body that never ends: it keeps its permit for ever.
const HANGING: [&str; 2] = ["sleep_wins", "losers_dropped"];

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How long a lease is; all else is measured by it.
    pub(super) lease: Duration,
    /// How long all runs may take to end once nothing goes wrong any more: more than the sum of
    /// what a clock may be wrong by, a lease prolonged by and a program or sample sleep.
    pub(super) patience: Duration,
    pub(super) weather: Weather,
    /// The longest by which a clock is ahead or behind.
    pub(super) skew: Duration,
    pub(super) retention: Option<Duration>,
    /// How many bodies an engine may run at once.
    pub(super) bodies_max: [usize; 4],
    pub(super) poison_after: Option<u32>,
    /// When things stop going wrong.
    pub(super) calm_at: Duration,
    /// How many workers there are at once.
    pub(super) workers: usize,
    pub(super) runs: Vec<RunPlan>,
    /// What happens to the workers, in the order of its time.
    pub(super) acts: Vec<(Duration, usize, Act)>,
    /// When a client lists the runs.
    pub(super) lists: Vec<Duration>,
    /// How long the bodies of samples take, at most.
    pub(super) pause: Duration,
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// It dies, and another takes its place after a while.
    Crash(Duration),
    /// It is shut down, and another takes its place after a while.
    Shutdown(Duration),
    /// Its clock steps forwards.
    Step(Duration),
    /// Nothing gets through to the store for a while.
    CutOff(Duration),
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The program drawn from the input.
    Program,
    /// One of the corpus, by its place in it.
    Sample(usize),
}

/// One run, and what clients do with it.
#[derive(Clone, Debug)]
pub(super) struct RunPlan {
    pub(super) what: What,
    pub(super) input: u64,
    /// Its id, or none when the engine is to choose.
    pub(super) id: Option<String>,
    pub(super) start: Duration,
    /// Whether a worker's own client starts it.
    pub(super) by_worker: bool,
    /// When it is started again, and whether with another input.
    pub(super) again: Vec<(Duration, bool)>,
    pub(super) cancels: Vec<Duration>,
    /// How long after its end it is deleted.
    pub(super) delete: Option<Duration>,
}

impl Plan {
    /// The plan of a seed; the corpus is known by name.
    pub(super) fn draw(seed: u64, corpus: &[&str]) -> Self {
        let mut rng = Rng::new(seed, "plan");
        let rng = &mut rng;
        let long = rng.chance(80);
        let seconds = if long { rng.one_of(&[60, 300]) } else { rng.one_of(&[1, 5, 15, 15, 60]) };
        let lease = Duration::from_secs(seconds);
        let calm_at = lease * (1 + rng.below(20) as u32);
        let workers = 1 + rng.below(3) as usize;
        let many = 1 + rng.below(3);
        let runs = (0..many).map(|nth| run(rng, seed, nth, corpus, long, calm_at)).collect();
        let runs: Vec<RunPlan> = runs;
        let hangs = runs
            .iter()
            .any(|run| matches!(run.what, What::Sample(nth) if HANGING.contains(&corpus[nth])));
        let mut acts: Vec<_> = (0..rng.below(8))
            .map(|_| {
                let (at, worker) = (rng.time(calm_at), rng.below(workers as u64) as usize);
                (at, worker, act(rng, lease))
            })
            .collect();
        acts.sort_by_key(|(at, ..)| *at);
        Self {
            lease,
            patience: Duration::from_secs(3600 * if long { 96 } else { 6 }),
            weather: weather(rng, lease),
            skew: match rng.below(6) {
                0..3 => Duration::ZERO,
                3 => lease * 2,
                _ => SKEW_MAX,
            },
            retention: rng.chance(200).then(|| lease + rng.time(lease * 20)),
            bodies_max: if hangs { [4096; 4] } else { [1, 2, 4096, 4096] },
            poison_after: rng.chance(50).then(|| 1 + rng.below(5) as u32),
            calm_at,
            workers,
            runs,
            acts,
            lists: (0..rng.below(3)).map(|_| rng.time(calm_at)).collect(),
            pause: rng.one_of(&[Duration::ZERO, Duration::from_millis(20), lease / 3, lease * 2]),
        }
    }
}

fn weather(rng: &mut Rng, lease: Duration) -> Weather {
    let worst = rng.one_of(&[0, 10, 40, 40, 100, 150]);
    let mut per_mille = [0; 6];
    for share in &mut per_mille {
        *share = if worst > 0 && rng.chance(600) { rng.below(worst + 1) } else { 0 };
    }
    Weather {
        per_mille,
        latency: rng.one_of(&[0, 2, 20, 200].map(Duration::from_millis)),
        patience: lease / rng.one_of(&[20, 5, 2]),
        late_max: lease * rng.one_of(&[1, 3, 20]),
    }
}

fn act(rng: &mut Rng, lease: Duration) -> Act {
    match rng.below(6) {
        0..3 => Act::Crash(rng.time(lease * 2)),
        3 => Act::Shutdown(rng.time(lease)),
        4 => Act::Step(rng.one_of(&[lease / 2, lease * 3, SKEW_MAX])),
        _ => Act::CutOff(rng.time(lease * 3)),
    }
}

fn run(
    rng: &mut Rng,
    seed: u64,
    nth: u64,
    corpus: &[&str],
    long: bool,
    calm_at: Duration,
) -> RunPlan {
    let what = if rng.chance(650) { What::Program } else { sample(rng, corpus, long) };
    let id = rng.chance(800).then(|| format!("run-{}", nth + 1));
    let again = if id.is_some() && rng.chance(300) { 1 + rng.below(2) } else { 0 };
    let cancels = if rng.chance(200) { 1 + rng.below(2) } else { 0 };
    RunPlan {
        what,
        input: mix(seed ^ mix(nth)),
        id,
        start: rng.time(calm_at),
        by_worker: rng.chance(300),
        again: (0..again).map(|_| (rng.time(calm_at * 2), rng.chance(200))).collect(),
        cancels: (0..cancels).map(|_| rng.time(calm_at)).collect(),
        delete: rng.chance(200).then(|| rng.time(calm_at)),
    }
}

fn sample(rng: &mut Rng, corpus: &[&str], long: bool) -> What {
    let drawn: Vec<usize> = (0..corpus.len())
        .filter(|nth| !NOT_DRAWN.contains(&corpus[*nth]) && (long || !LONG.contains(&corpus[*nth])))
        .collect();
    if drawn.is_empty() { What::Program } else { What::Sample(rng.one_of(&drawn)) }
}
