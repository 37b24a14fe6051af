//! Rule A5: what is absent or closed takes no record. (What is deleted: rule D2.)

use world_core::{Append, Appended, By, Due, Lease, LogId, Renewed, Tag};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, answered, claimed, listing, log_is, not_due, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A5] an_absent_run_takes_no_record),
        case!(Contract [A5] a_closed_run_takes_no_record),
        case!(Contract [A5] a_closed_run_takes_no_chunk_of_a_stream),
        case!(Contract [A5] a_closed_run_stays_readable),
        case!(Contract [A5] a_closed_run_is_rested_claimed_and_renewed),
    ]
}

/// Appends that the run is not to take, whatever they state.
async fn takes_none(world: &Handle, log: &LogId, appends: &[Append], what: &str) -> Verdict {
    for append in appends {
        let by = match append.by {
            By::Creator(_) => "a creator",
            By::Outsider => "an outsider",
            By::Owner { .. } => "an owner",
        };
        let what = format!("an append of {by} to {what} ({log}) at {}", append.expected);
        let answer = answered(Rule::A5, world.append(log, append).await, &what)?;
        ensure_eq!(A5, answer, Appended::NotOpen, "{what}");
    }
    Ok(())
}

async fn an_absent_run_takes_no_record(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (log, chunks) = (run("run"), stream("run", "stream"));
    let appends = [
        append(0, &["x"], 1, By::Outsider),
        append(0, &["x"], 1, owner(1)),
        append(0, &["x"], 1, close(1, Some(Due::Now))),
        append(3, &["x"], 1, By::Outsider),
        append(0, &[], 1, rest(1, Due::Now)),
    ];
    takes_none(&world, &log, &appends, "a run that is not there").await?;
    let to_stream = [append(0, &["x"], 1, owner(1)), append(2, &["x"], 1, owner(1))];
    takes_none(&world, &chunks, &to_stream, "a stream of a run that is not there").await?;
    log_is(Rule::A5, &world, &log, &[], "to which only others than a creator wrote").await?;
    log_is(Rule::A5, &world, &chunks, &[], "of a run that is not there").await?;
    let runs = listing(&world).await?.len();
    ensure_eq!(A5, runs, 0, "runs in a listing, where none was created");
    put(Rule::A5, &world, &log, &create(Due::Never, 2)).await?;
    log_is(Rule::A5, &world, &log, &create(Due::Never, 2).records, "created after all").await
}

/// A run that was closed at head 3, whose lease the owner 1 still has, with a stream of one chunk.
async fn closed_run(world: &Handle) -> Verdict<(LogId, LogId, Vec<Append>)> {
    let (log, chunks) = (run("run"), stream("run", "stream"));
    let appends = vec![
        create_leased(1, at(100), 1),
        append(1, &["work"], 2, owner(1)),
        append(2, &["end"], 3, close(1, None)),
    ];
    put(Rule::A5, world, &log, &appends[0]).await?;
    put(Rule::A5, world, &log, &appends[1]).await?;
    put(Rule::A5, world, &chunks, &append(0, &["chunk"], 2, owner(1))).await?;
    put(Rule::A5, world, &log, &appends[2]).await?;
    Ok((log, chunks, appends))
}

async fn a_closed_run_takes_no_record(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, _, appends) = closed_run(&world).await?;
    let sets_tags = By::Owner {
        ticket: ticket(1),
        close: false,
        rest: None,
        tags: Some(vec![Tag::from_bytes([1; 16])]),
    };
    // Open is asked before the ticket and the head: it is NotOpen for the wrong ones too.
    let mut refused = Vec::new();
    for stated in [3, 2, 0, 4, 99] {
        for by in [By::Outsider, owner(1), owner(9), close(1, None), rest(1, Due::Now)] {
            refused.push(append(stated, &["late"], 4, by));
        }
    }
    refused.push(append(3, &["late"], 4, sets_tags));
    refused.push(append(0, &["another"], 4, By::Creator(new_run(Due::Now))));
    for world in [&world, &other] {
        takes_none(world, &log, &refused, "a closed run").await?;
    }
    let wanted: Vec<_> = appends.into_iter().flat_map(|append| append.records).collect();
    log_is(Rule::A5, &other, &log, &wanted, "after it was closed").await?;
    let early = not_due(&other, &log, &claim(&["queue"], 2, 99, 200, 1)).await?;
    ensure_eq!(A5, early, None, "a claim before the lease runs out, after refused appends");
    Ok(())
}

async fn a_closed_run_takes_no_chunk_of_a_stream(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (_, chunks, _) = closed_run(&world).await?;
    let late = [
        append(1, &["late"], 4, owner(1)),
        append(0, &["late"], 4, owner(1)),
        append(7, &["late"], 4, owner(9)),
    ];
    takes_none(&other, &chunks, &late, "a stream of a closed run").await?;
    let wanted = append(0, &["chunk"], 2, owner(1)).records;
    log_is(Rule::A5, &world, &chunks, &wanted, "after its run was closed").await?;
    let new = stream("run", "new");
    takes_none(&other, &new, &[append(0, &["x"], 4, owner(1))], "a new stream of a closed run")
        .await?;
    log_is(Rule::A5, &world, &new, &[], "of a closed run").await
}

async fn a_closed_run_stays_readable(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, chunks, appends) = closed_run(&world).await?;
    put(Rule::A5, &world, &log, &append(3, &[], 4, rest(1, Due::Never))).await?;
    let wanted: Vec<_> = appends.into_iter().flat_map(|append| append.records).collect();
    let chunk = append(0, &["chunk"], 2, owner(1)).records;
    for world in [&world, &other] {
        log_is(Rule::A5, world, &log, &wanted, "which is closed").await?;
        log_is(Rule::A5, world, &chunks, &chunk, "whose run is closed").await?;
    }
    Ok(())
}

async fn a_closed_run_is_rested_claimed_and_renewed(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, _, _) = closed_run(&world).await?;
    let head = pos(3);
    // The owner's lease runs out, and another worker pays the debts.
    let next = claimed(&other, &log, &claim(&["queue"], 2, 100, 200, 8)).await?;
    let Some(lease) = next else {
        ensure!(A5, false, "the lease of a closed run has run out, but no claim gets the run");
        return Ok(());
    };
    let seen = (lease.closed, lease.head);
    ensure_eq!(A5, seen, (true, head), "closed and head, of the lease of a closed run");
    let renewed = other.renew(&lease, at(300)).await?;
    ensure_eq!(A5, renewed, Renewed::Held { head }, "a renewal of the lease of a closed run");
    let old = Lease { ticket: ticket(1), ..lease.clone() };
    let renewed = world.renew(&old, at(900)).await?;
    ensure_eq!(A5, renewed, Renewed::Lost, "a renewal under the replaced ticket of a closed run");
    let answer = world.append(&log, &append(3, &[], 5, rest(1, Due::Never))).await?;
    ensure_eq!(A5, answer, Appended::Fenced, "a rest under the replaced ticket of a closed run");
    let answer = world.append(&log, &append(2, &[], 5, rest(2, Due::Never))).await?;
    ensure_eq!(A5, answer, conflict(3), "a rest at 2 of a closed run whose head is 3");
    put(Rule::A5, &world, &log, &append(3, &[], 5, rest(2, Due::At(at(500))))).await?;
    let early = not_due(&world, &log, &claim(&["queue"], 3, 499, 600, 8)).await?;
    ensure_eq!(A5, early, None, "a claim at 499 of a closed run that rests until 500");
    let kept = claimed(&world, &log, &claim(&["queue"], 3, 500, 600, 8)).await?;
    let kept = kept.map(|lease| lease.closed);
    ensure_eq!(A5, kept, Some(true), "the claim at 500 of a closed run that rests until 500");
    Ok(())
}
