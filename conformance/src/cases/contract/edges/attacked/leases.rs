//! Rules L1, L3 and L5: leases of many days, and runs that were claimed very often.

use world_core::{Due, Lease, Renewed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{Handle, asked, claimed, not_due, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L1] a_lease_of_60_days_lasts_to_its_end),
        case!(Contract [L3] a_renewal_by_60_days_lasts_to_its_end),
        case!(Contract [L5] the_attempt_counts_past_256),
    ]
}

/// A day, in milliseconds.
const DAY: u64 = 24 * 3_600_000;

/// Nobody gets the run before `end`, not even so late that only the last days are left.
async fn lasts(rule: Rule, world: &Handle, name: &str, end: u64, what: &str) -> Verdict {
    for now in [1_000, DAY, 31 * DAY, 59 * DAY, end - 1] {
        let early = not_due(world, &run(name), &claim(&["queue"], 9, now, u64::MAX, 8)).await?;
        if early.is_some() {
            let what = format!("{what}, until {end}: a claim at {now} gave run {name}");
            return Err(crate::Failure::broken(rule, what));
        }
    }
    Ok(())
}

async fn a_lease_of_60_days_lasts_to_its_end(subject: Subject) -> Verdict {
    let end = 60 * DAY;
    for name in ["created with it", "claimed"] {
        let subject = subject.elsewhere()?;
        let (world, other) = (subject.open().await?, subject.open().await?);
        let log = run(name);
        if name == "claimed" {
            put(Rule::L1, &world, &log, &create(Due::Now, 1)).await?;
            let lease = claimed(&world, &log, &claim(&["queue"], 1, 10, end, 8)).await?;
            ensure_eq!(L1, lease.map(|lease| lease.until), Some(at(end)), "the end of a lease");
        } else {
            put(Rule::L1, &world, &log, &create_leased(1, at(end), 1)).await?;
        }
        lasts(Rule::L1, &other, name, end, "a lease of 60 days").await?;
        let answer = asked(&other, &log, 1).await?;
        ensure_eq!(L1, answer, conflict(1), "its owner's append, days later");
        let lease = claimed(&other, &log, &claim(&["queue"], 2, end, end + 9, 8)).await?;
        ensure_eq!(L1, lease.map(|lease| lease.ticket), Some(ticket(2)), "a claim at its end");
    }
    Ok(())
}

async fn a_renewal_by_60_days_lasts_to_its_end(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::L3, &world, &log, &create(Due::Now, 1)).await?;
    let lease = claimed(&world, &log, &claim(&["queue"], 1, 10, 1_000, 8)).await?;
    let Some(mut lease) = lease else {
        return Err(crate::Failure::broken(Rule::L2, "a run that is due was never given"));
    };
    // From near the old end by a lot, then by little, then by a lot again.
    for end in [60 * DAY, 60 * DAY + 1, 200 * DAY] {
        let renewed = world.renew(&lease, at(end)).await?;
        let wanted = Lease { until: at(end), ..lease.clone() };
        let is_renewed = renewed != Renewed::Lost;
        ensure_eq!(L3, is_renewed, true, "a renewal of the current lease until {end}");
        lasts(Rule::L3, &other, "run", end, "a renewed lease").await?;
        lease = wanted;
    }
    let answer = asked(&other, &log, 1).await?;
    ensure_eq!(L3, answer, conflict(1), "its owner's append, after the renewals");
    let end = 200 * DAY;
    let next = claimed(&other, &log, &claim(&["queue"], 2, end, end + 9, 8)).await?;
    ensure_eq!(L3, next.map(|lease| lease.ticket), Some(ticket(2)), "a claim at its end");
    Ok(())
}

async fn the_attempt_counts_past_256(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::L5, &world, &log, &create(Due::Now, 1)).await?;
    for claims in 1..=260_u32 {
        let world = if claims % 2 == 0 { &world } else { &other };
        let now = u64::from(claims) * 10;
        let claim = claim(&["queue"], 1 + (claims % 100) as u8, now, now + 10, 1);
        let attempt = claimed(world, &log, &claim).await?.map(|lease| lease.attempt);
        ensure_eq!(L5, attempt, Some(claims), "the attempt of claim {claims}, with no progress");
    }
    Ok(())
}
