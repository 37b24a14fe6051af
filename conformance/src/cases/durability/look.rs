//! Looks at a World without trusting it: every loop is bounded.

use world_core::{Claim, Lease, List, LogId, Position, Record, RunId, RunMeta, World};

use crate::{
    failure::{Failure, Verdict, ensure},
    kit::*,
    rule::Rule,
};

/// The most pages of a log or listing.
const PAGES_MAX: u32 = 20_000;

/// How often a claim is asked again: a World may give fewer leases than there are due runs.
const ASKS_MAX: u32 = 64;

/// A whole log. Its positions follow each other from 1 to the head.
pub(super) async fn log(world: &dyn World, log: &LogId) -> Verdict<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for _ in 0..PAGES_MAX {
        let after = pos(records.len() as u64);
        let page = world.read(log, after, count(1000)).await?;
        let (head, is_empty) = (page.head.get(), page.records.is_empty());
        for record in page.records {
            let next = records.len() as u64 + 1;
            let found = record.position;
            ensure!(A3, found == pos(next), "{log}: the record after {} is {found}", next - 1);
            records.push(record);
        }
        if records.len() as u64 >= head {
            let len = records.len();
            ensure!(R3, len as u64 == head, "{log}: it shows {len} records, and says head {head}");
            return Ok(records);
        }
        ensure!(R3, !is_empty, "{log}: the page after {after} is empty, and the head is {head}");
    }
    Err(Failure::broken(Rule::R3, format!("{log}: {PAGES_MAX} pages, and no end")))
}

/// The head that a log says it has.
pub(super) async fn head(world: &dyn World, log: &LogId) -> Verdict<u64> {
    Ok(world.read(log, Position::new(u64::MAX), count(1)).await?.head.get())
}

/// All runs that are listed, by their ids.
pub(super) async fn runs(world: &dyn World) -> Verdict<Vec<RunMeta>> {
    let mut list = List::all(count(100));
    let mut runs = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = world.list(&list).await?;
        runs.extend(page.runs);
        if page.next.is_none() {
            runs.sort_by(|one, other| one.run.cmp(&other.run));
            return Ok(runs);
        }
        list.after = page.next;
    }
    Err(Failure::broken(Rule::R4, format!("{PAGES_MAX} pages of a listing, and no end")))
}

/// What is listed of a run, once that is what is wanted, or at last: an index may lag behind.
pub(super) async fn meta(
    world: &dyn World,
    run: &RunId,
    is_wanted: impl Fn(Option<&RunMeta>) -> bool,
) -> Verdict<Option<RunMeta>> {
    let mut found = None;
    for _ in 0..ASKS_MAX {
        found = runs(world).await?.into_iter().find(|meta| meta.run == *run);
        if is_wanted(found.as_ref()) {
            break;
        }
    }
    Ok(found)
}

/// The lease of a run, asked for until it comes; `None` when it never does. What else is due in
/// these queues is claimed too.
pub(super) async fn lease(world: &dyn World, claim: &Claim, run: &RunId) -> Verdict<Option<Lease>> {
    for _ in 0..ASKS_MAX {
        let leases = world.claim(claim).await?;
        if let Some(lease) = leases.into_iter().find(|lease| lease.run == *run) {
            return Ok(Some(lease));
        }
    }
    Ok(None)
}

/// The records of a log: none of a deleted one, whose head is kept.
pub(super) async fn log_left(world: &dyn World, log: &LogId) -> Verdict<Vec<Record>> {
    let first = world.read(log, Position::START, count(1)).await?;
    match first.records.is_empty() {
        true => Ok(Vec::new()),
        false => self::log(world, log).await,
    }
}
