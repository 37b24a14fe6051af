//! After any sequence of operations the indexes say what the heads say.

use std::{collections::BTreeSet, num::NonZeroU32};

use proptest::prelude::*;

use super::*;
use crate::{
    By, Due, KeyId, Kind, NewRun, Queue, Record, Release, RunId, Sealed, Ticket, WorkflowName,
    head::{Stored, Turn},
};

#[derive(Clone, Debug)]
enum Op {
    Create { name: u8, queue: u8, due: Due },
    Signal { name: u8 },
    Own { name: u8, records: bool, close: bool, rest: Option<Release> },
    Claim { queues: Vec<u8>, lasts: u64, limit: u32, except: BTreeSet<u8> },
    Renew { name: u8, lasts: u64 },
    Delete { name: u8 },
    Pass { millis: u64 },
}

const RUNS: u8 = 6;

fn due() -> impl Strategy<Value = Due> {
    prop_oneof![
        Just(Due::Now),
        (0..60u64).prop_map(|millis| Due::At(Timestamp::from_millis(millis))),
        Just(Due::Never),
    ]
}

fn release() -> impl Strategy<Value = Release> {
    (due(), any::<bool>()).prop_map(|(due, driven)| Release { due, driven })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..RUNS, 0..2u8, due())
            .prop_map(|(name, queue, due)| Op::Create { name, queue, due }),
        2 => (0..RUNS).prop_map(|name| Op::Signal { name }),
        5 => (0..RUNS, any::<bool>(), prop::bool::weighted(0.2), prop::option::of(release()))
            .prop_map(|(name, records, close, rest)| Op::Own { name, records, close, rest }),
        4 => (prop::collection::vec(0..2u8, 0..3), 0..20u64, 1..4u32, except())
            .prop_map(|(queues, lasts, limit, except)| Op::Claim { queues, lasts, limit, except }),
        1 => (0..RUNS, 0..20u64).prop_map(|(name, lasts)| Op::Renew { name, lasts }),
        1 => (0..RUNS).prop_map(|name| Op::Delete { name }),
        2 => (0..20u64).prop_map(|millis| Op::Pass { millis }),
    ]
}

fn except() -> impl Strategy<Value = BTreeSet<u8>> {
    prop_oneof![Just(BTreeSet::new()), prop::collection::btree_set(0..RUNS, 0..4)]
}

fn id(name: u8) -> RunId {
    RunId::new(format!("run {name}")).unwrap()
}

fn queue(name: u8) -> Queue {
    Queue::new(format!("queue {name}")).unwrap()
}

struct History {
    world: MemoryWorld,
    now: Timestamp,
    tickets: u128,
}

impl History {
    fn head(&self, name: u8) -> Option<head::Head> {
        self.world.state().head(&LogId::Run(id(name))).unwrap()
    }

    fn turn(&self, name: u8) -> Option<Turn> {
        self.head(name).and_then(|head| head.turn())
    }

    fn append(&self, name: u8, records: bool, by: By) -> Append {
        let expected = self.head(name).map_or(Position::START, |head| head.head);
        let body = Sealed::from_stored(format!("{expected}").into_bytes());
        let record = Record { position: expected.next(), kind: Kind(1), at: self.now, body };
        let records = records.then_some(record).into_iter().collect();
        Append { expected, records, at: self.now, by }
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { name, queue: in_queue, due } => {
                let new = NewRun {
                    queue: queue(*in_queue),
                    workflow: WorkflowName::new("workflow").unwrap(),
                    due: *due,
                    parent: None,
                    tags: Vec::new(),
                    key: KeyId::new("key").unwrap(),
                    lease: None,
                };
                let append = self.append(*name, true, By::Creator(new));
                let _ = self.world.append(&LogId::Run(id(*name)), &append).await;
            }
            Op::Signal { name } => {
                let append = self.append(*name, true, By::Outsider);
                let _ = self.world.append(&LogId::Run(id(*name)), &append).await;
            }
            Op::Own { name, records, close, rest } => {
                let Some(Turn::Leased { ticket, .. }) = self.turn(*name) else { return };
                let by = By::Owner { ticket, close: *close, rest: *rest, tags: None };
                let append = self.append(*name, *records, by);
                let _ = self.world.append(&LogId::Run(id(*name)), &append).await;
            }
            Op::Claim { queues, lasts, limit, except } => {
                self.claim(queues, *lasts, *limit, except).await;
            }
            Op::Renew { name, lasts } => {
                let Some(Turn::Leased { ticket, until }) = self.turn(*name) else { return };
                let head = Position::START;
                let lease =
                    Lease { run: id(*name), ticket, attempt: 1, until, head, closed: false };
                let until = Timestamp::from_millis(self.now.as_millis() + lasts);
                self.world.renew(&lease, until).await.unwrap();
            }
            Op::Delete { name } => {
                let head = self.head(*name).map_or(Position::START, |head| head.head);
                self.world.delete(&LogId::Run(id(*name)), head).await.unwrap();
            }
            Op::Pass { millis } => {
                self.now = Timestamp::from_millis(self.now.as_millis() + millis);
            }
        }
    }

    /// Claims, and compares with a look at every run: exactly the due ones are given that
    /// are not passed over, up to the limit.
    async fn claim(&mut self, queues: &[u8], lasts: u64, limit: u32, except: &BTreeSet<u8>) {
        let is_due = |name: &u8| {
            self.head(*name).and_then(|head| head.run).is_some_and(|run| {
                let is_ready = matches!(run.turn, Turn::Ready { .. });
                run.turn.is_due(self.now)
                    && queues.iter().any(|name| run.new.queue == queue(*name))
                    && (is_ready || !except.contains(name))
            })
        };
        let due: BTreeSet<_> = (0..RUNS).filter(is_due).map(id).collect();
        self.tickets += 1;
        let claim = Claim {
            queues: queues.iter().map(|name| queue(*name)).collect(),
            ticket: Ticket::from_bytes(self.tickets.to_be_bytes()),
            now: self.now,
            until: Timestamp::from_millis(self.now.as_millis() + lasts),
            limit: NonZeroU32::new(limit).unwrap(),
            except: except.iter().map(|name| id(*name)).collect(),
        };
        let leases = self.world.claim(&claim).await.unwrap();
        let given: BTreeSet<_> = leases.iter().map(|lease| lease.run.clone()).collect();
        assert_eq!(leases.len(), due.len().min(limit as usize));
        assert_eq!(given.len(), leases.len(), "a run was given twice");
        assert!(given.is_subset(&due), "{given:?} of {due:?}");
    }

    async fn check(&self) {
        let listed = self.world.list(&List::all(NonZeroU32::MAX)).await.unwrap().runs;
        let listed: BTreeSet<_> = listed.into_iter().map(|run| run.run).collect();
        let kept = |name: &u8| self.head(*name).is_some_and(|head| !head.deleted);
        assert_eq!(listed, (0..RUNS).filter(kept).map(id).collect());
        for in_queue in (0..2).map(queue) {
            let is_ready = |name: u8| {
                let run = self.head(name).and_then(|head| head.run);
                run.is_some_and(|run| {
                    run.new.queue == in_queue && matches!(run.turn, Turn::Ready { .. })
                })
            };
            let has_ready = self.world.state().due.has_ready(&in_queue);
            assert_eq!(has_ready, (0..RUNS).any(is_ready));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn l2_l6_a_claim_gives_exactly_what_is_due_and_not_passed_over(ops in prop::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut history =
                History { world: MemoryWorld::new(), now: Timestamp::ZERO, tickets: 0 };
            for op in &ops {
                history.apply(op).await;
                history.check().await;
            }
        });
    }
}
