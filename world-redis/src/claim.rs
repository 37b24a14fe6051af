//! Claiming due runs: the shards in turn, and in each the ready and the timed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use tokio::time::timeout;
use world_core::{Claim, Lease, LogId, Position, Queue, Renewed, Result, RunId, Timestamp};

use crate::{
    append::{Answer, flag},
    clock::ClockCheck,
    error::{Stage, corrupt, no_answer, nonsense},
    keys::{Keys, Shard},
    lineage::regressed,
    script::{CLAIM, Call, LOOK as LOOK_SCRIPT, RENEW},
    server::Link,
    state,
    store::Store,
    wait::LOOK,
};

/// The most leases that one script gives, so that it holds the server for a moment only.
const LEASES_MAX: u32 = 256;
/// The sets of queues that are remembered; beyond them all are forgotten, and begin anew.
const REMEMBERED_MAX: usize = 4096;

impl Store {
    /// Takes leases: from the shards in turn, and in each from the ready and the timed in turn.
    pub(crate) async fn claim(self: &Arc<Self>, claim: &Claim) -> Result<Vec<Lease>> {
        let clock = self.clock_check(claim);
        let shards = self.keys.shards();
        let turn = self.turns.next(&claim.queues, shards);
        let mut shards: Vec<Shard> = turn.shards(shards).collect();
        if shards.len() > 1 {
            shards = self.due(shards.into_iter(), &claim.queues, Some(claim)).await?;
        }
        let changes = self.changes_told(&claim.queues).await?;
        let limit = usize::try_from(claim.limit.get()).unwrap_or(usize::MAX);
        let (mut leases, mut failed) = (Vec::new(), None);
        for shard in shards {
            if leases.len() >= limit {
                break;
            }
            let limit = limit - leases.len();
            match self.claim_in(claim, clock, turn, shard, limit, changes).await {
                Ok(given) => leases.extend(given),
                // What was claimed, or can be in other shards, is not to be lost with an error.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if leases.is_empty() => Err(error),
            _ => Ok(leases),
        }
    }

    /// How often another store has come to answer, of which who claims these queues knows; one who
    /// does not is refused, once, before anything is claimed.
    async fn changes_told(&self, queues: &[Queue]) -> Result<u64> {
        for shard in 0..self.keys.shards() {
            if let Some(link) = self.server.known_link(&self.keys.runs(shard)) {
                self.lineage.see(shard, &link);
            }
        }
        let changes = self.lineage.changes();
        if self.turns.told(queues) == changes {
            return Ok(changes);
        }
        self.make_again().await?;
        self.turns.tell(queues, changes);
        Err(regressed())
    }

    /// Claims in one shard, whose server compares the clocks first.
    async fn claim_in(
        &self,
        claim: &Claim,
        clock: Option<ClockCheck>,
        turn: Turn,
        shard: Shard,
        limit: usize,
        changes: u64,
    ) -> Result<Vec<Lease>> {
        let call = |clock| call(&self.keys, turn, shard, claim, clock, limit);
        let may = |link: &Link| {
            self.lineage.see(shard, link);
            if self.lineage.changes() == changes { Ok(()) } else { Err(regressed()) }
        };
        let (mut answer, mut link): (Claimed, Link) =
            self.server.run(Stage::Write, &call(clock), may).await?;
        if let (Some(server), Some(clock)) = (answer.0, clock) {
            if !clock.was_late(server) {
                return Err(clock.refuse(server, &link.address));
            }
            // Nothing was taken: so it may be sent again, and now without the comparison.
            (answer, link) = self.server.run(Stage::Write, &call(None), may).await?;
        }
        let (_, given) = answer;
        if !given.is_empty() {
            self.lineage.note(shard, &link, claim.ticket);
        }
        given.into_iter().map(|given| lease(claim, given)).collect()
    }

    /// Those of some shards that have a due run, in their order; all are asked at once. One that
    /// cannot be asked, or does not answer soon, is no reason to leave the others, unless none of
    /// them has one.
    pub(crate) async fn due(
        self: &Arc<Self>,
        shards: impl Iterator<Item = Shard>,
        queues: &[Queue],
        claim: Option<&Claim>,
    ) -> Result<Vec<Shard>> {
        let asked = shards.map(|shard| {
            let (this, call) = (Arc::clone(self), self.look(shard, queues, claim));
            // A task of its own, so that a silent server is found out also if nobody waits for it.
            let asking = tokio::spawn(async move { this.server.read::<bool>(&call).await });
            async move {
                let is_due = match timeout(LOOK, asking).await {
                    Ok(asked) => asked.unwrap_or_else(|_| Err(no_answer())),
                    Err(_) => Err(no_answer()),
                };
                (shard, is_due)
            }
        });
        let (mut due, mut failed) = (Vec::new(), None);
        for (shard, is_due) in join_all(asked).await {
            match is_due {
                Ok(true) => due.push(shard),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if due.is_empty() => Err(error),
            _ => Ok(due),
        }
    }

    fn clock_check(&self, claim: &Claim) -> Option<ClockCheck> {
        self.options.clock_check.then(|| ClockCheck::begin(claim.now, claim.until))
    }

    /// The call that says whether a shard has a ready run; for a claim, also whether it has one whose
    /// time has come and that the claim does not except.
    fn look(&self, shard: Shard, queues: &[Queue], claim: Option<&Claim>) -> Call {
        let keys = &self.keys;
        let after =
            claim.map_or_else(String::new, |claim| state::millis(claim.now.as_millis() + 1));
        let clock = claim.and_then(|claim| self.clock_check(claim));
        let except = claim.map_or_else(Vec::new, |claim| excepted(keys, shard, claim));
        Call::new(&LOOK_SCRIPT, [keys.runs(shard), keys.due(shard)])
            .arg(after)
            .arg(clock.map_or_else(String::new, ClockCheck::most))
            .arg(except.len().to_string())
            .args(except)
            .args(distinct(queues))
    }

    /// Moves the end of a lease.
    pub(crate) async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let shard = self.keys.shard(&lease.run.clone().into());
        let call = renew(&self.keys, lease, until);
        let (answer, link): (Answer, _) = self.server.run(Stage::Write, &call, |_| Ok(())).await?;
        match answer.word.as_str() {
            "held" => {
                // Its owner knows nothing of the log, and so nothing that is lost.
                if lease.head == Position::START {
                    self.lineage.note(shard, &link, lease.ticket);
                }
                Ok(Renewed::Held { head: answer.head()? })
            }
            "lost" => Ok(Renewed::Lost),
            "corrupt" => {
                let log = LogId::Run(lease.run.clone());
                Err(corrupt(&log, None, "a run whose state cannot be read"))
            }
            _ => Err(nonsense()),
        }
    }
}

/// Whose turn it is, for each set of queues that is claimed: which shard is asked first, and
/// whether its ready or its timed go first.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Vec<Queue>, Next>>);

#[derive(Clone, Copy, Debug, Default)]
struct Next {
    round: u64,
    /// The changes of the store that who claims was told of.
    told: u64,
}

/// A claim's turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    first: Shard,
    is_timed_first: bool,
}

impl Turns {
    /// The turn of a claim.
    fn next(&self, queues: &[Queue], shards: u16) -> Turn {
        self.with(queues, |next| {
            let (shards, round) = (u64::from(shards), next.round);
            next.round += 1;
            Turn {
                first: u16::try_from(round % shards).unwrap_or_default(),
                is_timed_first: round / shards % 2 == 1,
            }
        })
    }

    /// Of how many changes of the store who claims these queues was told.
    fn told(&self, queues: &[Queue]) -> u64 {
        self.with(queues, |next| next.told)
    }

    fn tell(&self, queues: &[Queue], changes: u64) {
        self.with(queues, |next| next.told = changes);
    }

    fn with<T>(&self, queues: &[Queue], does: impl FnOnce(&mut Next) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = all.get_mut(queues) {
            return does(next);
        }
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        does(all.entry(queues.to_vec()).or_default())
    }
}

impl Turn {
    /// The shards, from the one whose turn it is.
    fn shards(self, shards: u16) -> impl Iterator<Item = Shard> {
        (self.first..shards).chain(0..self.first)
    }
}

fn distinct(queues: &[Queue]) -> Vec<&str> {
    let mut distinct: Vec<&str> = Vec::new();
    for queue in queues {
        if !distinct.contains(&queue.as_str()) {
            distinct.push(queue.as_str());
        }
    }
    distinct
}

/// The runs of a shard that a claim excepts.
fn excepted<'a>(keys: &Keys, shard: Shard, claim: &'a Claim) -> Vec<&'a str> {
    let is_here = |run: &&RunId| keys.shard(&LogId::Run((*run).clone())) == shard;
    claim.except.iter().filter(is_here).map(RunId::as_str).collect()
}

/// The call that claims in one shard, at most `limit` runs.
fn call(
    keys: &Keys,
    turn: Turn,
    shard: Shard,
    claim: &Claim,
    clock: Option<ClockCheck>,
    limit: usize,
) -> Call {
    let limit = u32::try_from(limit).unwrap_or(LEASES_MAX).min(LEASES_MAX);
    let except = excepted(keys, shard, claim);
    Call::new(&CLAIM, [keys.runs(shard), keys.due(shard)])
        .arg(state::ticket(&claim.ticket))
        .arg(state::millis(claim.now.as_millis() + 1))
        .arg(state::time(claim.until))
        .arg(limit.to_string())
        .arg(flag(turn.is_timed_first))
        .arg(clock.map_or_else(String::new, ClockCheck::most))
        .arg(except.len().to_string())
        .args(except)
        .args(distinct(&claim.queues))
}

/// A lease as the script gives it: run, attempt, head, phase.
type Given = (String, u32, u64, String);

/// The script's answer: the server's time if the claim's differs too much, and the leases.
type Claimed = (Option<u64>, Vec<Given>);

fn lease(claim: &Claim, (run, attempt, head, phase): Given) -> Result<Lease> {
    Ok(Lease {
        run: RunId::new(run).map_err(|error| nonsense().source(error))?,
        ticket: claim.ticket,
        attempt,
        until: claim.until,
        head: Position::new(head),
        closed: phase == "closed",
    })
}

/// The call that renews a lease.
fn renew(keys: &Keys, lease: &Lease, until: Timestamp) -> Call {
    let shard = keys.shard(&lease.run.clone().into());
    Call::new(&RENEW, [keys.runs(shard), keys.due(shard)])
        .arg(lease.run.as_str())
        .arg(state::ticket(&lease.ticket))
        .arg(state::time(until))
}
