//! Readers while others write, list and delete.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use world_core::{By, Deleted, Due, List, LogId, Position, Record, World};

use super::{handles, sent, together};
use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    listing::listed,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [R1, R2, R3] readers_see_whole_appends_and_prefixes_that_stay),
        case!(Contention [R4] a_listing_beside_creators_has_what_was_there_once),
        case!(Contention [R3] readers_of_a_run_that_is_deleted_see_no_hole),
    ]
}

/// Records of an append.
const BATCH: u64 = 4;

async fn readers_see_whole_appends_and_prefixes_that_stay(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 4).await?;
    let log = token("t");
    let (written, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let crowd = worlds.iter().enumerate().map(|(number, world)| {
        let (world, log) = (Arc::clone(world), log.clone());
        let (written, is_over) = (Arc::clone(&written), Arc::clone(&is_over));
        async move {
            if number > 0 {
                return read(&*world, &log, &written, &is_over, number).await;
            }
            let wrote = write(&*world, &log, &written).await;
            is_over.store(true, SeqCst);
            wrote
        }
    });
    together(crowd).await?;
    Ok(())
}

async fn write(world: &dyn World, log: &LogId, written: &AtomicU64) -> Verdict {
    for batch in 0..40 {
        let bodies: Vec<_> = (0..BATCH).map(|place| format!("{batch} {place}")).collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        let append = append(batch * BATCH, &bodies, batch, By::Outsider);
        let wanted = committed((batch + 1) * BATCH);
        ensure_eq!(A2, sent(world, log, &append).await?, wanted, "the only writer's append");
        written.store((batch + 1) * BATCH, SeqCst);
    }
    Ok(())
}

/// Reads on and on: from where it is, and all of it again.
async fn read(
    world: &dyn World,
    log: &LogId,
    written: &AtomicU64,
    is_over: &AtomicBool,
    number: usize,
) -> Verdict {
    let mut seen: Vec<Record> = Vec::new();
    let mut head = Position::START;
    let mut rounds = 0_usize;
    loop {
        let is_last = is_over.load(SeqCst);
        rounds += 1;
        let after = if rounds.is_multiple_of(3) { 0 } else { seen.len() as u64 };
        let committed = written.load(SeqCst);
        let limit = if number == 1 { 3 } else { 64 };
        let page = world.read(log, pos(after), count(limit)).await?;
        ensure!(
            R1,
            page.head >= pos(committed),
            "{committed} were committed before a read that says {}",
            page.head
        );
        ensure!(R1, page.head >= head, "a read says head {}, one before it {head}", page.head);
        let whole = page.head.get().is_multiple_of(BATCH);
        ensure!(A1, whole, "a read says head {} of appends of {BATCH} records", page.head);
        head = page.head;
        let is_empty = page.records.is_empty();
        ensure!(R3, !is_empty || pos(after) >= head, "a page after {after} is empty, head {head}");
        for (position, record) in (after + 1..).zip(page.records) {
            ensure_eq!(R3, record.position, pos(position), "a position of a page after {after}");
            ensure!(R3, record.position <= head, "a page has position {position}, head {head}");
            match seen.get(position as usize - 1) {
                Some(before) => ensure!(R2, *before == record, "record {position} has changed"),
                None => seen.push(record),
            }
        }
        if is_last && seen.len() as u64 == head.get() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

async fn a_listing_beside_creators_has_what_was_there_once(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 4).await?;
    let names: Vec<_> = (0..24).map(|number| format!("old {number:02}")).collect();
    for (number, name) in (0..).zip(&names) {
        commits(&worlds[0], &run(name), &create(Due::Never, 100 + number / 4)).await?;
    }
    let crowd = worlds.iter().enumerate().map(|(number, world)| {
        let (world, names) = (Arc::clone(world), names.clone());
        async move {
            if number > 1 {
                return list(&*world, &names).await;
            }
            for made in 0..40_u64 {
                let name = format!("{} {number} {made}", ["a", "z"][made as usize % 2]);
                let create = create(Due::Never, if made % 3 == 0 { 1 } else { 100 + made % 9 });
                sent(&*world, &run(&name), &create).await?;
            }
            Ok(())
        }
    });
    together(crowd).await?;
    Ok(())
}

/// Lists all in small pages, some times over.
async fn list(world: &dyn World, names: &[String]) -> Verdict {
    for _ in 0..3 {
        let seen = listed(world, &List::all(count(5))).await?;
        let missing: Vec<_> = names.iter().filter(|name| !seen.contains(name)).collect();
        ensure!(R4, missing.is_empty(), "{missing:?} were there all the time and are not listed");
    }
    Ok(())
}

async fn readers_of_a_run_that_is_deleted_see_no_hole(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 3).await?;
    let bodies = ["body"; 60];
    for round in 0..6 {
        let log = run(&format!("run {round}"));
        commits(&worlds[0], &log, &create_leased(1, FAR, 1)).await?;
        commits(&worlds[0], &log, &append(1, &bodies, 2, owner(1))).await?;
        commits(&worlds[0], &log, &append(61, &["end"], 3, close(1, None))).await?;
        let crowd = worlds.iter().enumerate().map(|(number, world)| {
            let (world, log) = (Arc::clone(world), log.clone());
            async move {
                if number == 0 {
                    let deleted = world.delete(&log, pos(62)).await?;
                    ensure_eq!(D1, deleted, Deleted::Done, "the deletion of a closed run");
                    return Ok(());
                }
                read_until_gone(&*world, &log).await
            }
        });
        together(crowd).await?;
    }
    Ok(())
}

/// Every page is what was there or nothing; once it is nothing, it stays so.
async fn read_until_gone(world: &dyn World, log: &LogId) -> Verdict {
    let mut after = 0;
    let mut is_gone = false;
    for _ in 0..40 {
        let page = world.read(log, pos(after), count(20)).await?;
        ensure!(D1, !is_gone || page.records.is_empty(), "a deleted run has records again");
        let mut position = after;
        for record in &page.records {
            position += 1;
            ensure_eq!(
                R3,
                record.position,
                pos(position),
                "a page after {after} of a run that is deleted"
            );
        }
        is_gone |= page.records.is_empty() && after < 62;
        after = if position >= 62 { 0 } else { position };
        tokio::task::yield_now().await;
    }
    Ok(())
}
