//! Writes that wait in the queue, and how their callers are answered.

use std::fmt;

use tokio::sync::oneshot;
use world_core::Result;

use crate::{
    error::Fault,
    store::{Tx, Write},
};

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) job: Box<dyn Job>,
    /// Its group was undone: it runs in a transaction of its own.
    pub(crate) alone: bool,
}

/// A write that waits, whatever its kind.
pub(crate) trait Job: Send + fmt::Debug {
    /// Applies it and keeps the reply; `false` when it failed.
    fn apply(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Tells the reply.
    fn answer(self: Box<Self>);
    /// Tells a failure of the whole group.
    fn fail(self: Box<Self>, fault: &Fault);
    fn is_abandoned(&self) -> bool;
    fn bytes(&self) -> usize;
}

pub(crate) struct Queued<W: Write> {
    write: W,
    bytes: usize,
    reply: Option<Result<W::Reply>>,
    sender: oneshot::Sender<Result<W::Reply>>,
}

impl<W: Write> Queued<W> {
    pub(crate) fn new<R>(write: R, sender: oneshot::Sender<Result<W::Reply>>) -> Self
    where
        R: Write<Owned = W>,
    {
        let bytes = write.bytes();
        Self { write: write.into_owned(), bytes, reply: None, sender }
    }
}

impl<W: Write> fmt::Debug for Queued<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").finish_non_exhaustive()
    }
}

impl<W: Write + Send> Job for Queued<W> {
    fn apply(&mut self, tx: &mut Tx<'_>) -> bool {
        self.reply.insert(self.write.apply(tx)).is_ok()
    }

    fn answer(self: Box<Self>) {
        if let Some(reply) = self.reply {
            // A caller that has gone is told nothing.
            let _ = self.sender.send(reply);
        }
    }

    fn fail(self: Box<Self>, fault: &Fault) {
        let _ = self.sender.send(Err(fault.error()));
    }

    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
