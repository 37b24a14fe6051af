//! A World in memory, made of pieces of which a flaw replaces one. With none replaced it is right.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::{Ready, ready},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use conformance::{Site, Suite};
use futures::future::BoxFuture;
use tokio::sync::Notify;
use world_core::{
    Append, Appended, Claim, Deleted, Lease, Limits, List, LogId, Page, Position, Renewed, Result,
    RunPage, Timestamp, Wait, World, WorldInfo,
};

use crate::logs::Logs;

/// What a World in pieces is made of.
#[derive(Clone, Copy)]
pub(crate) struct Pieces {
    /// What it says it takes.
    pub(crate) limits: Limits,
    /// What it refuses before it looks at anything.
    pub(crate) check: fn(&LogId, &Append, &Limits) -> Result<()>,
    /// Under which name it keeps a log.
    pub(crate) key: fn(&LogId) -> LogId,
    pub(crate) append: fn(&mut Logs, &LogId, &Append) -> Result<Appended>,
    /// An append in several steps, between which others come in, or its caller goes away.
    pub(crate) append_in_steps: InSteps<Append, Appended>,
    pub(crate) page: fn(&mut Logs, &LogId, Position, usize) -> Page,
    /// Which claims it refuses before it looks at anything.
    pub(crate) check_claim: fn(&Claim) -> Result<()>,
    pub(crate) claim: fn(&mut Logs, &Claim) -> Vec<Lease>,
    /// A claim in several steps.
    pub(crate) claim_in_steps: for<'a> fn(&'a Base, &'a Claim) -> BoxFuture<'a, Result<Vec<Lease>>>,
    pub(crate) renew: fn(&mut Logs, &Lease, Timestamp) -> Result<Renewed>,
    pub(crate) list: fn(&mut Logs, &List) -> Result<RunPage>,
    pub(crate) delete: fn(&mut Logs, &LogId, Position) -> Result<Deleted>,
    /// Whether it says that it keeps what it acknowledged.
    pub(crate) durable: bool,
    /// What happens when it is opened after all its handles were closed.
    pub(crate) reopened: fn(&mut Logs),
    pub(crate) wait: for<'a> fn(&'a Base, &'a Wait) -> BoxFuture<'a, ()>,
}

type InSteps<Asked, Answer> =
    for<'a> fn(&'a Base, &'a LogId, &'a Asked) -> BoxFuture<'a, Result<Answer>>;

/// The pieces as they should be.
pub(crate) const RIGHT: Pieces = Pieces {
    limits: Limits { records_max: 100, record_bytes_max: 300 << 10, append_bytes_max: 3 << 19 },
    check: |log, append, limits| append.check(log, limits),
    key: Clone::clone,
    append: Logs::append,
    append_in_steps: |base, log, append| {
        Box::pin(async move { (base.pieces.append)(&mut base.logs(), log, append) })
    },
    page: |logs, log, after, limit| logs.page(log, after, limit),
    check_claim: Claim::check,
    claim: Logs::claim,
    claim_in_steps: |base, claim| {
        Box::pin(async move { Ok((base.pieces.claim)(&mut base.logs(), claim)) })
    },
    renew: Logs::renew,
    list: |logs, list| logs.list(list),
    delete: Logs::delete,
    durable: false,
    reopened: |_| {},
    wait: |base, wait| Box::pin(base.changed(wait)),
};

/// A handle on a World in pieces.
#[derive(Clone)]
pub(crate) struct Base {
    logs: Arc<Mutex<Logs>>,
    changed: Arc<Notify>,
    /// Held by each handle.
    open: Arc<()>,
    pieces: Pieces,
    handle: u64,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// The suite of the World of these pieces.
pub(crate) fn suite(name: &str, pieces: Pieces) -> Suite {
    let sites: Mutex<HashMap<String, Base>> = Mutex::default();
    let handles = AtomicU64::new(1);
    Suite::new(name, move |site: Site| -> Ready<Result<Base>> {
        let mut sites = sites.lock().unwrap_or_else(PoisonError::into_inner);
        let base = sites.entry(site.name().to_owned()).or_insert_with(|| Base::new(pieces));
        if Arc::strong_count(&base.open) == 1 {
            (pieces.reopened)(&mut base.logs());
        }
        ready(Ok(Base { handle: handles.fetch_add(1, Relaxed), ..base.clone() }))
    })
}

impl Base {
    fn new(pieces: Pieces) -> Self {
        let logs = Arc::new(Mutex::new(Logs::new(pieces.key)));
        Self { logs, changed: Arc::default(), open: Arc::default(), pieces, handle: 0 }
    }

    /// What it keeps, locked.
    pub(crate) fn logs(&self) -> MutexGuard<'_, Logs> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.handle = self.handle;
        logs
    }

    /// Waits for a change in what is waited for, or for the end of the time.
    pub(crate) async fn changed(&self, wait: &Wait) {
        let change = async {
            loop {
                let notified = self.changed.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.logs().has_changed(wait) {
                    break;
                }
                notified.await;
            }
        };
        let _ = tokio::time::timeout(wait.at_most, change).await; // a hint either way
    }
}

#[async_trait]
impl World for Base {
    fn info(&self) -> WorldInfo {
        WorldInfo { name: "base", limits: self.pieces.limits, durable: self.pieces.durable }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        (self.pieces.check)(log, append, &self.pieces.limits)?;
        let appended = (self.pieces.append_in_steps)(self, log, append).await;
        self.changed.notify_waiters();
        appended
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        Ok((self.pieces.page)(&mut self.logs(), log, after, limit.get() as usize))
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        (self.pieces.check_claim)(claim)?;
        (self.pieces.claim_in_steps)(self, claim).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        (self.pieces.renew)(&mut self.logs(), lease, until)
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        (self.pieces.list)(&mut self.logs(), list)
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let deleted = (self.pieces.delete)(&mut self.logs(), log, head);
        self.changed.notify_waiters();
        deleted
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        (self.pieces.wait)(self, wait).await;
        Ok(())
    }
}

/// What a flaw remembers beside the logs.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) numbers: BTreeMap<String, u64>,
    pub(crate) pages: BTreeMap<String, Page>,
    /// What was asked for and is not committed yet.
    pub(crate) staged: Vec<(LogId, Append)>,
    pub(crate) staged_claims: Vec<Claim>,
}
