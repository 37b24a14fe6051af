//! The World itself: each method finds its connection and hands over to the file of its name.

use std::{borrow::Cow, num::NonZeroU32, path::Path, sync::Arc};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::time::{Instant, sleep_until};
use world_core::{
    Append, Appended, Claim, Deleted, Error, ErrorKind, Lease, List, LogId, NewRun, Page, Position,
    Renewed, Result, RunPage, Timestamp, Wait, World, WorldInfo, head::Turns,
};

use crate::{
    LIMITS,
    append::AppendTo,
    claim::{self, ClaimDue, RenewLease},
    delete::DeleteLog,
    error::Explain,
    list,
    open::File,
    options::Options,
    read,
    readers::Readers,
    store::Store,
    url::{self, Place},
    wait::{LOOK_MAX, LOOK_MIN, Waiters},
    writer::Writer,
};

/// A World in an SQLite file, or in memory.
///
/// Several of them, in one process or in many, may use one file. Dropping it closes the file.
///
/// ```
/// # use {bytes::Bytes, std::num::NonZeroU32, world_core::*, world_sqlite::SqliteWorld};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let world = SqliteWorld::connect("sqlite::memory:")?;
/// let log = LogId::Token(Token::new("order-7")?);
/// let (position, at) = (Position::new(1), Timestamp::from_millis(1_700_000_000_000));
/// let body = Sealed::from_stored(Bytes::from_static(b"ciphertext"));
/// let append = Append {
///     expected: Position::START,
///     records: vec![Record { position, kind: Kind(1), at, body }],
///     at,
///     by: By::Outsider,
/// };
/// assert_eq!(world.append(&log, &append).await?, Appended::Committed { head: position });
/// let page = world.read(&log, Position::START, NonZeroU32::MAX).await?;
/// assert_eq!(page.records, append.records);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SqliteWorld {
    pub(crate) writer: Writer,
    /// `None` in memory, where the one connection reads too.
    readers: Option<Readers>,
    waiters: Arc<Waiters>,
    turns: Arc<Turns>,
    blank: Arc<NewRun>,
}

impl SqliteWorld {
    /// Opens the file, and makes it if it is not there. Blocks while it does, and while another
    /// process makes or migrates it.
    ///
    /// # Errors
    /// `Invalid` for a path that can name no file, `Unsuitable` for a file or file system that
    /// cannot keep the contract, `Unsupported` for another program's file or a newer schema,
    /// `Corrupt` for a damaged one, `Unavailable` while it is locked.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::start(Some(File::at(path.as_ref(), options)?))
    }

    /// Makes a World in memory, which is gone when it is dropped.
    ///
    /// # Errors
    /// `Unavailable` when there is no memory or thread for it.
    pub fn memory() -> Result<Self> {
        Self::start(None)
    }

    /// Opens what a URL names: `sqlite://relative.db`, `sqlite:///absolute.db` or
    /// `sqlite::memory:`, with the options of [`Options::parse`] after a `?`. In the path, `%`
    /// and two hexadecimal digits stand for a byte.
    ///
    /// # Errors
    /// `Invalid` for another URL or an unknown option, and those of [`SqliteWorld::open`].
    pub fn connect(url: &str) -> Result<Self> {
        match url::parse(url)? {
            (Place::File(path), options) => Self::open(path, options),
            (Place::Memory, _) => Self::memory(),
        }
    }

    fn start(file: Option<File>) -> Result<Self> {
        let store = Store::open(file.clone())?;
        let waiters = Arc::new(Waiters::default());
        let blank = Arc::clone(store.blank());
        let writer = Writer::start(store, Arc::clone(&waiters)).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "no thread for the writer").source(error)
        })?;
        Ok(Self { writer, readers: file.map(Readers::of), waiters, turns: Arc::default(), blank })
    }

    /// Reads with a connection of its own, or in memory with the one there is.
    pub(crate) fn reading<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        match &self.readers {
            Some(readers) => readers.with(read),
            None => read(self.writer.store().conn()?),
        }
    }

    /// Whether what is waited for has come already.
    fn has_come(&self, wait: &Wait) -> Result<bool> {
        self.reading(|conn| {
            for (log, seen) in &wait.logs {
                if read::head(conn, log)? != *seen {
                    return Ok(true);
                }
            }
            claim::any_ready(conn, &wait.queues)
        })
    }
}

#[async_trait]
impl World for SqliteWorld {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "sqlite", limits: LIMITS, durable: self.readers.is_some() }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &LIMITS)?;
        let write = AppendTo { log: Cow::Borrowed(log), append: Cow::Borrowed(append) };
        self.writer.submit(log.run(), write).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.reading(|conn| read::page(conn, log, after, limit))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        claim.check()?;
        // An idle poll takes no write lock.
        if !self.reading(|conn| claim::any_due(conn, claim, &self.blank))? {
            return Ok(Vec::new());
        }
        let write = ClaimDue { claim: claim.clone(), turns: Arc::clone(&self.turns) };
        self.writer.submit(None, write).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.writer.submit(Some(&lease.run), RenewLease { lease: lease.clone(), until }).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.reading(|conn| list::page(conn, list))
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let write = DeleteLog { log: log.clone(), head };
        loop {
            let progress = self.writer.submit(log.run(), write.clone()).await?;
            if !progress.is_more {
                return Ok(progress.deleted);
            }
        }
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let waiting = self.waiters.join(wait);
        let deadline = Instant::now().checked_add(wait.at_most);
        let mut version = self.version()?;
        if self.has_come(wait)? {
            return Ok(());
        }
        let mut pause = LOOK_MIN;
        loop {
            let look = self.readers.as_ref().map(|_| Instant::now() + pause);
            tokio::select! {
                biased;
                () = waiting.told() => return Ok(()),
                () = at(deadline) => return Ok(()),
                () = at(look) => {}
            }
            pause = (pause * 2).min(LOOK_MAX);
            let now = self.version()?;
            if now != version && self.has_come(wait)? {
                return Ok(());
            }
            version = now;
        }
    }
}

/// Returns at a time; without one, never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl SqliteWorld {
    /// A number that changes when another connection has committed; 0 in memory.
    fn version(&self) -> Result<i64> {
        let Some(readers) = &self.readers else { return Ok(0) };
        readers.watch(|conn| {
            conn.prepare_cached("PRAGMA data_version")
                .and_then(|mut sql| sql.query_row([], |row| row.get(0)))
                .explain()
        })
    }
}
