//! A World that keeps its logs in memory and what it acknowledged in a journal. With no habit
//! replaced it is right, also when it is killed.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::{Ready, ready},
    num::NonZeroU32,
    ops::Deref as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use async_trait::async_trait;
use conformance::{Site, Suite};
use tokio::sync::Notify;
use world_core::{
    Append, Appended, Claim, Deleted, Lease, List, LogId, Page, Position, Renewed, Result, RunPage,
    Timestamp, Wait, World, WorldInfo,
    head::{Head, Ruling},
};

use crate::{
    base::RIGHT,
    journal::{Change, Journal, replay},
    logs::Logs,
};

/// What changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Append,
    Claim,
    Renewal,
    Deletion,
}

/// How a World keeps its journal. What was not written is written when all handles are closed, so
/// that only a kill shows it.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// What is written of a change, given the head that was before.
    pub(crate) writes: fn(Act, Option<&Head>, Change) -> Option<Change>,
    /// How many of the last entries wait in a buffer.
    pub(crate) buffered: usize,
    /// What waits in that buffer until something else is written, given the head that was before.
    pub(crate) waits: fn(Act, Option<&Head>, &Change) -> bool,
    /// Which of the entries are taken, where the last one is torn.
    pub(crate) torn: fn(Vec<Vec<Change>>) -> Vec<Vec<Change>>,
    /// Whether a torn entry is cut off before more are written.
    pub(crate) cuts_off: bool,
    /// What happens at the first opening after a kill.
    pub(crate) after_a_kill: fn(&mut Logs),
}

/// The habits as they should be.
pub(crate) const CAREFUL: Habits = Habits {
    writes: |_, _, change| Some(change),
    buffered: 0,
    waits: |_, _, _| false,
    torn: |entries| entries,
    cuts_off: true,
    after_a_kill: |_| {},
};

/// The suite of the World of these habits. A second process is this program without arguments.
///
/// # Errors
/// The exit code of this process, if it is a second one and has played its part.
pub(crate) fn suite(name: &str, habits: Habits) -> Result<Suite, i32> {
    let sites: Mutex<HashMap<String, Weak<OnFile>>> = Mutex::default();
    let open = move |site: &Site| -> Result<Handle> {
        let mut sites = sites.lock().unwrap_or_else(PoisonError::into_inner);
        let world = match sites.get(site.name()).and_then(Weak::upgrade) {
            Some(world) => world,
            None => Arc::new(OnFile::open(&site.dir().join("journal"), habits)?),
        };
        sites.insert(site.name().to_owned(), Arc::downgrade(&world));
        Ok(Handle(world))
    };
    Suite::new(name, move |site: Site| -> Ready<Result<Handle>> { ready(open(&site)) })
        .part::<String>([])
}

/// What all handles share.
struct OnFile {
    kept: Mutex<Kept>,
    changed: Notify,
}

/// The logs, and what is written of them.
struct Kept {
    logs: Logs,
    journal: Journal,
    buffer: VecDeque<Vec<Change>>,
    habits: Habits,
    /// Whether something was not written that should have been.
    is_behind: bool,
}

impl OnFile {
    fn open(path: &Path, habits: Habits) -> Result<Self> {
        let (mut journal, mut found) = Journal::open(path)?;
        if found.is_torn {
            found.entries = (habits.torn)(found.entries);
        }
        let mut logs = Logs::new(RIGHT.key);
        for entry in found.entries {
            replay(&mut logs, entry);
        }
        if found.is_torn {
            (habits.after_a_kill)(&mut logs);
        }
        journal.go_on(habits.cuts_off.then_some(found.end))?;
        let buffer = VecDeque::new();
        let kept = Kept { logs, journal, buffer, habits, is_behind: false };
        Ok(Self { kept: Mutex::new(kept), changed: Notify::new() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Writes what an operation changes, before it is done and answered.
    fn write(&mut self, act: Act, changes: Vec<Change>) -> Result<()> {
        let (mut entry, mut waits) = (Vec::new(), false);
        for change in changes {
            let before = self.logs.heads.get(&change.log);
            waits |= (self.habits.waits)(act, before, &change);
            let (whole, records) = (change.head.clone(), change.records.len());
            let written = (self.habits.writes)(act, before, change);
            let is_whole = written
                .as_ref()
                .is_some_and(|written| written.head == whole && written.records.len() == records);
            self.is_behind |= !is_whole;
            entry.extend(written);
        }
        if entry.is_empty() {
            return Ok(());
        }
        self.buffer.push_back(entry);
        while !waits && self.buffer.len() > self.habits.buffered {
            let Some(entry) = self.buffer.pop_front() else { break };
            self.journal.write(&entry)?;
        }
        Ok(())
    }

    /// Writes what is missing.
    fn close(&mut self) -> Result<()> {
        while let Some(entry) = self.buffer.pop_front() {
            self.journal.write(&entry)?;
        }
        if self.is_behind {
            self.journal.go_on(Some(0))?;
            for (log, head) in self.logs.heads.deref().clone() {
                let records = self.logs.records_of(&log);
                self.journal.write(&[Change { log, head, records }])?;
            }
        }
        self.journal.end()
    }
}

impl Drop for OnFile {
    fn drop(&mut self) {
        let _ = self.kept().close(); // the next one to open it sees what is there
    }
}

struct Handle(Arc<OnFile>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnFile").finish_non_exhaustive()
    }
}

#[async_trait]
impl World for Handle {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "on file", limits: RIGHT.limits, durable: true }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        (RIGHT.check)(log, append, &RIGHT.limits)?;
        let mut kept = self.0.kept();
        let head = match kept.logs.rule(log, append)? {
            Ruling::Answer(answer) => return Ok(answer),
            Ruling::Write(head) => head,
        };
        let (records, written) = (append.records.clone(), head.clone());
        kept.write(Act::Append, vec![Change { log: log.clone(), head: written, records }])?;
        let answer = kept.logs.write(log, head, &append.records);
        drop(kept);
        self.0.changed.notify_waiters();
        Ok(answer)
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        Ok(self.0.kept().logs.page(log, after, limit.get() as usize))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        claim.check()?;
        let mut kept = self.0.kept();
        let leases = kept.logs.claim(claim);
        let logs = leases.iter().map(|lease| LogId::Run(lease.run.clone()));
        let changes: Vec<_> = logs.filter_map(|log| change(&kept.logs, log)).collect();
        kept.write(Act::Claim, changes)?;
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let mut kept = self.0.kept();
        let renewed = kept.logs.renew(lease, until)?;
        if let Renewed::Held { .. } = renewed {
            let change = change(&kept.logs, LogId::Run(lease.run.clone()));
            kept.write(Act::Renewal, change.into_iter().collect())?;
        }
        Ok(renewed)
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.0.kept().logs.list(list)
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let mut kept = self.0.kept();
        let deleted = kept.logs.delete(log, head)?;
        if deleted == Deleted::Done {
            let change = change(&kept.logs, log.clone());
            kept.write(Act::Deletion, change.into_iter().collect())?;
        }
        drop(kept);
        self.0.changed.notify_waiters();
        Ok(deleted)
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let change = async {
            loop {
                let notified = self.0.changed.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.0.kept().logs.has_changed(wait) {
                    break;
                }
                notified.await;
            }
        };
        let _ = tokio::time::timeout(wait.at_most, change).await; // a hint either way
        Ok(())
    }
}

/// What is now known of a log, whose records have not changed.
fn change(logs: &Logs, log: LogId) -> Option<Change> {
    let head = logs.heads.get(&log)?.clone();
    Some(Change { log, head, records: Vec::new() })
}
