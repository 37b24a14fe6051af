//! Reads that are late, wrong or full of holes: rules R1 to R3.

use world_core::{LogId, Page, Position, Timestamp};

use crate::{
    flaw::{Flaw, flaw},
    logs::PAGE_BYTES_MAX,
};

pub(crate) fn flaws() -> Vec<Flaw> {
    [late(), changed(), paged()].into_iter().flatten().collect()
}

fn late() -> Vec<Flaw> {
    vec![
        flaw!(
            R1,
            "handle_reads_its_snapshot",
            "a handle sees a log as it was when the handle first read it",
            page = |logs, log, after, limit| {
                let page = logs.page(log, after, limit);
                let key = format!("{} {log:?} {after} {limit}", logs.handle);
                logs.notes.pages.entry(key).or_insert(page).clone()
            },
        ),
        flaw!(
            R1,
            "absence_is_cached",
            "a log that a handle once found absent stays absent for it",
            page = |logs, log, after, limit| {
                let page = logs.page(log, after, limit);
                let key = format!("{} {log:?}", logs.handle);
                if page.head == Position::START || logs.notes.pages.contains_key(&key) {
                    return logs.notes.pages.entry(key).or_insert(page).clone();
                }
                page
            },
        ),
        flaw!(
            R1,
            "replica_is_one_behind",
            "reads go to a replica that lacks the last record",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                let last = logs.last(log);
                page.head = Position::new(last.get().saturating_sub(1));
                page.records.retain(|record| record.position < last);
                page
            },
        ),
        flaw!(
            R1,
            "stale_head",
            "a page says the head that its last record has, and nobody reads on",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if let Some(last) = page.records.last() {
                    page.head = last.position;
                }
                page
            },
        ),
    ]
}

fn changed() -> Vec<Flaw> {
    vec![
        flaw!(
            R2,
            "closing_compacts",
            "closing a run removes the bodies of its records",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if let (LogId::Run(_), true) = (log, logs.is_closed(log)) {
                    page.records.iter_mut().for_each(|record| {
                        record.body = world_core::Sealed::from_stored(Vec::new());
                    });
                }
                page
            },
        ),
        flaw!(
            R2,
            "times_move",
            "every record shows the time of the last one",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                let last = logs.records_of(log).last().map_or(Timestamp::ZERO, |last| last.at);
                page.records.iter_mut().for_each(|record| record.at = last);
                page
            },
        ),
        flaw!(
            R2,
            "kinds_move",
            "the first record's kind becomes the kind of the last",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                let last = logs.records_of(log).last().map(|last| last.kind);
                if let (Some(last), Some(first)) = (last, page.records.first_mut())
                    && first.position == Position::new(1)
                {
                    first.kind = last;
                }
                page
            },
        ),
    ]
}

fn paged() -> Vec<Flaw> {
    vec![
        flaw!(
            R3,
            "page_drops_its_last",
            "a full page lacks its last record, and the next page begins after it",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                let is_full = page.records.len() == limit && limit > 1;
                if is_full && page.records.last().is_some_and(|last| last.position < page.head) {
                    let index = page.records.len() - 2;
                    page.records.remove(index);
                }
                page
            },
        ),
        flaw!(
            R3,
            "page_repeats_one",
            "a page begins with the last record of the page before",
            page = |logs, log, after, limit| {
                logs.page(log, Position::new(after.get().saturating_sub(1)), limit)
            },
        ),
        flaw!(
            R3,
            "hole_at_the_byte_bound",
            "a record that does not fit is left out, and smaller ones behind it are not",
            page = |logs, log, after, limit| {
                let mut bytes = 0;
                let mut records = logs.records_of(log);
                records.retain(|record| record.position > after);
                records.truncate(limit);
                records.retain(|record| {
                    let len = record.body.as_bytes().len();
                    let fits = bytes == 0 || bytes + len <= PAGE_BYTES_MAX;
                    bytes += if fits { len + 32 } else { 0 };
                    fits
                });
                Page { records, head: logs.last(log) }
            },
        ),
        flaw!(
            R3,
            "empty_page_below_the_head",
            "a first record of more than 64 KiB does not fit on any page",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if page.records.first().is_some_and(|first| first.body.as_bytes().len() > 64 << 10)
                {
                    page.records.clear();
                }
                page
            },
        ),
        flaw!(
            R3,
            "limit_of_31_bits",
            "a limit above 2^31 is a negative one, and gives nothing",
            page = |logs, log, after, limit| {
                logs.page(log, after, if limit > i32::MAX as usize { 0 } else { limit })
            },
        ),
        flaw!(
            R3,
            "limit_ignored",
            "a page is as long as it can be, however few records are asked for",
            page = |logs, log, after, _| logs.page(log, after, usize::MAX),
        ),
        flaw!(
            R3,
            "after_wraps_round",
            "a read after the largest position begins at the first",
            page = |logs, log, after, limit| {
                let from = after.get().wrapping_add(1);
                logs.page(log, Position::new(from.saturating_sub(1)), limit)
            },
        ),
        flaw!(
            R3,
            "after_of_63_bits",
            "a position above 2^63 is a negative one, and the read begins at the first record",
            page = |logs, log, after, limit| {
                logs.page(log, Position::new((after.get() as i64).max(0) as u64), limit)
            },
        ),
        flaw!(
            R3,
            "no_head_beyond_the_head",
            "a read beyond the head says that the log is empty",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if after > page.head {
                    page.head = Position::START;
                }
                page
            },
        ),
        flaw!(
            R3,
            "head_beyond_the_head",
            "a read beyond the head says that the head is there",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                page.head = page.head.max(after);
                page
            },
        ),
        flaw!(
            R3,
            "newest_first",
            "a page shows its records the newest first",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                page.records.reverse();
                page
            },
        ),
        flaw!(
            R3,
            "the_newest_of_all",
            "a limit takes the last records, not the first",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, usize::MAX);
                let surplus = page.records.len().saturating_sub(limit);
                page.records.drain(..surplus);
                page
            },
        ),
        flaw!(
            A5,
            "streams_cut_at_the_close",
            "the last chunk of a stream is not shown once the run is closed",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if let (LogId::Stream(..), true) = (log, logs.is_closed(log)) {
                    page.records.retain(|record| record.position < page.head);
                }
                page
            },
        ),
        flaw!(
            R3,
            "streams_say_the_runs_head",
            "a page of a stream says the head of its run",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                if let LogId::Stream(run, _) = log {
                    page.head = logs.last(&LogId::Run(run.clone()));
                }
                page
            },
        ),
        flaw!(
            R3,
            "logs_of_1000_records",
            "a log keeps its last 1000 records",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                page.records.retain(|record| record.position.get() + 1000 > page.head.get());
                page
            },
        ),
        flaw!(
            R3,
            "a_used_token_is_empty",
            "a token's log that goes on after a deletion is read from 1 on, where nothing is",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                let base = logs.heads.get(log).map_or(Position::START, |head| head.base);
                if after < base {
                    page.records.clear();
                }
                page
            },
        ),
    ]
}
