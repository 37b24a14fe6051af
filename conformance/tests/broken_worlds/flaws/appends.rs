//! Appends that are not whole, or not in order: rules A1 and A3.

use tokio::task::yield_now;
use world_core::{
    Appended, Position,
    head::{Head, Ruling},
};

use crate::flaw::{Flaw, flaw, with_records};

pub(crate) fn flaws() -> Vec<Flaw> {
    [whole(), in_order()].into_iter().flatten().collect()
}

fn whole() -> Vec<Flaw> {
    vec![
        flaw!(
            A1,
            "half_a_batch",
            "the records are written one at a time: a caller that goes away leaves half of them",
            append_in_steps = |base, log, append| {
                Box::pin(async move {
                    let ruling = base.logs().rule(log, append)?;
                    let Ruling::Write(head) = ruling else {
                        return base.logs().append(log, append);
                    };
                    for record in &append.records {
                        let head = Head { head: record.position, ..head.clone() };
                        base.logs().write(log, head, std::slice::from_ref(record));
                        yield_now().await;
                    }
                    Ok(base.logs().write(log, head, &[]))
                })
            },
        ),
        flaw!(
            A1,
            "two_halves",
            "of more than 16 records the rest is written in a second transaction",
            append_in_steps = |base, log, append| {
                Box::pin(async move {
                    let ruling = base.logs().rule(log, append)?;
                    let Ruling::Write(head) = ruling else {
                        return base.logs().append(log, append);
                    };
                    let (first, second) = append.records.split_at(append.records.len().min(16));
                    if !second.is_empty() {
                        let half = append.expected.plus(first.len() as u64);
                        base.logs().write(log, Head { head: half, ..head.clone() }, first);
                        yield_now().await;
                    }
                    Ok(base.logs().write(log, head, &append.records))
                })
            },
        ),
    ]
}

fn in_order() -> Vec<Flaw> {
    vec![
        flaw!(
            A3,
            "hole_after_an_abort",
            "positions are taken before the commit: a caller that goes away leaves a hole",
            append_in_steps = |base, log, append| {
                Box::pin(async move {
                    let ruling = base.logs().rule(log, append)?;
                    let Ruling::Write(head) = ruling else {
                        return base.logs().append(log, append);
                    };
                    base.logs().write(log, head.clone(), &[]);
                    yield_now().await;
                    Ok(base.logs().write(log, head, &append.records))
                })
            },
        ),
        flaw!(
            A3,
            "hole_after_a_refusal",
            "a sequence counts up for a refused append too",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (Appended::Fenced, Some(old)) = (answer, logs.head_mut(log)) {
                    old.head = old.head.next();
                }
                Ok(answer)
            },
        ),
        flaw!(
            A3,
            "one_sequence_for_all",
            "one sequence numbers the records of all logs",
            page = |logs, log, after, limit| {
                let others: usize = logs.heads.range(..log.clone()).count();
                let mut page = logs.page(log, after, limit);
                for record in &mut page.records {
                    record.position = record.position.plus(others as u64);
                }
                page
            },
        ),
        flaw!(
            A3,
            "in_the_order_of_clocks",
            "a log is read in the order of its records' times",
            page = |logs, log, after, limit| {
                let mut all = logs.records_of(log);
                all.sort_by_key(|record| record.at);
                for (position, record) in (1..).zip(&mut all) {
                    record.position = Position::new(position);
                }
                all.retain(|record| record.position > after);
                all.truncate(limit);
                world_core::Page { records: all, head: logs.last(log) }
            },
        ),
        flaw!(
            A3,
            "first_position_is_0",
            "positions begin at 0",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                for record in &mut page.records {
                    record.position = Position::new(record.position.get() - 1);
                }
                page
            },
        ),
        flaw!(
            A3,
            "batches_backwards",
            "the records of a batch are written in the reverse order",
            append = |logs, log, append| {
                let bodies: Vec<_> = append.records.iter().rev().cloned().collect();
                let changed = with_records(append, |record| {
                    let from_end = append.head_after().get() - record.position.get();
                    let index = append.records.len() - 1 - from_end as usize;
                    record.body = bodies[index].body.clone();
                });
                logs.append(log, &changed)
            },
        ),
    ]
}
