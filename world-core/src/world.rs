//! The trait that a store implements to become a World, and its contract.

use std::{fmt::Debug, num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{
    error::Result,
    ids::{LogId, Position, Queue, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    record::{Append, Appended, Page},
};

/// A store that keeps ordered, append-only logs and hands due runs to workers.
///
/// # Contract
///
/// A World that keeps these rules replays deterministically under the engine; one that breaks
/// any of them loses or doubles work. They hold as long as the store keeps what it acknowledges;
/// each World documents what that takes. [`head`](crate::head) is the contract as code: a World
/// over any store with a lock or a transaction loads a log's head, asks, and stores what it is told.
///
/// | id | rule |
/// |---|---|
/// | A1 | an append is all or nothing, also across a crash of the store's client |
/// | A2 | it commits only if the log's head equals `expected`, at every value of `expected`; otherwise nothing changes and the head is reported |
/// | A3 | positions are 1..head without gaps, whatever the number of writers |
/// | A4 | records, lease, due and closed change in one atomic write |
/// | A5 | a run (also for its streams) that is absent, closed or deleted takes no record (`NotOpen`); a closed one stays readable, and its lease may still be claimed, renewed and given back |
/// | A6 | the same bytes again at the same place are the same append: `Committed`, nothing changes, never a second copy; this is asked first (of a run that is not deleted), then open, then ticket, then head. Same = position, kind, `at` and body of every record from `expected + 1`; `Committed` carries the true head. An append without records has no A6: resent after it took effect it is `Fenced`, which its owner reads as done |
/// | R1 | a committed append is visible to the next read, from any handle |
/// | R2 | records never change; a prefix once read stays valid |
/// | R3 | a page never shows a hole, and says the head; it may be shorter than asked (about 1 MiB), and is empty only at the head; paging loses and repeats nothing; an absent or deleted log, and any position beyond the head, reads as an empty page with the head |
/// | R4 | a run that exists and matches during a whole listing appears in it exactly once, any other at most once |
/// | L1 | of N concurrent claimers one gets a due run; a lease that has not run out is not given again |
/// | L2 | a due run is claimed eventually: oldest first within a shard among the ready and among the timed, neither starving the other, shards in turn; a claim may return fewer than there are. Due = its time has come, or its lease ran out |
/// | L3 | an append or renewal under a ticket that is not the current one changes nothing; an expired ticket that nobody replaced is current |
/// | L4 | an outsider's append to a run log makes the run due at once, unless it is leased; it never ends, shortens or moves a lease |
/// | L5 | a claim raises `attempt`; an owner's append with records sets it to 1, for the claim under way; a rest of a run that was driven sets it to 0, and one of a run that was not (with records or without) takes the claim back: one less, and never below 0 |
/// | L6 | a claim passes over a run that it excepts while that run is timed (its time has come, or its lease ran out), and gets those behind it all the same, however many it excepts; one that is ready, as an outsider makes it (L4), is given all the same. More than [`Claim::EXCEPT_MAX`] are `Invalid`, before any I/O |
/// | T1 | a token log exists from its first append, takes only `Outsider`, and is never due, leased or closed; a stream log takes only `Owner` (its run's current ticket, no close, no rest) while its run is open, first at expected 0; `Creator` is for run logs; any other pairing is `Invalid` |
/// | D1 | only a closed run is deleted, and a token log only at its stated head; delete hides a run and its streams first, then removes; it may be repeated |
/// | D2 | a deleted id stays spent (at least 7 days): every append to it is `NotOpen`; a deleted token log keeps its head as long, and goes on from there, so a late resend conflicts |
/// | B1 | at least 64 records, 256 KiB each, 1 MiB an append; more is `TooLarge`, before anything is written |
/// | I1 | ids, names and payloads are opaque: NUL, 4-byte, very long are kept exactly or refused |
///
/// # Time
///
/// Time is always an argument: a World decides by no clock of its own, and may only compare it
/// with that of one who wants a lease (`docs/contract.md`). Clocks decide when a run changes hands,
/// never who owns it; the ticket decides that.
///
/// # Cancellation
///
/// A future that is dropped may or may not have taken effect, as after a crash of its caller.
#[async_trait]
pub trait World: Debug + Send + Sync + 'static {
    /// Says what this World is and takes; no I/O.
    fn info(&self) -> WorldInfo;

    /// Appends, all or nothing, at a stated head (rules A1 to A6). The append is borrowed so
    /// that it can be sent again as it is.
    ///
    /// # Errors
    /// `Unknown` when it may have happened, `Unavailable` when it did not, `TooLarge` and
    /// `Invalid` before anything is written. `Regressed`, with nothing written, for an owner whose
    /// ticket was confirmed (by a claim, a creator or a renewal at head 0) before the store may
    /// have lost what it acknowledged: it has to drop what it knows of the log and read it again.
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended>;

    /// Reads the records after a position, at most `limit` (rules R1 to R3).
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt` when what is stored cannot be a record.
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page>;

    /// Takes leases on due runs (rules L1, L2, L5, L6). A lost answer is a lost lease: it runs out.
    ///
    /// # Errors
    /// `Invalid` before any I/O; `Unavailable` or `Unknown`; a claim is never sent again. `Regressed`, with nothing claimed,
    /// for the first claim of its queues after the store may have lost what it acknowledged:
    /// whoever keeps programs from before has to drop them. The next claim claims.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>>;

    /// Moves the end of a lease (rule L3) and reports the head. A lease that states the head 0 is
    /// that of an owner who has dropped what it knew: a World that says `Regressed` confirms the
    /// ticket again, and does so for no other renewal.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; it may be sent again.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed>;

    /// Lists runs, a page at a time (rule R4).
    ///
    /// # Errors
    /// `Unavailable`, or `Invalid` for a cursor that is not this World's.
    async fn list(&self, list: &List) -> Result<RunPage>;

    /// Deletes a closed run with its streams, or a token log, at its stated head (rules D1, D2).
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; it may be sent again. `Invalid` for a stream.
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted>;

    /// Returns once something in these queues or logs may have changed, or the time is up. A
    /// hint: no rule rests on it, and it may return early.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn wait(&self, wait: &Wait) -> Result<()>;
}

/// What a World is and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldInfo {
    /// Its name, as in its URL scheme.
    pub name: &'static str,
    /// What one append may hold.
    pub limits: Limits,
    /// Whether acknowledged appends survive the end of the process.
    pub durable: bool,
}

/// What one append may hold; at least [`Limits::LEAST`] (rule B1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records an append.
    pub records_max: usize,
    /// Bytes of one record's body.
    pub record_bytes_max: usize,
    /// Bytes of all bodies of an append.
    pub append_bytes_max: usize,
}

impl Limits {
    /// What every World takes.
    pub const LEAST: Self =
        Self { records_max: 64, record_bytes_max: 256 << 10, append_bytes_max: 1 << 20 };
}

/// What to wait for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Queues in which a run may have become ready.
    pub queues: Vec<Queue>,
    /// Logs, each with the head last seen.
    pub logs: Vec<(LogId, Position)>,
    /// The longest wait.
    pub at_most: Duration,
}

/// A method that gives the inner one's future as it is; an `async fn` would box it once more.
macro_rules! hand_on {
    ($method:ident<$($life:lifetime),*>($($name:ident: $type:ty),*) -> $output:ty) => {
        fn $method<'s, $($life,)* 'f>(
            &'s self,
            $($name: $type),*
        ) -> BoxFuture<'f, Result<$output>>
        where
            's: 'f,
            $($life: 'f,)*
            Self: 'f,
        {
            (**self).$method($($name),*)
        }
    };
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<W: World + ?Sized> World for $pointer<W> {
            fn info(&self) -> WorldInfo {
                (**self).info()
            }
            hand_on!(append<'a, 'b>(log: &'a LogId, append: &'b Append) -> Appended);
            hand_on!(read<'a>(log: &'a LogId, after: Position, limit: NonZeroU32) -> Page);
            hand_on!(claim<'a>(claim: &'a Claim) -> Vec<Lease>);
            hand_on!(renew<'a>(lease: &'a Lease, until: Timestamp) -> Renewed);
            hand_on!(list<'a>(list: &'a List) -> RunPage);
            hand_on!(delete<'a>(log: &'a LogId, head: Position) -> Deleted);
            hand_on!(wait<'a>(wait: &'a Wait) -> ());
        }
    )*};
}

forward!(Arc, Box);

/// Comforts on top of the eight methods.
///
/// ```
/// # use world_core::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let world = MemoryWorld::new();
/// let page = world.read_all(&LogId::Run(RunId::new("order-7")?)).await?;
/// assert_eq!(page.head, Position::START); // a log that is not there reads as an empty one
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait WorldExt: World {
    /// Reads a whole log, page by page, in order.
    ///
    /// # Errors
    /// Those of [`World::read`].
    async fn read_all(&self, log: &LogId) -> Result<Page> {
        let mut all = self.read(log, Position::START, NonZeroU32::MAX).await?;
        while let Some(last) = all.records.last().map(|record| record.position) {
            if last >= all.head {
                break;
            }
            let page = self.read(log, last, NonZeroU32::MAX).await?;
            all.head = page.head;
            if page.records.is_empty() {
                break;
            }
            all.records.extend(page.records);
        }
        Ok(all)
    }
}

impl<W: World + ?Sized> WorldExt for W {}
