//! A World over [redb](https://docs.rs/redb), an embedded key-value store with transactions.
//!
//! This file is all of it. `docs/write-a-world.md` builds it step by step.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use redb::{Table, TableDefinition, TableError, Value, WriteTransaction};
use world_core::head::{Head, Place, Snapshot, Stored, Transaction};
use world_core::transacted::{Done, Opened, Store};
use world_core::*;

/// A log: of which kind it is, the name of its run or token, and of a stream its own.
type LogKey = (u8, &'static str, &'static str);
/// A record: its log, and its position there.
type RecordKey = (LogKey, u64);
/// A run that wants a worker: its queue, its place there, and its name.
type DueKey = (&'static str, u8, u64, &'static str);
type Bytes = &'static [u8];

const HEADS: TableDefinition<LogKey, Bytes> = TableDefinition::new("heads");
const RECORDS: TableDefinition<RecordKey, Bytes> = TableDefinition::new("records");
const DUE: TableDefinition<DueKey, ()> = TableDefinition::new("due");

/// What redb says, as an error of ours. Before a commit nothing has happened.
fn fault(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        error @ redb::Error::Corrupted(_) => ErrorKind::Corrupt.because(error),
        error => ErrorKind::Unavailable.because(error),
    }
}

/// A transaction that reads or one that writes.
trait Tx: Sized {
    type Table<K: Key + 'static, V: Value + 'static>: ReadableTable<K, V>;
    fn tables(self) -> Result<Tables<Self>, TableError>;
}

/// The tables, in a transaction.
struct Tables<T: Tx> {
    heads: T::Table<LogKey, Bytes>,
    records: T::Table<RecordKey, Bytes>,
    due: T::Table<DueKey, ()>,
}

impl Tx for &ReadTransaction {
    type Table<K: Key + 'static, V: Value + 'static> = ReadOnlyTable<K, V>;
    fn tables(self) -> Result<Tables<Self>, TableError> {
        let (heads, records) = (self.open_table(HEADS)?, self.open_table(RECORDS)?);
        Ok(Tables { heads, records, due: self.open_table(DUE)? })
    }
}

impl<'tx> Tx for &'tx WriteTransaction {
    type Table<K: Key + 'static, V: Value + 'static> = Table<'tx, K, V>;
    fn tables(self) -> Result<Tables<Self>, TableError> {
        let (heads, records) = (self.open_table(HEADS)?, self.open_table(RECORDS)?);
        Ok(Tables { heads, records, due: self.open_table(DUE)? })
    }
}

impl<T: Tx> Stored for Tables<T> {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        let bytes = self.heads.get(log.key()).map_err(fault)?;
        bytes.map(|bytes| Head::from_bytes(log, bytes.value())).transpose()
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        let bytes = self.records.get((log.key(), position.get())).map_err(fault)?;
        bytes.map(|bytes| Record::from_bytes(log, position, bytes.value())).transpose()
    }
}

impl<T: Tx> Snapshot for Tables<T> {
    fn records(
        &mut self,
        log: &LogId,
        after: Position,
    ) -> Result<impl Iterator<Item = Result<Record>>> {
        let rest = (log.key(), after.next().get())..=(log.key(), u64::MAX);
        Ok(self.records.range(rest).map_err(fault)?.map(|found| {
            let (place, bytes) = found.map_err(fault)?;
            Record::from_bytes(log, Position::new(place.value().1), bytes.value())
        }))
    }

    fn runs(
        &mut self,
        after: Option<&RunId>,
    ) -> Result<impl Iterator<Item = Result<(RunId, Head)>>> {
        // The least name after that one.
        let from = after.map_or(String::new(), |run| format!("{}\0", run.as_str()));
        let rest = (1, from.as_str(), "")..(2, "", "");
        Ok(self.heads.range(rest).map_err(fault)?.map(|found| {
            let (key, bytes) = found.map_err(fault)?;
            let run = RunId::new(key.value().1)?;
            Ok((run.clone(), Head::from_bytes(&LogId::Run(run), bytes.value())?))
        }))
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
}

impl Transaction for Tables<&WriteTransaction> {
    fn store(&mut self, log: &LogId, head: &Head, records: &[Record]) -> Result<()> {
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

/// A file.
#[derive(Debug)]
struct Redb(Database);

impl Store for Redb {
    type Snapshot<'tx> = Tables<&'tx ReadTransaction>;
    type Transaction<'tx> = Tables<&'tx WriteTransaction>;

    fn info(&self) -> WorldInfo {
        WorldInfo { name: "redb", limits: Limits::LEAST, durable: true }
    }

    fn view<T>(&self, work: impl FnOnce(&mut Self::Snapshot<'_>) -> Result<T>) -> Result<T> {
        let tx = self.0.begin_read().map_err(fault)?;
        work(&mut tx.tables().map_err(fault)?)
    }

    fn transact<T>(
        &self,
        work: impl FnOnce(&mut Self::Transaction<'_>) -> Result<Done<T>>,
    ) -> Result<Done<T>> {
        let tx = self.0.begin_write().map_err(fault)?; // with `Durability::Immediate`
        let done = work(&mut tx.tables().map_err(fault)?)?;
        if done.is_changed {
            tx.commit().map_err(|error| ErrorKind::Unknown.because(error))?;
        }
        Ok(done)
    }
}

/// What is open in this process, as redb opens a file only once.
static OPENED: Opened<Redb> = Opened::new();

/// Opens a World in a file, and makes the file if it is not there. Blocks while it does. Worlds on
/// the same path share one database.
///
/// # Errors
/// `Unavailable` when another process has it open, or it cannot be used.
pub fn open(path: impl AsRef<Path>) -> Result<Arc<dyn World>> {
    let world = OPENED.get_or_open(path, |path| {
        let redb = Redb(Database::create(path).map_err(fault)?);
        redb.transact(|_| Ok(Done { answer: (), is_changed: true }))?; // makes the tables
        Ok(redb)
    })?;
    Ok(Arc::new(world))
}
