//! Rule R3: a page never shows a hole, and says the head.

use std::num::NonZeroU32;

use world_core::{Append, By, Deleted, Due, LogId, Page, Position, Record, Sealed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{self, Handle, log_is, put, same},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [R3] pages_of_any_size_lose_and_repeat_nothing),
        case!(Contract [R3] a_page_begins_right_after_any_position),
        case!(Contract [R3] a_page_that_is_cut_by_bytes_has_no_hole),
        case!(Contract [R3] the_largest_record_alone_fits_a_page),
        case!(Contract [R3] an_absent_log_is_an_empty_page),
        case!(Contract [R3] beyond_the_head_is_an_empty_page_with_the_head),
        case!(Contract [R3] a_deleted_log_is_an_empty_page_with_its_head),
    ]
}

/// What one page must be: the next records from `after` on, at most `limit`, one at least below
/// the head, and the head.
fn page_is(page: &Page, log: &LogId, after: u64, limit: u32, written: &[Record]) -> Verdict {
    let what = format!("{log}, a page after {after} of at most {limit}");
    let from = usize::try_from(after).unwrap_or(usize::MAX);
    let rest = written.get(from..).unwrap_or_default();
    let seen = page.records.len();
    ensure!(R3, seen <= limit as usize, "{what}: it holds {seen} records");
    ensure!(R3, seen > 0 || rest.is_empty(), "{what}: it is empty, and {} follow", rest.len());
    same(Rule::R3, &page.records, &rest[..seen.min(rest.len())], &what)?;
    let head = written.last().map_or(Position::START, |record| record.position);
    ensure_eq!(R3, page.head, head, "{what}: its head");
    Ok(())
}

/// Reads a log to its end in pages of at most `limit`; each page must be right.
async fn paged(world: &Handle, log: &LogId, limit: u32, written: &[Record]) -> Verdict {
    let mut after = 0;
    while after < written.len() as u64 {
        let page = look::page(world, log, pos(after), count(limit)).await?;
        page_is(&page, log, after, limit, written)?;
        after += page.records.len() as u64;
    }
    let page = look::page(world, log, pos(after), count(limit)).await?;
    page_is(&page, log, after, limit, written)
}

/// A log of each kind with 41 records, in appends of many sizes.
async fn logs(world: &Handle) -> Verdict<Vec<(LogId, Vec<Record>)>> {
    let mut logs = Vec::new();
    for (log, first, by) in [
        (run("run"), create_leased(1, FAR, 1), By::Outsider),
        (stream("run", "stream"), append(0, &["opened"], 1, owner(1)), owner(1)),
        (token("token"), append(0, &["first"], 1, By::Outsider), By::Outsider),
    ] {
        put(Rule::R3, world, &log, &first).await?;
        let mut written = first.records;
        for size in [1, 2, 5, 10, 22] {
            let next = append(written.len() as u64, &vec!["body"; size], size as u64, by.clone());
            put(Rule::R3, world, &log, &next).await?;
            written.extend(next.records);
        }
        logs.push((log, written));
    }
    Ok(logs)
}

async fn pages_of_any_size_lose_and_repeat_nothing(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (log, written) in logs(&world).await? {
        for limit in [1, 2, 3, 7, 40, 41, 42, 64, 1_000, 1 << 31, u32::MAX] {
            paged(&world, &log, limit, &written).await?;
        }
    }
    Ok(())
}

async fn a_page_begins_right_after_any_position(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (log, written) in logs(&world).await? {
        for after in 0..=written.len() as u64 {
            for limit in [1, 4, u32::MAX] {
                let page = look::page(&world, &log, pos(after), count(limit)).await?;
                page_is(&page, &log, after, limit, &written)?;
            }
        }
    }
    Ok(())
}

/// An append with bodies of these sizes.
fn sized(expected: u64, sizes: &[usize], by: By) -> Append {
    let mut append = append(expected, &vec![""; sizes.len()], 2, by);
    for (record, size) in append.records.iter_mut().zip(sizes) {
        let byte = record.position.get() as u8;
        record.body = Sealed::from_stored(vec![byte; *size]);
    }
    append
}

async fn a_page_that_is_cut_by_bytes_has_no_hole(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    let created = create(Due::Never, 1);
    put(Rule::R3, &world, &log, &created).await?;
    let mut written = created.records;
    // A small record behind large ones fits where the large one before it does not.
    let (large, small) = (200 << 10, 10);
    for sizes in [
        &[large, large, large, large, large][..],
        &[small, large, small, large, large],
        &[large, small, small, large, large],
        &[large, large, large, small, large],
        &[small; 20],
        &[large, large, large, large, large],
        &[small],
    ] {
        let next = sized(written.len() as u64, sizes, By::Outsider);
        put(Rule::R3, &world, &log, &next).await?;
        written.extend(next.records);
    }
    for limit in [u32::MAX, 100, 9, 6, 5, 1] {
        paged(&world, &log, limit, &written).await?;
    }
    for after in 0..written.len() as u64 {
        let page = look::page(&world, &log, pos(after), NonZeroU32::MAX).await?;
        page_is(&page, &log, after, u32::MAX, &written)?;
    }
    Ok(())
}

async fn the_largest_record_alone_fits_a_page(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = token("token");
    let limits = world.info().limits;
    let largest = limits.record_bytes_max.min(limits.append_bytes_max).min(8 << 20);
    let mut written = Vec::new();
    for sizes in [&[1][..], &[largest], &[1], &[largest], &[largest], &[1]] {
        let next = sized(written.len() as u64, sizes, By::Outsider);
        put(Rule::R3, &world, &log, &next).await?;
        written.extend(next.records);
    }
    for limit in [1, 2, u32::MAX] {
        paged(&world, &log, limit, &written).await?;
    }
    Ok(())
}

async fn an_absent_log_is_an_empty_page(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    put(Rule::R3, &world, &run("there"), &create_leased(1, FAR, 1)).await?;
    for log in [run("run"), stream("run", "s"), stream("there", "s"), token("there")] {
        for after in [0, 1, 7, 1 << 32, 1 << 63, u64::MAX] {
            for limit in [1, u32::MAX] {
                let page = look::page(&world, &log, pos(after), count(limit)).await?;
                page_is(&page, &log, after, limit, &[])?;
            }
        }
    }
    Ok(())
}

async fn beyond_the_head_is_an_empty_page_with_the_head(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    for (log, written) in logs(&world).await? {
        let head = written.len() as u64;
        for after in [head, head + 1, head + 1_000, 1 << 32, (1 << 32) + 1, 1 << 53] {
            let page = look::page(&world, &log, pos(after), count(10)).await?;
            page_is(&page, &log, after, 10, &written)?;
        }
        for after in [i64::MAX as u64, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
            let page = look::page(&world, &log, pos(after), NonZeroU32::MAX).await?;
            page_is(&page, &log, after, u32::MAX, &written)?;
        }
    }
    Ok(())
}

async fn a_deleted_log_is_an_empty_page_with_its_head(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let (log, chunks, address) = (run("run"), stream("run", "stream"), token("token"));
    put(Rule::R3, &world, &log, &create_leased(1, FAR, 1)).await?;
    put(Rule::R3, &world, &chunks, &append(0, &["x"; 9], 2, owner(1))).await?;
    put(Rule::R3, &world, &log, &append(1, &["x"; 9], 2, close(1, Some(Due::Never)))).await?;
    put(Rule::R3, &world, &address, &append(0, &["x"; 10], 2, By::Outsider)).await?;
    for log in [&log, &address] {
        let deleted = world.delete(log, pos(10)).await?;
        ensure_eq!(R3, deleted, Deleted::Done, "a deletion of {log} at its head");
        for after in [0, 1, 9, 10, 11, u64::MAX] {
            let page = look::page(&other, log, pos(after), count(100)).await?;
            let seen = (page.records.len(), page.head);
            let what = "records and head of a page";
            ensure_eq!(R3, seen, (0, pos(10)), "{what} after {after} of {log}, which is deleted");
        }
    }
    for after in [0, 1, 9] {
        let page = look::page(&other, &chunks, pos(after), count(100)).await?;
        let seen = page.records.len();
        ensure_eq!(R3, seen, 0, "records after {after} of a stream whose run is deleted");
    }
    // A token log goes on above what was deleted: the first page begins there.
    let next = append(10, &["new"; 3], 3, By::Outsider);
    put(Rule::R3, &world, &address, &next).await?;
    log_is(Rule::R3, &other, &address, &next.records, "used again after it was deleted").await
}
