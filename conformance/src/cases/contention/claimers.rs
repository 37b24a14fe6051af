//! Crowds of claimers: each due run goes to one, and each to someone.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use world_core::{Append, Due, Lease, World, WorldExt};

use super::{asked, handles, sent, together};
use crate::{
    case::{Case, case},
    claimer::{CLAIMS_MAX, by, commits, fresh_ticket, rest_by},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [L1, L2] a_crowd_of_claimers_gets_each_run_once),
        case!(Contention [L1, L2] a_crowd_with_limits_and_queues_of_their_own_gets_each_run_once),
        case!(Contention [L3] of_many_owners_one_after_another_none_comes_back),
    ]
}

/// One claim under a fresh ticket.
async fn claimed(
    world: &dyn World,
    queues: &[&str],
    (now, until): (u64, u64),
    limit: u32,
) -> Verdict<Vec<Lease>> {
    let ask = world_core::Claim { ticket: fresh_ticket(), ..claim(queues, 0, now, until, limit) };
    asked(|| world.claim(&ask)).await
}

/// Claims until as many runs were given as there are.
async fn all_claimed(
    world: Arc<dyn World>,
    queues: &'static [&'static str],
    limit: u32,
    left: Arc<AtomicUsize>,
) -> Verdict<Vec<Lease>> {
    let mut all = Vec::new();
    let mut fruitless = 0;
    while left.load(Relaxed) > 0 && fruitless < CLAIMS_MAX {
        let leases = claimed(&*world, queues, (100, u64::MAX), limit).await?;
        fruitless = if leases.is_empty() { fruitless + 1 } else { 0 };
        // A run that is given twice may count twice: it fails the case anyway.
        let _ = left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(leases.len())));
        all.extend(leases);
        tokio::task::yield_now().await;
    }
    Ok(all)
}

async fn each_once(
    subject: &Subject,
    create: impl Fn(u64) -> Append,
    claimers: &[(&'static [&'static str], u32)],
) -> Verdict {
    const RUNS: usize = 48;
    let worlds = handles(subject, claimers.len()).await?;
    for number in 0..RUNS {
        let log = run(&format!("run {number:02}"));
        commits(&worlds[number % 2], &log, &create(number as u64)).await?;
    }
    let left = Arc::new(AtomicUsize::new(RUNS));
    let crowd = worlds.iter().zip(claimers).map(|(world, (queues, limit))| {
        all_claimed(Arc::clone(world), queues, *limit, Arc::clone(&left))
    });
    let mut owners = BTreeMap::new();
    for lease in together(crowd).await?.into_iter().flatten() {
        let other = owners.insert(lease.run.clone(), lease.ticket);
        ensure!(L1, other.is_none(), "run {} was given to two claimers", lease.run);
        let step = append(1, &["step"], 101, by(lease.ticket));
        let answer = sent(&*worlds[0], &lease.run.clone().into(), &step).await?;
        ensure_eq!(L1, answer, committed(2), "the append of the one that got {}", lease.run);
    }
    ensure_eq!(L2, owners.len(), RUNS, "how many of {RUNS} due runs a crowd of claimers got");
    Ok(())
}

async fn a_crowd_of_claimers_gets_each_run_once(subject: Subject) -> Verdict {
    let crowd = [(&["queue"][..], 3); 6];
    each_once(&subject, |number| create(Due::Now, number), &crowd).await?;
    let subject = subject.elsewhere()?;
    each_once(&subject, |number| create(Due::At(at(number)), 0), &crowd).await?;
    let subject = subject.elsewhere()?;
    each_once(&subject, |number| create_leased(9, at(number), 0), &crowd).await
}

async fn a_crowd_with_limits_and_queues_of_their_own_gets_each_run_once(
    subject: Subject,
) -> Verdict {
    let create = |number| {
        let due = if number % 3 == 0 { Due::At(at(number)) } else { Due::Now };
        create_in(if number % 2 == 0 { "even" } else { "odd" }, due, number)
    };
    let crowd = [
        (&["even"][..], 1),
        (&["odd"], 1),
        (&["odd", "even"], 2),
        (&["even", "odd"], 7),
        (&["even", "odd", "none"], 1000),
        (&["odd", "odd"], 3),
    ];
    each_once(&subject, create, &crowd).await
}

/// Owners whose leases run out all the time, by a clock that each of their calls moves on: some
/// make progress, some die, some come back too late.
async fn of_many_owners_one_after_another_none_comes_back(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 5).await?;
    let names = ["a", "b", "c"];
    for name in names {
        commits(&worlds[0], &run(name), &create(Due::Now, 1)).await?;
    }
    let clock = Arc::new(AtomicU64::new(10));
    let crowd = worlds.iter().map(|world| {
        let (world, clock) = (Arc::clone(world), Arc::clone(&clock));
        async move {
            for round in 0..20 {
                let now = clock.fetch_add(2, Relaxed);
                for lease in claimed(&*world, &["queue"], (now, now + 5), 2).await? {
                    own(&*world, &lease, round, &clock).await?;
                }
            }
            Ok(())
        }
    });
    together(crowd).await?;
    for name in names {
        let page = worlds[0].read_all(&run(name)).await?;
        let mut owners: Vec<Vec<u8>> = Vec::new();
        for record in page.records.iter().skip(1) {
            let owner = record.body.as_bytes().to_vec();
            if owners.last() != Some(&owner) {
                let is_back = owners.contains(&owner);
                let position = record.position;
                ensure!(
                    L3,
                    !is_back,
                    "at {position} of run {name} an owner was back that had been replaced"
                );
                owners.push(owner);
            }
        }
    }
    Ok(())
}

/// Drives a run for a while: each record says whose it is.
async fn own(world: &dyn World, lease: &Lease, round: u64, clock: &AtomicU64) -> Verdict {
    let log = lease.run.clone().into();
    let owner = format!("{:?}", lease.ticket.as_bytes());
    let mut head = lease.head.get();
    for step in 0..round % 4 {
        let step = append(head, &[&owner], lease.until.as_millis() + step, by(lease.ticket));
        if sent(world, &log, &step).await? != committed(head + 1) {
            return Ok(());
        }
        head += 1;
        clock.fetch_add(1, Relaxed);
        tokio::task::yield_now().await;
    }
    match round % 3 {
        0 => drop(sent(world, &log, &append(head, &[], 9, rest_by(lease.ticket, Due::Now))).await?),
        1 => drop(asked(|| world.renew(lease, at(clock.load(Relaxed) + 3))).await?),
        _ => {}
    }
    Ok(())
}
