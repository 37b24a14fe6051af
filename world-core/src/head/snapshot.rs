//! The readings of a World over a store, from what the store shows at one moment.

use std::num::NonZeroU32;

use crate::{
    error::Result,
    ids::{LogId, Position, Queue, RunId, Timestamp},
    list::{List, RunPage},
    record::{Page, Record},
    world::Wait,
};

use super::{Class, Head, Place, Stored};

/// What a store shows of its logs at one moment: three things it can do beside [`Stored`], and the
/// readings of a World made of them.
///
/// What it gives in order it gives one by one, and no more of it is taken than an answer needs. A
/// store that cannot stop in the middle gives a part, and goes on when asked for more.
pub trait Snapshot: Stored {
    /// The records of a log after a position, in order.
    ///
    /// # Errors
    /// The store's own.
    fn records(
        &mut self,
        log: &LogId,
        after: Position,
    ) -> Result<impl Iterator<Item = Result<Record>>>;

    /// The runs after this one, or all of them, in the order of the bytes of their ids; each with
    /// its head, tombstones too.
    ///
    /// # Errors
    /// The store's own.
    fn runs(
        &mut self,
        after: Option<&RunId>,
    ) -> Result<impl Iterator<Item = Result<(RunId, Head)>>>;

    /// The runs of a queue in the index of due runs, those of the class and not after the time of
    /// `last`: at most `most`, oldest first, each with the time it stands at.
    ///
    /// # Errors
    /// The store's own.
    fn oldest(
        &mut self,
        queue: &Queue,
        last: Place,
        most: usize,
    ) -> Result<Vec<(Timestamp, RunId)>>;

    /// The heart of [`World::read`](crate::World::read), by [`page`](super::page()).
    ///
    /// # Errors
    /// The store's own, and `Corrupt` where a record is missing.
    fn page(&mut self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let head = self.head(log)?;
        super::page(log, head.as_ref(), after, limit, self.records(log, after)?)
    }

    /// The heart of [`World::list`](crate::World::list), by [`list`](super::list()).
    ///
    /// # Errors
    /// The store's own, and `Invalid` for a cursor that is not of this World.
    fn list(&mut self, list: &List) -> Result<RunPage> {
        super::list(list, self.runs(super::after(list)?.as_ref())?)
    }

    /// Whether what a [`World::wait`](crate::World::wait) waits for has come already: another
    /// head, or a run that is ready.
    ///
    /// # Errors
    /// The store's own.
    fn has_come(&mut self, wait: &Wait) -> Result<bool> {
        for (log, seen) in &wait.logs {
            if self.head(log)?.map_or(Position::START, |head| head.head) != *seen {
                return Ok(true);
            }
        }
        for queue in &wait.queues {
            if !self.oldest(queue, (Class::Ready, Timestamp::MAX), 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
