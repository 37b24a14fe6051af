//! Puts a log that was written elsewhere into the World under test.

use world_core::{
    Append, Appended, By, Due, LogId, NewRun, Position, Queue, Release, Ticket, WorkflowName, World,
};

use super::public_test_key;
use crate::{
    failure::{Failure, Verdict},
    golden::Golden,
};

/// How many records go into one append.
const TOGETHER: usize = 3;

/// Puts the first `head` records there, as an owner that died then would have: the run is leased,
/// and closed if these are all.
pub(crate) async fn put(world: &dyn World, golden: &Golden, head: usize) -> Verdict {
    let log = LogId::Run(golden.run.clone());
    let ticket = Ticket::from_bytes([7; 16]);
    let Some((first, rest)) = golden.records.split_first() else { return Ok(()) };
    let rest = rest.get(..head.saturating_sub(1)).unwrap_or(rest);
    let new = NewRun {
        queue: Queue::new(golden.sample.as_str())?,
        workflow: WorkflowName::new(golden.sample.as_str())?,
        due: Due::Now,
        parent: None,
        tags: Vec::new(),
        key: public_test_key()?.id().clone(),
        lease: Some((ticket, first.at)),
    };
    let create = Append {
        expected: Position::START,
        records: vec![first.clone()],
        at: first.at,
        by: By::Creator(new),
    };
    let appends = rest.chunks(TOGETHER).map(|records| {
        let close = records.last().is_some_and(|last| last.kind.is_end());
        let last = records.last().unwrap_or(first);
        Append {
            expected: Position::new(last.position.get().saturating_sub(records.len() as u64)),
            records: records.to_vec(),
            at: last.at,
            by: By::Owner {
                ticket,
                close,
                rest: close.then_some(Release::driven(Due::Never)),
                tags: None,
            },
        }
    });
    let appends: Vec<_> = std::iter::once(create).chain(appends).collect();
    for append in appends {
        let answer = world.append(&log, &append).await?;
        if !matches!(answer, Appended::Committed { .. }) {
            let (run, expected) = (&golden.run, append.expected);
            return Err(Failure::failed(format!(
                "the golden log {run} did not go in at {expected}: {answer:?}"
            )));
        }
    }
    Ok(())
}
