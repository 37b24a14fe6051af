//! What a writer has learnt from the answers it got.

use std::collections::BTreeMap;

use world_core::{
    Append, Appended, By, Lease, LogId, NewRun, Page, Position, Renewed, RunId, Ticket, Timestamp,
};

use super::{
    intent::{Stated, Whose},
    op::{Answer, Op},
};

/// What a writer has learnt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    heads: BTreeMap<LogId, Position>,
    leases: Vec<Lease>,
    sent: Vec<(LogId, Append)>,
}

impl Known {
    /// Learns from an answer.
    pub(crate) fn learn(&mut self, op: &Op, answer: &Answer) {
        match (op, answer) {
            (Op::Append(log, append), answer) => {
                self.sent.push((log.clone(), append.clone()));
                self.learn_appended(log, append, answer);
            }
            (Op::Read(log, ..), Answer::Page(Page { head, .. })) => self.see(log, *head),
            (Op::Claim(_), Answer::Leases(leases)) => {
                for lease in leases {
                    self.see(&LogId::Run(lease.run.clone()), lease.head);
                    self.leases.push(lease.clone());
                }
            }
            (Op::Renew(lease, _), Answer::Renewed(Renewed::Held { head })) => {
                self.see(&LogId::Run(lease.run.clone()), *head);
            }
            (Op::List(_), Answer::Runs(runs)) => {
                for meta in runs {
                    self.see(&LogId::Run(meta.run.clone()), meta.head);
                }
            }
            _ => {}
        }
    }

    fn learn_appended(&mut self, log: &LogId, append: &Append, answer: &Answer) {
        if let Answer::Appended(Appended::Committed { head } | Appended::Conflict { head }) = answer
        {
            self.see(log, *head);
        }
        let is_held =
            matches!(answer, Answer::Appended(Appended::Committed { .. }) | Answer::Unknown);
        if let (LogId::Run(run), By::Creator(NewRun { lease: Some((ticket, until)), .. }), true) =
            (log, &append.by, is_held)
        {
            self.leases.push(lease_on(run, *ticket, *until));
        }
    }

    fn see(&mut self, log: &LogId, head: Position) {
        self.heads.insert(log.clone(), head);
    }

    /// The head to state of a log.
    pub(super) fn head(&self, log: &LogId, stated: Stated) -> Position {
        let known = self.heads.get(log).copied().unwrap_or(Position::START).get();
        Position::new(match stated {
            Stated::Known => known,
            Stated::Behind(by) => known.saturating_sub(by),
            Stated::Ahead(by) => known.saturating_add(by),
        })
    }

    /// The lease it got last.
    pub(super) fn newest(&self) -> Option<&Lease> {
        self.leases.last()
    }

    /// Any lease it ever got.
    pub(super) fn lease(&self, pick: u64) -> Option<&Lease> {
        picked(&self.leases, pick)
    }

    /// An append that was sent: one of the last few every other time.
    pub(super) fn sent(&self, pick: u64) -> Option<&(LogId, Append)> {
        let skipped = if pick.is_multiple_of(2) { 0 } else { self.sent.len().saturating_sub(3) };
        picked(self.sent.get(skipped..)?, pick / 2)
    }

    /// A ticket to show for a log.
    pub(super) fn ticket(&self, log: &LogId, whose: Whose) -> Option<Ticket> {
        let lease = match whose {
            Whose::Newest => self.leases.iter().rev().find(|lease| log.run() == Some(&lease.run)),
            Whose::Any(pick) => self.lease(pick),
            Whose::Nobody => None,
        };
        lease.map(|lease| lease.ticket)
    }
}

fn picked<T>(all: &[T], pick: u64) -> Option<&T> {
    let index = pick.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(index).ok()?)
}

fn lease_on(run: &RunId, ticket: Ticket, until: Timestamp) -> Lease {
    Lease { run: run.clone(), ticket, attempt: 1, until, head: Position::START, closed: false }
}
