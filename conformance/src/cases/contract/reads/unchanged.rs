//! Rule R2: records never change.

use world_core::{By, Due, Kind, LogId, Position, Record, Sealed};

use crate::{
    case::{Case, case},
    failure::Verdict,
    kit::*,
    look::{Handle, put, same},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R2] a_prefix_once_read_stays),
        case!(Contract [R2] other_bytes_do_not_overwrite),
        case!(Contract [R2] leases_closing_and_other_logs_change_no_record),
    ]
}

/// The first records of a log must still be these.
async fn prefix_is(world: &Handle, log: &LogId, prefix: &[Record], what: &str) -> Verdict {
    let mut seen = Vec::new();
    while seen.len() < prefix.len() {
        let after = seen.last().map_or(Position::START, |record: &Record| record.position);
        let left = u32::try_from(prefix.len() - seen.len()).unwrap_or(u32::MAX);
        let page = world.read(log, after, count(left)).await?;
        if page.records.is_empty() {
            break;
        }
        seen.extend(page.records);
    }
    same(Rule::R2, &seen, prefix, format!("the first records of {log}, {what}"))
}

async fn a_prefix_once_read_stays(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::R2, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    for (log, by) in [
        (run("run"), By::Outsider),
        (stream("run", "stream"), owner(1)),
        (token("token"), By::Outsider),
    ] {
        let mut written = match &log {
            LogId::Run(_) => create_leased(1, FAR, 1).records,
            LogId::Stream(..) | LogId::Token(_) => Vec::new(),
        };
        for round in 0..12_u64 {
            let bodies = vec!["the same body"; 1 + round as usize * 5 % 17];
            let mut next = append(written.len() as u64, &bodies, 50 - round, by.clone());
            for (kind, record) in (round as u16..).zip(&mut next.records) {
                record.kind = Kind(kind);
            }
            put(Rule::R2, &world, &log, &next).await?;
            let what = format!("after {} more were written", next.records.len());
            prefix_is(&other, &log, &written, &what).await?;
            written.extend(next.records);
        }
        prefix_is(&world, &log, &written, "at last").await?;
    }
    Ok(())
}

async fn other_bytes_do_not_overwrite(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    put(Rule::R2, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    for (log, by, first) in [
        (run("run"), By::Outsider, 1),
        (stream("run", "stream"), owner(1), 0),
        (token("token"), By::Outsider, 0),
    ] {
        let batch = append(first, &["a", "b", "c", "d"], 2, by);
        put(Rule::R2, &world, &log, &batch).await?;
        let created = create_leased(1, FAR, 1).records;
        let written = if first == 0 { Vec::new() } else { created };
        let written = [written, batch.records.clone()].concat();
        for index in 0..4 {
            let mut forged = batch.clone();
            for record in forged.records.iter_mut().skip(index) {
                record.body = Sealed::from_stored(&b"forged"[..]);
            }
            // What it answers is rule A6's affair.
            let _ = other.append(&log, &forged).await?;
            prefix_is(&world, &log, &written, "after others were sent to their place").await?;
            forged.records.truncate(index + 1);
            let _ = other.append(&log, &forged).await?;
            prefix_is(&world, &log, &written, "after fewer others were sent to their place")
                .await?;
        }
    }
    Ok(())
}

async fn leases_closing_and_other_logs_change_no_record(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let steps = [
        create_leased(1, at(100), 1),
        append(1, &["signal"], 2, By::Outsider),
        append(2, &["slept"], 3, rest(1, Due::Now)),
    ];
    let mut written = Vec::new();
    for step in &steps {
        put(Rule::R2, &world, &log, step).await?;
        written.extend(step.records.clone());
        prefix_is(&other, &log, &written, "after an append").await?;
    }
    world.claim(&claim(&["queue"], 2, 50, 150, 1)).await?;
    prefix_is(&other, &log, &written, "after a claim").await?;
    let end = append(3, &["end"], 60, close(2, Some(Due::Never)));
    put(Rule::R2, &world, &log, &end).await?;
    written.extend(end.records);
    prefix_is(&other, &log, &written, "after the run was closed").await?;

    // Another run with a stream, all at the same positions; then it is deleted.
    put(Rule::R2, &world, &run("other"), &create_leased(1, FAR, 1)).await?;
    put(Rule::R2, &world, &stream("other", "stream"), &append(0, &["x"; 9], 2, owner(1))).await?;
    let ended = append(1, &["x"; 9], 2, close(1, Some(Due::Never)));
    put(Rule::R2, &world, &run("other"), &ended).await?;
    prefix_is(&other, &log, &written, "after other logs were written").await?;
    world.delete(&run("other"), pos(10)).await?;
    prefix_is(&other, &log, &written, "after another run was deleted").await
}
