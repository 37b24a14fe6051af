//! Draws what writers set out to do from a seed.

use std::ops::Range;

use world_core::{
    By, Due, Kind, List, LogId, PhaseKind, Position, Queue, Release, RunId, Tag, Timestamp,
    WorkflowName,
};

use crate::kit::{at, count, id, new_run, queue, run, stream, token};

use super::{
    intent::{Change, Intent, Of, Records, Stated, What, Whose},
    random::Random,
};

/// Few of each, so that writers meet.
const RUNS: [&str; 3] = ["r0", "r1", "r2"];
const STREAMS: [&str; 2] = ["s", "t"];
const TOKENS: [&str; 2] = ["r0", "t"];
const QUEUES: [&str; 2] = ["p", "q"];

/// Times are drawn below this, by every writer as it likes.
const MILLIS: u64 = 40;

/// How much of what is seldom done there is, beside the shares.
const RARE: u64 = 4;

/// What a history is mostly made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Appends, and the same appends again.
    Appends,
    /// Claims, renewals, rests and what outsiders do meanwhile.
    Leases,
    /// Closings, deletions and late appends.
    Deletes,
    /// Listings, and what changes them.
    Lists,
    /// Everything alike.
    Everything,
}

/// How often something is done, among all that is.
#[derive(Clone, Copy)]
struct Shares {
    create: u64,
    outside: u64,
    own: u64,
    again: u64,
    claim: u64,
    renew: u64,
    read: u64,
    list: u64,
    delete: u64,
    /// Of an owner's appends, how many in a hundred close.
    closes: u64,
}

impl Family {
    const fn shares(self) -> Shares {
        let even = Shares {
            create: 10,
            outside: 12,
            own: 25,
            again: 12,
            claim: 12,
            renew: 5,
            read: 12,
            list: 6,
            delete: 5,
            closes: 8,
        };
        match self {
            Self::Appends => Shares { outside: 20, own: 40, again: 25, list: 2, closes: 5, ..even },
            Self::Leases => Shares { claim: 40, renew: 15, list: 8, delete: 1, closes: 5, ..even },
            Self::Deletes => Shares { create: 15, delete: 25, again: 20, closes: 45, ..even },
            Self::Lists => Shares { create: 15, list: 40, delete: 8, closes: 15, ..even },
            Self::Everything => even,
        }
    }
}

/// Draws this many intents; `numbers` are theirs, and `handles` is how many there are to take.
pub(crate) fn intents(
    random: &mut Random,
    family: Family,
    numbers: Range<u64>,
    handles: u64,
) -> Vec<Intent> {
    let shares = family.shares();
    let beginning = numbers.start..numbers.start.saturating_add(2);
    let intent = |number| {
        let handle = usize::try_from(random.below(handles)).unwrap_or(0);
        let creates = beginning.contains(&number) && random.is(80);
        let what = if creates { creation(random) } else { what(random, shares) };
        Intent { number, handle, what }
    };
    numbers.map(intent).collect()
}

/// Reads every log, and lists every run, from their beginning.
pub(crate) fn looks(numbers: impl Iterator<Item = u64>) -> Vec<Intent> {
    let read = |log| What::Read { log, after: Position::START, limit: count(u32::MAX) };
    let all = logs().into_iter().map(read).chain([What::List(List::all(count(2)))]);
    numbers.zip(all).map(|(number, what)| Intent { number, handle: 0, what }).collect()
}

/// Every log that an intent may name.
fn logs() -> Vec<LogId> {
    let of_run = |name| {
        let streams = STREAMS.map(|of| stream(name, of));
        std::iter::once(run(name)).chain(streams)
    };
    RUNS.into_iter().flat_map(of_run).chain(TOKENS.map(token)).collect()
}

/// Every run that an intent may name.
pub(crate) fn runs() -> impl Iterator<Item = RunId> {
    RUNS.into_iter().map(id)
}

/// Every queue that a run may be in.
pub(crate) fn queues() -> Vec<Queue> {
    QUEUES.map(queue).to_vec()
}

fn what(random: &mut Random, shares: Shares) -> What {
    let Shares { create, outside, own, again, claim, renew, read, list, delete, closes } = shares;
    let all = [create, outside, own, again, claim, renew, read, list, delete];
    let mut drawn = random.below(all.iter().sum::<u64>() + RARE);
    let chosen = all.iter().position(|share| {
        let is_it = drawn < *share;
        drawn = drawn.saturating_sub(*share);
        is_it
    });
    match chosen {
        Some(0) => creation(random),
        Some(1) => {
            let log = if random.is(70) { run(name(random, &RUNS)) } else { a_token(random) };
            What::Outside { log, stated: stated(random), records: records(random) }
        }
        Some(2) => own_append(random, closes),
        Some(3) => What::Again { pick: random.next(), byte: random.maybe(30, Random::next) },
        Some(4) => What::Claim {
            queues: some_queues(random),
            now: time(random),
            until: time(random),
            limit: count(a_few(random, 3)),
            except: except(random),
        },
        Some(5) => What::Renew { pick: random.next(), until: time(random) },
        Some(6) => What::Read {
            log: a_log(random),
            after: Position::new(if random.is(50) { 0 } else { random.below(9) }),
            limit: count(if random.is(30) { u32::MAX } else { a_few(random, 3) }),
        },
        Some(7) => What::List(listing(random)),
        Some(8) => {
            let log = if random.is(75) { run(name(random, &RUNS)) } else { a_token(random) };
            What::Delete { log, stated: stated(random) }
        }
        _ => match random.below(RARE) {
            0 | 1 => misfit(random),
            2 => What::ClaimAll { now: time(random), except: except(random) },
            _ => What::Reopen,
        },
    }
}

fn name(random: &mut Random, names: &[&'static str]) -> &'static str {
    random.one_of(names).copied().unwrap_or("r0")
}

fn a_few(random: &mut Random, most: u64) -> u32 {
    u32::try_from(random.below(most) + 1).unwrap_or(1)
}

fn time(random: &mut Random) -> Timestamp {
    at(random.below(MILLIS))
}

fn a_token(random: &mut Random) -> LogId {
    token(name(random, &TOKENS))
}

fn a_log(random: &mut Random) -> LogId {
    random.one_of(&logs()).cloned().unwrap_or_else(|| run("r0"))
}

fn due(random: &mut Random) -> Due {
    match random.below(3) {
        0 => Due::Now,
        1 => Due::At(time(random)),
        _ => Due::Never,
    }
}

fn release(random: &mut Random) -> Release {
    let due = due(random);
    if random.is(60) { Release::driven(due) } else { Release::undriven(due) }
}

/// The runs that a claim excepts: none, mostly.
fn except(random: &mut Random) -> Vec<RunId> {
    let few = if random.is(60) { 0 } else { random.below(3) + 1 };
    (0..few).map(|_| id(name(random, &RUNS))).collect()
}

fn tags(random: &mut Random, most: u64) -> Vec<Tag> {
    let first = random.below(3);
    let tag = |nth: u64| Tag::from_bytes([u8::try_from((first + nth) % 3).unwrap_or(0); 16]);
    (0..random.below(most + 1)).map(tag).collect()
}

fn some_queues(random: &mut Random) -> Vec<Queue> {
    if random.is(50) { queues() } else { vec![queue(name(random, &QUEUES))] }
}

fn workflow(random: &mut Random) -> Option<WorkflowName> {
    WorkflowName::new(name(random, &["v", "w"])).ok()
}

fn stated(random: &mut Random) -> Stated {
    match random.below(20) {
        0 | 1 => Stated::Behind(1),
        2 => Stated::Behind(random.below(4) + 1),
        3 | 4 => Stated::Ahead(random.below(2) + 1),
        _ => Stated::Known,
    }
}

fn records(random: &mut Random) -> Records {
    let count = random.below(3) + 1;
    let bytes = if random.is(5) { 4096 } else { 0 };
    let kind = Kind(u16::try_from(random.below(3)).unwrap_or(0));
    Records { count, kind, bytes, at: time(random) }
}

fn creation(random: &mut Random) -> What {
    let mut new = new_run(due(random));
    new.queue = queue(name(random, &QUEUES));
    new.tags = tags(random, 2);
    new.parent = random.maybe(30, |random| id(name(random, &RUNS)));
    if let Some(workflow) = workflow(random) {
        new.workflow = workflow;
    }
    let leased_until = random.maybe(50, time);
    What::Create { run: id(name(random, &RUNS)), new, leased_until, records: records(random) }
}

fn own_append(random: &mut Random, closes: u64) -> What {
    let ticket = match random.below(10) {
        0 => Whose::Any(random.next()),
        1 => Whose::Nobody,
        _ => Whose::Newest,
    };
    let (of, stated) = (name(random, &RUNS), stated(random));
    if random.is(25) {
        let change = Change { close: false, rest: None, tags: None };
        let (log, records) = (stream(of, name(random, &STREAMS)), records(random));
        return What::Own { of: Of::Log(log), stated, ticket, records, change };
    }
    let change = Change {
        close: random.is(closes),
        rest: random.maybe(40, release),
        tags: random.maybe(20, |random| tags(random, 2)),
    };
    // Without records an append may only rest or set tags.
    let may_be_empty = !change.close && (change.rest.is_some() || change.tags.is_some());
    let mut records = records(random);
    if may_be_empty && random.is(40) {
        records.count = 0;
    }
    let of = if random.is(60) { Of::Held } else { Of::Log(run(of)) };
    What::Own { of, stated, ticket, records, change }
}

/// An append that no World takes (rule T1).
fn misfit(random: &mut Random) -> What {
    let owner = By::Owner { ticket: crate::kit::ticket(0), close: false, rest: None, tags: None };
    let (log, by) = match random.below(5) {
        0 => (a_token(random), owner),
        1 => (a_token(random), By::Creator(new_run(Due::Now))),
        2 => (stream("r0", "s"), By::Outsider),
        3 => (stream("r0", "s"), By::Creator(new_run(Due::Now))),
        _ => {
            let by =
                By::Owner { ticket: crate::kit::ticket(0), close: true, rest: None, tags: None };
            (stream("r0", "s"), by)
        }
    };
    What::Misfit { log, by }
}

fn listing(random: &mut Random) -> List {
    let mut list = List::all(count(a_few(random, 3)));
    if random.is(40) {
        return list;
    }
    const PHASES: [PhaseKind; 5] = [
        PhaseKind::Ready,
        PhaseKind::Waiting,
        PhaseKind::Parked,
        PhaseKind::Leased,
        PhaseKind::Closed,
    ];
    list.queue = random.maybe(25, |random| queue(name(random, &QUEUES)));
    list.workflow = random.maybe(25, workflow).flatten();
    list.phase = random.maybe(30, |random| random.one_of(&PHASES).copied()).flatten();
    list.last = random.maybe(20, |random| Kind(u16::try_from(random.below(3)).unwrap_or(0)));
    list.tags = if random.is(25) { tags(random, 2) } else { Vec::new() };
    list.created = random.maybe(25, |random| {
        let from = random.below(MILLIS);
        at(from)..at(from + random.below(MILLIS))
    });
    list
}
