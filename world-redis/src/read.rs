//! Reading a page of a log.

use std::num::NonZeroU32;

use bytes::Bytes;
use world_core::{LogId, Page, Position, Result};

use crate::{
    error::corrupt,
    keys::Keys,
    script::{Call, READ},
    state,
    store::Store,
};

/// What the script answers: head, base, records.
type Found = (String, u64, Vec<Bytes>);

impl Store {
    /// Reads a page.
    pub(crate) async fn read(
        &self,
        log: &LogId,
        after: Position,
        limit: NonZeroU32,
    ) -> Result<Page> {
        let found = self.server.read(&call(&self.keys, log, after, limit)).await?;
        page(log, after, found)
    }
}

fn call(keys: &Keys, log: &LogId, after: Position, limit: NonZeroU32) -> Call {
    let shard = keys.shard(log);
    let (kind, run, more) = match log {
        LogId::Run(run) => ("run", run.as_str(), vec![keys.runs(shard), keys.spent(shard, run)]),
        LogId::Stream(run, _) => ("stream", run.as_str(), vec![keys.runs(shard)]),
        LogId::Token(token) => ("token", "", vec![keys.base(shard, token)]),
    };
    Call::new(&READ, std::iter::once(keys.records(shard, log)).chain(more))
        .arg(kind)
        .arg(run)
        .arg(after.to_string())
        .arg(limit.to_string())
}

/// The page that a script has found.
fn page(log: &LogId, after: Position, (head, base, found): Found) -> Result<Page> {
    let head = head
        .parse()
        .map(Position::new)
        .map_err(|error| corrupt(log, None, "a log whose head cannot be read").source(error))?;
    let first = after.max(Position::new(base));
    let mut records = Vec::with_capacity(found.len());
    for (bytes, number) in found.into_iter().zip(1..) {
        records.push(state::record(log, first.plus(number), bytes)?);
    }
    let last = first.plus(records.len() as u64);
    if last > head && !records.is_empty() {
        return Err(corrupt(log, Some(head.next()), "records beyond the log's head"));
    }
    if records.is_empty() && first < head {
        return Err(corrupt(log, Some(first.next()), "a record is missing"));
    }
    Ok(Page { records, head })
}
