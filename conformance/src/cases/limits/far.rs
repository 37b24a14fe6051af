//! Rule R3 on logs so long that a position written as text, or a page, is too short for them.

use world_core::{By, LogId, Record};

use super::long::reads;
use crate::{
    case::{Case, case},
    failure::Verdict,
    kit::*,
    look::{Handle, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Limits [R3] a_log_past_9999_records_is_read_in_its_order),
        case!(Limits [R3] a_stream_of_1100_chunks_is_read_whole),
        case!(Limits [R3] a_token_log_of_1100_records_is_read_whole),
    ]
}

/// Appends to a log until it holds so many records; all that were written.
async fn grown(
    world: &Handle,
    log: &LogId,
    mut written: Vec<Record>,
    records: usize,
    by: &By,
) -> Verdict<Vec<Record>> {
    while written.len() < records {
        let head = written.len() as u64;
        let room = (records - written.len()).min(64);
        let bodies: Vec<_> = (0..room).map(|index| format!("{head} {index}")).collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        let next = append(head, &bodies, head, by.clone());
        put(Rule::R3, world, log, &next).await?;
        written.extend(next.records);
    }
    Ok(written)
}

async fn a_log_past_9999_records_is_read_in_its_order(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let created = create_leased(1, FAR, 1);
    put(Rule::R3, &world, &log, &created).await?;
    let written = grown(&world, &log, created.records, 10_100, &owner(1)).await?;
    for limit in [u32::MAX, 999] {
        reads(&other, &log, limit, &written).await?;
    }
    Ok(())
}

async fn a_stream_of_1100_chunks_is_read_whole(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = stream("run", "stream");
    put(Rule::R3, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    let written = grown(&world, &log, Vec::new(), 1_100, &owner(1)).await?;
    for limit in [u32::MAX, 99] {
        reads(&other, &log, limit, &written).await?;
    }
    Ok(())
}

async fn a_token_log_of_1100_records_is_read_whole(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    let written = grown(&world, &log, Vec::new(), 1_100, &By::Outsider).await?;
    for limit in [u32::MAX, 99] {
        reads(&other, &log, limit, &written).await?;
    }
    Ok(())
}
