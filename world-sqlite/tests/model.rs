//! Random operations against a file, each compared with a plain model on the rules of `head`.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::{collections::BTreeMap, num::NonZeroU32};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use support::*;
use world_core::{
    head::{self, Head, Ruling, Stored},
    *,
};
use world_sqlite::SqliteWorld;

/// Sequences of operations; each has a seed of its own.
const SEQUENCES: u64 = 60;
/// Operations of a sequence.
const OPERATIONS: usize = 250;

/// All logs, each its head and what is kept of its records.
#[derive(Default)]
struct Model(BTreeMap<LogId, (Head, Vec<Record>)>);

impl Stored for Model {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        Ok(self.0.get(log).map(|(head, _)| head.clone()))
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        let records = self.0.get(log).map(|(_, records)| records);
        Ok(records.and_then(|all| all.iter().find(|r| r.position == position).cloned()))
    }
}

impl Model {
    fn append(&mut self, log: &LogId, append: &Append) -> Appended {
        match head::append(log, append, self).unwrap() {
            Ruling::Answer(answer) => answer,
            Ruling::Write(head) => {
                let committed = Appended::Committed { head: head.head };
                let records = self.0.remove(log).map_or_else(Vec::new, |(_, records)| records);
                let records = records.into_iter().chain(append.records.clone()).collect();
                self.0.insert(log.clone(), (head, records));
                committed
            }
        }
    }

    fn delete(&mut self, log: &LogId, at: Position) -> Deleted {
        let old = self.head(log).unwrap();
        let (tombstone, deleted) = head::delete(log, old.as_ref(), at).unwrap();
        if let Some(tombstone) = tombstone {
            self.0.retain(
                |other, _| !matches!(other, LogId::Stream(run, _) if Some(run) == log.run()),
            );
            self.0.insert(log.clone(), (tombstone, Vec::new()));
        }
        deleted
    }

    fn due(&self, claim: &Claim) -> Vec<RunId> {
        let is_due = |(log, (head, _)): (&LogId, &(Head, _))| {
            let run = log.run()?;
            matches!(log, LogId::Run(_))
                .then(|| head::claim(run, head, claim))?
                .map(|_| run.clone())
        };
        self.0.iter().filter_map(is_due).collect()
    }

    fn page(&self, log: &LogId, after: Position) -> (Vec<Record>, Position) {
        let Some((head, records)) = self.0.get(log) else { return (Vec::new(), Position::START) };
        let rest = records.iter().filter(|record| record.position > after).cloned().collect();
        (rest, head.head)
    }
}

struct Fuzz {
    random: StdRng,
    model: Model,
    sent: Vec<(LogId, Append)>,
    leases: Vec<Lease>,
}

impl Fuzz {
    fn log(&mut self) -> LogId {
        let run = format!("r{}", self.random.random_range(0..3));
        match self.random.random_range(0..6) {
            0..4 => support::run(&run),
            4 => stream(&run, ["s", "t"].choose(&mut self.random).unwrap()),
            _ => token(["r0", "t"].choose(&mut self.random).unwrap()),
        }
    }

    fn now(&mut self) -> Timestamp {
        at(self.random.random_range(0..40))
    }

    fn ticket(&mut self, log: &LogId) -> Ticket {
        let mut current = log.run().cloned().map(LogId::Run);
        current.take_if(|_| self.random.random_bool(0.15));
        let head = current.and_then(|log| self.model.head(&log).unwrap());
        match head.and_then(|head| head.run).map(|run| run.turn) {
            Some(head::Turn::Leased { ticket, .. }) => ticket,
            _ => support::ticket(self.random.random_range(0..9)),
        }
    }

    fn due(&mut self) -> Due {
        match self.random.random_range(0..3) {
            0 => Due::Now,
            1 => Due::At(self.now()),
            _ => Due::Never,
        }
    }

    fn tags(&mut self) -> Vec<Tag> {
        let count = self.random.random_range(0..4);
        (0..count).map(|_| Tag::from_bytes([self.random.random_range(0..4); 16])).collect()
    }

    fn by(&mut self, log: &LogId) -> By {
        match log {
            LogId::Token(_) => By::Outsider,
            LogId::Stream(..) => {
                By::Owner { ticket: self.ticket(log), close: false, rest: None, tags: None }
            }
            LogId::Run(_) => match self.random.random_range(0..6) {
                0 => {
                    let (due, tags) = (self.due(), self.tags());
                    let lease =
                        (self.random.random_bool(0.5)).then(|| (support::ticket(1), self.now()));
                    let queue_name = ["p", "q"].choose(&mut self.random).unwrap();
                    let By::Creator(new) = creator(queue_name, due) else { unreachable!() };
                    By::Creator(NewRun { tags, lease, parent: log.run().cloned(), ..new })
                }
                1 => By::Outsider,
                _ => By::Owner {
                    ticket: self.ticket(log),
                    close: self.random.random_bool(0.1),
                    rest: self.random.random_bool(0.3).then(|| self.due()),
                    tags: self.random.random_bool(0.2).then(|| self.tags()),
                },
            },
        }
    }

    fn append(&mut self) -> (LogId, Append) {
        if !self.sent.is_empty() && self.random.random_bool(0.15) {
            return self.sent.choose(&mut self.random).unwrap().clone();
        }
        let log = self.log();
        let by = self.by(&log);
        let head = self.model.head(&log).unwrap().map_or(0, |head| head.head.get());
        let is_off = self.random.random_bool(0.1);
        let expected = match by {
            By::Creator(_) => 0,
            _ if is_off => self.random.random_range(0..head + 3),
            _ => head,
        };
        let count = self.random.random_range(0..3);
        let bodies = ["x", "y", "z"];
        let mut append = append(expected, &bodies[..count], by);
        for record in &mut append.records {
            record.kind = Kind(self.random.random_range(0..3));
        }
        append.at = self.now();
        (log, append)
    }

    async fn step(&mut self, world: &SqliteWorld) {
        match self.random.random_range(0..10) {
            0..6 => {
                let (log, append) = self.append();
                if append.check(&log, &world.info().limits).is_err() {
                    return;
                }
                let answer = world.append(&log, &append).await.unwrap();
                assert_eq!(answer, self.model.append(&log, &append), "{log:?} {append:?}");
                self.sent.push((log, append));
            }
            6 | 7 => self.claim(world).await,
            8 if !self.leases.is_empty() => {
                let lease = self.leases.choose(&mut self.random).unwrap().clone();
                let until = self.now();
                let log = LogId::Run(lease.run.clone());
                let old = self.model.head(&log).unwrap();
                let (after, renewed) = head::renew(old.as_ref(), &lease, until);
                if let (Some(after), Some(entry)) = (after, self.model.0.get_mut(&log)) {
                    entry.0 = after;
                }
                assert_eq!(world.renew(&lease, until).await.unwrap(), renewed);
            }
            _ if self.random.random_bool(0.3) => {
                let log = self.log();
                if matches!(log, LogId::Stream(..)) {
                    return;
                }
                let head = self.model.head(&log).unwrap().map_or(Position::START, |head| head.head);
                let at = if self.random.random_bool(0.8) { head } else { head.next() };
                let deleted = world.delete(&log, at).await.unwrap();
                assert_eq!(deleted, self.model.delete(&log, at), "{log:?}");
            }
            _ => self.look(world).await,
        }
    }

    async fn claim(&mut self, world: &SqliteWorld) {
        let queues: &[&str] = if self.random.random_bool(0.5) { &["p", "q"] } else { &["q"] };
        let mut claim = claim_of(queues, 0, self.random.random_range(0..40), 1);
        claim.ticket = Ticket::from_bytes(self.random.random());
        claim.until = self.now();
        claim.limit = NonZeroU32::new(self.random.random_range(1..4)).unwrap();
        let due = self.model.due(&claim);
        let leases = world.claim(&claim).await.unwrap();
        assert_eq!(leases.len(), due.len().min(claim.limit.get() as usize), "{due:?}");
        for lease in leases {
            let entry = self.model.0.get_mut(&LogId::Run(lease.run.clone())).unwrap();
            let (after, expected) = head::claim(&lease.run, &entry.0, &claim).unwrap();
            assert_eq!(lease, expected);
            entry.0 = after;
            self.leases.push(lease);
        }
    }

    /// Compares everything that can be seen.
    async fn look(&mut self, world: &SqliteWorld) {
        let some = self.log();
        let logs: Vec<LogId> = self.model.0.keys().cloned().chain([some]).collect();
        for log in logs {
            let after = position(self.random.random_range(0..5));
            let page = world.read(&log, after, NonZeroU32::MAX).await.unwrap();
            assert_eq!((page.records, page.head), self.model.page(&log, after), "{log:?}");
        }
        let mut list = List::all(NonZeroU32::new(2).unwrap());
        list.tags = self.tags();
        list.tags.truncate(self.random.random_range(0..2));
        let mut listed = Vec::new();
        loop {
            let page = world.list(&list).await.unwrap();
            listed.extend(page.runs);
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        listed.sort_by(|a, b| a.run.cmp(&b.run));
        let meta = |(log, (head, _)): (&LogId, &(Head, _))| {
            Some(head.run.as_ref()?.meta(log.run()?.clone(), head.head))
        };
        let expected: Vec<_> =
            self.model.0.iter().filter_map(meta).filter(|run| list.matches(run)).collect();
        assert_eq!(listed, expected);
    }
}

#[tokio::test]
async fn a_file_and_the_plain_model_agree_on_random_operations() {
    let base: u64 = std::env::var("WORLD_SEED")
        .map_or_else(|_| rand::rng().next_u64(), |seed| seed.parse().unwrap());
    for seed in (0..SEQUENCES).map(|n| base.wrapping_add(n)) {
        println!("WORLD_SEED={seed}");
        let (mut world, dir) = file();
        let random = StdRng::seed_from_u64(seed);
        let mut fuzz =
            Fuzz { random, model: Model::default(), sent: Vec::new(), leases: Vec::new() };
        for _ in 0..OPERATIONS {
            fuzz.step(&world).await;
            if fuzz.random.random_bool(0.01) {
                drop(world);
                world = open(&dir);
            }
        }
        fuzz.look(&world).await;
    }
}
