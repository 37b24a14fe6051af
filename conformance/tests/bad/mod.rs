//! A World in memory that misbehaves in one way.
#![allow(unreachable_pub, reason = "a part of a test")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is what it is for")]

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    thread,
};

use async_trait::async_trait;
use conformance::Site;
use world_core::*;

/// A method of a World.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Info,
    Append,
    Read,
    Claim,
    Renew,
    List,
    Delete,
    Wait,
}

impl Method {
    pub const ALL: [Self; 8] = [
        Self::Info,
        Self::Append,
        Self::Read,
        Self::Claim,
        Self::Renew,
        Self::List,
        Self::Delete,
        Self::Wait,
    ];

    /// What a report calls it.
    pub fn name(self) -> String {
        format!("{self:?}(").to_lowercase()
    }
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// It never answers, and its thread is free.
    Hangs(Method),
    /// It never answers, and keeps its thread.
    Blocks(Method),
    Panics(Method),
    /// It panics in a task of its own, and hands the panic on.
    PanicsInATask(Method),
    /// It says that it takes so much, and takes what it likes.
    Says(Limits),
    /// Every call gives an error.
    Fails,
    /// Every head is the largest number.
    HugeHeads,
    /// Records stand where they are not.
    WrongPositions,
    /// Every page is the first one.
    SamePage,
    /// A page is empty below the head.
    EmptyPages,
    /// Pages go on for ever.
    EndlessLog,
    /// A claim gives a lease of a run that nobody made.
    StrangeLease,
    /// A claim gives the same lease many times.
    ManyLeases,
    /// A listing has a cursor for ever.
    EndlessListing,
    /// A listing goes on for ever, with runs.
    EndlessRuns,
    /// Every append is answered with this.
    Answers(Appended),
}

#[derive(Clone, Debug)]
pub struct Bad {
    inner: MemoryWorld,
    how: How,
}

impl Bad {
    /// The World of a site.
    pub fn at(site: &Site, how: How) -> Self {
        static SITES: Mutex<Option<HashMap<String, MemoryWorld>>> = Mutex::new(None);
        let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
        let sites = sites.get_or_insert_default();
        Self { inner: sites.entry(site.name().to_owned()).or_default().clone(), how }
    }

    async fn enter(&self, method: Method) -> Result<()> {
        self.enter_now(method);
        match self.how {
            How::Hangs(bad) if bad == method => std::future::pending().await,
            How::PanicsInATask(bad) if bad == method => {
                let task = tokio::spawn(async move { panic!("{method:?} is broken") });
                std::panic::resume_unwind(task.await.unwrap_err().into_panic())
            }
            How::Fails => Err(Error::new(ErrorKind::Unavailable, "the disk is on fire")),
            _ => Ok(()),
        }
    }

    fn enter_now(&self, method: Method) {
        match self.how {
            How::Blocks(bad) if bad == method => loop {
                thread::park();
            },
            How::Panics(bad) if bad == method => panic!("{method:?} is broken"),
            _ => {}
        }
    }
}

#[async_trait]
impl World for Bad {
    fn info(&self) -> WorldInfo {
        self.enter_now(Method::Info);
        let info = self.inner.info();
        match self.how {
            How::Says(limits) => WorldInfo { limits, ..info },
            _ => info,
        }
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        self.enter(Method::Append).await?;
        let answer = self.inner.append(log, append).await?;
        let head = Position::new(u64::MAX);
        Ok(match (self.how, answer) {
            (How::Answers(answer), _) => answer,
            (How::HugeHeads, Appended::Committed { .. }) => Appended::Committed { head },
            (How::HugeHeads, Appended::Conflict { .. }) => Appended::Conflict { head },
            (_, answer) => answer,
        })
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.enter(Method::Read).await?;
        let mut page = self.inner.read(log, after, limit).await?;
        let head = Position::new(u64::MAX);
        match self.how {
            How::HugeHeads => page.head = head,
            How::WrongPositions => {
                for record in &mut page.records {
                    record.position = Position::new(record.position.get() * 7 + 3);
                }
            }
            How::SamePage => {
                page = self.inner.read(log, Position::START, NonZeroU32::MIN).await?;
                page.head = head;
            }
            How::EmptyPages => page.records.clear(),
            How::EndlessLog => {
                let first = self.inner.read(log, Position::START, NonZeroU32::MIN).await?;
                let next = |record| Record { position: after.next(), ..record };
                page = Page { records: first.records.into_iter().map(next).collect(), head };
            }
            _ => {}
        }
        Ok(page)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.enter(Method::Claim).await?;
        let mut leases = self.inner.claim(claim).await?;
        match self.how {
            How::StrangeLease => leases.push(Lease {
                run: RunId::new("nobody-made-this")?,
                ticket: claim.ticket,
                attempt: u32::MAX,
                until: Timestamp::ZERO,
                head: Position::new(u64::MAX),
                closed: true,
            }),
            How::ManyLeases => leases = vec![leases; 100].concat(),
            How::HugeHeads => {
                for lease in &mut leases {
                    lease.head = Position::new(u64::MAX);
                }
            }
            _ => {}
        }
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        self.enter(Method::Renew).await?;
        self.inner.renew(lease, until).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.enter(Method::List).await?;
        let cursor = Cursor::from_bytes(*b"again");
        match self.how {
            How::EndlessListing => Ok(RunPage { runs: Vec::new(), next: Some(cursor) }),
            How::EndlessRuns => {
                let page = self.inner.list(&List { after: None, ..list.clone() }).await?;
                Ok(RunPage { runs: page.runs, next: Some(cursor) })
            }
            _ => self.inner.list(list).await,
        }
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.enter(Method::Delete).await?;
        self.inner.delete(log, head).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.enter(Method::Wait).await?;
        self.inner.wait(wait).await
    }
}
