//! Waiting is a hint on which no rule rests: it only has to end in time, and not to fail.

use std::time::Duration;

use futures::future::join;
use tokio::time::timeout;
use world_core::{By, Due, Wait, World};

use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Failure, Verdict},
    kit::*,
    pace::within,
    subject::Subject,
};

/// Far beyond any deadline that is asked for here, so that a slow machine is no failure.
const BOUND: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [] a_wait_ends_at_its_deadline),
        case!(Contract [] a_wait_ends_whatever_happens_meanwhile),
        case!(Contract [] many_waits_end_and_a_dropped_one_harms_nobody),
    ]
}

/// Waits, and fails when the wait does or when it goes on far beyond its deadline.
async fn ends(world: &dyn World, wait: &Wait, what: &str) -> Verdict {
    match within(wait.at_most + BOUND, world.wait(wait)).await {
        Ok(waited) => Ok(waited.map_err(|error| Failure::from(error).while_doing(what))?),
        Err(after) => Err(Failure::failed(format!(
            "a wait of at most {:?} has not ended after {after:?}: {what}",
            wait.at_most
        ))),
    }
}

fn wait(queues: &[&str], logs: &[(world_core::LogId, u64)], millis: u64) -> Wait {
    Wait {
        queues: queues.iter().map(|name| queue(name)).collect(),
        logs: logs.iter().map(|(log, head)| (log.clone(), pos(*head))).collect(),
        at_most: Duration::from_millis(millis),
    }
}

async fn a_wait_ends_at_its_deadline(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    commits(&world, &run("parked"), &create(Due::Never, 1)).await?;
    commits(&world, &run("ready"), &create_in("busy", Due::Now, 1)).await?;
    for (what, wait) in [
        ("for nothing, no time", wait(&[], &[], 0)),
        ("for nothing", wait(&[], &[], 50)),
        ("for a queue of a parked run", wait(&["queue"], &[], 50)),
        ("for a queue that has a ready run", wait(&["busy"], &[], 50)),
        ("for a queue that nobody knows, named twice", wait(&["none", "none"], &[], 50)),
        ("for a log at its head", wait(&[], &[(run("parked"), 1)], 50)),
        ("for a log that has grown", wait(&[], &[(run("parked"), 0)], 50)),
        ("for a log at a head beyond its own", wait(&[], &[(run("parked"), 9)], 50)),
        (
            "for logs that are not there",
            wait(&[], &[(run("none"), 0), (token("none"), 0), (stream("none", "s"), 3)], 50),
        ),
        ("for queues and logs, no time", wait(&["queue"], &[(run("parked"), 1)], 0)),
    ] {
        ends(&world, &wait, what).await?;
    }
    Ok(())
}

async fn a_wait_ends_whatever_happens_meanwhile(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    commits(&world, &run("a"), &create(Due::Never, 1)).await?;
    let busy = async {
        for head in 1..=20 {
            commits(&other, &run("a"), &append(head, &["signal"], head, By::Outsider)).await?;
            commits(&other, &token("t"), &append(head - 1, &["more"], head, By::Outsider)).await?;
        }
        Verdict::Ok(())
    };
    let wait = wait(&["queue"], &[(run("a"), 1), (token("t"), 0)], 100);
    let (waited, wrote) = join(ends(&world, &wait, "while others write"), busy).await;
    waited.and(wrote)
}

async fn many_waits_end_and_a_dropped_one_harms_nobody(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let long = wait(&["queue"], &[(token("t"), 0)], 3_600_000);
    for _ in 0..3 {
        // It does not come to its end: a drop is how a client gives up.
        let _ = timeout(Duration::from_millis(1), world.wait(&long)).await;
    }
    let short = wait(&["queue"], &[(token("t"), 0)], 50);
    let waits = (0..16).map(|_| ends(&world, &short, "beside 15 others"));
    for waited in futures::future::join_all(waits).await {
        waited?;
    }
    commits(&world, &token("t"), &append(0, &["more"], 1, By::Outsider)).await
}
