//! Appending: what is seen, what the rules say, and the write that makes it so.

use std::{collections::BTreeMap, sync::Arc};

use world_core::{
    Append, Appended, By, ErrorKind, LogId, Position, Record, Result,
    head::{self, Head, Ruling, Stored, Turn},
};

use crate::{
    batch::Batch,
    copy::COPY_BYTES,
    error::{after_write, busy},
    item::{Item, Stamp},
    keys::{self, HEAD, Life},
    known::Seen,
    read::Pauses,
    request::Sent,
    store::Store,
    write::Write,
};

/// How often one looks again after others were first.
const TRIES_MAX: usize = 64;
/// The most bytes of a tail. What would make it longer goes into batch items, in a transaction.
const TAIL_BYTES_MAX: usize = 4096;
/// The most bytes of one append's records that go into a tail.
const INLINE_BYTES_MAX: usize = 2048;

/// What was seen of a log.
#[derive(Debug, Default)]
struct View {
    log: Option<Seen>,
    /// Of a stream's run.
    run: Option<Item>,
    /// Whether it was read for this append, and not remembered or assumed.
    is_fresh: bool,
    /// Records to compare with (rule A6).
    records: BTreeMap<Position, Record>,
}

/// What has come of one try.
enum Attempt {
    Answered(Appended),
    /// Something else was there: this.
    Again(Box<View>),
}

impl Attempt {
    fn again(seen: View) -> Self {
        Self::Again(Box::new(seen))
    }
}

impl Store {
    /// Makes an append that has passed [`Append::check`].
    pub(crate) async fn append(self: &Arc<Self>, log: &LogId, append: &Append) -> Result<Appended> {
        let mut view = self.remembered(log, append).await?;
        let mut stamps = Vec::new();
        for _ in 0..TRIES_MAX {
            match self.attempt(log, append, view, &mut stamps).await {
                Ok(Attempt::Answered(answer)) => return Ok(answer),
                Ok(Attempt::Again(seen)) => view = *seen,
                Err(error) if stamps.is_empty() => return Err(error),
                Err(error) => return Err(after_write(error)),
            }
        }
        Err(busy(log))
    }

    /// Asks the rules, and does what they say. The stamps are those of what was sent until now.
    async fn attempt(
        self: &Arc<Self>,
        log: &LogId,
        append: &Append,
        view: View,
        stamps: &mut Vec<Stamp>,
    ) -> Result<Attempt> {
        if let Some(seen) = view.log.as_ref().filter(|seen| stamps.contains(&seen.item.stamp)) {
            return Ok(Attempt::Answered(self.written(log, seen.clone()))); // an answer was lost
        }
        let head = match head::append(log, append, &mut Rules { log, view: &view })? {
            Ruling::Write(head) => head,
            Ruling::Answer(answer) if view.is_fresh => {
                if let Some(seen) = view.log {
                    self.remember(log, seen);
                }
                return Ok(Attempt::Answered(answer));
            }
            Ruling::Answer(_) => return self.look(log, append).await.map(Attempt::again),
        };
        let stamp = Stamp::new();
        stamps.push(stamp);
        let (seen, batch) = after(append, view.log.as_ref(), head, stamp);
        let sort = sort(log, view.run.as_ref());
        let write = Write {
            log,
            sort: &sort,
            old: view.log.as_ref().map(|seen| &seen.item),
            new: &seen.item,
            batch: batch.as_ref().map(|batch| (batch, seen.item.head.head)),
            owner: owner(append, view.run.as_ref()),
        };
        match self.write(&write).await {
            Ok(Sent::Done(())) => Ok(Attempt::Answered(self.written(log, seen))),
            Ok(Sent::Unmet(Some(item))) => {
                let item = Item::stored(log, item)?;
                match self.with_records(log, append, Some(item), view.run).await {
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        self.look(log, append).await.map(Attempt::again)
                    }
                    view => view.map(Attempt::again),
                }
            }
            Ok(Sent::Unmet(None)) => self.look(log, append).await.map(Attempt::again),
            Err(error) => {
                // It says itself whether this write may have happened.
                stamps.pop();
                Err(error)
            }
        }
    }

    /// What is remembered of a log, or else assumed of one that begins, or else seen.
    async fn remembered(&self, log: &LogId, append: &Append) -> Result<View> {
        let run = match log {
            LogId::Stream(run, _) => match self.known.get(&LogId::Run(run.clone())) {
                Some(run) => Some(run.item),
                None => return self.look(log, append).await,
            },
            LogId::Run(_) | LogId::Token(_) => None,
        };
        match self.known.take(log) {
            Some(seen) if seen.item.head.head == append.expected => {
                Ok(View { log: Some(seen), run, ..View::default() })
            }
            None if append.expected == Position::START => Ok(View { run, ..View::default() }),
            _ => self.look(log, append).await,
        }
    }

    /// What there is of a log. Where a record is missing it may be being removed, and is looked for
    /// again.
    async fn look(&self, log: &LogId, append: &Append) -> Result<View> {
        let mut pauses = Pauses::default();
        loop {
            match self.look_once(log, append).await {
                Err(error) if error.kind() == ErrorKind::Corrupt && pauses.wait().await => {}
                other => return other,
            }
        }
    }

    async fn look_once(&self, log: &LogId, append: &Append) -> Result<View> {
        let run = match log {
            LogId::Stream(run, _) => self.get(&LogId::Run(run.clone()), HEAD).await?,
            LogId::Run(_) | LogId::Token(_) => None,
        };
        let item = match (log, &run) {
            (LogId::Stream(..), None) => None,
            _ => self.get(log, &sort(log, run.as_ref())).await?,
        };
        self.with_records(log, append, item, run).await
    }

    /// The view of a log whose item has just been seen, with the records that are to be compared.
    async fn with_records(
        &self,
        log: &LogId,
        append: &Append,
        item: Option<Item>,
        run: Option<Item>,
    ) -> Result<View> {
        let mut records = BTreeMap::new();
        if let Some(item) = item.as_ref().filter(|item| {
            let is_of_run = matches!(log, LogId::Run(_));
            !append.records.is_empty()
                && append.head_after() <= item.head.head
                && item.head.base <= append.expected
                && !(is_of_run && item.head.deleted)
        }) {
            let found = self.records(log, item, append.expected, append.records.len()).await?;
            records.extend(found.into_iter().map(|record| (record.position, record)));
        }
        Ok(View { log: item.map(Seen::new), run, is_fresh: true, records })
    }

    /// What follows a write: the item is remembered while its log is being written here, its tail
    /// is copied, and who waits for it is told.
    fn written(self: &Arc<Self>, log: &LogId, seen: Seen) -> Appended {
        let (head, run) = (seen.item.head.head, seen.item.head.run.as_ref());
        self.waiting.tell_log(log);
        if let Some(run) = run.filter(|run| matches!(run.turn, Turn::Ready { .. })) {
            self.turns.is_ready(&run.new.queue);
            self.waiting.tell_queue(&run.new.queue);
        }
        if is_held(log, &seen.item) {
            self.copy_behind(log, &seen);
            self.known.put(log, seen);
        }
        Appended::Committed { head }
    }

    /// Remembers what was seen of a log that somebody may be writing here.
    pub(crate) fn remember(&self, log: &LogId, seen: Seen) {
        if is_held(log, &seen.item) {
            self.known.put(log, seen);
        }
    }
}

/// Whether a log has an owner, who goes on writing it.
fn is_held(log: &LogId, item: &Item) -> bool {
    match log {
        LogId::Run(_) => item.ticket().is_some(),
        LogId::Stream(..) => true,
        LogId::Token(_) => false,
    }
}

/// The sort key of a log's head item; a stream's names the life of its run.
pub(crate) fn sort(log: &LogId, run: Option<&Item>) -> String {
    match (log, run) {
        (LogId::Stream(_, stream), Some(run)) => keys::stream(run.life, stream),
        _ => HEAD.to_owned(),
    }
}

/// The condition on a stream's run.
fn owner(append: &Append, run: Option<&Item>) -> Option<(Life, world_core::Ticket)> {
    match &append.by {
        By::Owner { ticket, .. } => run.map(|run| (run.life, *ticket)),
        By::Creator(_) | By::Outsider => None,
    }
}

/// The item that an append makes of the one that was seen, and the records that go into batch items.
fn after(append: &Append, old: Option<&Seen>, head: Head, stamp: Stamp) -> (Seen, Option<Batch>) {
    let new = Batch::of(&append.records);
    // A token that was deleted begins another life: what is left of it may be being removed.
    let old = old.filter(|seen| !seen.item.head.deleted);
    let Some(seen) = old else {
        let (tail, batch) = divide(Batch::default(), new);
        let item = Item { stamp, life: Life::new(), head, tail };
        return (Seen::new(item), batch);
    };
    let (tail, batch) = divide(seen.tail_left(), new);
    let item = Item { stamp, life: seen.item.life, head, tail };
    (Seen { item, copied: Arc::clone(&seen.copied) }, batch)
}

/// A tail with new records at its end; or, where that is too long, all of them as a batch.
fn divide(tail: Batch, new: Batch) -> (Batch, Option<Batch>) {
    let is_short = new.bytes.len() <= INLINE_BYTES_MAX;
    let all = tail.then(&new);
    if all.bytes.len() <= TAIL_BYTES_MAX && is_short || new.count == 0 {
        (all, None)
    } else {
        (Batch::default(), Some(all))
    }
}

/// What the rules are asked with.
struct Rules<'a> {
    log: &'a LogId,
    view: &'a View,
}

impl Stored for Rules<'_> {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        let item = if log == self.log {
            self.view.log.as_ref().map(|seen| &seen.item)
        } else {
            self.view.run.as_ref()
        };
        Ok(item.map(|item| item.head.clone()))
    }

    fn record(&mut self, _log: &LogId, position: Position) -> Result<Option<Record>> {
        Ok(self.view.records.get(&position).cloned())
    }
}

const _: () = assert!(COPY_BYTES <= INLINE_BYTES_MAX && INLINE_BYTES_MAX <= TAIL_BYTES_MAX);
