//! Rule B1: the least limits are taken, and more than the World's own is refused whole.

use world_core::{Append, By, Due, ErrorKind, Limits, LogId, NewRun, Sealed};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure},
    kit::*,
    look::{Handle, listing, log_is, put},
    rule::Rule,
    subject::Subject,
};

use super::bytes;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [B1] the_stated_limits_are_the_least_or_more),
        case!(Contract [B1] the_least_limits_are_taken),
        case!(Contract [B1] more_than_the_limits_is_refused_whole),
        case!(Limits [B1] every_log_takes_the_least),
        case!(Limits [B1] a_world_takes_what_it_says),
        case!(Limits [B1] a_world_refuses_what_is_more_than_it_says),
    ]
}

/// The most bytes and records of an append that is tried, however many a World says it takes.
const TRIED: Limits =
    Limits { records_max: 4096, record_bytes_max: 16 << 20, append_bytes_max: 16 << 20 };

/// An append with bodies of these sizes.
fn sized(expected: u64, sizes: &[usize], by: By) -> Append {
    let mut append = append(expected, &vec![""; sizes.len()], 2, by);
    for (record, size) in append.records.iter_mut().zip(sizes) {
        record.body = Sealed::from_stored(bytes(*size));
    }
    append
}

/// Sizes of a batch of this total, each at most `largest`.
fn sizes_of(total: usize, largest: usize) -> Vec<usize> {
    let mut sizes = vec![largest; total / largest.max(1)];
    sizes.extend(Some(total % largest.max(1)).filter(|rest| *rest > 0));
    sizes
}

async fn the_stated_limits_are_the_least_or_more(subject: Subject) -> Verdict {
    let limits = subject.open().await?.info().limits;
    let Limits { records_max, record_bytes_max, append_bytes_max } = Limits::LEAST;
    for (what, stated, least) in [
        ("records an append", limits.records_max, records_max),
        ("bytes a record", limits.record_bytes_max, record_bytes_max),
        ("bytes an append", limits.append_bytes_max, append_bytes_max),
    ] {
        ensure!(B1, stated >= least, "info() says {stated} {what}, where {least} are the least");
    }
    Ok(())
}

/// Batches that are just the least, in one respect each.
fn least() -> [(&'static str, Vec<usize>); 4] {
    let Limits { records_max, record_bytes_max, append_bytes_max } = Limits::LEAST;
    [
        ("64 small records", vec![1; records_max]),
        ("a record of 256 KiB", vec![record_bytes_max]),
        ("four records of 256 KiB", sizes_of(append_bytes_max, record_bytes_max)),
        ("64 records of 16 KiB", vec![append_bytes_max / records_max; records_max]),
    ]
}

async fn takes(world: &Handle, log: &LogId, head: u64, batches: &[Append]) -> Verdict {
    let mut wanted = Vec::new();
    for batch in batches {
        put(Rule::B1, world, log, batch).await?;
        wanted.extend(batch.records.clone());
    }
    if head == 0 {
        log_is(Rule::B1, world, log, &wanted, "after batches within the limits").await?;
    }
    Ok(())
}

/// Batches of these sizes, one behind the other.
fn in_a_row(mut head: u64, sizes: &[Vec<usize>], by: &By) -> Vec<Append> {
    let batch = |sizes: &Vec<usize>| {
        let batch = sized(head, sizes, by.clone());
        head += sizes.len() as u64;
        batch
    };
    sizes.iter().map(batch).collect()
}

async fn the_least_limits_are_taken(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = token("token");
    let sizes = least().map(|(_, sizes)| sizes);
    takes(&world, &log, 0, &in_a_row(0, &sizes, &By::Outsider)).await
}

async fn every_log_takes_the_least(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let sizes = least().map(|(_, sizes)| sizes);
    put(Rule::B1, &world, &run("run"), &create_leased(1, FAR, 1)).await?;
    takes(&world, &run("run"), 1, &in_a_row(1, &sizes, &owner(1))).await?;
    takes(&world, &stream("run", "stream"), 0, &in_a_row(0, &sizes, &owner(1))).await?;
    for (what, sizes) in least() {
        let created = sized(0, &sizes, By::Creator(new_run(Due::Never)));
        takes(&world, &run(what), 0, &[created]).await?;
    }
    Ok(())
}

async fn a_world_takes_what_it_says(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let limits = world.info().limits;
    let records = limits.records_max.min(limits.append_bytes_max).min(TRIED.records_max);
    let total = limits.append_bytes_max.min(TRIED.append_bytes_max);
    let record = limits.record_bytes_max.min(total);
    let mut batches = vec![vec![1; records], vec![record]];
    let largest = sizes_of(total, record);
    if largest.len() <= limits.records_max {
        batches.push(largest);
    }
    takes(&world, &token("token"), 0, &in_a_row(0, &batches, &By::Outsider)).await
}

/// Batches that are more than these limits by one, in one respect each.
fn too_large(limits: Limits) -> Vec<(&'static str, Vec<usize>)> {
    let Limits { records_max, record_bytes_max, append_bytes_max } = limits;
    let mut batches = Vec::new();
    if records_max < TRIED.records_max {
        batches.push(("one record more than it takes", vec![1; records_max + 1]));
    }
    if record_bytes_max < TRIED.record_bytes_max {
        batches.push(("a record of one byte more than it takes", vec![record_bytes_max + 1]));
        let last = vec![1, 1, record_bytes_max + 1];
        batches.push(("a batch whose last record has one byte more than it takes", last));
    }
    if append_bytes_max < TRIED.append_bytes_max {
        let sizes = sizes_of(append_bytes_max + 1, record_bytes_max.min(append_bytes_max));
        batches.push(("an append of one byte more than it takes", sizes));
    }
    batches
}

/// Nothing of what is too large is written, and the log goes on at its head.
async fn refuses(world: &Handle, log: &LogId, before: &[Append], by: &By) -> Verdict {
    let mut wanted = Vec::new();
    for append in before {
        put(Rule::B1, world, log, append).await?;
        wanted.extend(append.records.clone());
    }
    for (what, sizes) in too_large(world.info().limits) {
        let batch = sized(wanted.len() as u64, &sizes, by.clone());
        let answer = world.append(log, &batch).await;
        let kind = answer.as_ref().map_err(world_core::Error::kind);
        ensure!(B1, kind == Err(ErrorKind::TooLarge), "{what}, to {log}: {answer:?}, not TooLarge");
        log_is(Rule::B1, world, log, &wanted, format!("after {what} was sent")).await?;
    }
    Ok(())
}

async fn more_than_the_limits_is_refused_whole(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let created = create_leased(1, FAR, 1);
    // What closes, rests and tags with it must not happen either.
    refuses(&world, &run("run"), &[created], &close(1, Some(Due::Now))).await?;
    let answer = world.append(&run("run"), &append(1, &["fits"], 3, owner(1))).await?;
    ensure!(B1, answer == committed(2), "the owner's append after too large ones: {answer:?}");
    Ok(())
}

async fn a_world_refuses_what_is_more_than_it_says(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let created = create_leased(1, FAR, 1);
    refuses(&world, &run("signalled"), &[create(Due::Never, 1)], &By::Outsider).await?;
    refuses(&world, &run("driven"), &[created], &owner(1)).await?;
    let opened = append(0, &["opened"], 1, owner(1));
    refuses(&world, &stream("driven", "stream"), &[opened], &owner(1)).await?;
    refuses(&world, &stream("driven", "new"), &[], &owner(1)).await?;
    refuses(&world, &token("token"), &[append(0, &["x"], 1, By::Outsider)], &By::Outsider).await?;
    refuses(&world, &token("new"), &[], &By::Outsider).await?;
    let new = NewRun { queue: queue("elsewhere"), ..new_run(Due::Now) };
    refuses(&world, &run("new"), &[], &By::Creator(new)).await?;
    let runs = listing(&world).await?.len();
    ensure!(
        B1,
        runs == 2,
        "a listing shows {runs} runs, where 2 were created: a third is too large"
    );
    let leases = world.claim(&claim(&["elsewhere"], 2, 9, 99, 9)).await?;
    ensure!(B1, leases.is_empty(), "a claim gets {leases:?}, a run whose creation is too large");
    Ok(())
}
