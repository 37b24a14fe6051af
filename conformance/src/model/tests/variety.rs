//! Drawn histories meet every answer, so that no rule holds only because nobody asked.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{Arc, LazyLock, Mutex},
};

use async_trait::async_trait;
use world_core::{
    Append, Appended, By, Claim, Deleted, Lease, List, LogId, MemoryWorld, Page, Position, Release,
    Renewed, Result, RunPage, Timestamp, Wait, World, WorldInfo,
};

use crate::{Group, Settings, Suite};

type Met = Arc<Mutex<BTreeMap<String, u64>>>;

/// A World in memory that counts what it answers.
#[derive(Clone, Debug)]
struct Counting {
    world: MemoryWorld,
    met: Met,
}

impl Counting {
    fn met(&self, what: impl Into<String>) {
        *self.met.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    async fn head(&self, log: &LogId) -> Position {
        self.world.read(log, Position::START, NonZeroU32::MIN).await.unwrap().head
    }
}

#[async_trait]
impl World for Counting {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let before = self.head(log).await;
        let Ok(answer) = self.world.append(log, append).await else {
            self.met("append: refused");
            return self.world.append(log, append).await;
        };
        let kind = match (log, &append.by) {
            (LogId::Stream(..), _) => "stream",
            (LogId::Token(_), _) => "token",
            (LogId::Run(_), By::Creator(_)) => "creator",
            (LogId::Run(_), By::Outsider) => "outsider",
            (LogId::Run(_), By::Owner { close: true, .. }) => "closing",
            (LogId::Run(_), By::Owner { rest: Some(_), .. }) => "resting",
            (LogId::Run(_), By::Owner { .. }) => "owner",
        };
        if let By::Owner { rest: Some(Release { driven: false, .. }), .. } = append.by {
            self.met(match answer {
                Appended::Committed { .. } => "undriven: Committed".to_owned(),
                Appended::Conflict { .. } => "undriven: Conflict".to_owned(),
                answer => format!("undriven: {answer:?}"),
            });
        }
        let is_there = before >= append.head_after() && !append.records.is_empty();
        self.met(match answer {
            Appended::Committed { .. } if is_there => format!("{kind}: again"),
            Appended::Committed { .. } => format!("{kind}: Committed"),
            Appended::Conflict { head } if append.expected > head => format!("{kind}: ahead"),
            Appended::Conflict { .. } => format!("{kind}: Conflict"),
            answer => format!("{kind}: {answer:?}"),
        });
        Ok(answer)
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let page = self.world.read(log, after, limit).await?;
        let is_last = page.records.last().is_none_or(|record| record.position == page.head);
        self.met(format!("page: {}", if is_last { "to the head" } else { "more follow" }));
        Ok(page)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let leases = self.world.claim(claim).await?;
        self.met(format!("claim: {} leases", leases.len()));
        if !claim.except.is_empty() {
            self.met(format!("excepting claim: {} leases", leases.len().min(1)));
        }
        for lease in &leases {
            self.met(if lease.attempt > 1 { "lease: again" } else { "lease: first" });
            self.met(if lease.closed { "lease: closed" } else { "lease: open" });
        }
        Ok(leases)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let renewed = self.world.renew(lease, until).await?;
        self.met(if renewed == Renewed::Lost { "renew: Lost" } else { "renew: Held" });
        Ok(renewed)
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let page = self.world.list(list).await?;
        self.met(format!("list: {} runs", page.runs.len()));
        Ok(page)
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let deleted = self.world.delete(log, head).await?;
        let kind = if log.run().is_some() { "run" } else { "token" };
        self.met(format!("delete {kind}: {deleted:?}"));
        Ok(deleted)
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world.wait(wait).await
    }
}

static SITES: LazyLock<Mutex<HashMap<String, MemoryWorld>>> = LazyLock::new(Mutex::default);

#[test]
fn drawn_histories_meet_every_answer() {
    let met = Met::default();
    let counts = Arc::clone(&met);
    let open = move |site: crate::Site| {
        let world = SITES.lock().unwrap().entry(site.name().to_owned()).or_default().clone();
        let counting = Counting { world, met: Arc::clone(&counts) };
        async move { Ok::<_, String>(counting) }
    };
    let suite = Suite::new("counting", open);
    let of_one_writer =
        |case: &crate::Case| case.group() == Group::Model && case.name().contains("of_one_writer");
    let report = suite.run(Settings::default(), of_one_writer);
    assert_eq!(report.failed().count(), 0);
    let met = met.lock().unwrap().clone();
    println!("{met:#?}");
    let by = |kind: &'static str, answers: &'static [&'static str]| {
        answers.iter().map(move |answer| format!("{kind}: {answer}"))
    };
    let all = ["Committed", "again", "Conflict", "ahead", "Fenced", "NotOpen"];
    let wanted = by("creator", &["Committed", "again", "Conflict", "NotOpen"])
        .chain(by("outsider", &["Committed", "again", "Conflict", "ahead", "NotOpen"]))
        .chain(
            ["owner", "resting", "closing", "stream"]
                .into_iter()
                .flat_map(|kind| all.iter().map(move |answer| format!("{kind}: {answer}"))),
        )
        .chain(by("token", &["Committed", "again", "Conflict", "ahead"]))
        .chain(by("claim", &["0 leases", "1 leases", "2 leases"]))
        .chain(by("undriven", &["Committed", "Conflict", "Fenced", "NotOpen"]))
        .chain(by("excepting claim", &["0 leases", "1 leases"]))
        .chain(by("lease", &["first", "again", "open", "closed"]))
        .chain(by("renew", &["Held", "Lost"]))
        .chain(by("page", &["to the head", "more follow"]))
        .chain(by("list", &["0 runs", "1 runs", "2 runs", "3 runs"]))
        .chain(by("delete run", &["Done", "Open", "Absent"]))
        .chain(by("delete token", &["Done", "Open", "Absent"]))
        .chain(by("append", &["refused"]));
    for answer in wanted {
        assert!(met.get(&answer).is_some_and(|times| *times >= 3), "{answer}: too seldom");
    }
}
