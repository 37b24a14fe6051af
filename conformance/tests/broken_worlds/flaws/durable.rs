//! Worlds that forget something when all their handles are closed.

use world_core::{LogId, Position, Tag, head::Turn};

use crate::{
    flaw::{Flaw, flaw},
    logs::Logs,
};

/// A flaw that forgets something of each run when the World is opened again.
macro_rules! forgets {
    ($rule:ident, $name:literal, $what:literal, $forget:expr) => {
        flaw!($rule, $name, $what, durable = true, reopened = $forget)
    };
}

/// Every run's log.
fn runs(logs: &Logs) -> Vec<LogId> {
    logs.runs().map(|(id, ..)| LogId::Run(id.clone())).collect()
}

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        forgets!(
            R1,
            "forgets_its_last_record",
            "a reopening loses the last record of each log",
            |logs| {
                for head in logs.heads.values_mut().filter(|head| head.head > head.base) {
                    head.head = Position::new(head.head.get() - 1);
                }
                let heads = logs.heads.clone();
                for (log, records) in &mut logs.records {
                    let last = heads.get(log).map_or(Position::START, |head| head.head);
                    records.retain(|position, _| *position <= last);
                }
            }
        ),
        forgets!(R1, "forgets_streams", "a reopening loses the streams", |logs| {
            logs.heads.retain(|log, _| !matches!(log, LogId::Stream(..)));
            logs.records.retain(|log, _| !matches!(log, LogId::Stream(..)));
        }),
        forgets!(R1, "forgets_tags", "a reopening loses the tags that an owner has set", |logs| {
            for log in runs(logs) {
                let run = logs.run_mut(&log).into_iter();
                run.for_each(|run| {
                    std::sync::Arc::make_mut(&mut run.new).tags = vec![Tag::from_bytes([9; 16])]
                });
            }
        }),
        forgets!(R1, "forgets_sleepers", "a reopening makes every sleeping run ready", |logs| {
            for log in runs(logs) {
                if let Some(run) = logs.run_mut(&log) {
                    if let Turn::Waiting(time) = run.turn {
                        run.turn = Turn::Ready { since: time };
                    }
                }
            }
        }),
        forgets!(L1, "forgets_leases", "a reopening ends every lease", |logs| {
            for log in runs(logs) {
                if let Some(run) = logs.run_mut(&log) {
                    if let Turn::Leased { ticket, .. } = run.turn {
                        run.turn = Turn::Leased { ticket, until: world_core::Timestamp::ZERO };
                    }
                }
            }
        }),
        forgets!(L5, "forgets_attempts", "a reopening sets the claims to 0", |logs| {
            for log in runs(logs) {
                logs.run_mut(&log).into_iter().for_each(|run| run.attempt = 0);
            }
        }),
        forgets!(D2, "forgets_tombstones", "a reopening loses the tombstones of runs", |logs| {
            logs.heads.retain(|log, head| !head.deleted || matches!(log, LogId::Token(_)));
        }),
        forgets!(
            D2,
            "forgets_token_heads",
            "a reopening loses the heads of deleted tokens",
            |logs| {
                logs.heads.retain(|log, head| !head.deleted || !matches!(log, LogId::Token(_)));
            }
        ),
    ]
}
