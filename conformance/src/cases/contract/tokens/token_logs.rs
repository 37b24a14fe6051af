//! Rule T1: a token log exists from its first append, and is never due, leased, closed or listed.

use world_core::{By, Due, Lease, Renewed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    look::{listing, log_is, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [T1] a_token_log_exists_from_its_first_append),
        case!(Contract [T1] a_token_log_is_never_due_leased_or_listed),
        case!(Contract [T1] a_token_and_a_run_of_one_name_are_two_logs),
    ]
}

async fn a_token_log_exists_from_its_first_append(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    log_is(Rule::T1, &world, &log, &[], "to which nobody has written").await?;
    let mut wanted = Vec::new();
    for (round, world) in [&world, &other, &world, &other].into_iter().enumerate() {
        let next = append(wanted.len() as u64, &["claim", "claim"], round as u64, By::Outsider);
        put(Rule::T1, world, &log, &next).await?;
        wanted.extend(next.records);
        log_is(Rule::T1, world, &log, &wanted, "after two outsiders").await?;
    }
    Ok(())
}

async fn a_token_log_is_never_due_leased_or_listed(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for name in ["token", "queue"] {
        put(Rule::T1, &world, &token(name), &append(0, &["x"; 3], 1, By::Outsider)).await?;
    }
    for now in [0, 1, 1_000_000] {
        for name in ["queue", "token", "workflow"] {
            let leases = world.claim(&claim(&[name], 1, now, now + 100, 100)).await?;
            ensure_eq!(T1, leases, Vec::new(), "a claim in {name:?}, where only token logs are");
        }
    }
    let lease = Lease {
        run: id("token"),
        ticket: ticket(1),
        attempt: 1,
        until: FAR,
        head: pos(3),
        closed: false,
    };
    let renewed = world.renew(&lease, FAR).await?;
    ensure_eq!(T1, renewed, Renewed::Lost, "a renewal of a run that only has a token's name");
    let runs = listing(&world).await?.len();
    ensure_eq!(T1, runs, 0, "runs in a listing, where only token logs are");
    Ok(())
}

async fn a_token_and_a_run_of_one_name_are_two_logs(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (log, address, chunks) = (run("name"), token("name"), stream("name", "name"));
    let created = create_leased(1, FAR, 1);
    let (first, chunk) =
        (append(0, &["token"], 2, By::Outsider), append(0, &["chunk"], 3, owner(1)));
    for (log, append) in [(&address, &first), (&log, &created), (&chunks, &chunk)] {
        put(Rule::T1, &world, log, append).await?;
    }
    let end = append(1, &["end"], 4, close(1, Some(Due::Never)));
    put(Rule::T1, &world, &log, &end).await?;
    // The run's end is not the token's.
    let second = append(1, &["token"], 5, By::Outsider);
    put(Rule::T1, &world, &address, &second).await?;
    let records = [created.records, end.records].concat();
    log_is(Rule::T1, &world, &log, &records, "whose name a token has too").await?;
    let records = [first.records, second.records].concat();
    log_is(Rule::T1, &world, &address, &records, "whose name a run has too").await?;
    log_is(Rule::T1, &world, &chunks, &chunk.records, "whose name its run and a token have").await
}
