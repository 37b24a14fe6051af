//! Operations and answers in words, a line each.

use std::fmt;

use world_core::{
    Append, Appended, By, Claim, Due, Lease, List, Page, Phase, Position, Queue, Release, Renewed,
    RunId, RunMeta, Ticket,
};

use super::op::{Answer, Op};

/// A ticket by its number: drawn tickets are numbers.
pub(crate) struct Number(pub(crate) Ticket);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticket {}", u128::from_be_bytes(*self.0.as_bytes()))
    }
}

struct Names<'a>(&'a [Queue]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(Queue::as_str).collect();
        f.write_str(&names.join(" and "))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(log, append) => {
                write!(f, "append to {log}, ")?;
                write_append(f, append)
            }
            Self::Read(log, after, limit) => write!(f, "read {log} after {after}, limit {limit}"),
            Self::Claim(claim) => write_claim(f, claim),
            Self::Renew(Lease { run, ticket, .. }, until) => {
                write!(f, "renew run {run} by {} until {}", Number(*ticket), until.as_millis())
            }
            Self::List(list) => write_list(f, list),
            Self::Delete(log, head) => write!(f, "delete {log} at head {head}"),
            Self::Take(run, claim) => {
                write_claim(f, claim)?;
                write!(f, ": run {run}")
            }
            Self::Look(run, list) => {
                write_list(f, list)?;
                write!(f, ": run {run}")
            }
        }
    }
}

fn write_append(f: &mut fmt::Formatter<'_>, append: &Append) -> fmt::Result {
    let (records, expected, at) = (append.records.len(), append.expected, append.at.as_millis());
    write!(f, "expected {expected}, {records} records, at {at}")?;
    match &append.by {
        By::Creator(new) => {
            write!(f, ", creator in queue {}", new.queue)?;
            match new.lease {
                Some((ticket, until)) => {
                    write!(f, ", {} until {}", Number(ticket), until.as_millis())
                }
                None => write!(f, ", due {}", Words(new.due)),
            }
        }
        By::Outsider => f.write_str(", outsider"),
        By::Owner { ticket, close, rest, tags } => {
            write!(f, ", owner by {}", Number(*ticket))?;
            f.write_str(if *close { ", closes" } else { "" })?;
            if let Some(Release { due, driven }) = rest {
                let how = if *driven { "rests" } else { "rests undriven" };
                write!(f, ", {how}, due {}", Words(*due))?;
            }
            tags.as_ref().map_or(Ok(()), |tags| write!(f, ", sets {} tags", tags.len()))
        }
    }
}

struct Words(Due);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Due::Now => f.write_str("now"),
            Due::At(time) => write!(f, "at {}", time.as_millis()),
            Due::Never => f.write_str("never"),
        }
    }
}

fn write_claim(f: &mut fmt::Formatter<'_>, claim: &Claim) -> fmt::Result {
    let (now, until) = (claim.now.as_millis(), claim.until.as_millis());
    let (queues, ticket, limit) = (Names(&claim.queues), Number(claim.ticket), claim.limit);
    write!(f, "claim from queue {queues} by {ticket}, now {now}, until {until}, limit {limit}")?;
    if claim.except.is_empty() {
        return Ok(());
    }
    let except: Vec<_> = claim.except.iter().map(RunId::as_str).collect();
    write!(f, ", except {}", except.join(" and "))
}

fn write_list(f: &mut fmt::Formatter<'_>, list: &List) -> fmt::Result {
    write!(f, "list runs, {} a page", list.limit)?;
    if let Some(queue) = &list.queue {
        write!(f, ", of queue {queue}")?;
    }
    if let Some(workflow) = &list.workflow {
        write!(f, ", of workflow {workflow}")?;
    }
    if let Some(phase) = list.phase {
        write!(f, ", {phase:?}")?;
    }
    if let Some(last) = list.last {
        write!(f, ", last kind {}", last.0)?;
    }
    if !list.tags.is_empty() {
        write!(f, ", with tags {:?}", list.tags)?;
    }
    list.created.as_ref().map_or(Ok(()), |span| {
        write!(f, ", created {} to {}", span.start.as_millis(), span.end.as_millis())
    })
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appended(Appended::Committed { head }) => write!(f, "Committed, head {head}"),
            Self::Appended(Appended::Conflict { head }) => write!(f, "Conflict, head {head}"),
            Self::Appended(answer) => write!(f, "{answer:?}"),
            Self::Page(page) => write_page(f, page),
            Self::Leases(leases) if leases.is_empty() => f.write_str("no lease"),
            Self::Leases(leases) => write_each(f, leases, write_lease),
            Self::Taken(None) => f.write_str("no lease"),
            Self::Taken(Some(lease)) => write_lease(f, lease),
            Self::Renewed(Renewed::Held { head }) => write!(f, "Held, head {head}"),
            Self::Renewed(Renewed::Lost) => f.write_str("Lost"),
            Self::Runs(runs) if runs.is_empty() => f.write_str("no run"),
            Self::Runs(runs) => write_each(f, runs, write_meta),
            Self::Seen(None) => f.write_str("not shown"),
            Self::Seen(Some(meta)) => write_meta(f, meta),
            Self::Deleted(deleted) => write!(f, "{deleted:?}"),
            Self::Refused(kind) => write!(f, "an error: {kind}"),
            Self::Unknown => f.write_str("no answer"),
        }
    }
}

fn write_each<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, one) in all.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { "; " })?;
        write(f, one)?;
    }
    Ok(())
}

fn write_lease(f: &mut fmt::Formatter<'_>, lease: &Lease) -> fmt::Result {
    let (run, ticket, attempt) = (&lease.run, Number(lease.ticket), lease.attempt);
    let (until, head) = (lease.until.as_millis(), lease.head);
    write!(f, "a lease on run {run} by {ticket}, attempt {attempt}, until {until}, head {head}")?;
    f.write_str(if lease.closed { ", closed" } else { ", open" })
}

fn write_meta(f: &mut fmt::Formatter<'_>, meta: &RunMeta) -> fmt::Result {
    let (run, head, last) = (&meta.run, meta.head, meta.last.0);
    write!(f, "run {run}: ")?;
    match meta.phase {
        Phase::Waiting(time) => write!(f, "Waiting until {}", time.as_millis())?,
        phase => write!(f, "{phase:?}")?,
    }
    let (queue, workflow, created) = (&meta.queue, &meta.workflow, meta.created.as_millis());
    write!(f, ", head {head}, last kind {last}, queue {queue}, workflow {workflow}, ")?;
    write!(f, "created {created}, {} tags", meta.tags.len())?;
    meta.parent.as_ref().map_or(Ok(()), |parent| write!(f, ", parent {parent}"))
}

fn write_page(f: &mut fmt::Formatter<'_>, page: &Page) -> fmt::Result {
    let positions: Vec<Position> = page.records.iter().map(|record| record.position).collect();
    match (positions.first(), positions.last()) {
        (Some(first), Some(last)) => {
            let (len, head) = (positions.len(), page.head);
            write!(f, "{len} records from {first} to {last}, head {head}")
        }
        _ => write!(f, "no record, head {}", page.head),
    }
}
