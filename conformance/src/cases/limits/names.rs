//! Rule I1: names are opaque. Each is kept exactly or refused, and two that differ are two.

use std::collections::{BTreeMap, BTreeSet};

use world_core::{By, Due, KeyId, LogId, NewRun, Position, Queue, RunId, WorkflowName};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{listing, log_is, put},
    rule::Rule,
    subject::Subject,
};

use super::strange::{is_taken, names};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [I1] runs_of_any_two_names_are_two_runs),
        case!(Limits [I1] streams_of_any_two_names_are_two_streams),
        case!(Limits [I1] tokens_of_any_two_names_are_two_logs),
        case!(Limits [I1] a_claim_gets_only_runs_of_the_very_queue),
        case!(Limits [I1] names_that_a_run_is_listed_with_are_kept),
    ]
}

/// Writes a first record to the log of each name, and reads them all back.
async fn are_two(subject: &Subject, log_of: impl Fn(&str) -> LogId, by: By) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let mut written = Vec::new();
    for (number, name) in names().into_iter().enumerate() {
        let (log, body) = (log_of(&name), format!("body {number}"));
        let first = append(0, &[&body], 1, by.clone());
        if is_taken(&world, &log, &name, &first).await? {
            written.push((log, first.records));
        } else if let Ok(page) = world.read(&log, Position::START, count(9)).await {
            let seen = page.records.len();
            ensure!(I1, seen == 0, "{log} was refused, but holds {seen} records");
        }
    }
    for (log, wanted) in &written {
        log_is(Rule::I1, &other, log, wanted, "beside logs of other names").await?;
    }
    Ok(())
}

async fn runs_of_any_two_names_are_two_runs(subject: Subject) -> Verdict {
    let by = By::Creator(new_run(Due::Never));
    are_two(&subject, run, by).await?;
    let world = subject.open().await?;
    let mut left: BTreeMap<_, usize> = names().into_iter().map(|name| (name, 0)).collect();
    for meta in listing(&world).await? {
        let name = meta.run.as_str();
        match left.get_mut(name) {
            Some(times) => *times += 1,
            None => ensure!(I1, false, "a listing shows run {name:?}, which nobody created"),
        }
    }
    for (name, times) in left {
        let there = world.read(&run(&name), Position::START, count(1)).await;
        let is_there = there.is_ok_and(|page| !page.records.is_empty());
        ensure_eq!(I1, times, usize::from(is_there), "how often a listing shows run {name:?}");
    }
    Ok(())
}

async fn streams_of_any_two_names_are_two_streams(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    put(Rule::I1, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    are_two(&subject, |name| stream("run", name), owner(1)).await
}

async fn tokens_of_any_two_names_are_two_logs(subject: Subject) -> Verdict {
    are_two(&subject, token, By::Outsider).await
}

async fn a_claim_gets_only_runs_of_the_very_queue(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut taken = Vec::new();
    for (number, name) in names().into_iter().enumerate() {
        let log = run(&format!("run {number}"));
        if is_taken(&world, &log, &name, &create_in(&name, Due::Now, 1)).await? {
            taken.push((log, name));
        }
    }
    for (log, name) in &taken {
        let mut claimed = BTreeSet::new();
        // A claim may give fewer than are due; one run is.
        for _ in 0..64 {
            let leases = world.claim(&claim(&[name], 1, 5, 10_000, 100)).await?;
            claimed.extend(leases.into_iter().map(|lease| LogId::Run(lease.run)));
            if claimed.contains(log) {
                break;
            }
        }
        let wanted = BTreeSet::from([log.clone()]);
        ensure_eq!(I1, claimed, wanted, "the runs that claims in queue {name:?} get");
    }
    Ok(())
}

async fn names_that_a_run_is_listed_with_are_kept(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut wanted = BTreeMap::new();
    for (number, name) in names().into_iter().enumerate() {
        let log = run(&format!("run {number}"));
        let new = NewRun {
            queue: Queue::new(name.as_str())?,
            workflow: WorkflowName::new(name.as_str())?,
            parent: Some(RunId::new(name.as_str())?),
            key: KeyId::new(name.as_str())?,
            ..new_run(Due::Never)
        };
        let first = append(0, &["created"], 1, By::Creator(new));
        if is_taken(&world, &log, &name, &first).await? {
            wanted.insert(log, name);
        }
    }
    for meta in listing(&world).await? {
        let Some(name) = wanted.remove(&LogId::Run(meta.run.clone())) else { continue };
        let seen = [
            ("queue", meta.queue.as_str()),
            ("workflow", meta.workflow.as_str()),
            ("parent", meta.parent.as_ref().map_or("", RunId::as_str)),
            ("key", meta.key.as_str()),
        ];
        for (what, seen) in seen {
            ensure_eq!(I1, seen, name.as_str(), "the {what} of {}, as it is listed", meta.run);
        }
    }
    ensure!(I1, wanted.is_empty(), "a listing does not show {:?}", wanted.keys().next());
    Ok(())
}
