//! What is left behind: every kind of change, once as the very last one before a kill, so that
//! nothing written later can make up for it.

use world_core::{Appended, By, Deleted, Due, Lease, LogId, Record, Renewed, RunId, Tag, World};

use super::{DONE, durable, killed_after, look};
use crate::{
    failure::{Failure, Verdict, ensure, ensure_eq},
    kit::*,
    part::Stage,
    rule::Rule,
    subject::Subject,
};

pub(super) const PART: &str = "left";

/// The kinds of changes, in turn: see [`Left::leave`].
const KINDS: u64 = 17;

const FEW: [&str; 5] = ["one", "two", "three", "four", "five"];
const MANY: [&str; 40] = ["one of many"; 40];

/// The time of leases that are short, and of those that are longer.
const SHORT: u64 = 100;
const LONG: u64 = 1_000;

/// The `n`-th log, and what is left of it.
#[derive(Clone, Copy, Debug)]
struct Left(u64);

pub(super) async fn what_was_left_is_as_it_was_left(subject: Subject) -> Verdict {
    durable(&subject).await?;
    for last in 0..KINDS {
        let player = subject.play(PART, &[last])?;
        killed_after(player, u64::MAX).await?; // once it has told that all is done
        subject.injected(1);
        let world = subject.open().await?;
        for left in up_to(last) {
            left.check(&*world).await?;
        }
    }
    Ok(())
}

/// One of each kind up to the last one; no two processes leave the same.
fn up_to(last: u64) -> impl Iterator<Item = Left> {
    (0..=last).map(move |kind| Left(KINDS * last + kind))
}

/// Leaves one after the other, tells that the last one was acknowledged, and stands still until it
/// is killed.
pub(super) async fn play(stage: Stage) -> Verdict {
    let world = stage.open().await?;
    for left in up_to(stage.argument(0)) {
        left.leave(&*world).await?;
    }
    Stage::tell(DONE);
    std::future::pending().await
}

impl Left {
    const fn kind(self) -> u64 {
        self.0 % KINDS
    }

    fn name(self) -> String {
        format!("left-{}", self.0)
    }

    fn run(self) -> RunId {
        id(&self.name())
    }

    /// What is left: a run's own log, unless it is of another kind.
    fn log(self) -> LogId {
        match self.kind() {
            10 | 16 => stream(&self.name(), "stream"),
            11 | 12 => token(&self.name()),
            _ => run(&self.name()),
        }
    }

    fn tags(self) -> Vec<Tag> {
        vec![Tag::from_bytes(u128::from(self.0).to_be_bytes())]
    }

    /// Creates the run with a lease, in a queue of its own.
    async fn create_leased(self, world: &dyn World, until: world_core::Timestamp) -> Verdict {
        let mut creation = create_in(&self.name(), Due::Now, 1);
        if let By::Creator(new) = &mut creation.by {
            new.lease = Some((ticket(1), until));
        }
        put(world, &run(&self.name()), &creation).await
    }

    /// Makes one change, behind what it needs.
    async fn leave(self, world: &dyn World) -> Verdict {
        let (log, name, kind) = (self.log(), self.name(), self.kind());
        match kind {
            0 | 2 => put(world, &log, &create_in(&name, Due::Now, 1)).await?,
            3 | 13 => self.create_leased(world, at(SHORT)).await?,
            6 => put(world, &log, &create_in(&name, Due::Never, 1)).await?,
            14 => self.create_leased(world, at(LONG)).await?,
            11 | 12 => {}
            _ => self.create_leased(world, FAR).await?,
        }
        let tags =
            By::Owner { ticket: ticket(1), close: false, rest: None, tags: Some(self.tags()) };
        let change = match kind {
            1 => append(1, &MANY, 2, owner(1)),
            4 => append(1, &[], 2, rest(1, Due::At(at(50)))),
            5 => append(1, &["slept"], 2, rest(1, Due::At(at(50)))),
            6 => append(1, &["signal"], 2, By::Outsider),
            7 => append(1, &[], 2, tags),
            8 => append(1, &["end"], 2, close(1, None)),
            9 => append(1, &["end"], 2, close(1, Some(Due::Never))),
            10 => append(0, &FEW, 2, owner(1)),
            11 | 12 => append(0, &["claim"], 1, By::Outsider),
            13 => {
                self.claimed(world, 2, SHORT).await?;
                append(1, &["progress"], 2, owner(2))
            }
            15 => append(1, &["one"], 2, owner(1)),
            16 => append(0, &["chunk"], 2, owner(1)),
            2 => return self.claimed(world, 1, 10).await.map(drop),
            3 => {
                let renewed = world.renew(&self.lease(), at(LONG)).await?;
                ensure_eq!(L3, renewed, Renewed::Held { head: pos(1) }, "{log}: a renewal");
                return Ok(());
            }
            _ => return Ok(()),
        };
        put(world, &log, &change).await?;
        if let 9 | 12 = kind {
            let deleted = world.delete(&log, change.head_after()).await?;
            ensure_eq!(D1, deleted, Deleted::Done, "{log}: its deletion");
        }
        Ok(())
    }

    /// A lease under the first ticket.
    fn lease(self) -> Lease {
        let (run, head) = (self.run(), pos(1));
        Lease { run, ticket: ticket(1), attempt: 1, until: at(LONG), head, closed: false }
    }

    /// Claims what is due, until [`LONG`].
    async fn claimed(self, world: &dyn World, number: u8, now: u64) -> Verdict<Lease> {
        let claim = claim(&[&self.name()], number, now, LONG.max(now + 1), 8);
        let absent = || Failure::broken(Rule::L2, format!("{}: due, and never given", self.log()));
        look::lease(world, &claim, &self.run()).await?.ok_or_else(absent)
    }

    /// Whether a claim gets it that should not.
    async fn is_given(self, world: &dyn World, now: u64) -> Verdict<bool> {
        let claim = claim(&[&self.name()], 9, now, now + 1, 8);
        for _ in 0..4 {
            if !world.claim(&claim).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The records that must be there. Of a batch, some without the others break rule A1.
    async fn check_records(self, world: &dyn World) -> Verdict {
        let (log, kind) = (self.log(), self.kind());
        let (first, others): (&[&str], &[&str]) = match kind {
            1 => (&["created"], &MANY),
            5 => (&["created"], &["slept"]),
            6 => (&["created"], &["signal"]),
            8 => (&["created"], &["end"]),
            10 => (&[], &FEW),
            11 => (&[], &["claim"]),
            13 => (&["created"], &["progress"]),
            15 => (&["created"], &["one"]),
            16 => (&[], &["chunk"]),
            9 | 12 => return Ok(()),
            _ => (&["created"], &[]),
        };
        let records = look::log(world, &log).await?;
        let body = |record: &Record| String::from_utf8_lossy(record.body.as_bytes()).into_owned();
        let seen: Vec<_> = records.iter().map(body).collect();
        let wanted: Vec<_> = [first, others].concat();
        let there = seen.len().saturating_sub(first.len());
        let is_whole = there == 0 || there == others.len();
        ensure!(A1, is_whole, "{log}: of a batch of {}, {there} records are there", others.len());
        ensure_eq!(R1, seen, wanted, "{log}: what was acknowledged before the kill");
        Ok(())
    }

    async fn check(self, world: &dyn World) -> Verdict {
        self.check_records(world).await?;
        match self.kind() {
            0 => self.claimed(world, 2, 10).await.map(drop),
            2 | 3 | 13 | 14 => self.check_lease(world).await,
            4 | 5 => self.check_rest(world).await,
            6 => {
                let is_given = self.is_given(world, 10).await?;
                ensure!(L4, is_given, "{}: a signal is there, and it is not due", self.log());
                Ok(())
            }
            7 => self.check_tags(world).await,
            8 => {
                let answer = world.append(&self.log(), &append(2, &["late"], 3, owner(1))).await?;
                let what = "a record behind its end, which is there";
                ensure_eq!(A4, answer, Appended::NotOpen, "{}: {what}", self.log());
                Ok(())
            }
            9 | 12 => self.check_deletion(world).await,
            _ => Ok(()),
        }
    }

    /// It is leased until its time, and then given with the right attempt.
    async fn check_lease(self, world: &dyn World) -> Verdict {
        let (log, early) = (self.log(), self.is_given(world, LONG / 2).await?);
        ensure!(L1, !early, "{log}: leased until {LONG}, and given at {}", LONG / 2);
        let attempt = self.claimed(world, 3, LONG).await?.attempt;
        // One lease is the first; what was written under the last one makes that the first again.
        ensure_eq!(L5, attempt, 2, "{log}: the attempt of the first claim after the kill");
        Ok(())
    }

    /// The lease was given back, and it is due at its time.
    async fn check_rest(self, world: &dyn World) -> Verdict {
        let log = self.log();
        let renewed = world.renew(&self.lease(), at(LONG)).await?;
        if self.kind() == 5 {
            let what = "a renewal under the ticket with which its last record was to rest";
            ensure_eq!(A4, renewed, Renewed::Lost, "{log}: {what}");
        }
        ensure_eq!(L3, renewed, Renewed::Lost, "{log}: a renewal under the ticket that rested");
        ensure!(L2, !self.is_given(world, 49).await?, "{log}: rests until 50, and given at 49");
        self.claimed(world, 3, 50).await.map(drop)
    }

    async fn check_tags(self, world: &dyn World) -> Verdict {
        let tags = self.tags();
        let has_tags = |meta: &world_core::RunMeta| meta.tags == tags;
        let meta = look::meta(world, &self.run(), |meta| meta.is_some_and(has_tags)).await?;
        let seen = meta.map(|meta| meta.tags);
        ensure_eq!(A4, seen, Some(tags), "{}: the tags that its owner has set", self.log());
        Ok(())
    }

    async fn check_deletion(self, world: &dyn World) -> Verdict {
        let (log, is_token) = (self.log(), self.kind() == 12);
        let records = look::log_left(world, &log).await?;
        ensure!(D2, records.is_empty(), "{log}: deleted, and {} records show", records.len());
        let (again, wanted) = match is_token {
            true => (append(0, &["claim"], 1, By::Outsider), conflict(1)),
            false => (create_in(&self.name(), Due::Now, 1), Appended::NotOpen),
        };
        let answer = world.append(&log, &again).await?;
        ensure_eq!(D2, answer, wanted, "{log}: its first append again, after its deletion");
        Ok(())
    }
}

async fn put(world: &dyn World, log: &LogId, append: &world_core::Append) -> Verdict {
    let answer = world.append(log, append).await?;
    let wanted = committed(append.head_after().get());
    ensure_eq!(A2, answer, wanted, "{log}: the append at {}", append.expected);
    Ok(())
}
