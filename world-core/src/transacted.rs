//! A whole World over a store with blocking transactions.
//!
//! A store says how it keeps a head, a record and an index of due runs ([`Snapshot`],
//! [`Transaction`]), and how it runs some work in one transaction ([`Store`]). [`Transacted`] makes
//! the eight methods of [`World`] of it:
//!
//! - The work is done off the runtime's threads, so that a sync to the disk holds up no timer.
//! - A change is answered after its commit, and never before. A refusal is not committed.
//! - A commit that may have happened is `Unknown`, so that it is sent again (rule A6).
//! - A caller that goes away leaves the work to end as it would have, as a crash of it would.
//! - Waiters look, and are woken after a commit; a wait ends at its time at the latest.
//! - A page stops at about 1 MiB and a listing after 4096 heads, however long a log is.
//!
//! Not for a store that is asynchronous: call [`head`](crate::head) inside its own transaction. Not
//! for one without transactions: let a write on condition store what [`head`](crate::head) rules.
//! And where another process changes the store too, its commits wake nobody here: such a World
//! needs a `wait` of its own.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Mutex};
//! use world_core::{*, head::*, transacted::{Done, Opened, Store}};
//!
//! #[derive(Clone, Debug, Default)]
//! struct Logs { heads: BTreeMap<LogId, Head>, records: BTreeMap<(LogId, Position), Record> }
//!
//! impl Stored for Logs {
//!     fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
//!         Ok(self.heads.get(log).cloned())
//!     }
//!     fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
//!         Ok(self.records.get(&(log.clone(), position)).cloned())
//!     }
//! }
//!
//! impl Snapshot for Logs {
//!     fn records(
//!         &mut self,
//!         log: &LogId,
//!         after: Position,
//!     ) -> Result<impl Iterator<Item = Result<Record>>> {
//!         let rest = self.records.range((log.clone(), after.next())..);
//!         let log = log.clone();
//!         Ok(rest.take_while(move |(place, _)| place.0 == log).map(|(_, record)| Ok(record.clone())))
//!     }
//!     fn runs(
//!         &mut self,
//!         after: Option<&RunId>,
//!     ) -> Result<impl Iterator<Item = Result<(RunId, Head)>>> {
//!         let run = |(log, head): (&LogId, &Head)| match log {
//!             LogId::Run(run) => Some((run.clone(), head.clone())),
//!             LogId::Stream(..) | LogId::Token(_) => None,
//!         };
//!         let runs = self.heads.iter().filter_map(run);
//!         Ok(runs.filter(move |(run, _)| Some(run) > after).map(Ok))
//!     }
//!     fn oldest(&mut self, queue: &Queue, to: Place, most: usize) -> Result<Vec<(Timestamp, RunId)>> {
//!         let due = self.heads.iter().filter_map(|(log, head)| {
//!             let (in_queue, class, time, _) = head.due_key(log)?;
//!             let is_wanted = in_queue == queue.as_str() && class == to.0 as u8;
//!             (is_wanted && time <= to.1.as_millis())
//!                 .then_some((Timestamp::from_millis(time), log.run()?.clone()))
//!         });
//!         let mut due: Vec<_> = due.collect(); // a real store has an index
//!         due.sort();
//!         due.truncate(most);
//!         Ok(due)
//!     }
//! }
//!
//! impl Transaction for Logs {
//!     fn store(&mut self, log: &LogId, head: &Head, records: &[Record]) -> Result<()> {
//!         self.heads.insert(log.clone(), head.clone());
//!         for record in records {
//!             self.records.insert((log.clone(), record.position), record.clone());
//!         }
//!         Ok(())
//!     }
//!     fn remove(&mut self, log: &LogId) -> Result<()> {
//!         let is_of = |other: &LogId| log.run().is_some() && other.run() == log.run();
//!         self.records.retain(|(other, _), _| other != log && !is_of(other));
//!         self.heads.retain(|other, _| other == log || !is_of(other));
//!         Ok(())
//!     }
//! }
//!
//! /// A transaction works on a copy, and a commit puts it in the place of the old one.
//! #[derive(Debug, Default)]
//! struct Copied(Mutex<Logs>);
//!
//! impl Store for Copied {
//!     type Snapshot<'tx> = Logs;
//!     type Transaction<'tx> = Logs;
//!
//!     fn info(&self) -> WorldInfo {
//!         WorldInfo { name: "copied", limits: Limits::LEAST, durable: false }
//!     }
//!     fn view<T>(&self, work: impl FnOnce(&mut Logs) -> Result<T>) -> Result<T> {
//!         work(&mut self.0.lock().unwrap())
//!     }
//!     fn transact<T>(
//!         &self,
//!         work: impl FnOnce(&mut Logs) -> Result<Done<T>>,
//!     ) -> Result<Done<T>> {
//!         let mut logs = self.0.lock().unwrap();
//!         let mut copy = logs.clone();
//!         let done = work(&mut copy)?;
//!         if done.is_changed {
//!             *logs = copy; // the commit
//!         }
//!         Ok(done)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! # let at = Timestamp::ZERO;
//! # let body = Sealed::from_stored(&b"opaque"[..]);
//! # let record = Record { position: Position::new(1), kind: Kind(1), at, body };
//! # let records = vec![record];
//! # let append = Append { expected: Position::START, records, at, by: By::Outsider };
//! static OPENED: Opened<Copied> = Opened::new();
//! let world = OPENED.get_or_open("orders", |_path| Ok(Copied::default()))?;
//!
//! let log = LogId::Token(Token::new("order-7")?);
//! let committed = Appended::Committed { head: Position::new(1) };
//! assert_eq!(world.append(&log, &append).await?, committed);
//! let other = OPENED.get_or_open("orders", |_path| unreachable!("it is open"))?;
//! assert_eq!(other.read_all(&log).await?.records, append.records);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::BTreeMap,
    fmt::Debug,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    error::{ErrorKind, Result},
    head::{Snapshot, Transaction, Turns},
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    lock::lock,
    record::{Append, Appended, Page},
    world::{Wait, World, WorldInfo},
};

/// How long to wait for another thread that closes a store, before a look whether it has.
const CLOSING: Duration = Duration::from_millis(1);

/// A store with transactions that block. The [module](self) has a whole one.
pub trait Store: Debug + Send + Sync + 'static {
    /// What [`view`](Self::view) shows; where nothing is to be had by it, the same as a transaction.
    type Snapshot<'tx>: Snapshot;
    /// What [`transact`](Self::transact) works on.
    type Transaction<'tx>: Transaction;

    /// What the World is and takes; see [`World::info`].
    fn info(&self) -> WorldInfo;

    /// Does some work on what is committed, all of it of one moment. What was committed before the
    /// call is seen (rule R1).
    ///
    /// # Errors
    /// Those of `work`; `Unavailable` when the store cannot be read.
    fn view<T>(&self, work: impl FnOnce(&mut Self::Snapshot<'_>) -> Result<T>) -> Result<T>;

    /// Does some work in one transaction, which no other comes in between of. Commits when the
    /// work says that it has changed something, and returns what the work gave once that is as
    /// durable as the World says it is. Undoes everything when the work fails or panics.
    ///
    /// # Errors
    /// Those of `work`; `Unavailable` when nothing has happened, and `Unknown` when the commit
    /// failed and may have happened.
    fn transact<T>(
        &self,
        work: impl FnOnce(&mut Self::Transaction<'_>) -> Result<Done<T>>,
    ) -> Result<Done<T>>;
}

/// What some work in a transaction has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// What to answer.
    pub answer: T,
    /// Whether there is something to commit.
    pub is_changed: bool,
}

/// The World over a [`Store`]. Its clones are handles to the same one.
#[derive(Debug)]
pub struct Transacted<S>(Arc<Shared<S>>);

#[derive(Debug)]
struct Shared<S> {
    store: S,
    turns: Turns,
    changed: watch::Sender<()>,
    /// Goes last, when the store is closed.
    closed: Arc<()>,
}

impl<S> Clone for Transacted<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Transacted<S> {
    /// A World over this store; the [module](self) shows it at work.
    #[must_use]
    pub fn new(store: S) -> Self {
        let (turns, changed) = (Turns::default(), watch::Sender::new(()));
        Self(Arc::new(Shared { store, turns, changed, closed: Arc::default() }))
    }

    /// Reads, off the runtime's threads.
    async fn view<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S::Snapshot<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.0.clone();
        let done = tokio::task::spawn_blocking(move || shared.store.view(work)).await;
        done.map_err(|error| ErrorKind::Unavailable.because(error))?
    }

    /// Changes, off the runtime's threads, and wakes who waits once it is committed.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S::Transaction<'_>, &Turns) -> Result<T> + Send + 'static,
        is_change: impl FnOnce(&T) -> bool + Send + 'static,
    ) -> Result<T> {
        let shared = self.0.clone();
        let work = move || {
            let done = shared.store.transact(|tx| {
                let answer = work(tx, &shared.turns)?;
                Ok(Done { is_changed: is_change(&answer), answer })
            })?;
            if done.is_changed {
                shared.changed.send_replace(());
            }
            Ok(done.answer)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| ErrorKind::Unknown.because(error))?
    }
}

#[async_trait]
impl<S: Store> World for Transacted<S> {
    fn info(&self) -> WorldInfo {
        self.0.store.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        append.check(log, &self.info().limits)?;
        let (log, append) = (log.clone(), append.clone());
        let is_change = |answer: &_| matches!(answer, Appended::Committed { .. });
        self.change(move |tx, _| tx.append(&log, &append), is_change).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let log = log.clone();
        self.view(move |logs| logs.page(&log, after, limit)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        claim.check()?;
        let claim = claim.clone();
        self.change(move |tx, turns| tx.claim(&claim, turns), |leases| !leases.is_empty()).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let lease = lease.clone();
        let is_change = |answer: &_| matches!(answer, Renewed::Held { .. });
        self.change(move |tx, _| tx.renew(&lease, until), is_change).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let list = list.clone();
        self.view(move |logs| logs.list(&list)).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let log = log.clone();
        self.change(move |tx, _| tx.delete(&log, head), |answer| *answer == Deleted::Done).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let mut changed = self.0.changed.subscribe(); // before the look, so that nothing is missed
        let come = async {
            loop {
                let wait = wait.clone();
                if self.view(move |logs| logs.has_come(&wait)).await? {
                    return Ok(());
                }
                changed.changed().await.map_err(|error| ErrorKind::Unavailable.because(error))?;
            }
        };
        tokio::time::timeout(wait.at_most, come).await.unwrap_or(Ok(()))
    }
}

/// The Worlds that a process has open, by path, for a store that opens a file only once: all
/// handles on a path are the same World (rule R1). It is closed with the last of them. The
/// [module](self) opens one.
#[derive(Debug)]
pub struct Opened<S>(Mutex<BTreeMap<PathBuf, Open<S>>>);

#[derive(Debug)]
struct Open<S> {
    world: Weak<Shared<S>>,
    /// Is there until the store has closed, which may take longer than the handles are there.
    closed: Weak<()>,
}

impl<S> Opened<S> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<S> Default for Opened<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Store> Opened<S> {
    /// The World that is open at this path, or else the one over what `open` gives. Blocks while
    /// another is being opened, or the one before at this path is being closed.
    ///
    /// # Errors
    /// Those of `open`; `Unavailable` when the path is none.
    pub fn get_or_open(
        &self,
        path: impl AsRef<Path>,
        open: impl FnOnce(&Path) -> Result<S>,
    ) -> Result<Transacted<S>> {
        let path =
            std::path::absolute(path).map_err(|error| ErrorKind::Unavailable.because(error))?;
        let mut opened = lock(&self.0);
        if let Some(before) = opened.get(&path) {
            if let Some(world) = before.world.upgrade() {
                return Ok(Transacted(world));
            }
            while before.closed.strong_count() > 0 {
                std::thread::sleep(CLOSING);
            }
        }
        let world = Transacted::new(open(&path)?);
        opened.retain(|_, other| other.closed.strong_count() > 0);
        let (handle, closed) = (Arc::downgrade(&world.0), Arc::downgrade(&world.0.closed));
        opened.insert(path, Open { world: handle, closed });
        Ok(world)
    }
}

#[cfg(test)]
mod tests;
