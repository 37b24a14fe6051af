//! Everything that a World knows, before and after all its handles were closed.

use std::collections::BTreeMap;

use world_core::{
    Appended, By, Deleted, Due, Lease, LogId, NewRun, Record, Renewed, RunMeta, Tag, World,
};

use super::{durable, look};
use crate::{
    failure::{Failure, Verdict, ensure_eq},
    kit::*,
    rule::Rule,
    subject::Subject,
};

/// The ticket of the run that is leased all the time.
const OWNER: u8 = 1;

/// How often everything is closed and opened again.
const REOPENINGS: u64 = 3;

pub(super) async fn everything_is_there_after_a_reopening(subject: Subject) -> Verdict {
    durable(&subject).await?;
    let world = subject.open().await?;
    fill(&*world).await?;
    let before = Snapshot::of(&*world).await?;
    drop(world);
    for reopening in 1..=REOPENINGS {
        let world = subject.open().await?;
        let after = Snapshot::of(&*world).await?;
        let what = format!("after reopening {reopening}");
        for (log, records) in &before.logs {
            ensure_eq!(R1, after.logs.get(log), Some(records), "{log} {what}");
        }
        ensure_eq!(R1, after.runs, before.runs, "the runs that are listed {what}");
        tombstones(&*world, &what).await?;
        held(&*world, &what).await?;
    }
    due(&*subject.open().await?).await?;
    next_claims(&*subject.open().await?).await
}

/// Every log that is made here.
fn logs() -> Vec<LogId> {
    let runs = ["open", "ready", "waiting", "parked", "closed", "deleted", "tried"];
    let others = [stream("open", "output"), token("taken"), token("free")];
    runs.into_iter().map(run).chain(others).collect()
}

/// Brings runs into every state that there is, and logs of every kind.
async fn fill(world: &dyn World) -> Verdict {
    let mut millis = 10;
    let mut write = async |log: LogId, expected, bodies: &[&str], by| -> Verdict {
        millis += 1;
        let answer = world.append(&log, &append(expected, bodies, millis, by)).await?;
        let wanted = committed(expected + bodies.len() as u64);
        ensure_eq!(A2, answer, wanted, "{log}: the append at {expected}");
        Ok(())
    };
    let leased = |number: u8, until: u64| {
        let tags = vec![Tag::from_bytes([number; 16])];
        let lease = Some((ticket(number), at(until)));
        By::Creator(NewRun { lease, tags, queue: queue("leased"), ..new_run(Due::Now) })
    };
    let far = FAR.as_millis();
    write(run("open"), 0, &["created"], leased(OWNER, far)).await?;
    write(run("open"), 1, &["a", "", "c"], owner(OWNER)).await?;
    write(stream("open", "output"), 0, &["chunk", "chunk two"], owner(OWNER)).await?;
    write(run("open"), 4, &["signal"], By::Outsider).await?;
    write(run("ready"), 0, &["created"], By::Creator(new_run(Due::Now))).await?;
    write(run("waiting"), 0, &["created"], By::Creator(new_run(Due::At(at(5_000))))).await?;
    write(run("parked"), 0, &["created"], By::Creator(new_run(Due::Never))).await?;
    write(run("closed"), 0, &["created"], leased(2, far)).await?;
    write(run("closed"), 1, &["end"], close(2, Some(Due::Never))).await?;
    write(run("deleted"), 0, &["created"], leased(3, far)).await?;
    write(run("deleted"), 1, &["end"], close(3, Some(Due::Never))).await?;
    write(run("tried"), 0, &["created"], leased(4, 100)).await?;
    write(token("taken"), 0, &["claim", "claim again"], By::Outsider).await?;
    write(token("free"), 0, &["claim"], By::Outsider).await?;
    for (log, head) in [(run("deleted"), 2), (token("free"), 1)] {
        let deleted = world.delete(&log, pos(head)).await?;
        ensure_eq!(D1, deleted, Deleted::Done, "{log}: its deletion at {head}");
    }
    claimed(world, "tried", &claim(&["leased"], 5, 200, 300, 8)).await.map(drop)
}

async fn claimed(world: &dyn World, name: &str, claim: &world_core::Claim) -> Verdict<Lease> {
    let lease = look::lease(world, claim, &id(name)).await?;
    let millis = claim.now.as_millis();
    lease.ok_or_else(|| {
        let what = format!("run {name}: it is due at {millis}, and no claim gets it");
        Failure::broken(Rule::L2, what)
    })
}

/// All that can be read.
#[derive(Debug, PartialEq)]
struct Snapshot {
    logs: BTreeMap<LogId, Vec<Record>>,
    runs: Vec<RunMeta>,
}

impl Snapshot {
    async fn of(world: &dyn World) -> Verdict<Self> {
        let mut kept = BTreeMap::new();
        for log in logs() {
            // A token log that was deleted goes on from its head, so its first record is not 1.
            if log != token("free") {
                kept.insert(log.clone(), look::log_left(world, &log).await?);
            }
        }
        Ok(Self { logs: kept, runs: look::runs(world).await? })
    }
}

/// What was deleted stays deleted.
async fn tombstones(world: &dyn World, when: &str) -> Verdict {
    let creation = append(0, &["created"], 1, By::Creator(new_run(Due::Now)));
    let answer = world.append(&run("deleted"), &creation).await?;
    ensure_eq!(D2, answer, Appended::NotOpen, "a deleted run, made again {when}");
    let late = append(0, &["late"], 1, By::Outsider);
    let answer = world.append(&token("free"), &late).await?;
    ensure_eq!(D2, answer, conflict(1), "a deleted token log, appended to at 0 {when}");
    Ok(())
}

/// Who had a run has it still.
async fn held(world: &dyn World, when: &str) -> Verdict {
    let lease = Lease {
        run: id("open"),
        ticket: ticket(OWNER),
        attempt: 1,
        until: FAR,
        head: pos(5),
        closed: false,
    };
    let renewed = world.renew(&lease, FAR).await?;
    ensure_eq!(L3, renewed, Renewed::Held { head: pos(5) }, "its owner's renewal of open {when}");
    let answer = world.append(&run("open"), &append(5, &["stolen"], 1, owner(9))).await?;
    ensure_eq!(L3, answer, Appended::Fenced, "an append to open by another ticket {when}");
    Ok(())
}

/// Times are kept: nothing is due before its own.
async fn due(world: &dyn World) -> Verdict {
    let ready = claimed(world, "ready", &claim(&["queue"], 6, 400, 500, 8)).await?;
    ensure_eq!(L5, ready.attempt, 1, "run ready: its first claim, after reopenings");
    let early = look::lease(world, &claim(&["queue"], 7, 450, 460, 8), &id("waiting")).await?;
    ensure_eq!(L2, early, None, "run waiting: a claim at 450, where it is due at 5000");
    claimed(world, "waiting", &claim(&["queue"], 7, 5_000, 6_000, 8)).await?;
    let parked = look::lease(world, &claim(&["queue"], 7, 7_000, 8_000, 8), &id("parked")).await?;
    ensure_eq!(L2, parked, None, "run parked: a claim, where nothing came from outside");
    Ok(())
}

/// Claims are counted on from those before the reopening, and no lease is given twice.
async fn next_claims(world: &dyn World) -> Verdict {
    let early = look::lease(world, &claim(&["leased"], 8, 250, 260, 8), &id("tried")).await?;
    ensure_eq!(L1, early, None, "run tried: a claim at 250, where it is leased until 300");
    let lease = claimed(world, "tried", &claim(&["leased"], 8, 300, 400, 8)).await?;
    ensure_eq!(L5, lease.attempt, 3, "run tried: the attempt of its third claim");
    let early = look::lease(world, &claim(&["leased"], 9, 9_000, 9_100, 8), &id("open")).await?;
    ensure_eq!(L1, early, None, "run open: a claim, where it is leased for ever");
    Ok(())
}
