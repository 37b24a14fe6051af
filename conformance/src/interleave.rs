//! Two calls at once, in an order that is chosen: a World that reads, waits and then writes what
//! it read is caught every time, not by chance.

use std::{fmt, future::Future, pin::pin, task::Poll, time::Duration};

use futures::future::{join, poll_fn};
use tokio::time::timeout;

/// How long one future is left alone before both go on together: a World may hold a lock while
/// it waits, and is then right not to answer the one while the other stands still.
const ALONE: Duration = Duration::from_millis(50);

/// Which of two futures stands still, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// How often the one that stands still has been polled.
    polls: usize,
    /// Whether it is the second of the two.
    is_second: bool,
}

impl Order {
    /// Each of the two stands still in turn, before its second poll, its third and so on.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let orders = |polls| [false, true].map(|is_second| Self { polls, is_second });
        (1..=4).flat_map(orders)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let still = if self.is_second { "second" } else { "first" };
        write!(f, "the {still} stands still after {} of its polls", self.polls)
    }
}

/// Runs both futures to their ends: one is polled so many times, as often as it asks for it, then
/// stands still while the other runs, and then goes on.
pub(crate) async fn interleaved<A, B>(
    order: Order,
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> (A, B) {
    if order.is_second {
        let (second, first) = one_in_the_other(order.polls, second, first).await;
        (first, second)
    } else {
        one_in_the_other(order.polls, first, second).await
    }
}

async fn one_in_the_other<A, B>(
    polls: usize,
    outer: impl Future<Output = A>,
    inner: impl Future<Output = B>,
) -> (A, B) {
    let (mut outer, mut inner) = (pin!(outer), pin!(inner));
    let mut polled = 0;
    // It ends when the outer one asks to be polled once more: what it waited for has come, and
    // what it does about it has not begun.
    let begun = poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        outer.as_mut().poll(context).map(Some)
    });
    let ended = timeout(ALONE, begun).await.ok().flatten();
    match (ended, timeout(ALONE, inner.as_mut()).await) {
        (Some(outer), Ok(inner)) => (outer, inner),
        (Some(outer), Err(_)) => (outer, inner.await),
        (None, Ok(inner)) => (outer.await, inner),
        (None, Err(_)) => join(outer, inner).await,
    }
}

/// Polls one future so many times and leaves it standing, runs the other to its end, and drops the
/// first, as a caller does that dies. The other may wait for the first: then it goes on when that
/// was dropped. Gives what the first answered, when it did, and what the other did.
pub(crate) async fn beside_one_that_dies<A, B>(
    polls: usize,
    dies: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (Option<A>, B) {
    let mut other = pin!(other);
    let mut dies = Box::pin(dies);
    let mut polled = 0;
    let begun = poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match dies.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let died = begun.await;
    let answer = timeout(ALONE, other.as_mut()).await;
    drop(dies);
    match answer {
        Ok(answer) => (died, answer),
        Err(_) => (died, other.await),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::{sync::Mutex, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn a_read_and_then_a_write_loses_an_update_in_every_order() {
        for order in Order::all().filter(|order| order.polls == 1) {
            let value = Cell::new(0);
            let add = || async {
                let read = value.get();
                yield_now().await;
                value.set(read + 1);
            };
            interleaved(order, add(), add()).await;
            assert_eq!(value.get(), 1, "{order}");
        }
    }

    #[tokio::test]
    async fn a_lock_is_free_when_its_holder_has_died() {
        for polls in 0..4 {
            let value = Mutex::new(0);
            let add = || async {
                let mut value = value.lock().await;
                *value += 1;
                yield_now().await;
                *value
            };
            let (died, seen) = beside_one_that_dies(polls, add(), add()).await;
            assert_eq!(died, (polls > 1).then_some(1), "{polls} polls");
            assert_eq!(seen, if polls == 0 { 1 } else { 2 }, "{polls} polls");
        }
    }

    #[tokio::test]
    async fn a_lock_that_is_held_meanwhile_is_waited_for() {
        for order in Order::all() {
            let value = Mutex::new(0);
            let add = || async {
                let mut value = value.lock().await;
                yield_now().await;
                *value += 1;
            };
            interleaved(order, add(), add()).await;
            assert_eq!(*value.lock().await, 2, "{order}");
        }
    }
}
