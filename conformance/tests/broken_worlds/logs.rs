//! What the World in pieces keeps, and what each piece does when it is right.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use world_core::{
    Append, Appended, Claim, Cursor, Deleted, Error, ErrorKind, Lease, List, LogId, Page, Position,
    Queue, Record, Renewed, Result, RunId, RunMeta, RunPage, Timestamp, Wait,
    head::{self, Head, Ruling, Run, Stored, Turn},
};

use crate::base::Notes;

/// Bytes of bodies after which a page ends.
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;

/// All logs of a site.
#[derive(Debug)]
pub(crate) struct Logs {
    key: fn(&LogId) -> LogId,
    pub(crate) heads: BTreeMap<LogId, Head>,
    pub(crate) records: BTreeMap<LogId, BTreeMap<Position, Record>>,
    /// Queues whose timed runs were passed over, and are next.
    pub(crate) owed: BTreeSet<Queue>,
    /// The handle that asks.
    pub(crate) handle: u64,
    pub(crate) notes: Notes,
}

impl Stored for Logs {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        Ok(self.heads.get(&(self.key)(log)).cloned())
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        let records = self.records.get(&(self.key)(log));
        Ok(records.and_then(|records| records.get(&position).cloned()))
    }
}

impl Logs {
    pub(crate) fn new(key: fn(&LogId) -> LogId) -> Self {
        let (heads, records, owed) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { key, heads, records, owed, handle: 0, notes: Notes::default() }
    }

    /// What the contract says of an append.
    pub(crate) fn rule(&mut self, log: &LogId, append: &Append) -> Result<Ruling> {
        head::append(log, append, self)
    }

    pub(crate) fn append(&mut self, log: &LogId, append: &Append) -> Result<Appended> {
        Ok(match self.rule(log, append)? {
            Ruling::Answer(answer) => answer,
            Ruling::Write(head) => self.write(log, head, &append.records),
        })
    }

    pub(crate) fn write(&mut self, log: &LogId, head: Head, records: &[Record]) -> Appended {
        let (key, committed) = ((self.key)(log), Appended::Committed { head: head.head });
        let records = records.iter().map(|record| (record.position, record.clone()));
        self.records.entry(key.clone()).or_default().extend(records);
        self.heads.insert(key, head);
        committed
    }

    /// The head of a log, to be changed.
    pub(crate) fn head_mut(&mut self, log: &LogId) -> Option<&mut Head> {
        self.heads.get_mut(&(self.key)(log))
    }

    /// What is kept of a run that is not deleted, to be changed.
    pub(crate) fn run_mut(&mut self, log: &LogId) -> Option<&mut Run> {
        let run = LogId::Run(log.run()?.clone());
        self.head_mut(&run)?.run.as_mut()
    }

    /// The last position of a log; 0 of an absent one.
    pub(crate) fn last(&mut self, log: &LogId) -> Position {
        self.head_mut(log).map_or(Position::START, |head| head.head)
    }

    pub(crate) fn is_closed(&mut self, log: &LogId) -> bool {
        self.run_mut(log).is_some_and(|run| run.closed)
    }

    pub(crate) fn turn(&mut self, log: &LogId) -> Option<Turn> {
        self.run_mut(log).map(|run| run.turn)
    }

    pub(crate) fn page(&mut self, log: &LogId, after: Position, limit: usize) -> Page {
        let mut bytes = 0;
        let records = self.records_of(log).into_iter().filter(|record| record.position > after);
        let fits = |record: &Record| {
            let is_first = bytes == 0;
            bytes += 32 + record.body.as_bytes().len();
            is_first || bytes <= PAGE_BYTES_MAX
        };
        let records = records.take(limit).take_while(fits).collect();
        Page { records, head: self.last(log) }
    }

    /// Every record that a log shows.
    pub(crate) fn records_of(&mut self, log: &LogId) -> Vec<Record> {
        self.records
            .get(&(self.key)(log))
            .into_iter()
            .flat_map(|all| all.values().cloned())
            .collect()
    }

    /// The runs that are not deleted.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&RunId, &Run, &Head)> {
        self.heads.iter().filter_map(|(log, head)| match log {
            LogId::Run(id) => Some((id, head.run.as_ref()?, head)),
            LogId::Stream(..) | LogId::Token(_) => None,
        })
    }

    pub(crate) fn claim(&mut self, claim: &Claim) -> Vec<Lease> {
        self.claim_by(claim, Self::next)
    }

    /// Gives leases on what `next` chooses among the due runs.
    pub(crate) fn claim_by(
        &mut self,
        claim: &Claim,
        next: fn(&mut Self, Vec<Candidate>) -> Option<RunId>,
    ) -> Vec<Lease> {
        let mut leases: Vec<Lease> = Vec::new();
        while leases.len() < claim.limit.get() as usize {
            let mut due = self.due(claim);
            due.retain(|candidate| leases.iter().all(|lease| lease.run != candidate.run));
            let Some(run) = next(self, due) else { break };
            let Some(lease) = self.lease(&run, claim) else { break };
            leases.push(lease);
        }
        leases
    }

    /// Gives one lease, if the run is due.
    pub(crate) fn lease(&mut self, run: &RunId, claim: &Claim) -> Option<Lease> {
        let log = LogId::Run(run.clone());
        let (after, lease) = head::claim(run, self.head_mut(&log)?, claim)?;
        self.heads.insert((self.key)(&log), after);
        Some(lease)
    }

    /// The due runs of these queues.
    pub(crate) fn due(&self, claim: &Claim) -> Vec<Candidate> {
        let is_due =
            |run: &Run| run.turn.is_due(claim.now) && claim.queues.contains(&run.new.queue);
        let due = self.runs().filter(|(_, run, _)| is_due(run));
        due.filter_map(|(id, run, _)| Candidate::of(id, run)).collect()
    }

    /// The oldest of the ready and the oldest of the timed, in turn.
    pub(crate) fn next(&mut self, due: Vec<Candidate>) -> Option<RunId> {
        let oldest = |is_timed| {
            let class = due.iter().filter(move |candidate| candidate.is_timed == is_timed);
            class.min_by_key(|candidate| (candidate.time, candidate.run.clone()))
        };
        let chosen = match (oldest(false), oldest(true)) {
            (Some(ready), Some(timed)) => {
                if self.owed.remove(&timed.queue) {
                    timed
                } else {
                    self.owed.insert(timed.queue.clone());
                    ready
                }
            }
            (ready, timed) => ready.or(timed)?,
        };
        Some(chosen.run.clone())
    }

    pub(crate) fn renew(&mut self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        let (after, renewed) = head::renew(self.head(&log)?.as_ref(), lease, until);
        if let Some(after) = after {
            self.heads.insert((self.key)(&log), after);
        }
        Ok(renewed)
    }

    /// All runs, in the order (created, run id).
    pub(crate) fn metas(&self) -> BTreeMap<(Timestamp, RunId), RunMeta> {
        let meta = |(id, run, head): (&RunId, &Run, &Head)| {
            ((run.created, id.clone()), run.meta(id.clone(), head.head))
        };
        self.runs().map(meta).collect()
    }

    pub(crate) fn list(&self, list: &List) -> Result<RunPage> {
        let after = list.after.as_ref().map(place_of).transpose()?.map_or(Unbounded, Excluded);
        let metas = self.metas();
        let mut left = metas.range((after, Unbounded)).filter(|(_, run)| list.matches(run));
        let runs: Vec<_> =
            left.by_ref().take(list.limit.get() as usize).map(|(_, run)| run.clone()).collect();
        let next = left.next().and_then(|_| runs.last()).map(cursor_at);
        Ok(RunPage { runs, next })
    }

    pub(crate) fn delete(&mut self, log: &LogId, stated: Position) -> Result<Deleted> {
        let (tombstone, deleted) = head::delete(log, self.head(log)?.as_ref(), stated)?;
        if let Some(tombstone) = tombstone {
            self.bury(log, tombstone);
        }
        Ok(deleted)
    }

    /// Hides a log and its streams, and removes them.
    pub(crate) fn bury(&mut self, log: &LogId, tombstone: Head) {
        let key = (self.key)(log);
        if let LogId::Run(_) = log {
            let is_its = |other: &LogId| other != &key && other.run() == key.run();
            self.heads.retain(|other, _| !is_its(other));
            self.records.retain(|other, _| !is_its(other));
        }
        self.records.remove(&key);
        self.heads.insert(key, tombstone);
    }

    pub(crate) fn has_changed(&mut self, wait: &Wait) -> bool {
        let is_ready = |run: &Run| matches!(run.turn, Turn::Ready { .. });
        self.runs().any(|(_, run, _)| is_ready(run) && wait.queues.contains(&run.new.queue))
            || wait.logs.iter().any(|(log, seen)| self.last(log) != *seen)
    }
}

/// A due run, as a claim sees it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) run: RunId,
    pub(crate) queue: Queue,
    pub(crate) time: Timestamp,
    pub(crate) is_timed: bool,
}

impl Candidate {
    pub(crate) fn of(id: &RunId, run: &Run) -> Option<Self> {
        let (time, is_timed) = match run.turn {
            Turn::Ready { since } => (since, false),
            Turn::Waiting(time) | Turn::Leased { until: time, .. } => (time, true),
            Turn::Parked => return None,
        };
        Some(Self { run: id.clone(), queue: run.new.queue.clone(), time, is_timed })
    }
}

fn cursor_at(run: &RunMeta) -> Cursor {
    let mut bytes = run.created.as_millis().to_be_bytes().to_vec();
    bytes.extend_from_slice(run.run.as_str().as_bytes());
    Cursor::from_bytes(bytes)
}

fn place_of(cursor: &Cursor) -> Result<(Timestamp, RunId)> {
    let parsed = cursor.as_bytes().split_first_chunk().and_then(|(millis, run)| {
        let run = RunId::new(std::str::from_utf8(run).ok()?).ok()?;
        Some((Timestamp::from_millis(u64::from_be_bytes(*millis)), run))
    });
    parsed.ok_or_else(|| Error::new(ErrorKind::Invalid, "a cursor that is not of this World"))
}
