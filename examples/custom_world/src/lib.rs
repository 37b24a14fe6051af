//! A World over [redb](https://docs.rs/redb), an embedded key-value store with transactions.
//!
//! This file is all of it. `docs/write-a-world.md` builds it step by step.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableTable, Table, TableDefinition, WriteTransaction};
use tokio::sync::watch;
use world_core::head::{self, Head, Place, Stored, Transaction, Turns};
use world_core::*;

/// A log: of which kind it is, the name of its run or token, and of a stream its own.
type LogKey = (u8, &'static str, &'static str);
/// A run that wants a worker: its queue, its place there, and its name.
type DueKey = (&'static str, u8, u64, &'static str);

const HEADS: TableDefinition<LogKey, &[u8]> = TableDefinition::new("heads");
const RECORDS: TableDefinition<(LogKey, u64), &[u8]> = TableDefinition::new("records");
const DUE: TableDefinition<DueKey, ()> = TableDefinition::new("due");

/// What redb says, as an error of ours. Before a commit nothing has happened.
fn fault(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        error @ redb::Error::Corrupted(_) => ErrorKind::Corrupt.because(error),
        error => ErrorKind::Unavailable.because(error),
    }
}

/// The tables, in a transaction.
struct Tables<'tx> {
    heads: Table<'tx, LogKey, &'static [u8]>,
    records: Table<'tx, (LogKey, u64), &'static [u8]>,
    due: Table<'tx, DueKey, ()>,
    is_changed: bool,
}

impl<'tx> Tables<'tx> {
    fn open(tx: &'tx WriteTransaction) -> Result<Self, redb::TableError> {
        let (heads, records) = (tx.open_table(HEADS)?, tx.open_table(RECORDS)?);
        Ok(Self { heads, records, due: tx.open_table(DUE)?, is_changed: false })
    }
}

impl Stored for Tables<'_> {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        let bytes = self.heads.get(log.key()).map_err(fault)?;
        bytes.map(|bytes| Head::from_bytes(log, bytes.value())).transpose()
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        let bytes = self.records.get((log.key(), position.get())).map_err(fault)?;
        bytes.map(|bytes| Record::from_bytes(log, position, bytes.value())).transpose()
    }
}

impl Transaction for Tables<'_> {
    fn store(&mut self, log: &LogId, head: &Head, records: &[Record]) -> Result<()> {
        self.is_changed = true;
        if let Some(due) = self.head(log)?.as_ref().and_then(|old| old.due_key(log)) {
            self.due.remove(due).map_err(fault)?;
        }
        if let Some(due) = head.due_key(log) {
            self.due.insert(due, ()).map_err(fault)?;
        }
        self.heads.insert(log.key(), &*head.to_bytes()?).map_err(fault)?;
        for record in records {
            let place = (log.key(), record.position.get());
            self.records.insert(place, &*record.to_bytes()?).map_err(fault)?;
        }
        Ok(())
    }

    fn oldest(&mut self, queue: &Queue, to: Place, most: usize) -> Result<Vec<(Timestamp, RunId)>> {
        let (queue, class, time) = (queue.as_str(), to.0 as u8, to.1.as_millis());
        let rest = (queue, class, 0, "")..(queue, class, time + 1, "");
        let runs = self.due.range(rest).map_err(fault)?.take(most).map(|found| {
            let due = found.map_err(fault)?.0;
            let (_, _, time, run) = due.value();
            Ok((Timestamp::from_millis(time), RunId::new(run)?))
        });
        runs.collect()
    }

    fn remove(&mut self, log: &LogId) -> Result<()> {
        let (kind, name, _) = log.key();
        let next = format!("{name}\0"); // the name after this one
        let streams = (kind + 1, name, "")..(kind + 1, next.as_str(), "");
        self.heads.retain_in(streams, |_, _| false).map_err(fault)?;
        for kind in [kind, kind + 1] {
            let all = ((kind, name, ""), 0)..((kind, next.as_str(), ""), 0);
            self.records.retain_in(all, |_, _| false).map_err(fault)?;
        }
        Ok(())
    }
}

/// A World in a file. Those on the same path share one database.
#[derive(Clone, Debug)]
pub struct RedbWorld(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    db: Database,
    turns: Turns,
    changed: watch::Sender<()>,
}

/// What is open in this process, as redb opens a file only once.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());

impl RedbWorld {
    /// Opens a file, and makes it if it is not there. Blocks while it does, and up to a second
    /// while another has it open.
    ///
    /// # Errors
    /// `Unavailable` when another process has it open, or it cannot be used.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = std::path::absolute(path).map_err(redb::Error::Io).map_err(fault)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(Self(shared));
        }
        let mut tries = 0..100;
        let db = loop {
            match Database::create(&path) {
                // Who has just dropped it, or died with it, has the lock for a moment more.
                Err(DatabaseError::DatabaseAlreadyOpen) if tries.next().is_some() => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                done => break done.map_err(fault)?,
            }
        };
        let changed = watch::Sender::new(());
        let shared = Arc::new(Shared { db, turns: Turns::default(), changed });
        open.retain(|_, other| other.strong_count() > 0);
        open.insert(path, Arc::downgrade(&shared));
        Ok(Self(shared))
    }

    /// Does something in one transaction, off the runtime's threads; what it has changed is on the
    /// disk before the answer is given.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>, &Turns) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.0.clone();
        let work = move || {
            let tx = shared.db.begin_write().map_err(fault)?; // with `Durability::Immediate`
            let mut tables = Tables::open(&tx).map_err(fault)?;
            let answer = work(&mut tables, &shared.turns)?;
            if tables.is_changed {
                drop(tables);
                tx.commit().map_err(|error| ErrorKind::Unknown.because(error))?;
                shared.changed.send_replace(());
            }
            Ok(answer)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| ErrorKind::Unknown.because(error))?
    }
}

#[async_trait]
impl World for RedbWorld {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "redb", limits: Limits::LEAST, durable: true }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &Limits::LEAST)?;
        let (log, append) = (log.clone(), append.clone());
        self.transact(move |tables, _| tables.append(&log, &append)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let claim = claim.clone();
        self.transact(move |tables, turns| tables.claim(&claim, turns)).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let lease = lease.clone();
        self.transact(move |tables, _| tables.renew(&lease, until)).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let log = log.clone();
        self.transact(move |tables, _| tables.delete(&log, head)).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let log = log.clone();
        let work = move |tables: &mut Tables<'_>, _: &Turns| {
            let head = tables.head(&log)?;
            let rest = (log.key(), after.next().get())..=(log.key(), u64::MAX);
            let stored = tables.records.range(rest).map_err(fault)?.map(|found| {
                let (place, bytes) = found.map_err(fault)?;
                Record::from_bytes(&log, Position::new(place.value().1), bytes.value())
            });
            head::page(&log, head.as_ref(), after, limit, stored)
        };
        self.transact(work).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let list = list.clone();
        let work = move |tables: &mut Tables<'_>, _: &Turns| {
            // The least name after that of the last page.
            let from =
                head::after(&list)?.map_or(String::new(), |run| format!("{}\0", run.as_str()));
            let rest = (1, from.as_str(), "")..(2, "", "");
            let stored = tables.heads.range(rest).map_err(fault)?.map(|found| {
                let (key, bytes) = found.map_err(fault)?;
                let run = RunId::new(key.value().1)?;
                Ok((run.clone(), Head::from_bytes(&LogId::Run(run), bytes.value())?))
            });
            head::list(&list, stored)
        };
        self.transact(work).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let mut changed = self.0.changed.subscribe();
        let come = async {
            loop {
                let wait = wait.clone();
                if self.transact(move |tables, _| tables.has_come(&wait)).await? {
                    return Ok(());
                }
                changed.changed().await.map_err(|error| ErrorKind::Unknown.because(error))?;
            }
        };
        tokio::time::timeout(wait.at_most, come).await.unwrap_or(Ok(()))
    }
}
