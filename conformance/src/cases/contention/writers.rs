//! Crowds of writers: every record is in, once, in its writer's order.

use std::{collections::BTreeMap, sync::Arc};

use world_core::{Appended, By, Due, LogId, World, WorldExt};

use super::{handles, sent, together};
use crate::{
    case::{Case, case},
    claimer::commits,
    failure::{Failure, Verdict, ensure, ensure_eq},
    kit::*,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contention [A2, A3] a_crowd_of_outsiders_on_one_log_loses_and_doubles_nothing),
        case!(Contention [A2, A3] an_owner_among_outsiders_loses_and_doubles_nothing),
        case!(Contention [A2, A3] a_crowd_on_many_logs_loses_and_doubles_nothing),
        case!(Contention [A6] one_append_sent_by_a_crowd_is_there_once),
    ]
}

/// Writes batches to a log, each anew at the head that a conflict reports.
async fn write(
    world: Arc<dyn World>,
    log: LogId,
    writer: usize,
    batches: usize,
    by: By,
) -> Verdict<usize> {
    let size = 1 + writer % 3 * 2;
    let mut head = 0;
    for batch in 0..batches {
        let bodies: Vec<_> = (0..size).map(|n| format!("{writer} {batch} {n}")).collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        // Others commit a bounded number of times, and each conflict is one of them at least.
        loop {
            let append = append(head, &bodies, 9, by.clone());
            match sent(&*world, &log, &append).await? {
                Appended::Committed { head: true_head } => {
                    let after = append.head_after();
                    ensure!(
                        A2,
                        true_head >= after,
                        "committed up to {after}, the head is {true_head}"
                    );
                    head = after.get();
                    break;
                }
                Appended::Conflict { head: true_head } => {
                    ensure!(A2, true_head > pos(head), "a conflict at {head} reports {true_head}");
                    head = true_head.get();
                }
                answer => {
                    return Err(Failure::broken(
                        crate::Rule::A5,
                        format!("an append to {log}, which is open: {answer:?}"),
                    ));
                }
            }
            ensure!(A3, head < 1 << 20, "the head of {log} is {head}, more than was ever written");
        }
    }
    Ok(batches * size)
}

/// That a log has so many records of the crowd, each writer's in their order and batches whole.
async fn is_whole(world: &dyn World, log: &LogId, before: u64, records: usize) -> Verdict {
    let page = world.read_all(log).await?;
    let there = page.records.len();
    ensure_eq!(A2, there as u64, before + records as u64, "the records of {log}");
    ensure_eq!(A3, page.head.get(), there as u64, "the head of {log}, which has {there} records");
    let mut next: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut last: Option<(String, usize)> = None;
    for (position, record) in (1..).zip(&page.records) {
        ensure_eq!(A3, record.position, pos(position), "the position of a record of {log}");
        if position <= before {
            continue;
        }
        let body = String::from_utf8_lossy(record.body.as_bytes()).into_owned();
        let mut parts = body.split(' ');
        let writer = parts.next().unwrap_or_default().to_owned();
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
        let (Some(batch), Some(place)) = (number(), number()) else {
            return Err(Failure::broken(
                crate::Rule::R2,
                format!("{log} has the record {body:?}, which nobody wrote"),
            ));
        };
        let expected = next.entry(writer.clone()).or_insert((0, 0));
        let is_next = (batch, place) == *expected || (batch, place) == (expected.0 + 1, 0);
        ensure!(A2, is_next, "{log} has {body:?} at {position}, out of its writer's order");
        if place > 0 {
            let before = (writer.clone(), place - 1);
            ensure!(A1, last.as_ref() == Some(&before), "{body:?} stands apart from its batch");
        }
        *expected = (batch, place + 1);
        last = Some((writer, place));
    }
    Ok(())
}

async fn a_crowd_of_outsiders_on_one_log_loses_and_doubles_nothing(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 6).await?;
    commits(&worlds[0], &run("a"), &create(Due::Never, 1)).await?;
    for (log, before) in [(token("t"), 0), (run("a"), 1)] {
        let writers = worlds.iter().enumerate();
        let writers = writers
            .map(|(number, world)| write(Arc::clone(world), log.clone(), number, 8, By::Outsider));
        let written = together(writers).await?;
        is_whole(&*subject.open().await?, &log, before, written.iter().sum()).await?;
    }
    Ok(())
}

async fn an_owner_among_outsiders_loses_and_doubles_nothing(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 4).await?;
    commits(&worlds[0], &run("a"), &create_leased(1, FAR, 1)).await?;
    let writers = worlds.iter().enumerate().map(|(number, world)| {
        let by = if number == 0 { owner(1) } else { By::Outsider };
        write(Arc::clone(world), run("a"), number, 10, by)
    });
    let written = together(writers).await?;
    is_whole(&*subject.open().await?, &run("a"), 1, written.iter().sum()).await
}

async fn a_crowd_on_many_logs_loses_and_doubles_nothing(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 6).await?;
    let logs: Vec<_> = (0..4).map(|number| token(&format!("t{number}"))).collect();
    let writers = worlds.iter().enumerate().map(|(number, world)| {
        let (world, mut logs) = (Arc::clone(world), logs.clone());
        logs.rotate_left(number % 4);
        async move {
            let mut written = 0;
            for log in logs {
                written = write(Arc::clone(&world), log, number, 3, By::Outsider).await?;
            }
            Ok(written)
        }
    });
    let written: usize = together(writers).await?.iter().sum();
    for log in &logs {
        is_whole(&*subject.open().await?, log, 0, written).await?;
    }
    Ok(())
}

async fn one_append_sent_by_a_crowd_is_there_once(subject: Subject) -> Verdict {
    let worlds = handles(&subject, 6).await?;
    let log = token("t");
    for round in 0..10 {
        let one = append(round * 2, &["one", "two"], round, By::Outsider);
        let senders = worlds.iter().map(|world| {
            let (world, log, one) = (Arc::clone(world), log.clone(), one.clone());
            async move { sent(&*world, &log, &one).await }
        });
        for answer in together(senders).await? {
            ensure_eq!(A6, answer, committed(round * 2 + 2), "one append, sent by six at once");
        }
        let page = worlds[0].read_all(&log).await?;
        let seen = (page.head.get(), page.records.len() as u64);
        ensure_eq!(A6, seen, (round * 2 + 2, round * 2 + 2), "the log's head and records");
    }
    Ok(())
}
