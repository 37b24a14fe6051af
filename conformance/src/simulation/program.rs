//! Workflows drawn from a seed: each crosses steps, retries, timers, races, joins, branches,
//! shields and caught errors.

mod run;

use std::time::Duration;

use world_core::Workflow;

use super::rng::Rng;

pub(super) use run::function;

/// The workflow that runs the program drawn from its input.
pub(super) const PROGRAM: Workflow<u64, String> = Workflow::new("program");

/// The most steps and timers of a program.
const OPERATIONS_MAX: u32 = 14;

/// The unit of a program's times, so that they are as long as leases are: in milliseconds.
const LEASES: [u64; 4] = [1_000, 5_000, 15_000, 60_000];

/// A step and what its body does.
#[derive(Clone, Debug)]
pub(super) struct StepPlan {
    name: &'static str,
    retry: Option<RetryPlan>,
    /// How many attempts fail before one succeeds.
    failures: u32,
    ending: Ending,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    at_most_once: bool,
    /// The longest that a body takes.
    pause: Duration,
}

/// How the attempts that fail do so.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Error,
    Fatal,
    RetryAfter(Duration),
    Panic,
    /// They hang.
    Hang,
}

#[derive(Clone, Copy, Debug)]
struct RetryPlan {
    attempts_max: u32,
    delay: Duration,
    exponential: bool,
}

/// A piece of a program.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Step(StepPlan),
    Sleep(Duration),
    Sequence(Vec<Node>),
    /// All of them, each in a branch.
    Join(Vec<Node>),
    /// All of them, or the first error.
    TryJoin(Vec<Node>),
    /// As they end, each followed by a step that takes it.
    Unordered(Vec<Node>),
    /// The first of them, the others dropped.
    Race(Vec<Node>),
    /// It, unless the time is over first.
    Within(Duration, Box<Node>),
    /// A step that is polled, left for something else, and awaited then.
    Held(StepPlan, Box<Node>),
    /// A step that is looked at between sleeps.
    Ticks(StepPlan, Duration),
    /// One of them, by the run's own chance.
    Chance(Box<Node>, Box<Node>),
    /// Out of reach of a cancellation.
    Shield(Box<Node>),
    /// Its error is a value like others, but a cancellation ends the program.
    Caught(Box<Node>),
    /// Whatever becomes of the first, the second is done under a shield.
    Undone(Box<Node>, Box<Node>),
}

/// The program of this input.
pub(super) fn draw(input: u64) -> Node {
    let mut rng = Rng::new(input, "program");
    let unit = Duration::from_millis(rng.one_of(&LEASES));
    let mut left = 2 + rng.below(u64::from(OPERATIONS_MAX)) as u32;
    let mut pieces = Vec::new();
    while left > 0 {
        pieces.push(piece(&mut rng, unit, &mut left, 3));
    }
    Node::Sequence(pieces)
}

fn piece(rng: &mut Rng, unit: Duration, left: &mut u32, depth: u32) -> Node {
    *left = left.saturating_sub(1);
    if depth == 0 || *left == 0 {
        return leaf(rng, unit);
    }
    let inner = |rng: &mut Rng, left: &mut u32| Box::new(piece(rng, unit, left, depth - 1));
    let several = |rng: &mut Rng, left: &mut u32| -> Vec<Node> {
        let many = 2 + rng.below(3);
        (0..many).map(|_| piece(rng, unit, left, depth - 1)).collect()
    };
    match rng.below(17) {
        0..4 => leaf(rng, unit),
        4 => Node::Sequence(several(rng, left)),
        5 => Node::Join(several(rng, left)),
        6 => Node::TryJoin(several(rng, left)),
        7 => Node::Unordered(several(rng, left)),
        8 | 9 => Node::Race(several(rng, left)),
        10 => Node::Within(rng.time(unit * 4), inner(rng, left)),
        11 => Node::Held(step(rng, unit), inner(rng, left)),
        12 => Node::Ticks(step(rng, unit), unit / 2 + rng.time(unit)),
        13 => Node::Chance(inner(rng, left), inner(rng, left)),
        14 => Node::Shield(inner(rng, left)),
        15 => Node::Caught(inner(rng, left)),
        _ => Node::Undone(inner(rng, left), inner(rng, left)),
    }
}

fn leaf(rng: &mut Rng, unit: Duration) -> Node {
    if rng.chance(300) { Node::Sleep(rng.time(unit * 5)) } else { Node::Step(step(rng, unit)) }
}

fn step(rng: &mut Rng, unit: Duration) -> StepPlan {
    let at_most_once = rng.chance(120);
    let retry = rng.chance(450).then(|| RetryPlan {
        attempts_max: 1 + rng.below(6) as u32,
        delay: rng.time(unit * 2),
        exponential: rng.chance(500),
    });
    let failures = if rng.chance(400) { rng.below(4) as u32 } else { 0 };
    let ending = match rng.below(10) {
        0 => Ending::Fatal,
        1 => Ending::RetryAfter(rng.time(unit * 2)),
        2 => Ending::Panic,
        3 | 4 => Ending::Hang,
        _ => Ending::Error,
    };
    let hangs = failures > 0 && matches!(ending, Ending::Hang);
    let timed = hangs || rng.chance(100);
    let timeout = timed.then(|| Duration::from_millis(1) + rng.time(unit * 2));
    let deadline = rng.chance(80).then(|| Duration::from_millis(1) + rng.time(unit * 6));
    let pause = match rng.below(20) {
        0..13 => Duration::ZERO,
        13..17 => Duration::from_millis(50),
        17 | 18 => unit / 2,
        _ => unit * 2,
    };
    let name = rng.one_of(&["charge", "ship", "a/b", "mail"]);
    StepPlan { name, retry, failures, ending, timeout, deadline, at_most_once, pause }
}
