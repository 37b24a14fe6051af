//! Worlds with a group commit that answer from what is staged: the caller who staged it goes away
//! before the commit, it is rolled back, and the answer was never true.

use futures::future::BoxFuture;
use tokio::task::yield_now;
use world_core::{Append, Appended, Claim, Lease, LogId, Renewed, Result, head::Ruling};

use crate::{
    base::Base,
    flaw::{Flaw, flaw},
};

/// What is staged, until it is committed or its caller goes away.
struct Staged<'a> {
    base: &'a Base,
    log: &'a LogId,
    expected: world_core::Position,
}

impl<'a> Staged<'a> {
    fn new(base: &'a Base, log: &'a LogId, append: &Append) -> Self {
        base.logs().notes.staged.push((log.clone(), append.clone()));
        Self { base, log, expected: append.expected }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let mut logs = self.base.logs();
        logs.notes.staged.retain(|(log, append)| {
            log != self.log || append.expected < self.expected // what stands behind it goes too
        });
    }
}

/// An append that is staged, and committed after that. An answer that rests on what others have
/// staged is given at once, if it is such a one.
fn staged<'a>(
    base: &'a Base,
    log: &'a LogId,
    append: &'a Append,
    is_early: fn(&Ruling) -> bool,
) -> BoxFuture<'a, Result<Appended>> {
    Box::pin(async move {
        let early = {
            let mut logs = base.logs();
            let now = logs.rule(log, append)?;
            let early = logs.with_staged(log, |logs| logs.rule(log, append))?;
            (early != now && is_early(&early)).then_some(early)
        };
        match early {
            Some(Ruling::Answer(answer)) => return Ok(answer),
            Some(Ruling::Write(head)) => {
                base.logs().notes.staged.push((log.clone(), append.clone()));
                return Ok(Appended::Committed { head: head.head });
            }
            None => {}
        }
        let staged = Staged::new(base, log, append);
        yield_now().await;
        let mut logs = base.logs();
        let answer = logs.append(log, append);
        let behind = logs.notes.staged.clone();
        for (other, append) in behind.iter().filter(|(other, _)| other == log) {
            logs.append(other, append)?;
        }
        drop(logs);
        drop(staged);
        answer
    })
}

/// What is staged counts for other calls than appends only.
fn only_staged<'a>(
    base: &'a Base,
    log: &'a LogId,
    append: &'a Append,
) -> BoxFuture<'a, Result<Appended>> {
    staged(base, log, append, |_| false)
}

/// What a claim has staged, until it is committed or its caller goes away.
struct StagedClaim<'a>(&'a Base, &'a Claim);

impl Drop for StagedClaim<'_> {
    fn drop(&mut self) {
        let mut logs = self.0.logs();
        logs.notes.staged_claims.retain(|claim| claim.ticket != self.1.ticket);
    }
}

fn staged_claim<'a>(base: &'a Base, claim: &'a Claim) -> BoxFuture<'a, Result<Vec<Lease>>> {
    Box::pin(async move {
        base.logs().notes.staged_claims.push(claim.clone());
        let staged = StagedClaim(base, claim);
        yield_now().await;
        drop(staged);
        Ok(base.logs().claim(claim))
    })
}

/// A flaw that gives one answer before the commit that it rests on.
macro_rules! early {
    ($rule:ident, $name:literal, $what:literal, $early:pat $(, if $of:expr)?) => {
        flaw!(
            $rule,
            $name,
            $what,
            append_in_steps = |base, log, append| {
                $(let of: fn(&LogId) -> bool = $of; if !of(log) { return only_staged(base, log, append); })?
                staged(base, log, append, |ruling| matches!(ruling, $early))
            }
        )
    };
}

pub(crate) fn flaws() -> Vec<Flaw> {
    [appends(), others()].into_iter().flatten().collect()
}

fn appends() -> Vec<Flaw> {
    vec![
        early!(
            A1,
            "committed_before_the_commit",
            "the same bytes again are Committed as soon as the first are staged, which are rolled \
             back when their caller goes away",
            Ruling::Answer(Appended::Committed { .. })
        ),
        early!(
            A1,
            "built_on_what_is_staged",
            "an append behind one that is staged is acknowledged before the commit of both",
            Ruling::Write(_)
        ),
        early!(
            A2,
            "conflict_before_the_commit",
            "a conflict reports a head that is staged, and never comes to be",
            Ruling::Answer(Appended::Conflict { .. })
        ),
        early!(
            A2,
            "stream_conflict_before_the_commit",
            "a conflict on a stream reports a head that is staged",
            Ruling::Answer(Appended::Conflict { .. }),
            if |log| matches!(log, LogId::Stream(..))
        ),
        early!(
            A2,
            "token_conflict_before_the_commit",
            "the second claimer of a token is told of a first one that is only staged",
            Ruling::Answer(Appended::Conflict { .. }),
            if |log| matches!(log, LogId::Token(_))
        ),
        early!(
            A5,
            "not_open_before_the_commit",
            "an append is not taken, because an end of its run is staged that is rolled back",
            Ruling::Answer(Appended::NotOpen)
        ),
        early!(
            A5,
            "stream_not_open_before_the_commit",
            "a chunk is not taken, because an end of its run is staged that is rolled back",
            Ruling::Answer(Appended::NotOpen),
            if |log| matches!(log, LogId::Stream(..))
        ),
        early!(
            L3,
            "fenced_before_the_commit",
            "an owner is fenced by a rest that is staged, and rolled back",
            Ruling::Answer(Appended::Fenced)
        ),
    ]
}

fn others() -> Vec<Flaw> {
    vec![
        flaw!(
            R2,
            "shows_what_is_staged",
            "a page shows records that are staged, and are rolled back",
            append_in_steps = only_staged,
            page = |logs, log, after, limit| {
                logs.with_staged(log, |logs| logs.page(log, after, limit))
            },
        ),
        flaw!(
            R2,
            "shows_the_staged_head",
            "a page shows no record that is staged, but its head is the staged one",
            append_in_steps = only_staged,
            page = |logs, log, after, limit| {
                let head = logs.with_staged(log, |logs| logs.last(log));
                world_core::Page { head, ..logs.page(log, after, limit) }
            },
        ),
        flaw!(
            L1,
            "leases_what_is_staged",
            "a claim gets a run for a signal or a rest that is staged, and rolled back",
            append_in_steps = only_staged,
            claim = |logs, claim| {
                let staged = logs.notes.staged.clone();
                let early =
                    |(log, _): &(LogId, Append)| logs.with_staged(log, |logs| logs.claim(claim));
                let leases: Vec<_> = staged.iter().flat_map(early).collect();
                if leases.is_empty() { logs.claim(claim) } else { leases }
            },
        ),
        flaw!(
            L3,
            "fenced_by_a_staged_claim",
            "an owner is fenced by a claim that is staged, and rolled back",
            append_in_steps = |base, log, append| {
                Box::pin(async move {
                    let mut logs = base.logs();
                    match logs.with_staged(log, |logs| logs.rule(log, append))? {
                        Ruling::Answer(Appended::Fenced) => Ok(Appended::Fenced),
                        _ => logs.append(log, append),
                    }
                })
            },
            claim_in_steps = staged_claim,
        ),
        flaw!(
            L3,
            "lost_to_a_staged_claim",
            "a renewal is lost to a claim that is staged, and rolled back",
            claim_in_steps = staged_claim,
            renew = |logs, lease, until| {
                let log = LogId::Run(lease.run.clone());
                match logs.with_staged(&log, |logs| logs.renew(lease, until))? {
                    Renewed::Lost => Ok(Renewed::Lost),
                    Renewed::Held { .. } => logs.renew(lease, until),
                }
            },
        ),
        flaw!(
            L3,
            "lost_to_a_staged_rest",
            "a renewal is lost to a rest that is staged, and rolled back",
            append_in_steps = only_staged,
            renew = |logs, lease, until| {
                let log = LogId::Run(lease.run.clone());
                match logs.with_staged(&log, |logs| logs.renew(lease, until))? {
                    Renewed::Lost => Ok(Renewed::Lost),
                    Renewed::Held { .. } => logs.renew(lease, until),
                }
            },
        ),
    ]
}
