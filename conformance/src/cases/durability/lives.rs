//! Whole lives of runs, from creation to deletion, whose process is killed in between.

use std::sync::Arc;

use futures::future::try_join_all;
use world_core::{Appended, Deleted, Due, LogId, PhaseKind, Renewed, RunId, RunMeta, World};

use super::{draw, durable, killed_after, look};
use crate::{
    failure::{Failure, Verdict, ensure, ensure_eq},
    kit::*,
    part::Stage,
    rule::Rule,
    subject::Subject,
};

pub(super) const PART: &str = "lives";

const KILLS: u64 = 6;
const LANES: u8 = 4;

/// The steps of a life: created, claimed, progress, signal, closed, deleted.
const STEPS: u64 = 6;

/// When every lease is taken, and when it runs out.
const CLAIMED: u64 = 10;
const UNTIL: u64 = 1_000_000;

/// One life after the other: `steps` of them all were done.
#[derive(Clone, Copy, Debug)]
struct Lives {
    lane: u8,
    steps: u64,
}

impl Lives {
    const fn step(self) -> u64 {
        self.steps % STEPS
    }

    fn run(self) -> RunId {
        id(&format!("life-{}-{}", self.lane, self.steps / STEPS))
    }

    fn log(self) -> LogId {
        LogId::Run(self.run())
    }

    fn queue(self) -> String {
        format!("lives-{}", self.lane)
    }

    /// Takes the next step.
    async fn go_on(self, world: &dyn World) -> Verdict {
        let (log, owner_ticket) = (self.log(), self.lane);
        let answer = match self.step() {
            0 => world.append(&log, &create_in(&self.queue(), Due::Now, 1)).await?,
            1 => {
                let claim = claim(&[&self.queue()], owner_ticket, CLAIMED, UNTIL, 1);
                return match look::lease(world, &claim, &self.run()).await? {
                    Some(_) => Ok(()),
                    None => Err(Failure::broken(Rule::L2, format!("{log}: due, and never given"))),
                };
            }
            2 => world.append(&log, &append(1, &["progress"], 3, owner(owner_ticket))).await?,
            3 => world.append(&log, &append(2, &["signal"], 4, world_core::By::Outsider)).await?,
            4 => {
                let close = close(owner_ticket, Some(Due::Never));
                world.append(&log, &append(3, &["end"], 5, close)).await?
            }
            _ => {
                let deleted = world.delete(&log, pos(4)).await?;
                ensure_eq!(D1, deleted, Deleted::Done, "{log}: its deletion, closed at 4");
                return Ok(());
            }
        };
        match answer {
            Appended::Committed { .. } => Ok(()),
            answer => {
                let step = self.step();
                Err(Failure::failed(format!("{log}: step {step} of its life: {answer:?}")))
            }
        }
    }

    /// Checks that all steps are there, and at most one more; gives how many there are.
    async fn check(self, world: &dyn World) -> Verdict<u64> {
        let (log, acknowledged) = (self.log(), self.step());
        let done = self.found(world).await?;
        let names = ["created", "claimed", "given progress", "signalled", "closed", "deleted"];
        let last = names[..usize::try_from(acknowledged).unwrap_or(0)].last().unwrap_or(&"nothing");
        let lost = || {
            format!(
                "{log}: it was {last} and that was acknowledged before the kill; {done} of these \
                 {acknowledged} steps are there: {}",
                names.join(", ")
            )
        };
        match acknowledged {
            2 => ensure!(L1, done >= acknowledged, "{}", lost()),
            _ => ensure!(R1, done >= acknowledged, "{}", lost()),
        }
        ensure!(A1, done <= acknowledged + 1, "{log}: {done} steps are done, {acknowledged} told");
        if (2..5).contains(&done) {
            self.check_lease(world, done - 1).await?;
        }
        if let Some(before) = self.steps.checked_sub(acknowledged + 1) {
            Self { steps: before, ..self }.check_tombstone(world).await?;
        }
        if done == STEPS {
            self.check_tombstone(world).await?;
        }
        Ok(self.steps - acknowledged + done)
    }

    /// How many steps of this life the store shows.
    async fn found(self, world: &dyn World) -> Verdict<u64> {
        let log = self.log();
        let records = look::log_left(world, &log).await?;
        for (record, wanted) in records.iter().zip(["created", "progress", "signal", "end"]) {
            let (found, at) = (record.body.as_bytes(), record.position);
            ensure!(R2, found == wanted.as_bytes(), "{log}: the record {at} is not {wanted:?}");
        }
        let fits = |meta: Option<&RunMeta>| {
            let phase = meta.map(|meta| meta.phase.kind());
            match records.len() {
                0 => phase.is_none(),
                1 => matches!(phase, Some(PhaseKind::Ready | PhaseKind::Leased)),
                2 | 3 => phase == Some(PhaseKind::Leased),
                _ => phase == Some(PhaseKind::Closed),
            }
        };
        let phase = look::meta(world, &self.run(), fits).await?.map(|meta| meta.phase.kind());
        let done = match (records.len(), phase) {
            // A deleted run looks like one that never was; its tombstone is checked by itself.
            (0, None) => [0, STEPS][usize::from(self.step() >= STEPS - 1)],
            (1, Some(PhaseKind::Ready)) => 1,
            (1, Some(PhaseKind::Leased)) => 2,
            (2, Some(PhaseKind::Leased)) => 3,
            (3, Some(PhaseKind::Leased)) => 4,
            (4, Some(PhaseKind::Closed)) => 5,
            (records, phase) => {
                let what = format!(
                    "{log}: {records} records, and its phase is {phase:?}: no append has left this"
                );
                return Err(Failure::broken(Rule::A4, what));
            }
        };
        Ok(done)
    }

    /// The lease is still there: its ticket is current, and nobody else gets the run.
    async fn check_lease(self, world: &dyn World, head: u64) -> Verdict {
        let log = self.log();
        let thief = claim(&[&self.queue()], 99, CLAIMED + 1, UNTIL, 8);
        for _ in 0..4 {
            let stolen = world.claim(&thief).await?;
            ensure!(L1, stolen.is_empty(), "{log}: its lease was given again after the kill");
        }
        let lease = world_core::Lease {
            run: self.run(),
            ticket: ticket(self.lane),
            attempt: 1,
            until: at(UNTIL),
            head: pos(head),
            closed: false,
        };
        let renewed = world.renew(&lease, at(UNTIL)).await?;
        let held = Renewed::Held { head: pos(head) };
        ensure_eq!(L3, renewed, held, "{log}: the renewal by its owner after the kill");
        Ok(())
    }

    async fn check_tombstone(self, world: &dyn World) -> Verdict {
        let (log, again) = (self.log(), create_in(&self.queue(), Due::Now, 1));
        let answer = world.append(&log, &again).await?;
        ensure_eq!(D2, answer, Appended::NotOpen, "{log}: its creation again, after its deletion");
        Ok(())
    }

    /// The claims of the run were counted, also the one before the kill.
    async fn check_attempt(self, world: &dyn World) -> Verdict {
        let log = self.log();
        let wanted = match self.step() {
            1 => 1,
            2..5 => 2,
            _ => return Ok(()),
        };
        let claim = claim(&[&self.queue()], 98, UNTIL + 1, UNTIL + 2, 8);
        let Some(lease) = look::lease(world, &claim, &self.run()).await? else {
            let what = format!("{log}: its lease has run out, and nobody gets it");
            return Err(Failure::broken(Rule::L2, what));
        };
        ensure_eq!(L5, lease.attempt, wanted, "{log}: the attempt of the first claim after a kill");
        Ok(())
    }
}

pub(super) async fn claims_and_deletions_are_kept(subject: Subject) -> Verdict {
    durable(&subject).await?;
    let first = subject.settings().seed;
    let mut all: Vec<_> = (1..=LANES).map(|lane| Lives { lane, steps: 0 }).collect();
    for seed in subject.seeds(KILLS) {
        let steps: Vec<_> = all.iter().map(|lives| lives.steps).collect();
        let player = subject.play(PART, &steps)?;
        for line in killed_after(player, 1 + draw(seed, 3) % 40).await? {
            note(&line, &mut all);
        }
        subject.injected(1);
        let world = subject.open().await?;
        for lives in &mut all {
            lives.steps = lives.check(&*world).await.map_err(|failure| failure.at_seed(first))?;
        }
    }
    let world = subject.open().await?;
    for lives in all {
        lives.check_attempt(&*world).await.map_err(|failure| failure.at_seed(first))?;
    }
    Ok(())
}

/// Takes note of `lived <lane> <steps>`.
fn note(line: &str, all: &mut [Lives]) {
    let mut words = line.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
    if let (Some(lane), Some(steps)) = (words.next(), words.next())
        && let Some(lives) = all.iter_mut().find(|lives| u64::from(lives.lane) == lane)
    {
        lives.steps = steps.max(lives.steps);
    }
}

/// Lives in every lane at once, and tells of each step.
pub(super) async fn play(stage: Stage) -> Verdict {
    let world = stage.open().await?;
    let tasks = (1..=LANES).map(|lane| {
        let steps = stage.argument(usize::from(lane) - 1);
        let world = Arc::clone(&world);
        async move { tokio::spawn(live(world, Lives { lane, steps })).await? }
    });
    try_join_all(tasks).await.map(drop)
}

async fn live(world: Arc<dyn World>, mut lives: Lives) -> Verdict {
    loop {
        lives.go_on(&*world).await?;
        lives.steps += 1;
        Stage::tell(format!("lived {} {}", lives.lane, lives.steps));
    }
}
