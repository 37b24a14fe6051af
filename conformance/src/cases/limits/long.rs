//! Rule R3 on long logs: what is read is what was written.

use world_core::{By, Record, Sealed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, put, same},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Limits [R3] a_log_of_three_thousand_records_is_read_as_it_was_written),
        case!(Limits [R3] a_log_of_large_records_is_read_as_it_was_written),
        case!(Limits [R3] long_logs_beside_each_other_are_apart),
    ]
}

/// Reads to the head in pages of at most `limit`; what is read must be what was written.
pub(super) async fn reads(
    world: &Handle,
    log: &world_core::LogId,
    limit: u32,
    written: &[Record],
) -> Verdict {
    let mut seen = 0;
    while seen < written.len() {
        let page = world.read(log, pos(seen as u64), count(limit)).await?;
        let what = format!("{log}, a page after {seen} of at most {limit}");
        let length = page.records.len();
        ensure!(R3, length > 0, "{what}: it is empty, where {} follow", written.len() - seen);
        let rest = &written[seen..];
        ensure!(R3, length <= rest.len(), "{what}: {length} records, where {} follow", rest.len());
        ensure!(R3, length <= limit as usize, "{what}: it holds {length} records");
        same(Rule::R3, &page.records, &rest[..length], &what)?;
        ensure_eq!(R3, page.head, pos(written.len() as u64), "{what}: its head");
        seen += length;
    }
    let page = world.read(log, pos(seen as u64), count(limit)).await?;
    ensure!(R3, page.records.is_empty(), "{log}: records follow its head, {seen}");
    Ok(())
}

async fn a_log_of_three_thousand_records_is_read_as_it_was_written(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::R3, &world, &log, &create_leased(1, FAR, 1)).await?;
    let mut written = create_leased(1, FAR, 1).records;
    while written.len() < 3_000 {
        let bodies: Vec<_> = (0..64).map(|index| format!("{} {index}", written.len())).collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        let next = append(written.len() as u64, &bodies, written.len() as u64, owner(1));
        put(Rule::R3, &world, &log, &next).await?;
        written.extend(next.records);
    }
    for limit in [u32::MAX, 1_000, 64, 61] {
        reads(&other, &log, limit, &written).await?;
    }
    Ok(())
}

async fn a_log_of_large_records_is_read_as_it_was_written(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    let mut written = Vec::new();
    while written.len() < 30 {
        let mut next = append(written.len() as u64, &[""; 5], 1, By::Outsider);
        for record in &mut next.records {
            let mut body = vec![record.position.get() as u8; 200 << 10];
            body.extend(record.position.get().to_be_bytes());
            record.body = Sealed::from_stored(body);
        }
        put(Rule::R3, &world, &log, &next).await?;
        written.extend(next.records);
    }
    for limit in [u32::MAX, 7, 1] {
        reads(&other, &log, limit, &written).await?;
    }
    Ok(())
}

async fn long_logs_beside_each_other_are_apart(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let logs = [run("run"), stream("run", "1"), stream("run", "2"), token("run"), token("run 1")];
    put(Rule::R3, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    let mut written = logs.clone().map(|_| Vec::<Record>::new());
    written[0] = create_leased(1, FAR, 1).records;
    for round in 0..5 {
        for (log, written) in logs.iter().zip(&mut written) {
            let by = if let world_core::LogId::Token(_) = log { By::Outsider } else { owner(1) };
            let body = format!("{log} in round {round}");
            let next = append(written.len() as u64, &vec![body.as_str(); 60], round, by);
            put(Rule::R3, &world, log, &next).await?;
            written.extend(next.records);
        }
    }
    for (log, written) in logs.iter().zip(&written) {
        for limit in [u32::MAX, 50] {
            reads(&world, log, limit, written).await?;
        }
    }
    Ok(())
}
