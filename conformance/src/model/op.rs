//! What is asked of a World, and what it answers, as values.

use std::{collections::BTreeSet, num::NonZeroU32};

use world_core::{
    Append, Appended, Claim, Deleted, ErrorKind, Lease, List, LogId, Page, Position, Renewed,
    RunId, RunMeta, Timestamp,
};

/// What is asked of a World.
///
/// A claim and a listing speak of many runs. No rule says that they do so at one instant, so each
/// is the same as its parts: [`Op::Take`] and [`Op::Look`], one for each run. Every part, and every
/// other operation, concerns one run with its streams, or one token.
#[derive(Clone, Debug)]
pub enum Op {
    /// [`World::append`](world_core::World::append)
    Append(LogId, Append),
    /// [`World::read`](world_core::World::read)
    Read(LogId, Position, NonZeroU32),
    /// [`World::claim`](world_core::World::claim)
    Claim(Claim),
    /// [`World::renew`](world_core::World::renew)
    Renew(Lease, Timestamp),
    /// [`World::list`](world_core::World::list), from the first page to the last.
    List(List),
    /// [`World::delete`](world_core::World::delete)
    Delete(LogId, Position),
    /// What a claim does to one run.
    Take(RunId, Claim),
    /// What a listing says of one run.
    Look(RunId, List),
}

/// What a World answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To an append.
    Appended(Appended),
    /// To a reading.
    Page(Page),
    /// To a claim.
    Leases(Vec<Lease>),
    /// To a renewal.
    Renewed(Renewed),
    /// To a listing.
    Runs(Vec<RunMeta>),
    /// To a deletion.
    Deleted(Deleted),
    /// The lease that a claim gave on one run, if it gave one.
    Taken(Option<Lease>),
    /// What a listing showed of one run, if it showed it.
    Seen(Option<RunMeta>),
    /// It was refused: nothing happened.
    Refused(ErrorKind),
    /// None: it has taken effect, or will later, or never.
    Unknown,
}

impl Op {
    /// The run, or the token, that it concerns; a claim and a listing concern many.
    #[must_use]
    pub fn object(&self) -> Option<LogId> {
        match self {
            Self::Append(log, _) | Self::Read(log, ..) | Self::Delete(log, _) => {
                Some(log.run().cloned().map_or_else(|| log.clone(), LogId::Run))
            }
            Self::Renew(Lease { run, .. }, _) | Self::Take(run, _) | Self::Look(run, _) => {
                Some(LogId::Run(run.clone()))
            }
            Self::Claim(_) | Self::List(_) => None,
        }
    }

    /// The log it names.
    #[must_use]
    pub fn log(&self) -> Option<LogId> {
        match self {
            Self::Append(log, _) | Self::Read(log, ..) | Self::Delete(log, _) => Some(log.clone()),
            _ => self.object(),
        }
    }

    /// Whether it may change what is kept.
    #[must_use]
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Read(..) | Self::List(_) | Self::Look(..))
    }

    /// The operations of which this one consists, each with its answer, at a site with these
    /// runs. An unanswered reading says nothing, and has no parts.
    #[must_use]
    pub fn parts(&self, answer: &Answer, runs: &BTreeSet<RunId>) -> Vec<(Self, Answer)> {
        match (self, answer) {
            (Self::Claim(claim), Answer::Leases(leases)) => {
                let taken = |lease: &Lease| {
                    (
                        Self::Take(lease.run.clone(), claim.clone()),
                        Answer::Taken(Some(lease.clone())),
                    )
                };
                leases.iter().map(taken).collect()
            }
            (Self::Claim(claim), Answer::Unknown) => {
                let take = |run: &RunId| (Self::Take(run.clone(), claim.clone()), Answer::Unknown);
                runs.iter().map(take).collect()
            }
            (Self::List(list), Answer::Runs(listed)) => {
                let looked = |run: &RunId| {
                    let seen = listed.iter().find(|meta| meta.run == *run);
                    (Self::Look(run.clone(), list.clone()), Answer::Seen(seen.cloned()))
                };
                let listed = listed.iter().map(|meta| &meta.run);
                runs.iter().chain(listed).collect::<BTreeSet<_>>().into_iter().map(looked).collect()
            }
            (_, Answer::Unknown) if !self.changes() => Vec::new(),
            _ => vec![(self.clone(), answer.clone())],
        }
    }
}

impl Answer {
    /// The head that it says a log has.
    #[must_use]
    pub fn head(&self) -> Option<Position> {
        match self {
            Self::Appended(Appended::Committed { head } | Appended::Conflict { head })
            | Self::Renewed(Renewed::Held { head })
            | Self::Page(Page { head, .. })
            | Self::Taken(Some(Lease { head, .. }))
            | Self::Seen(Some(RunMeta { head, .. })) => Some(*head),
            _ => None,
        }
    }

    /// Whether nothing changes when this is the answer, at whatever state it is given.
    #[must_use]
    pub const fn changes_nothing(&self) -> bool {
        match self {
            Self::Appended(appended) => !matches!(appended, Appended::Committed { .. }),
            Self::Deleted(deleted) => !matches!(deleted, Deleted::Done),
            Self::Renewed(renewed) => matches!(renewed, Renewed::Lost),
            Self::Leases(_) | Self::Taken(_) | Self::Unknown => false,
            Self::Page(_) | Self::Runs(_) | Self::Seen(_) | Self::Refused(_) => true,
        }
    }
}
