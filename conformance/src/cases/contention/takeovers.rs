//! Crowds at the end of a lease: its owner, claimers and outsiders.

use std::sync::Arc;

use world_core::{Appended, By, Due, Lease, Renewed, World, WorldExt};

use super::{asked, handles, sent, together};
use crate::{
    case::{Case, case},
    claimer::{CLAIMS_MAX, commits, lease_on},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [L1, L3] an_owner_among_claimers_is_current_or_fenced),
        case!(Contention [L1, L3] a_renewal_among_claimers_holds_or_is_lost),
        case!(Contention [A2, L4] no_wake_is_lost_between_a_rest_and_a_crowd),
    ]
}

const ROUNDS: u64 = 12;

/// What one of a crowd has done.
#[derive(Debug)]
enum Done {
    Appended(Appended),
    Renewed(Renewed),
    Claimed(Vec<Lease>),
}

async fn expiring(world: &dyn World, name: &str) -> Verdict {
    let new = world_core::NewRun {
        queue: queue(name),
        lease: Some((ticket(1), at(100))),
        ..new_run(Due::Now)
    };
    commits(world, &run(name), &append(0, &["created"], 1, By::Creator(new))).await
}

fn leases(done: &[Done]) -> Vec<&Lease> {
    let mut leases = Vec::new();
    for done in done {
        if let Done::Claimed(given) = done {
            leases.extend(given);
        }
    }
    leases
}

async fn an_owner_among_claimers_is_current_or_fenced(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 4).await?;
    for round in 0..ROUNDS {
        let name = format!("run {round}");
        expiring(&*worlds[0], &name).await?;
        let crowd = (0_u8..).zip(&worlds).map(|(number, world)| {
            let (world, name) = (Arc::clone(world), name.clone());
            async move {
                Ok(if number == 0 {
                    let step = append(1, &["step"], 100, owner(1));
                    Done::Appended(sent(&*world, &run(&name), &step).await?)
                } else {
                    let claim = claim(&[&name], number + 1, 100, 200, 4);
                    Done::Claimed(asked(|| world.claim(&claim)).await?)
                })
            }
        });
        let done = together(crowd).await?;
        let leases = leases(&done);
        ensure!(L1, leases.len() <= 1, "one run was given to {} claimers at once", leases.len());
        let head = worlds[1].read_all(&run(&name)).await?.head;
        let is_fenced = done.iter().any(|done| matches!(done, Done::Appended(Appended::Fenced)));
        let wanted = if is_fenced { pos(1) } else { pos(2) };
        ensure_eq!(L3, head, wanted, "the head after {done:?}");
        match leases.first() {
            Some(lease) => ensure_eq!(L3, lease.head, head, "the head of who took over; {done:?}"),
            None => ensure!(L3, !is_fenced, "an owner was fenced whom nobody replaced"),
        }
    }
    Ok(())
}

async fn a_renewal_among_claimers_holds_or_is_lost(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 4).await?;
    for round in 0..ROUNDS {
        let name = format!("run {round}");
        expiring(&*worlds[0], &name).await?;
        let crowd = (0_u8..).zip(&worlds).map(|(number, world)| {
            let (world, name) = (Arc::clone(world), name.clone());
            async move {
                Ok(if number == 0 {
                    let lease = lease_on(id(&name), ticket(1), 100, 1);
                    Done::Renewed(asked(|| world.renew(&lease, at(500))).await?)
                } else {
                    let claim = claim(&[&name], number + 1, 100, 200, 4);
                    Done::Claimed(asked(|| world.claim(&claim)).await?)
                })
            }
        });
        let done = together(crowd).await?;
        let given = leases(&done).len();
        ensure!(L1, given <= 1, "one run was given to {given} claimers at once");
        let is_held = done.iter().any(|done| matches!(done, Done::Renewed(Renewed::Held { .. })));
        ensure!(L3, is_held != (given == 1), "a renewal and {given} claims had it: {done:?}");
    }
    Ok(())
}

async fn no_wake_is_lost_between_a_rest_and_a_crowd(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 4).await?;
    for round in 0..ROUNDS {
        let name = format!("run {round}");
        expiring(&*worlds[0], &name).await?;
        let crowd = (0_u8..).zip(&worlds).map(|(number, world)| {
            let (world, log) = (Arc::clone(world), run(&name));
            let body = format!("{number}");
            async move {
                let mut head = 1;
                // Three others write once each, so that each conflicts three times at most.
                for _ in 0..4 {
                    let append = match number {
                        0 => append(head, &[], 50, rest(1, Due::Never)),
                        _ => append(head, &[&body], 50, By::Outsider),
                    };
                    match sent(&*world, &log, &append).await? {
                        Appended::Conflict { head: seen } => head = seen.get(),
                        answer => return Ok((head, answer)),
                    }
                }
                Ok((head, conflict(head)))
            }
        });
        let done = together(crowd).await?;
        let all = done.iter().all(|(_, answer)| matches!(answer, Appended::Committed { .. }));
        ensure!(A2, all, "an owner that rests and three outsiders: {done:?}");
        let rested_at = done.first().map_or(0, |(head, _)| *head);
        let head = worlds[1].read_all(&run(&name)).await?.head;
        ensure_eq!(A2, head, pos(4), "the head after three signals; {done:?}");
        let claims = if rested_at < 4 { CLAIMS_MAX } else { 2 };
        let mut leases = Vec::new();
        for _ in 0..claims {
            if leases.is_empty() {
                leases = worlds[2].claim(&claim(&[&name], 2, 60, 200, 4)).await?;
            }
        }
        if rested_at < 4 {
            let what = "rested before the last signal, and that did not wake it";
            ensure!(L4, !leases.is_empty(), "a run {what}: it rested at {rested_at} of 4");
        } else {
            ensure!(L4, leases.is_empty(), "a run that rested after the last signal was claimed");
        }
    }
    Ok(())
}
