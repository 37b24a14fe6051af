//! The sequential specification: what a World keeps, as a value, and what it may answer.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use world_core::{
    Append, Appended, Claim, Lease, Limits, List, LogId, Page, Position, Record, Result, RunId,
    RunMeta, Timestamp,
    head::{self, Head, Ruling, Stored, Turn},
};

use super::op::{Answer, Op};

/// Every log of a site. A clone shares what does not change.
///
/// [`step`](State::step) is built on the rules of [`head`], the contract as code. What the
/// contract leaves open is open here: a claim may give fewer leases than runs are due, and a page
/// may hold fewer records than asked for, but none only at the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    logs: BTreeMap<LogId, Arc<Log>>,
}

/// A log: its head, and the records from the head's base on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    head: Head,
    records: Vec<Record>,
}

/// What the contract wants of an operation: the answer, and the state after it if it is another.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) answer: Answer,
    pub(crate) after: Option<State>,
}

impl Wanted {
    const fn unchanged(answer: Answer) -> Self {
        Self { answer, after: None }
    }
}

impl State {
    /// The state after an operation that was answered so; `None` when no rule allows the answer.
    ///
    /// An unknown answer stands for an operation that takes effect here.
    #[must_use]
    pub fn step(&self, op: &Op, answer: &Answer) -> Option<Self> {
        if let (Op::Claim(_) | Op::List(_), _) = (op, answer) {
            let runs = self.runs().cloned().collect();
            let parts = op.parts(answer, &runs);
            return parts
                .iter()
                .try_fold(self.clone(), |state, (op, answer)| state.step(op, answer));
        }
        let wanted = self.wanted(op);
        let is_allowed = match (op, &wanted.answer, answer) {
            (_, _, Answer::Unknown) => true,
            (Op::Read(log, _, limit), Answer::Page(wanted), Answer::Page(seen)) => {
                self.is_page(log, limit.get() as usize, wanted, seen)
            }
            (Op::Look(..), Answer::Seen(Some(wanted)), Answer::Seen(Some(seen))) => {
                is_meta(wanted, seen)
            }
            (Op::Take(..), _, Answer::Taken(None)) => return Some(self.clone()),
            (_, wanted, answer) => wanted == answer,
        };
        is_allowed.then(|| wanted.after.unwrap_or_else(|| self.clone()))
    }

    /// Whether a page shows the log, or the beginning of what was asked for.
    fn is_page(&self, log: &LogId, limit: usize, wanted: &Page, seen: &Page) -> bool {
        // What a deleted run leaves of its streams' heads is the World's affair.
        let is_same_head = wanted.head == seen.head || self.is_stream_of_deleted(log);
        is_same_head
            && seen.records.len() <= limit
            && wanted.records.starts_with(&seen.records)
            && seen.records.is_empty() == wanted.records.is_empty()
    }

    fn is_stream_of_deleted(&self, log: &LogId) -> bool {
        let LogId::Stream(run, _) = log else { return false };
        self.head(&LogId::Run(run.clone())).is_some_and(|head| head.deleted)
    }

    /// What the contract wants. A page is the longest one; of a claim and a listing, ask the parts.
    pub(crate) fn wanted(&self, op: &Op) -> Wanted {
        match op {
            Op::Append(log, append) => self.append(log, append),
            Op::Read(log, after, _) => Wanted::unchanged(Answer::Page(self.page(log, *after))),
            Op::Renew(lease, until) => self.renew(lease, *until),
            Op::Delete(log, stated) => self.delete(log, *stated),
            Op::Take(run, claim) => self.take(run, claim),
            Op::Look(run, list) => self.look(run, list),
            Op::Claim(_) => Wanted::unchanged(Answer::Leases(Vec::new())),
            Op::List(_) => Wanted::unchanged(Answer::Runs(Vec::new())),
        }
    }

    /// The head of a log, if there is one.
    pub(crate) fn head(&self, log: &LogId) -> Option<&Head> {
        self.logs.get(log).map(|log| &log.head)
    }

    /// Every run that is or was there.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &RunId> {
        self.logs.keys().filter_map(|log| match log {
            LogId::Run(run) => Some(run),
            LogId::Stream(..) | LogId::Token(_) => None,
        })
    }

    /// The runs that a claim could give.
    pub(crate) fn due<'a>(&'a self, claim: &'a Claim) -> impl Iterator<Item = &'a RunId> {
        self.runs().filter(|run| self.take(run, claim).after.is_some())
    }

    /// What is kept at a position.
    pub(crate) fn record(&self, log: &LogId, position: Position) -> Option<&Record> {
        self.logs.get(log)?.records.iter().find(|record| record.position == position)
    }

    fn append(&self, log: &LogId, append: &Append) -> Wanted {
        let ruling = append
            .check(log, &Limits::LEAST)
            .and_then(|()| head::append(log, append, &mut Lookup(self)));
        match ruling {
            Err(error) => Wanted::unchanged(Answer::Refused(error.kind())),
            Ok(Ruling::Answer(answer)) => Wanted::unchanged(Answer::Appended(answer)),
            Ok(Ruling::Write(head)) => Wanted {
                answer: Answer::Appended(Appended::Committed { head: head.head }),
                after: Some(self.with(log, head, &append.records)),
            },
        }
    }

    fn page(&self, log: &LogId, after: Position) -> Page {
        match self.logs.get(log) {
            None => Page { records: Vec::new(), head: Position::START },
            Some(log) => {
                let rest = log.records.iter().filter(|record| record.position > after);
                Page { records: rest.cloned().collect(), head: log.head.head }
            }
        }
    }

    fn take(&self, run: &RunId, claim: &Claim) -> Wanted {
        let log = LogId::Run(run.clone());
        match self.head(&log).and_then(|head| head::claim(run, head, claim)) {
            None => Wanted::unchanged(Answer::Taken(None)),
            Some((head, lease)) => Wanted {
                answer: Answer::Taken(Some(lease)),
                after: Some(self.with(&log, head, &[])),
            },
        }
    }

    fn renew(&self, lease: &Lease, until: Timestamp) -> Wanted {
        let log = LogId::Run(lease.run.clone());
        let (after, renewed) = head::renew(self.head(&log), lease, until);
        Wanted {
            answer: Answer::Renewed(renewed),
            after: after.map(|head| self.with(&log, head, &[])),
        }
    }

    fn look(&self, run: &RunId, list: &List) -> Wanted {
        let head = self.head(&LogId::Run(run.clone()));
        let meta = head.and_then(|head| Some(head.run.as_ref()?.meta(run.clone(), head.head)));
        Wanted::unchanged(Answer::Seen(meta.filter(|meta| list.matches(meta))))
    }

    fn delete(&self, log: &LogId, stated: Position) -> Wanted {
        match head::delete(log, self.head(log), stated) {
            Err(error) => Wanted::unchanged(Answer::Refused(error.kind())),
            Ok((tombstone, deleted)) => Wanted {
                answer: Answer::Deleted(deleted),
                after: tombstone.map(|head| self.buried(log, head)),
            },
        }
    }

    fn with(&self, log: &LogId, head: Head, more: &[Record]) -> Self {
        let mut after = self.clone();
        let old = self.logs.get(log).map(|log| log.records.as_slice()).unwrap_or_default();
        let records = old.iter().chain(more).cloned().collect();
        after.logs.insert(log.clone(), Arc::new(Log { head, records }));
        after
    }

    fn buried(&self, log: &LogId, tombstone: Head) -> Self {
        let mut after = self.clone();
        after.logs.retain(|other, _| {
            !matches!((log, other), (LogId::Run(run), LogId::Stream(of, _)) if of == run)
        });
        after.logs.insert(log.clone(), Arc::new(Log { head: tombstone, records: Vec::new() }));
        after
    }
}

/// Whether a listing shows a run as it is; tags have no order.
fn is_meta(wanted: &RunMeta, seen: &RunMeta) -> bool {
    let sorted = |meta: &RunMeta| {
        let mut meta = meta.clone();
        meta.tags.sort_unstable();
        meta
    };
    sorted(wanted) == sorted(seen)
}

/// The state, as the rules look into it.
struct Lookup<'a>(&'a State);

impl Stored for Lookup<'_> {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        Ok(self.0.head(log).cloned())
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        Ok(self.0.record(log, position).cloned())
    }
}

/// By what changes most; records that differ below the same head are rare.
impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        for (id, log) in &self.logs {
            let head = &log.head;
            (id, head.head, head.base, head.deleted).hash(to);
            let Some(run) = &head.run else { continue };
            (run.closed, run.attempt, run.last).hash(to);
            match run.turn {
                Turn::Leased { ticket, until } => (ticket, until).hash(to),
                Turn::Ready { since } => since.hash(to),
                Turn::Waiting(time) => time.hash(to),
                Turn::Parked => {}
            }
        }
    }
}
