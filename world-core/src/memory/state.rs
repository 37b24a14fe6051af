//! What the World in memory keeps, and how a ruling changes it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    ops::Bound,
};

use crate::{
    error::{Error, ErrorKind, Result},
    head::{self, Head, Stored, Turn},
    ids::{LogId, Position, RunId, StreamName, Timestamp, Token},
    lease::{Claim, Lease},
    list::{Cursor, List, RunPage},
    record::{Page, Record},
};

use super::{
    due::{Due, Except, Place},
    waiting::Waiting,
};

/// Runs that one page of a listing looks at, so that no filter holds the lock for long.
const LISTED_MAX: usize = 4096;

/// Everything, under the World's one lock.
#[derive(Debug, Default)]
pub(super) struct State {
    runs: HashMap<RunId, RunLogs>,
    tokens: HashMap<Token, Log>,
    /// The runs that are not deleted, in the order of a listing.
    created: BTreeSet<(Timestamp, RunId)>,
    pub(super) due: Due,
    pub(super) waiting: Waiting,
}

/// A log: its head, and the records from the head's base on.
#[derive(Debug)]
struct Log {
    head: Head,
    records: Vec<Record>,
}

/// A run's log and its streams.
#[derive(Debug)]
struct RunLogs {
    log: Log,
    streams: BTreeMap<StreamName, Log>,
    place: Option<Place>,
}

impl Log {
    fn new(head: Head) -> Self {
        Self { head, records: Vec::new() }
    }

    fn write(&mut self, head: Head, records: &[Record]) {
        self.head = head;
        self.records.extend_from_slice(records);
    }

    /// The index of the first kept record after this position.
    fn index_after(&self, after: Position) -> usize {
        let index = after.get().saturating_sub(self.head.base.get());
        usize::try_from(index).unwrap_or(usize::MAX)
    }
}

impl Stored for State {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        Ok(self.log(log).map(|log| log.head.clone()))
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        Ok(self.log(log).and_then(|log| {
            let index = log.index_after(position).checked_sub(1)?;
            log.records.get(index).cloned()
        }))
    }
}

impl State {
    fn log(&self, log: &LogId) -> Option<&Log> {
        match log {
            LogId::Run(run) => self.runs.get(run).map(|run| &run.log),
            LogId::Stream(run, stream) => self.runs.get(run)?.streams.get(stream),
            LogId::Token(token) => self.tokens.get(token),
        }
    }

    /// The head of a log; the start for an absent one.
    pub(super) fn head_of(&self, log: &LogId) -> Position {
        self.log(log).map_or(Position::START, |log| log.head.head)
    }

    /// Stores what a ruling says, and moves a run to where its turn belongs.
    pub(super) fn write(&mut self, log: &LogId, head: Head, records: &[Record]) {
        match log {
            LogId::Run(run) => match self.runs.get_mut(run) {
                Some(logs) => {
                    let turn = logs.log.head.turn();
                    logs.log.write(head, records);
                    if logs.log.head.turn() != turn {
                        self.place(run);
                    }
                }
                None => {
                    let created = head.run.as_ref().map(|run| run.created);
                    let mut new = Log::new(head.clone());
                    new.write(head, records);
                    let logs = RunLogs { log: new, streams: BTreeMap::new(), place: None };
                    self.runs.insert(run.clone(), logs);
                    self.created.extend(created.map(|created| (created, run.clone())));
                    self.place(run);
                }
            },
            LogId::Stream(run, stream) => {
                if let Some(logs) = self.runs.get_mut(run) {
                    logs.streams
                        .entry(stream.clone())
                        .or_insert_with(|| Log::new(head.clone()))
                        .write(head, records);
                }
            }
            LogId::Token(token) => {
                self.tokens
                    .entry(token.clone())
                    .or_insert_with(|| Log::new(head.clone()))
                    .write(head, records);
            }
        }
        if !records.is_empty() {
            self.waiting.changed(log);
        }
    }

    /// Stores a tombstone, and removes what it hides (rules D1, D2).
    pub(super) fn bury(&mut self, log: &LogId, tombstone: Head) {
        match log {
            LogId::Run(run) => {
                let Some(logs) = self.runs.get_mut(run) else { return };
                let old = std::mem::replace(&mut logs.log, Log::new(tombstone));
                let streams = std::mem::take(&mut logs.streams);
                let place = logs.place.take();
                if let Some(old) = &old.head.run {
                    self.created.remove(&(old.created, run.clone()));
                    if let Some(place) = place {
                        self.due.remove(&old.new.queue, place);
                    }
                }
                for stream in streams.into_keys() {
                    self.waiting.changed(&LogId::Stream(run.clone(), stream));
                }
            }
            LogId::Stream(..) => {}
            LogId::Token(token) => {
                self.tokens.insert(token.clone(), Log::new(tombstone));
            }
        }
        self.waiting.changed(log);
    }

    /// Moves a run to where its turn belongs, and wakes who waits for its queue.
    fn place(&mut self, id: &RunId) {
        let Some(logs) = self.runs.get_mut(id) else { return };
        let Some(run) = &logs.log.head.run else { return };
        if let Some(place) = logs.place.take() {
            self.due.remove(&run.new.queue, place);
        }
        logs.place = self.due.place(&run.new.queue, id, run.turn);
        if let Turn::Ready { .. } = run.turn {
            self.waiting.ready(&run.new.queue);
        }
    }

    /// The records after a position, to the page's bounds.
    pub(super) fn page(&self, id: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let log = self.log(id);
        let rest = log.and_then(|log| log.records.get(log.index_after(after)..));
        let stored = rest.into_iter().flatten().cloned().map(Ok);
        head::page(id, log.map(|log| &log.head), after, limit, stored)
    }

    /// Gives leases, each run at most one, though `until` may have passed already.
    pub(super) fn claim(&mut self, claim: &Claim) -> Vec<Lease> {
        let mut leases = Vec::new();
        let mut taken = Vec::new();
        let mut except = Except::of(claim);
        while leases.len() < claim.limit.get() as usize
            && let Some(run) = self.due.next(claim, &mut except)
        {
            if let Some(logs) = self.runs.get_mut(&run) {
                logs.place = None;
                if let Some((head, lease)) = head::claim(&run, &logs.log.head, claim) {
                    logs.log.head = head;
                    leases.push(lease);
                }
                taken.push(run);
            }
        }
        for run in &taken {
            self.place(run);
        }
        leases
    }

    /// A page of runs in the order (created, run id), which no run ever changes (rule R4).
    pub(super) fn list(&self, list: &List) -> Result<RunPage> {
        let after = list.after.as_ref().map(place_of).transpose()?;
        let mut places = match after {
            Some(after) => self.created.range((Bound::Excluded(after), Bound::Unbounded)),
            None => self.created.range(..),
        };
        let mut runs = Vec::new();
        let mut last = None;
        for place in places.by_ref().take(LISTED_MAX) {
            last = Some(place);
            let run = self.runs.get(&place.1).and_then(|logs| {
                let head = &logs.log.head;
                Some(head.run.as_ref()?.meta(place.1.clone(), head.head))
            });
            runs.extend(run.filter(|run| list.matches(run)));
            if runs.len() >= list.limit.get() as usize {
                break;
            }
        }
        let next = last.filter(|_| places.next().is_some()).map(cursor_at);
        Ok(RunPage { runs, next })
    }
}

fn cursor_at((created, run): &(Timestamp, RunId)) -> Cursor {
    let mut bytes = created.as_millis().to_be_bytes().to_vec();
    bytes.extend_from_slice(run.as_str().as_bytes());
    Cursor::from_bytes(bytes)
}

fn place_of(cursor: &Cursor) -> Result<(Timestamp, RunId)> {
    let parsed = cursor.as_bytes().split_first_chunk().and_then(|(millis, run)| {
        let run = RunId::new(std::str::from_utf8(run).ok()?).ok()?;
        Some((Timestamp::from_millis(u64::from_be_bytes(*millis)), run))
    });
    parsed.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a cursor that is not of this World")
            .help("go on with the cursor of an earlier page, or list from the start")
    })
}
