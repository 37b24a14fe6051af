//! Flaws that show only far behind: long logs, old appends, many deletions.

use world_core::{Appended, By, LogId, Page, head::Ruling};

use crate::{
    flaw::{Flaw, flaw},
    logs::Logs,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [logs(), deletions()].into_iter().flatten().collect()
}

/// 30 days, in milliseconds.
const MONTH: u64 = 30 * 24 * 3_600_000;

/// A page without the records past the thousandth of logs of one kind.
fn cut_off(mut page: Page, is_cut: bool) -> Page {
    page.records.retain(|record| !is_cut || record.position.get() <= 1_000);
    page
}

fn logs() -> Vec<Flaw> {
    vec![
        flaw!(
            R3,
            "positions_of_four_digits",
            "positions are sorted as text of four digits: 10000 comes between 1000 and 1001",
            page = |logs, log, after, limit| {
                let mut records = logs.records_of(log);
                records.sort_by_cached_key(|record| format!("{:04}", record.position.get()));
                records.retain(|record| record.position > after);
                records.truncate(limit);
                Page { records, head: logs.last(log) }
            },
        ),
        flaw!(
            R3,
            "streams_end_at_1000",
            "of a stream no more than 1000 chunks are read",
            page = |logs, log, after, limit| {
                let page = logs.page(log, after, limit);
                cut_off(page, matches!(log, LogId::Stream(..)))
            },
        ),
        flaw!(
            R3,
            "tokens_end_at_1000",
            "of a token's log no more than 1000 records are read",
            page = |logs, log, after, limit| {
                let page = logs.page(log, after, limit);
                cut_off(page, matches!(log, LogId::Token(_)))
            },
        ),
        flaw!(
            R4,
            "last_is_the_first_of_an_owners_batch",
            "the last kind is that of the first record of an owner's batch",
            append = |logs, log, append| {
                let answer = logs.append(log, append)?;
                if let (By::Owner { .. }, LogId::Run(_), Appended::Committed { .. }) =
                    (&append.by, log, answer)
                    && let (Some(first), Some(run)) = (append.records.first(), logs.run_mut(log))
                {
                    run.last = first.kind;
                }
                Ok(answer)
            },
        ),
        flaw!(
            A6,
            "known_for_512_records",
            "what lies 512 records behind the head is not looked at: an append again conflicts",
            append = |logs, log, append| {
                let head = logs.last(log);
                match logs.rule(log, append)? {
                    Ruling::Answer(Appended::Committed { .. })
                        if head.get() > append.head_after().get() + 512 =>
                    {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
        flaw!(
            A6,
            "known_for_30_days",
            "an append is known for 30 days by the newest clock; later it conflicts",
            append = |logs, log, append| {
                let newest = logs.notes.numbers.entry("newest".to_owned()).or_default();
                *newest = append.at.as_millis().max(*newest);
                let (newest, head) = (*newest, logs.last(log));
                let is_old =
                    append.records.iter().any(|record| record.at.as_millis() + MONTH < newest);
                match logs.rule(log, append)? {
                    Ruling::Answer(Appended::Committed { .. }) if is_old => {
                        Ok(Appended::Conflict { head })
                    }
                    _ => logs.append(log, append),
                }
            },
        ),
    ]
}

/// Forgets all but the last 128 deleted logs of a kind.
fn keep_128(logs: &mut Logs, log: &LogId, kind: &str) {
    let count = logs.notes.numbers.entry(kind.to_owned()).or_default();
    *count += 1;
    let number = *count;
    logs.notes.numbers.insert(format!("{kind} {log}"), number);
    if number <= 128 {
        return;
    }
    let numbers = &logs.notes.numbers;
    let is_forgotten = |log: &LogId| {
        numbers.get(&format!("{kind} {log}")).is_some_and(|deleted| deleted + 128 <= number)
    };
    logs.heads.retain(|log, _| !is_forgotten(log));
}

fn deletions() -> Vec<Flaw> {
    vec![
        flaw!(
            D1,
            "removes_1000_records",
            "of a deleted log the first 1000 records are removed, and the others can be read",
            delete = |logs, log, head| {
                let mut records = logs.records.get(log).cloned().unwrap_or_default();
                let deleted = logs.delete(log, head)?;
                records.retain(|position, _| position.get() > 1_000);
                logs.records.entry(log.clone()).or_default().extend(records);
                Ok(deleted)
            },
        ),
        flaw!(
            D1,
            "removes_100_streams",
            "of a deleted run the first 100 streams are removed, and the others can be read",
            delete = |logs, log, head| {
                let is_its =
                    |other: &LogId| matches!(other, LogId::Stream(..)) && other.run() == log.run();
                let all = logs.records.iter().filter(|(other, _)| is_its(other));
                let left: Vec<_> =
                    all.skip(100).map(|(other, all)| (other.clone(), all.clone())).collect();
                let deleted = logs.delete(log, head)?;
                logs.records.extend(left);
                Ok(deleted)
            },
        ),
        flaw!(
            D2,
            "spends_128_runs",
            "only the last 128 deleted runs are known: older ones can be created again",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if let LogId::Run(_) = log {
                    keep_128(logs, log, "run");
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D2,
            "spends_128_tokens",
            "only the heads of the last 128 deleted token logs are kept",
            delete = |logs, log, head| {
                let deleted = logs.delete(log, head)?;
                if let LogId::Token(_) = log {
                    keep_128(logs, log, "token");
                }
                Ok(deleted)
            },
        ),
        flaw!(
            D2,
            "spent_until_a_claim_days_later",
            "a claim five days later by its clock forgets all deleted ids",
            claim = |logs, claim| {
                if claim.now.as_millis() > MONTH / 6 {
                    logs.heads.retain(|_, head| !head.deleted && head.base != head.head);
                }
                logs.claim(claim)
            },
        ),
    ]
}
