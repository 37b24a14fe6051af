//! Rule L1 between clocks that disagree: a claim is judged by the claimer's own time alone.

use std::collections::BTreeMap;

use world_core::{Appended, Due, Lease, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, by, commits, with_run},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    rule::Rule::{L1, L2},
    subject::Subject,
};

/// Ten minutes.
const SKEW: u64 = 600_000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L1] a_clock_that_steps_back_gives_no_second_lease),
        case!(Contract [L1] a_slow_clock_waits_for_the_end_that_a_fast_one_has_set),
        case!(Contract [L1, L3] a_fast_clock_takes_over_what_has_run_out_by_it),
        case!(Contract [L1] whatever_the_clocks_no_lease_is_given_before_its_end),
    ]
}

async fn a_clock_that_steps_back_gives_no_second_lease(subject: Subject) -> Verdict {
    let (_, mut claimer) = with_run(&subject, create(Due::Now, 1_000)).await?;
    claimer.takes(L2, "a", (1_000, 1_500), "it is ready").await?;
    for now in [999, 500, 0, 1_499, 1] {
        claimer.leaves(L1, "a", now, "it was claimed at 1000 and is leased until 1500").await?;
    }
    claimer.takes(L2, "a", (1_500, 1_600), "its lease ran out at 1500").await?;
    Ok(())
}

async fn a_slow_clock_waits_for_the_end_that_a_fast_one_has_set(subject: Subject) -> Verdict {
    let (_, mut fast) = with_run(&subject, create(Due::Now, 1)).await?;
    let mut slow = Claimer::new(&subject.open().await?);
    fast.takes(L2, "a", (SKEW, SKEW + 60), "it is ready").await?;
    for now in [0, 60, SKEW + 59] {
        slow.leaves(L1, "a", now, "a clock that is ahead has leased it until 600060").await?;
    }
    slow.takes(L2, "a", (SKEW + 60, SKEW + 90), "its lease ran out at 600060").await?;
    Ok(())
}

async fn a_fast_clock_takes_over_what_has_run_out_by_it(subject: Subject) -> Verdict {
    let (world, mut slow) = with_run(&subject, create(Due::Now, 1)).await?;
    let mut fast = Claimer::new(&subject.open().await?);
    let old = slow.takes(L2, "a", (0, 60), "it is ready").await?;
    let new = fast.takes(L2, "a", (SKEW, SKEW + 60), "its lease ran out at 60").await?;
    slow.leaves(L1, "a", 61, "a clock that is ahead has leased it until 600060").await?;
    let answer = world.append(&run("a"), &append(1, &["old"], 61, by(old.ticket))).await?;
    ensure_eq!(L3, answer, Appended::Fenced, "an append under the ticket that was replaced");
    let answer = world.append(&run("a"), &append(1, &["new"], SKEW, by(new.ticket))).await?;
    ensure_eq!(L3, answer, committed(2), "an append under the current ticket");
    Ok(())
}

async fn whatever_the_clocks_no_lease_is_given_before_its_end(subject: Subject) -> Verdict {
    for seed in subject.seeds(3) {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        many_clocks(&world, seed).await.map_err(|failure| failure.at_seed(seed))?;
    }
    Ok(())
}

/// Claims and renewals at random times, with the end of every lease kept beside.
async fn many_clocks(world: &std::sync::Arc<dyn World>, seed: u64) -> Verdict {
    for number in 0..4 {
        commits(world, &run(&format!("run {number}")), &create(Due::Now, number)).await?;
    }
    let claimer = Claimer::new(world);
    let mut leases: BTreeMap<_, Lease> = BTreeMap::new();
    for step in 0..60_u64 {
        let random = mixed(seed << 16 | step);
        let now = random % 100;
        for lease in
            claimer.claim(now, now + random / 100 % 30, 1 + (random >> 32) as u32 % 3).await?
        {
            if let Some(old) = leases.get(&lease.run) {
                let end = old.until.as_millis();
                ensure!(L1, end <= now, "a claim at {now} gave {}, leased until {end}", lease.run);
            }
            leases.insert(lease.run.clone(), lease);
        }
        let chosen = leases.values_mut().nth((random >> 40) as usize % 4);
        if let Some(lease) = chosen.filter(|_| random >> 48 & 1 == 0) {
            lease.until = at(now + (random >> 50) % 40);
            world.renew(lease, lease.until).await?;
        }
    }
    Ok(())
}

/// A number that looks random: SplitMix64.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}
