//! Worlds that break one rule each.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use world_core::{
    Append, Appended, By, Claim, Deleted, Due, ErrorKind, Lease, List, LogId, MemoryWorld, Page,
    Position, Record, Release, Renewed, Result, RunId, RunPage, Sealed, Ticket, Timestamp, Wait,
    World, WorldInfo,
};

/// What is wrong with a World.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flaw {
    Nothing,
    KeepsTheFirstOfABatch,
    CommitsAtAnyHead,
    SkipsAPosition,
    ForgetsToClose,
    ForgetsToRest,
    TakesRecordsAfterTheEnd,
    RefusesARestAfterTheEnd,
    KnowsNoResends,
    ComparesTheFirstRecord,
    AsksForTheTicketFirst,
    ReadsAnOldPage,
    ChangesARecord,
    ShowsAHole,
    ListsARunTwice,
    ListsOneRunLess,
    GivesALeaseTwice,
    NeverGivesTimed,
    TakesAnyTicket,
    RenewsAnyTicket,
    EndsALeaseFromOutside,
    CountsNoClaims,
    CountsUndriven,
    IgnoresExcept,
    StopsAtExcepted,
    TakesMisfits,
    SaysOpenIsGone,
    ForgetsTombstones,
    // Only seen by several at once, or when a client dies.
    ChecksThenWrites,
    ClaimsTwiceAtOnce,
    WritesInTwo,
}

#[derive(Debug, Default)]
struct Kept {
    leases: Vec<Lease>,
    pages: BTreeMap<LogId, Page>,
    deleted: Vec<LogId>,
}

/// A World in memory with a flaw; clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    world: MemoryWorld,
    flaw: Flaw,
    kept: Arc<Mutex<Kept>>,
    claiming: Arc<AtomicUsize>,
}

type Sites = Mutex<HashMap<(Flaw, String), Broken>>;
static SITES: LazyLock<Sites> = LazyLock::new(Sites::default);

impl Broken {
    pub(super) fn at(site: &str, flaw: Flaw) -> Self {
        let new = || Self {
            world: MemoryWorld::new(),
            flaw,
            kept: Arc::default(),
            claiming: Arc::default(),
        };
        SITES.lock().unwrap().entry((flaw, site.to_owned())).or_insert_with(new).clone()
    }

    async fn head(&self, log: &LogId) -> Position {
        self.world.read(log, Position::START, NonZeroU32::MIN).await.unwrap().head
    }

    fn ticket(&self, log: &LogId) -> Option<Ticket> {
        let kept = self.kept.lock().unwrap();
        let of_run = |lease: &&Lease| log.run() == Some(&lease.run);
        kept.leases.iter().rev().find(of_run).map(|lease| lease.ticket)
    }

    fn give(&self, run: &RunId, ticket: Ticket, until: Timestamp) {
        let lease = Lease {
            run: run.clone(),
            ticket,
            attempt: 1,
            until,
            head: Position::START,
            closed: false,
        };
        self.kept.lock().unwrap().leases.push(lease);
    }
}

fn at_head(append: &Append, head: Position) -> Append {
    let mut append = append.clone();
    append.expected = head;
    for (nth, record) in (1..).zip(&mut append.records) {
        record.position = head.plus(nth);
    }
    append
}

fn by_ticket(append: &Append, new: Ticket) -> Append {
    let mut append = append.clone();
    if let By::Owner { ticket, .. } = &mut append.by {
        *ticket = new;
    }
    append
}

#[async_trait]
impl World for Broken {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let before = self.head(log).await;
        let mut sent = append.clone();
        match (self.flaw, &mut sent.by) {
            (Flaw::ForgetsToClose, By::Owner { close, .. }) if matches!(log, LogId::Run(_)) => {
                *close = false;
            }
            (Flaw::CountsUndriven, By::Owner { rest: Some(release), .. }) => release.driven = true,
            (Flaw::ForgetsToRest, By::Owner { rest, .. }) if !append.records.is_empty() => {
                *rest = None;
            }
            (Flaw::KeepsTheFirstOfABatch, _) if append.expected == before => {
                sent.records.truncate(1);
            }
            (Flaw::ChecksThenWrites, By::Outsider | By::Owner { .. })
                if append.expected == before =>
            {
                tokio::task::yield_now().await;
                sent = at_head(append, self.head(log).await);
            }
            (Flaw::WritesInTwo, By::Outsider) if append.expected == before => {
                let first = Append { records: append.records[..1].to_vec(), ..append.clone() };
                tokio::task::yield_now().await;
                if append.records.len() > 1
                    && let committed @ Ok(Appended::Committed { .. }) =
                        self.world.append(log, &first).await
                {
                    tokio::task::yield_now().await;
                    sent.expected = before.next();
                    sent.records.remove(0);
                    let rest = self.world.append(log, &sent).await;
                    return if let Ok(Appended::Committed { .. }) = rest {
                        rest
                    } else {
                        committed
                    };
                }
            }
            _ => {}
        }
        let answer = match self.world.append(log, &sent).await {
            Err(error) if self.flaw == Flaw::TakesMisfits && error.kind() == ErrorKind::Invalid => {
                return Ok(Appended::NotOpen);
            }
            answer => answer?,
        };
        let after = self.head(log).await;
        if let (LogId::Run(run), By::Creator(new), Appended::Committed { .. }) =
            (log, &append.by, answer)
            && let Some((ticket, until)) = new.lease
        {
            self.give(run, ticket, until);
        }
        let is_resend = matches!(answer, Appended::Committed { .. })
            && before == after
            && !append.records.is_empty();
        let committed = Appended::Committed { head: append.head_after() };
        let is_deleted = self.kept.lock().unwrap().deleted.contains(log);
        Ok(match (self.flaw, answer) {
            (Flaw::KeepsTheFirstOfABatch, Appended::Committed { .. }) if !is_resend => committed,
            (Flaw::CommitsAtAnyHead, Appended::Conflict { head })
                if !matches!(append.by, By::Creator(_)) =>
            {
                self.world.append(log, &at_head(append, head)).await?
            }
            (Flaw::ChecksThenWrites, Appended::Committed { .. }) if !is_resend => committed,
            (Flaw::SkipsAPosition, Appended::Committed { head }) if !is_resend => {
                Appended::Committed { head: head.next() }
            }
            (Flaw::TakesRecordsAfterTheEnd, Appended::NotOpen) if after > Position::START => {
                if is_deleted {
                    answer
                } else {
                    committed
                }
            }
            (Flaw::RefusesARestAfterTheEnd, Appended::Committed { .. })
                if append.records.is_empty() && self.is_closed(log).await =>
            {
                Appended::NotOpen
            }
            (Flaw::KnowsNoResends, _) if is_resend => Appended::Conflict { head: after },
            (Flaw::ComparesTheFirstRecord, Appended::Conflict { head }) => {
                let first = self.world.read(log, append.expected, NonZeroU32::MIN).await?;
                let is_same = first.records.first() == append.records.first();
                if is_same && append.head_after() <= head && !first.records.is_empty() {
                    Appended::Committed { head }
                } else {
                    answer
                }
            }
            (Flaw::AsksForTheTicketFirst, Appended::Committed { .. }) if is_resend => {
                match (&append.by, self.ticket(log)) {
                    (By::Owner { ticket, .. }, now) if now != Some(*ticket) => Appended::Fenced,
                    _ => answer,
                }
            }
            (Flaw::TakesAnyTicket, Appended::Fenced) => match self.ticket(log) {
                Some(ticket) => self.world.append(log, &by_ticket(append, ticket)).await?,
                None => answer,
            },
            (Flaw::EndsALeaseFromOutside, Appended::Committed { head })
                if append.by == By::Outsider && !is_resend =>
            {
                if let (LogId::Run(_), Some(ticket)) = (log, self.ticket(log)) {
                    let rest = Some(Release::driven(Due::Now));
                    let by = By::Owner { ticket, close: false, rest, tags: None };
                    let end = Append { expected: head, records: Vec::new(), at: append.at, by };
                    let _ = self.world.append(log, &end).await;
                }
                answer
            }
            (Flaw::ForgetsTombstones, Appended::NotOpen)
                if is_deleted && matches!(append.by, By::Creator(_)) =>
            {
                committed
            }
            _ => answer,
        })
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let mut page = self.world.read(log, after, limit).await?;
        match self.flaw {
            Flaw::ReadsAnOldPage if after == Position::START => {
                let mut kept = self.kept.lock().unwrap();
                return Ok(kept.pages.entry(log.clone()).or_insert(page).clone());
            }
            Flaw::ChangesARecord => {
                if let Some(Record { body, .. }) = page.records.get_mut(1) {
                    *body = Sealed::from_stored(&b"other"[..]);
                }
            }
            Flaw::ShowsAHole if page.records.len() > 1 => {
                page.records.remove(0);
            }
            _ => {}
        }
        Ok(page)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let now = match self.flaw {
            Flaw::NeverGivesTimed => Timestamp::ZERO,
            _ => claim.now,
        };
        if self.flaw == Flaw::ClaimsTwiceAtOnce {
            self.claiming.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
        let mut claim = Claim { now, ..claim.clone() };
        match self.flaw {
            Flaw::IgnoresExcept => claim.except.clear(),
            Flaw::StopsAtExcepted if !claim.except.is_empty() => {
                claim.queues.clear();
            }
            _ => {}
        }
        let claim = &claim;
        let mut leases = self.world.claim(claim).await?;
        if self.flaw == Flaw::ClaimsTwiceAtOnce {
            tokio::task::yield_now().await;
            if self.claiming.fetch_sub(1, SeqCst) > 1 && leases.is_empty() {
                leases.extend(self.kept.lock().unwrap().leases.last().cloned());
            }
        }
        let mut kept = self.kept.lock().unwrap();
        if self.flaw == Flaw::GivesALeaseTwice && leases.is_empty() {
            leases.extend(kept.leases.iter().find(|old| old.until > claim.now).cloned());
        }
        for lease in &mut leases {
            lease.ticket = claim.ticket;
            lease.until = claim.until;
            if self.flaw == Flaw::CountsNoClaims {
                lease.attempt = 1;
            }
        }
        kept.leases.extend(leases.iter().cloned());
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let mut lease = lease.clone();
        if self.flaw == Flaw::RenewsAnyTicket
            && let Some(ticket) = self.ticket(&LogId::Run(lease.run.clone()))
        {
            lease.ticket = ticket;
        }
        self.world.renew(&lease, until).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let mut page = self.world.list(list).await?;
        if let Some(first) = page.runs.first().cloned().filter(|_| page.next.is_none()) {
            match self.flaw {
                Flaw::ListsARunTwice if page.runs.len() < list.limit.get() as usize => {
                    page.runs.push(first);
                }
                Flaw::ListsOneRunLess => {
                    page.runs.remove(0);
                }
                _ => {}
            }
        }
        Ok(page)
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let deleted = self.world.delete(log, head).await?;
        match deleted {
            Deleted::Done => self.kept.lock().unwrap().deleted.push(log.clone()),
            Deleted::Open if self.flaw == Flaw::SaysOpenIsGone => return Ok(Deleted::Done),
            Deleted::Open | Deleted::Absent => {}
        }
        Ok(deleted)
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world.wait(wait).await
    }
}

impl Broken {
    async fn is_closed(&self, log: &LogId) -> bool {
        let mut list = List::all(NonZeroU32::MAX);
        list.phase = Some(world_core::PhaseKind::Closed);
        let page = self.world.list(&list).await.unwrap();
        page.runs.iter().any(|meta| log == &LogId::Run(meta.run.clone()))
    }
}
