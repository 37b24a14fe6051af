//! What holds after any sequence of operations by any number of writers.

use proptest::prelude::*;

use super::kept::*;
use crate::{
    Append, Appended, By, Claim, Deleted, Due, Lease, Limits, LogId, Position, Release, Renewed,
    Ticket, Timestamp,
    head::{Head, Plain, Turn},
};

/// One operation; offsets are added to the true head, so that most are near it.
#[derive(Clone, Debug)]
enum Op {
    Create { name: u8, leased: bool },
    Outside { log: u8, offset: i8, records: u8 },
    Own { log: u8, current: bool, offset: i8, records: u8, close: bool, rest: Option<Rest> },
    Claim { name: u8, lasts: u16, excepts: bool },
    Renew { name: u8, current: bool, lasts: u16 },
    Delete { log: u8, offset: i8 },
    Resend { which: prop::sample::Index },
    Pass { millis: u16 },
}

/// How a run is given back: whether it was driven, and when it is due: after so many milliseconds,
/// or never.
type Rest = (bool, Option<u16>);

fn op() -> impl Strategy<Value = Op> {
    let offset = || prop_oneof![8 => Just(0i8), 2 => -2i8..3];
    let current = || prop::bool::weighted(0.8);
    let rest = prop::option::weighted(0.3, (any::<bool>(), prop::option::of(0u16..50)));
    prop_oneof![
        2 => (0..2u8, any::<bool>()).prop_map(|(name, leased)| Op::Create { name, leased }),
        4 => (0..5u8, offset(), 1..4u8)
            .prop_map(|(log, offset, records)| Op::Outside { log, offset, records }),
        8 => (0..4u8, current(), offset(), 0..4u8, prop::bool::weighted(0.1), rest).prop_map(
            |(log, current, offset, records, close, rest)| {
                Op::Own { log, current, offset, records, close, rest }
            }
        ),
        3 => (0..2u8, 0..50u16, prop::bool::weighted(0.3))
            .prop_map(|(name, lasts, excepts)| Op::Claim { name, lasts, excepts }),
        1 => (0..2u8, current(), 0..50u16)
            .prop_map(|(name, current, lasts)| Op::Renew { name, current, lasts }),
        2 => (0..5u8, offset()).prop_map(|(log, offset)| Op::Delete { log, offset }),
        3 => any::<prop::sample::Index>().prop_map(|which| Op::Resend { which }),
        2 => (0..50u16).prop_map(|millis| Op::Pass { millis }),
    ]
}

const NAMES: [&str; 2] = ["a", "b"];

/// Two runs, a stream of each, and a token.
fn log(number: u8) -> LogId {
    match number {
        0 | 1 => run(NAMES[usize::from(number)]),
        2 | 3 => stream(NAMES[usize::from(number) - 2], "s"),
        _ => token("t"),
    }
}

#[derive(Default)]
struct History {
    kept: Kept,
    now: u64,
    /// Makes bodies and tickets unique.
    made: u8,
    committed: Vec<(LogId, Append)>,
    /// Per log, what was deleted: positions up to here are gone for good.
    deleted: std::collections::BTreeMap<LogId, Position>,
}

impl History {
    fn head(&self, log: &LogId) -> Position {
        self.kept.heads.get(log).map_or(Position::START, |head| head.head)
    }

    fn ticket(&self, log: &LogId, current: bool) -> u8 {
        let owner = log.run().and_then(|run| self.kept.heads.get(&LogId::Run(run.clone())));
        match owner.and_then(Head::turn) {
            Some(Turn::Leased { ticket, .. }) if current => ticket.as_bytes()[0],
            _ => 0, // no lease ever has this one
        }
    }

    fn make(&mut self) -> u8 {
        self.made += 1;
        self.made
    }

    fn expected(&self, log: &LogId, offset: i8) -> u64 {
        self.head(log).get().saturating_add_signed(offset.into())
    }

    fn bodies(&mut self, records: u8) -> Vec<String> {
        (0..records).map(|_| format!("body {}", self.make())).collect()
    }

    fn append(&mut self, log: &LogId, mut append: Append) {
        append.at = at(self.now);
        if append.check(log, &Limits::LEAST).is_err() {
            return;
        }
        let before = self.kept.clone();
        let answer = self.kept.append(log, &append);
        self.check_plain(log, &append, &before);
        let Appended::Committed { head } = answer else {
            assert_eq!(self.kept, before, "a refused append changed something");
            return;
        };
        // A2, A3: it was at the head, and the head is now at its end.
        assert_eq!(append.expected, before.heads.get(log).map_or(pos(0), |head| head.head));
        assert_eq!(head, append.head_after());
        if let By::Owner { ticket, .. } = &append.by {
            // L3: the ticket was the current one.
            let owner = LogId::Run(log.run().unwrap().clone());
            let turn = before.heads[&owner].turn();
            assert!(matches!(turn, Some(Turn::Leased { ticket: held, .. }) if held == *ticket));
        }
        if let (By::Outsider, LogId::Run(_)) = (&append.by, log) {
            // L4: a lease stays; anything else is ready.
            match (before.heads[log].turn(), self.kept.heads[log].turn()) {
                (Some(Turn::Leased { .. }), turn) => assert_eq!(turn, before.heads[log].turn()),
                (_, turn) => assert!(matches!(turn, Some(Turn::Ready { .. })), "{turn:?}"),
            }
        }
        if let (By::Owner { rest, .. }, LogId::Run(_)) = (&append.by, log) {
            // L5: progress, a rest, or a claim that is taken back.
            let attempt = |kept: &Kept| kept.heads[log].run.as_ref().unwrap().attempt;
            let wanted = match rest {
                Some(Release { driven: true, .. }) => 0,
                Some(Release { driven: false, .. }) => attempt(&before).saturating_sub(1),
                None if append.records.is_empty() => attempt(&before),
                None => 1,
            };
            assert_eq!(attempt(&self.kept), wanted);
        }
        // A5: nobody closed or deleted took a record.
        if let Some(run) = log.run().filter(|_| !append.records.is_empty()) {
            let owner = before.heads.get(&LogId::Run(run.clone()));
            let is_gone = |owner: &Head| owner.run.as_ref().is_none_or(|run| run.closed);
            assert!(!owner.is_some_and(is_gone), "{log} took a record");
        }
        if !append.records.is_empty() {
            self.committed.push((log.clone(), append));
        }
    }

    /// A plain append whose condition holds is written as it says, and changes nothing else.
    fn check_plain(&self, log: &LogId, append: &Append, before: &Kept) {
        let (Some(plain), Some(old)) = (Plain::of(log, append), before.heads.get(log)) else {
            return;
        };
        let held =
            matches!(old.turn(), Some(Turn::Leased { ticket, .. }) if ticket == plain.ticket);
        let is_open = !old.deleted && old.run.as_ref().is_some_and(|run| !run.closed);
        if held && is_open && old.head == append.expected {
            let mut wanted = Head { head: plain.head, ..old.clone() };
            let run = wanted.run.as_mut().unwrap();
            (run.last, run.attempt) = (plain.last, plain.attempt);
            assert_eq!(self.kept.heads[log], wanted);
        }
    }

    /// A6 and D2: any earlier append again, at any later time.
    fn resend(&mut self, which: &prop::sample::Index) {
        if self.committed.is_empty() {
            return;
        }
        let (log, append) = which.get(&self.committed).clone();
        let before = self.kept.clone();
        let answer = self.kept.append(&log, &append);
        assert_eq!(self.kept, before, "a resend changed something");
        let owner = log.run().map_or_else(|| log.clone(), |run| LogId::Run(run.clone()));
        let head = self.head(&log);
        let wanted = match (self.deleted.get(&owner), &log) {
            (Some(_), LogId::Run(_) | LogId::Stream(..)) => Appended::NotOpen,
            (Some(gone), LogId::Token(_)) if append.expected < *gone => Appended::Conflict { head },
            _ => Appended::Committed { head },
        };
        assert_eq!(answer, wanted, "{log}");
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { name, leased } => {
                let lease = leased.then(|| self.make());
                let bodies = self.bodies(1);
                self.append(&log(*name), append(0, &[&bodies[0]], new(lease)));
            }
            Op::Outside { log: number, offset, records } => {
                let log = log(*number);
                let (expected, bodies) = (self.expected(&log, *offset), self.bodies(*records));
                let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
                self.append(&log, append(expected, &bodies, By::Outsider));
            }
            Op::Own { log: number, current, offset, records, close, rest } => {
                let log = log(*number);
                let (expected, bodies) = (self.expected(&log, *offset), self.bodies(*records));
                let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
                let due = |after: Option<u16>| match after {
                    Some(0) => Due::Now,
                    Some(millis) => Due::At(Timestamp::from_millis(self.now + u64::from(millis))),
                    None => Due::Never,
                };
                let rest = rest.map(|(driven, after)| Release { due: due(after), driven });
                let ticket = Ticket::from_bytes([self.ticket(&log, *current); 16]);
                let is_run = matches!(log, LogId::Run(_));
                let by = By::Owner {
                    ticket,
                    close: *close && is_run,
                    rest: rest.filter(|_| is_run),
                    tags: None,
                };
                self.append(&log, append(expected, &bodies, by));
            }
            Op::Claim { name, lasts, excepts } => {
                let (ticket, name) = (self.make(), NAMES[usize::from(*name)]);
                let before = self.kept.heads.get(&run(name)).cloned();
                let until = self.now + u64::from(*lasts);
                let except = excepts.then(|| id(name)).into_iter().collect();
                let ask = Claim { except, ..ask(ticket, self.now, until) };
                if let Some(lease) = self.kept.claim_as(name, &ask) {
                    // L1, L5: it was due, and the attempt is one more.
                    let before = before.unwrap();
                    assert!(before.turn().unwrap().is_due(at(self.now)));
                    // L6: nothing that was stood back from, unless it is ready.
                    assert!(!excepts || matches!(before.turn(), Some(Turn::Ready { .. })));
                    assert_eq!(lease.attempt, before.run.as_ref().unwrap().attempt + 1);
                    assert_eq!(lease.head, before.head);
                }
            }
            Op::Renew { name, current, lasts } => {
                let name = NAMES[usize::from(*name)];
                let ticket = self.ticket(&run(name), *current);
                let lease = Lease {
                    run: id(name),
                    ticket: Ticket::from_bytes([ticket; 16]),
                    attempt: 0,
                    until: at(0),
                    head: pos(0),
                    closed: false,
                };
                let before = self.kept.clone();
                let renewed = self.kept.renew(&lease, self.now + u64::from(*lasts));
                assert_eq!(renewed == Renewed::Lost, ticket == 0);
                assert!(renewed != Renewed::Lost || self.kept == before);
            }
            Op::Delete { log: number, offset } => {
                let log = log(*number);
                let stated = self.expected(&log, *offset);
                if matches!(log, LogId::Stream(..)) {
                    return;
                }
                let before = self.kept.clone();
                if self.kept.delete(&log, stated) == Deleted::Done {
                    self.deleted.insert(log.clone(), self.head(&log));
                    assert!(before.heads[&log].run.as_ref().is_none_or(|run| run.closed));
                } else {
                    assert_eq!(self.kept, before);
                }
            }
            Op::Resend { which } => self.resend(which),
            Op::Pass { millis } => self.now += u64::from(*millis),
        }
    }

    /// What holds between any state and the one before it, and in any state.
    fn check(&self, before: &Kept) {
        for (log, old) in &before.heads {
            let new = &self.kept.heads[log];
            assert!(new.head >= old.head, "{log} lost its end");
            assert!(new.base >= old.base, "{log} got deleted records back");
            match (&old.run, &new.run) {
                (Some(old), Some(new)) => {
                    assert!(!old.closed || new.closed, "{log} was opened again");
                    assert_eq!((&old.new, old.created), (&new.new, new.created));
                }
                (None, Some(_)) => panic!("{log} became a run"),
                (Some(_), None) => assert!(new.deleted, "{log} is no run any more"),
                (None, None) => {
                    let is_token = matches!(log, LogId::Token(_));
                    assert!(!old.deleted || new.deleted || is_token, "{log} came back");
                }
            }
        }
        for (log, head) in &self.kept.heads {
            assert!(head.base <= head.head);
            assert_eq!(head.run.is_some(), matches!(log, LogId::Run(_)) && !head.deleted);
            for number in head.base.get() + 1..=head.head.get() {
                assert!(self.kept.records.contains_key(&(log.clone(), pos(number))), "a hole");
            }
        }
        for (place, record) in &before.records {
            // R2, but for a token's deleted places: those positions are above the base again never.
            assert_eq!(self.kept.records.get(place), Some(record), "a record changed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_keeps_the_rules(ops in prop::collection::vec(op(), 1..60)) {
        let mut history = History::default();
        for op in &ops {
            let before = history.kept.clone();
            history.apply(op);
            history.check(&before);
        }
    }
}
