//! The one connection that writes, and its transactions.

use std::{
    collections::HashMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use world_core::{Due, ErrorKind, KeyId, LogId, NewRun, Queue, Result, RunId, Tag, WorkflowName};

use crate::{
    error::{Explain, Fault, Stage},
    open::{File, memory},
    wait::{Topic, Waiters},
};

/// The first pause between two tries for another process's lock; each next one is longer.
const LOCK_TRY_MIN: Duration = Duration::from_micros(50);
/// The longest pause between two tries for another process's lock.
const LOCK_TRY_MAX: Duration = Duration::from_millis(5);

/// The most runs whose numbers are remembered.
const NUMBERS_MAX: usize = 4096;

/// A write, to be done in a transaction of its own or in a group's.
///
/// Its rulings may be asked for again: a group that cannot commit whole is undone and its members
/// run one by one.
pub(crate) trait Write {
    /// The answer, told only after `COMMIT`.
    type Reply: Send + 'static;
    /// The same write, which waits in the queue.
    type Owned: Write<Reply = Self::Reply> + Send + 'static;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Reply>;
    fn into_owned(self) -> Self::Owned;
    /// The payload bytes it writes.
    fn bytes(&self) -> usize {
        0
    }
}

/// An open write transaction.
#[derive(Debug)]
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    /// Stands in for what a run was created with.
    pub(crate) blank: &'a Arc<NewRun>,
    /// Whether anything was written: if so, a failure undoes the transaction.
    pub(crate) wrote: bool,
    /// The numbers of runs that were lately written to. A number may be a lie after a rollback, so
    /// whoever uses it asks for the name too.
    pub(crate) numbers: &'a mut HashMap<RunId, i64>,
    topics: &'a mut Vec<Topic>,
}

impl Tx<'_> {
    /// Remembers the number of a run whose owner is writing.
    pub(crate) fn remember(&mut self, run: &RunId, number: i64) {
        if self.numbers.len() >= NUMBERS_MAX {
            self.numbers.clear();
        }
        self.numbers.insert(run.clone(), number);
    }

    /// Tells whoever waits for this, once it is committed.
    pub(crate) fn touch(&mut self, topic: Topic) {
        self.topics.push(topic);
    }
}

/// How an attempt to begin a transaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Yes,
    /// Another process is writing.
    Busy,
}

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None` after a failed commit, until it is opened anew.
    conn: Option<Connection>,
    /// Where to open it anew; `None` in memory.
    file: Option<File>,
    blank: Arc<NewRun>,
    numbers: HashMap<RunId, i64>,
    topics: Vec<Topic>,
    /// How many transactions were committed.
    #[cfg(test)]
    pub(crate) commits: usize,
}

impl Store {
    pub(crate) fn open(file: Option<File>) -> Result<Self> {
        let conn = match &file {
            Some(file) => file.writer()?,
            None => memory()?,
        };
        let blank = Arc::new(NewRun {
            queue: Queue::new("-")?,
            workflow: WorkflowName::new("-")?,
            due: Due::Never,
            parent: None,
            tags: Vec::new(),
            key: KeyId::new("-")?,
            lease: None,
        });
        Ok(Self {
            conn: Some(conn),
            file,
            blank,
            numbers: HashMap::new(),
            topics: Vec::new(),
            #[cfg(test)]
            commits: 0,
        })
    }

    /// The connection, to read with in memory and to test with.
    pub(crate) fn conn(&mut self) -> Result<&Connection, Fault> {
        match (&mut self.conn, &self.file) {
            (Some(conn), _) => Ok(conn),
            (conn @ None, Some(file)) => Ok(conn.insert(file.writer()?)),
            (None, None) => Err(Fault::new(ErrorKind::Unavailable, "the memory is gone", "")),
        }
    }

    /// What stands in for what a run was created with, where nobody looks at it.
    pub(crate) fn blank(&self) -> &Arc<NewRun> {
        &self.blank
    }

    /// Begins a transaction, or says at once that another process is writing.
    pub(crate) fn begin(&mut self) -> Result<Begun, Fault> {
        let conn = self.conn()?;
        if !conn.is_autocommit() {
            // Left open by a panic or a failed rollback.
            rollback(conn);
        }
        match execute(conn, "BEGIN IMMEDIATE") {
            Ok(()) => Ok(Begun::Yes),
            Err(fault) if fault.is_busy() => Ok(Begun::Busy),
            Err(fault) => Err(fault),
        }
    }

    /// Begins a transaction, waiting on this thread while another process writes, until the
    /// timeout or until `give_up`.
    pub(crate) fn begin_patiently(&mut self, give_up: impl Fn() -> bool) -> Result<(), Fault> {
        let timeout = self.file.as_ref().map_or(Duration::ZERO, |file| file.options.busy_timeout);
        let deadline = Instant::now() + timeout;
        let mut pause = LOCK_TRY_MIN;
        while self.begin()? == Begun::Busy {
            if Instant::now() >= deadline || give_up() {
                return Err(Fault::new(
                    ErrorKind::Unavailable,
                    format!("another process has held the write lock for {timeout:?}"),
                    "try again; end long transactions of other programs, or raise busy_timeout_ms",
                ));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LOCK_TRY_MAX);
        }
        Ok(())
    }

    /// The open transaction.
    pub(crate) fn tx(&mut self) -> Result<Tx<'_>, Fault> {
        let Self { conn: Some(conn), blank, numbers, topics, .. } = self else {
            return Err(Fault::new(ErrorKind::Unavailable, "no transaction is open", "try again"));
        };
        Ok(Tx { conn, blank, wrote: false, numbers, topics })
    }

    /// Commits, then tells whoever waits for what changed.
    pub(crate) fn commit(&mut self, waiters: &Waiters) -> Result<(), Fault> {
        let conn = self.conn()?;
        let Err(error) = conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]))
        else {
            waiters.tell(&mut self.topics);
            #[cfg(test)]
            {
                self.commits += 1;
            }
            return Ok(());
        };
        let fault = Fault::of(Stage::Commit, error);
        self.undo();
        if fault.kind == ErrorKind::Unknown && self.file.is_some() {
            // What the page cache holds after a failed sync is not what the disk holds.
            tracing::warn!(error = %fault.error(), "a commit failed; the database is opened anew");
            self.conn = None;
        }
        Err(fault)
    }

    /// Undoes the open transaction, if SQLite has not done so by itself.
    pub(crate) fn undo(&mut self) {
        self.topics.clear();
        if let Some(conn) = &self.conn
            && !conn.is_autocommit()
        {
            rollback(conn);
        }
    }
}

fn rollback(conn: &Connection) {
    if let Err(fault) = execute(conn, "ROLLBACK") {
        // The next transaction tries again before it begins.
        tracing::warn!(error = %fault.error(), "a rollback failed");
    }
}

fn execute(conn: &Connection, sql: &str) -> Result<(), Fault> {
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(|_| ())
        .map_err(|error| Fault::of(Stage::Work, error))
}

impl Tx<'_> {
    /// Runs a statement that changes rows of a log.
    pub(crate) fn change(
        &mut self,
        log: &LogId,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize> {
        self.wrote = true;
        self.conn.prepare_cached(sql).and_then(|mut sql| sql.execute(values)).about(log)
    }

    /// Takes a run's tags out of the index, given as they are stored.
    pub(crate) fn forget_tags(&mut self, log: &LogId, number: i64, tags: &[u8]) -> Result<()> {
        for tag in tags.chunks(size_of::<Tag>()) {
            self.change(log, "DELETE FROM tags WHERE tag = ?1 AND log = ?2", params![tag, number])?;
        }
        Ok(())
    }
}
