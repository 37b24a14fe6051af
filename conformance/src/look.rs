//! What is seen of a World from outside. Every loop is bounded, whatever the World answers.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    num::NonZeroU32,
    sync::Arc,
    task::Poll,
};

use world_core::{
    Append, Appended, Claim, Error, ErrorKind, Lease, List, LogId, Page, Position, Record, RunMeta,
    World,
};

use crate::{
    failure::{Failure, Verdict},
    kit::{append, count, owner},
    rule::Rule,
};

/// A handle on the World under test.
pub(crate) type Handle = Arc<dyn World>;

/// The most pages that are read of a log or a listing.
const PAGES_MAX: usize = 4096;
/// How often a claim is repeated for a run that is due: each may give fewer than there are.
const ASKED_DUE: usize = 64;
/// How often a claim is repeated for a run that is not due.
const ASKED_NOT_DUE: usize = 4;
/// How often a listing is repeated: its index may lag behind the heads.
const LISTED_MAX: usize = 64;
/// A head that no log of a case has.
const NO_HEAD: u64 = 1 << 40;

/// Reads a page. Every log reads as one, whether it is there or not (rule R3).
pub(crate) async fn page(
    world: &Handle,
    log: &LogId,
    after: Position,
    limit: NonZeroU32,
) -> Verdict<Page> {
    let page = world.read(log, after, limit).await;
    answered(Rule::R3, page, format!("a page of {log} after {after}"))
}

/// An answer where the contract has one: an error that says that there is none breaks the rule.
pub(crate) fn answered<T>(rule: Rule, answer: Result<T, Error>, what: impl Display) -> Verdict<T> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) if is_refusal(error.kind()) || error.kind() == ErrorKind::NotFound => {
            Err(Failure::broken(rule, format!("{what}: an error and no answer: {error}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads a whole log. It stops at the head, at an empty page, and after more records than the
/// head has room for.
pub(crate) async fn whole(world: &Handle, log: &LogId) -> Verdict<Page> {
    let mut all = page(world, log, Position::START, NonZeroU32::MAX).await?;
    for _ in 0..PAGES_MAX {
        let Some(last) = all.records.last().map(|record| record.position) else { break };
        if last >= all.head || all.records.len() as u64 >= all.head.get() {
            break;
        }
        let page = page(world, log, last, NonZeroU32::MAX).await?;
        all.head = page.head;
        let goes_on = page.records.first().is_some_and(|next| next.position == last.next());
        all.records.extend(page.records);
        if !goes_on {
            break; // with a record too many, if there is one: the page is wrong
        }
    }
    Ok(all)
}

/// Records that must be these.
pub(crate) fn same(rule: Rule, seen: &[Record], wanted: &[Record], what: impl Display) -> Verdict {
    let differs = seen.iter().zip(wanted).position(|(seen, wanted)| seen != wanted);
    let difference = match differs {
        Some(index) => {
            let difference = difference(&seen[index], &wanted[index]);
            format!("record {} of {} {difference}", index + 1, wanted.len())
        }
        None if seen.len() == wanted.len() => return Ok(()),
        None => format!("{} records are there, where {} were written", seen.len(), wanted.len()),
    };
    Err(Failure::broken(rule, format!("{what}: {difference}")))
}

fn difference(seen: &Record, wanted: &Record) -> String {
    if seen.position != wanted.position {
        return format!("stands at position {}, not {}", seen.position, wanted.position);
    }
    let position = wanted.position;
    if seen.kind != wanted.kind {
        return format!("(position {position}) is of kind {}, not {}", seen.kind.0, wanted.kind.0);
    }
    if seen.at != wanted.at {
        let (seen, wanted) = (seen.at.as_millis(), wanted.at.as_millis());
        return format!("(position {position}) was written at {seen} ms, not {wanted} ms");
    }
    let (seen, wanted) = (seen.body.as_bytes(), wanted.body.as_bytes());
    let same = seen.iter().zip(wanted).take_while(|(seen, wanted)| seen == wanted).count();
    format!(
        "(position {position}) has a body of {} bytes, where {} were written, and differs from \
         byte {same} on",
        seen.len(),
        wanted.len(),
    )
}

/// A log that must hold these records and no others, up to its head.
pub(crate) async fn log_is(
    rule: Rule,
    world: &Handle,
    log: &LogId,
    wanted: &[Record],
    what: impl Display,
) -> Verdict {
    let page = whole(world, log).await?;
    let what = format!("{log}, {what}");
    same(rule, &page.records, wanted, &what)?;
    let head = wanted.last().map_or(Position::START, |record| record.position);
    if page.head != head {
        let what = format!("{what}: the page says head {}, where it is {head}", page.head);
        return Err(Failure::broken(rule, what));
    }
    Ok(())
}

/// An append that must commit, and move the head behind its records.
pub(crate) async fn put(rule: Rule, world: &Handle, log: &LogId, append: &Append) -> Verdict {
    let wanted = Appended::Committed { head: append.head_after() };
    let what = || {
        let (records, expected) = (append.records.len(), append.expected);
        format!("an append of {records} records to {log} at its head, {expected}")
    };
    match world.append(log, append).await {
        Ok(answer) if answer == wanted => Ok(()),
        Ok(answer) => Err(Failure::broken(rule, format!("{}: {answer:?}, not {wanted:?}", what()))),
        Err(error) if is_refusal(error.kind()) => {
            Err(Failure::broken(rule, format!("{}: refused ({error}), not {wanted:?}", what())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether an error says that the World does not take something, and not that the store failed.
pub(crate) fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Invalid | ErrorKind::TooLarge | ErrorKind::Unsupported)
}

/// What a run answers to its owner, seen without a change: by an append at a head it does not
/// have. A `Conflict` says that the run is open and the ticket the current one.
pub(crate) async fn asked(world: &Handle, run: &LogId, number: u8) -> Verdict<Appended> {
    Ok(world.append(run, &append(NO_HEAD, &["asked"], 9, owner(number))).await?)
}

/// Claims until it has a run that is due; `None` when it does not get it.
pub(crate) async fn claimed(world: &Handle, run: &LogId, claim: &Claim) -> Verdict<Option<Lease>> {
    claimed_within(ASKED_DUE, world, run, claim).await
}

/// Claims a few times what is not due; the lease when it gets it all the same.
pub(crate) async fn not_due(world: &Handle, run: &LogId, claim: &Claim) -> Verdict<Option<Lease>> {
    claimed_within(ASKED_NOT_DUE, world, run, claim).await
}

async fn claimed_within(
    times: usize,
    world: &Handle,
    run: &LogId,
    claim: &Claim,
) -> Verdict<Option<Lease>> {
    for _ in 0..times {
        let mut leases = world.claim(claim).await?.into_iter();
        if let Some(lease) = leases.find(|lease| run.run() == Some(&lease.run)) {
            return Ok(Some(lease));
        }
    }
    Ok(None)
}

/// What a listing shows of a run, once it shows what is wanted, or at last.
pub(crate) async fn listed(
    world: &Handle,
    run: &LogId,
    is_wanted: impl Fn(&RunMeta) -> bool,
) -> Verdict<Option<RunMeta>> {
    let mut found = None;
    for _ in 0..LISTED_MAX {
        let mut runs = listing(world).await?.into_iter();
        found = runs.find(|meta| run.run() == Some(&meta.run));
        if found.as_ref().is_some_and(&is_wanted) {
            break;
        }
    }
    Ok(found)
}

/// Every run that a listing shows.
pub(crate) async fn listing(world: &Handle) -> Verdict<Vec<RunMeta>> {
    let mut list = List::all(count(100));
    let mut runs = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = world.list(&list).await?;
        runs.extend(page.runs);
        match page.next {
            Some(next) => list.after = Some(next),
            None => break,
        }
    }
    Ok(runs)
}

/// Polls a call so many times and drops it, as a caller does that dies or gives up. The answer,
/// when it came.
pub(crate) async fn cut<T>(call: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut call = Box::pin(call);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The most polls after which a call is dropped.
pub(crate) const POLLS_MAX: usize = 64;
