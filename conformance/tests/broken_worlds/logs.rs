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

use crate::{
    base::Notes,
    heads::{Heads, Place},
};

/// Bytes of bodies after which a page ends.
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;

/// All logs of a site.
#[derive(Debug)]
pub(crate) struct Logs {
    key: fn(&LogId) -> LogId,
    pub(crate) heads: Heads,
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
        let (records, owed) = (BTreeMap::new(), BTreeSet::new());
        Self { key, heads: Heads::default(), records, owed, handle: 0, notes: Notes::default() }
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
        self.heads.put(key, head);
        committed
    }

    /// What is answered if all that is staged is taken for committed. What the answer itself
    /// would write is not kept.
    pub(crate) fn with_staged<T>(&mut self, log: &LogId, ask: impl FnOnce(&mut Self) -> T) -> T {
        if self.notes.staged.is_empty() && self.notes.staged_claims.is_empty() {
            return ask(self);
        }
        let of_run = log.run().map(|run| LogId::Run(run.clone()));
        let (heads, records) = (self.heads.clone(), self.records.clone());
        for (staged, append) in self.notes.staged.clone() {
            if staged == *log || of_run.as_ref() == Some(&staged) {
                let _ = self.append(&staged, &append); // what is refused changes nothing
            }
        }
        for claim in self.notes.staged_claims.clone() {
            self.claim(&claim);
        }
        let answer = ask(self);
        (self.heads, self.records) = (heads, records);
        answer
    }

    /// The head of a log, to be changed.
    pub(crate) fn head_mut(&mut self, log: &LogId) -> Option<&mut Head> {
        self.heads.one(&(self.key)(log))
    }

    /// What is kept of a run that is not deleted, to be changed.
    pub(crate) fn run_mut(&mut self, log: &LogId) -> Option<&mut Run> {
        let run = LogId::Run(log.run()?.clone());
        self.head_mut(&run)?.run.as_mut()
    }

    /// What is kept of a run that is not deleted.
    pub(crate) fn run(&self, log: &LogId) -> Option<&Run> {
        let run = LogId::Run(log.run()?.clone());
        self.heads.get(&(self.key)(&run))?.run.as_ref()
    }

    /// The last position of a log; 0 of an absent one.
    pub(crate) fn last(&self, log: &LogId) -> Position {
        self.heads.get(&(self.key)(log)).map_or(Position::START, |head| head.head)
    }

    pub(crate) fn is_closed(&self, log: &LogId) -> bool {
        self.run(log).is_some_and(|run| run.closed)
    }

    pub(crate) fn turn(&self, log: &LogId) -> Option<Turn> {
        self.run(log).map(|run| run.turn)
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
        self.claim_by(claim, |_, _| true, Self::next)
    }

    /// Gives leases on the runs that `next` chooses among the due ones that `is_wanted`.
    pub(crate) fn claim_by(&mut self, claim: &Claim, is_wanted: Wanted, next: Next) -> Vec<Lease> {
        let mut leases: Vec<Lease> = Vec::new();
        while leases.len() < claim.limit.get() as usize {
            let is_left = |logs: &Self, run: &RunId| {
                leases.iter().all(|lease| lease.run != *run)
                    && is_wanted(logs, run)
                    && !logs.is_passed_over(run, claim)
            };
            let due = Due { claim, is_left: &is_left };
            let Some(run) = next(self, &due) else { break };
            let Some(lease) = self.lease(&run, claim) else { break };
            leases.push(lease);
        }
        leases
    }

    /// Whether a claim stands back from a run that is timed.
    fn is_passed_over(&self, run: &RunId, claim: &Claim) -> bool {
        claim.except.contains(run)
            && !matches!(self.turn(&LogId::Run(run.clone())), Some(Turn::Ready { .. }))
    }

    /// Gives one lease, if the run is due.
    pub(crate) fn lease(&mut self, run: &RunId, claim: &Claim) -> Option<Lease> {
        let log = LogId::Run(run.clone());
        let (after, lease) = head::claim(run, self.head_mut(&log)?, claim)?;
        self.heads.put((self.key)(&log), after);
        Some(lease)
    }

    /// The first of the due runs of each queue, from the oldest or the newest on.
    fn firsts(&mut self, due: &Due<'_>, is_timed: bool, from_newest: bool) -> Vec<Place> {
        let mut firsts = Vec::new();
        for queue in &due.claim.queues {
            let mut skipped = 0;
            // The ones that are not left are few: they are looked up one by one.
            loop {
                let place = {
                    let mut places = self.heads.due(queue, is_timed, due.claim.now);
                    if from_newest { places.nth_back(skipped) } else { places.nth(skipped) }
                        .cloned()
                };
                let Some(place) = place else { break };
                if (due.is_left)(self, &place.run) {
                    firsts.push(place);
                    break;
                }
                skipped += 1;
            }
        }
        firsts
    }

    pub(crate) fn oldest(&mut self, due: &Due<'_>, is_timed: bool) -> Option<Place> {
        let firsts = self.firsts(due, is_timed, false);
        firsts.into_iter().min_by_key(|place| (place.time, place.run.clone()))
    }

    pub(crate) fn newest(&mut self, due: &Due<'_>, is_timed: bool) -> Option<Place> {
        let firsts = self.firsts(due, is_timed, true);
        firsts.into_iter().max_by_key(|place| (place.time, place.run.clone()))
    }

    /// The oldest of the ready and the oldest of the timed, in turn.
    pub(crate) fn next(&mut self, due: &Due<'_>) -> Option<RunId> {
        let (ready, timed) = (self.oldest(due, false), self.oldest(due, true));
        self.in_turn(ready, timed)
    }

    pub(crate) fn in_turn(&mut self, ready: Option<Place>, timed: Option<Place>) -> Option<RunId> {
        let chosen = match (ready, timed) {
            (Some(ready), Some(timed)) => {
                if self.owed.remove(&timed.queue) {
                    timed
                } else {
                    self.owed.insert(timed.queue);
                    ready
                }
            }
            (ready, timed) => ready.or(timed)?,
        };
        Some(chosen.run)
    }

    /// Every due run, by name.
    pub(crate) fn all_due(&self, claim: &Claim) -> Vec<RunId> {
        let is_due =
            |run: &Run| run.turn.is_due(claim.now) && claim.queues.contains(&run.new.queue);
        self.runs().filter(|(_, run, _)| is_due(run)).map(|(id, ..)| id.clone()).collect()
    }

    pub(crate) fn renew(&mut self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        let (after, renewed) = head::renew(self.head(&log)?.as_ref(), lease, until);
        if let Some(after) = after {
            self.heads.put((self.key)(&log), after);
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
        self.heads.put(key, tombstone);
    }

    pub(crate) fn has_changed(&mut self, wait: &Wait) -> bool {
        let is_ready = |run: &Run| matches!(run.turn, Turn::Ready { .. });
        self.runs().any(|(_, run, _)| is_ready(run) && wait.queues.contains(&run.new.queue))
            || wait.logs.iter().any(|(log, seen)| self.last(log) != *seen)
    }
}

/// Whether a claim wants a due run.
pub(crate) type Wanted = fn(&Logs, &RunId) -> bool;

/// Chooses a run.
pub(crate) type Next = fn(&mut Logs, &Due<'_>) -> Option<RunId>;

/// The due runs that a claim may still have.
pub(crate) struct Due<'a> {
    pub(crate) claim: &'a Claim,
    is_left: &'a dyn Fn(&Logs, &RunId) -> bool,
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
