//! Makes an operation on a World.

use std::future::{Future, poll_fn};
use std::task::Poll;

use futures::pin_mut;
use world_core::{Error, ErrorKind, List, RunMeta, World};

use crate::failure::{Failure, Verdict};

use super::op::{Answer, Op};

/// The most pages of a listing: a World with many shards may show an empty page of each.
const PAGES_MAX: usize = 2048;

/// Makes an operation, and gives what was answered.
///
/// # Errors
/// A listing whose pages cannot be: one without an end, or one with more than was asked for.
pub(crate) async fn perform(world: &dyn World, op: &Op) -> Verdict<Answer> {
    let answer = match op {
        Op::Append(log, append) => world.append(log, append).await.map(Answer::Appended),
        Op::Read(log, after, limit) => world.read(log, *after, *limit).await.map(Answer::Page),
        Op::Claim(claim) | Op::Take(_, claim) => world.claim(claim).await.map(Answer::Leases),
        Op::Renew(lease, until) => world.renew(lease, *until).await.map(Answer::Renewed),
        Op::Delete(log, head) => world.delete(log, *head).await.map(Answer::Deleted),
        Op::List(list) | Op::Look(_, list) => listed(world, list).await?.map(Answer::Runs),
    };
    Ok(answer.unwrap_or_else(|error| Answer::of_error(op, &error)))
}

impl Answer {
    fn of_error(op: &Op, error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unknown if op.changes() => Self::Unknown,
            kind => Self::Refused(kind),
        }
    }
}

async fn listed(world: &dyn World, list: &List) -> Verdict<Result<Vec<RunMeta>, Error>> {
    let mut list = list.clone();
    let mut runs = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = match world.list(&list).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        if page.runs.len() > list.limit.get() as usize {
            let (len, limit) = (page.runs.len(), list.limit);
            let what = format!("a page of a listing holds {len} runs, where {limit} are the most");
            return Err(Failure::broken(crate::rule::Rule::R4, what));
        }
        runs.extend(page.runs);
        list.after = page.next;
        if list.after.is_none() {
            return Ok(Ok(runs));
        }
    }
    let what = format!("a listing of a few runs has not ended after {PAGES_MAX} pages");
    Err(Failure::broken(crate::rule::Rule::R4, what))
}

/// Polls a future until it is ready or has been pending this often, and then drops it, as a
/// client that dies does.
pub(crate) async fn polled_at_most<T>(times: u64, future: impl Future<Output = T>) -> Option<T> {
    pin_mut!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Pending if left == 0 => Poll::Ready(None),
            poll => poll.map(Some),
        }
    })
    .await
}
