//! Rule A1: all or nothing, also when the caller gives up. Rule A3: no gaps.

use world_core::{Append, By, Due, ErrorKind, LogId, Position};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{POLLS_MAX, cut, log_is, put, whole},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A1] a_batch_is_there_whole),
        case!(Contract [A1] a_dropped_append_is_there_whole_or_not_at_all),
        case!(Contract [A3] positions_count_from_one_whoever_writes),
        case!(Contract [A3] records_that_leave_a_gap_are_refused_whole),
        case!(Contract [A3] a_refused_append_uses_up_no_position),
        case!(Contract [A3] a_dropped_append_leaves_no_hole),
    ]
}

const FIVE: [&str; 5] = ["one", "two", "three", "four", "five"];

/// An append to try on a log, and what must be there before.
struct Trial {
    log: LogId,
    before: Vec<Append>,
    append: Append,
}

/// A batch by each kind of writer; names end in `number`, so that trials do not meet. The stream's
/// run is the owner's.
fn trials(number: usize) -> Vec<Trial> {
    let name = |what: &str| format!("{what} {number}");
    let created = create(Due::Never, 1);
    let leased = create_leased(1, FAR, 1);
    let new = match &created.by {
        By::Creator(new) => new.clone(),
        By::Outsider | By::Owner { .. } => new_run(Due::Never),
    };
    let trial = |log, before, append| Trial { log, before, append };
    vec![
        trial(run(&name("created")), vec![], append(0, &FIVE, 1, By::Creator(new))),
        trial(run(&name("signalled")), vec![created], append(1, &FIVE, 2, By::Outsider)),
        trial(run(&name("driven")), vec![leased], append(1, &FIVE, 2, owner(1))),
        trial(stream(&name("driven"), "stream"), vec![], append(0, &FIVE, 2, owner(1))),
        trial(token(&name("token")), vec![], append(0, &FIVE, 2, By::Outsider)),
    ]
}

async fn a_batch_is_there_whole(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for Trial { log, before, append } in trials(0) {
        for append in &before {
            put(Rule::A1, &world, &log, append).await?;
        }
        put(Rule::A1, &world, &log, &append).await?;
        let mut wanted: Vec<_> = before.into_iter().flat_map(|append| append.records).collect();
        wanted.extend(append.records);
        log_is(Rule::A1, &other, &log, &wanted, "after a batch of 5").await?;
    }
    Ok(())
}

async fn a_dropped_append_is_there_whole_or_not_at_all(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let mut has_answered = true;
        for Trial { log, before, append } in trials(polls) {
            for append in &before {
                put(Rule::A1, &world, &log, append).await?;
            }
            has_answered &= cut(world.append(&log, &append), polls).await.is_some();
            subject.injected(1);

            let mut wanted: Vec<_> = before.into_iter().flat_map(|append| append.records).collect();
            let page = whole(&other, &log).await?;
            let landed = page.records.len().checked_sub(wanted.len());
            ensure!(
                A1,
                landed == Some(0) || landed == Some(FIVE.len()),
                "a batch of 5 to {log}, dropped after {polls} polls: there are {} records, where \
                 {} were before",
                page.records.len(),
                wanted.len()
            );
            let answer = subject.open().await?.append(&log, &append).await?;
            let again = committed(append.head_after().get());
            ensure_eq!(
                A1,
                answer,
                again,
                "a batch to {log}, dropped after {polls} polls and sent again by another handle"
            );
            wanted.extend(append.records);
            let what = format!("a batch dropped after {polls} polls, and sent again");
            log_is(Rule::A1, &other, &log, &wanted, what).await?;
        }
        if has_answered {
            break;
        }
    }
    Ok(())
}

async fn positions_count_from_one_whoever_writes(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    let mut wanted = create_leased(1, FAR, 1).records;
    put(Rule::A3, &world, &log, &create_leased(1, FAR, 1)).await?;
    // The times run backwards: only positions order.
    for (turn, size) in [1, 5, 16, 2, 3].into_iter().enumerate() {
        let by = if turn % 2 == 0 { By::Outsider } else { owner(1) };
        let bodies: Vec<_> = (0..size).map(|number| format!("{turn} {number}")).collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        let append = append(wanted.len() as u64, &bodies, 100 - turn as u64, by);
        let world = if turn < 2 { &world } else { &other };
        let answer = world.append(&log, &append).await?;
        let head = wanted.len() as u64 + size;
        ensure_eq!(A3, answer, committed(head), "{size} records behind position {}", wanted.len());
        wanted.extend(append.records);
    }
    let page = whole(&world, &log).await?;
    for (place, record) in (1..).zip(&page.records) {
        let position = record.position.get();
        ensure!(A3, position == place, "position {position} stands where {place} belongs");
    }
    log_is(Rule::A3, &world, &log, &wanted, "after five writers").await
}

async fn records_that_leave_a_gap_are_refused_whole(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    let created = create_leased(1, FAR, 1);
    put(Rule::A3, &world, &log, &created).await?;
    let positions: [&[u64]; 6] = [&[2, 4], &[3], &[2, 3, 3], &[1, 2], &[2, 3, 4, 6], &[2, 3, 5, 4]];
    for positions in positions {
        let bodies = vec!["a record"; positions.len()];
        let mut append = append(1, &bodies, 2, owner(1));
        for (record, position) in append.records.iter_mut().zip(positions) {
            record.position = pos(*position);
        }
        let answer = world.append(&log, &append).await;
        let kind = answer.as_ref().map_err(world_core::Error::kind);
        ensure!(
            A3,
            kind == Err(ErrorKind::Invalid),
            "records at positions {positions:?} behind position 1: {answer:?}, not Invalid"
        );
        let what = format!("after records at positions {positions:?} were refused");
        log_is(Rule::A3, &world, &log, &created.records, what).await?;
    }
    Ok(())
}

async fn a_refused_append_uses_up_no_position(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    let mut wanted = create_leased(1, FAR, 1).records;
    put(Rule::A3, &world, &log, &create_leased(1, FAR, 1)).await?;
    for round in 0..3 {
        let head = wanted.len() as u64;
        let size = world.info().limits.record_bytes_max;
        let mut too_large = append(head, &["fits", "is too large"], 2, owner(1));
        if let Some(record) = too_large.records.last_mut().filter(|_| size < MANY) {
            record.body = world_core::Sealed::from_stored(vec![7; size + 1]);
            // Refused or taken is rule B1's affair: what it answers is not looked at here.
            let _ = world.append(&log, &too_large).await;
        }
        for refused in [
            append(head + 1, &FIVE, 2, By::Outsider),
            append(head, &FIVE, 2, owner(9)),
            append(0, &["another creation"], 2, By::Creator(new_run(Due::Now))),
        ] {
            let _ = world.append(&log, &refused).await?;
        }
        let page = whole(&world, &log).await?;
        ensure_eq!(A3, page.head, pos(head), "the head after refused appends");
        let next = append(head, &[&format!("round {round}")], 3, owner(1));
        put(Rule::A3, &world, &log, &next).await?;
        wanted.extend(next.records);
        log_is(Rule::A3, &world, &log, &wanted, "after refused appends").await?;
    }
    Ok(())
}

/// The largest record that is made to be refused.
const MANY: usize = 16 << 20;

async fn a_dropped_append_leaves_no_hole(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    for polls in 0..=POLLS_MAX {
        let log = run(&format!("run {polls}"));
        put(Rule::A3, &world, &log, &create_leased(1, FAR, 1)).await?;
        let dropped = append(1, &FIVE, 2, owner(1));
        let has_answered = cut(world.append(&log, &dropped), polls).await.is_some();
        subject.injected(1);

        // Another writes behind it, wherever the head is; the dropped one may still land.
        let mut head = whole(&other, &log).await?.head;
        let mut is_there = false;
        for _ in 0..4 {
            match other.append(&log, &append(head.get(), &["next"], 3, By::Outsider)).await? {
                world_core::Appended::Committed { .. } => {
                    is_there = true;
                    break;
                }
                world_core::Appended::Conflict { head: seen } => head = seen,
                answer => {
                    ensure!(A3, false, "a writer at the head, {head}: {answer:?}, not Committed");
                }
            }
        }
        ensure!(A3, is_there, "behind a dropped append nobody can write: no stated head is right");
        let page = whole(&other, &log).await?;
        let positions: Vec<_> = page.records.iter().map(|record| record.position).collect();
        let wanted: Vec<_> = (1..=page.head.get().min(8)).map(Position::new).collect();
        ensure_eq!(
            A3,
            positions,
            wanted,
            "the positions up to head {}, after an append that was dropped after {polls} polls and \
             another that was not",
            page.head
        );
        if has_answered {
            break;
        }
    }
    Ok(())
}
