//! Combinators of every kind inside one another, at depths of one to three.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, join_all, select, select_all, select_ok, try_join_all},
    stream::{self, FuturesOrdered, FuturesUnordered},
};
use world_core::{Ctx, StepError};

use super::{Expected, Pace, Sample};

/// A way to combine futures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combinator {
    /// `futures::join!`.
    Join,
    /// `futures::future::join_all`.
    JoinAll,
    /// `futures::future::try_join_all`.
    TryJoinAll,
    /// `FuturesUnordered`.
    Unordered,
    /// `FuturesOrdered`.
    Ordered,
    /// `StreamExt::buffered`.
    Buffered,
    /// `StreamExt::buffer_unordered`.
    BufferUnordered,
    /// `TryStreamExt::try_for_each_concurrent`.
    ForEach,
    /// `tokio::join!`.
    TokioJoin,
    /// `futures::select_biased!`: what it comes to follows from the seed.
    Select,
    /// `futures::future::select`, twice.
    SelectTwo,
    /// `futures::future::select_all`.
    SelectAll,
    /// `futures::future::select_ok`.
    SelectOk,
    /// `tokio::select!`, biased for the same reason.
    TokioSelect,
    /// `FuturesUnordered`, of which the first result is taken and the rest is dropped.
    Hedge,
}

use Combinator::{
    BufferUnordered, Buffered, ForEach, Hedge, Join, JoinAll, Ordered, Select, SelectAll, SelectOk,
    SelectTwo, TokioJoin, TokioSelect, TryJoinAll, Unordered,
};

/// Those that take every result.
const GATHER: [Combinator; 9] =
    [Join, JoinAll, TryJoinAll, Unordered, Ordered, Buffered, BufferUnordered, ForEach, TokioJoin];

/// Those that take the first result.
const RACE: [Combinator; 6] = [Select, SelectTwo, SelectAll, SelectOk, TokioSelect, Hedge];

impl Combinator {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        GATHER.into_iter().chain(RACE)
    }
}

pub(super) fn cases() -> Vec<Sample> {
    let gather = |name, kind| Sample::nested(name, &GATHER, kind);
    let race = |name, kind| Sample::nested(name, &RACE, kind);
    vec![
        gather("nested_join", Join),
        gather("nested_join_all", JoinAll),
        gather("nested_try_join_all", TryJoinAll),
        gather("nested_unordered", Unordered),
        gather("nested_ordered", Ordered),
        gather("nested_buffered", Buffered),
        gather("nested_buffer_unordered", BufferUnordered),
        gather("nested_for_each", ForEach),
        gather("nested_tokio_join", TokioJoin),
        race("nested_select", Select),
        race("nested_select_two", SelectTwo),
        race("nested_select_all", SelectAll),
        race("nested_select_ok", SelectOk),
        race("nested_tokio_select", TokioSelect),
        race("nested_hedge", Hedge),
    ]
}

impl Sample {
    /// `kind` around a step; around the kind that comes after it; around the two that do. Those of
    /// a race are all alike, so that it comes to the same whichever is first.
    fn nested(name: &'static str, kinds: &'static [Combinator], kind: Combinator) -> Self {
        let from = kinds.iter().position(|other| *other == kind).unwrap_or_default();
        let after = move |n: usize| kinds[(from + n) % kinds.len()];
        let deep = vec![kind, after(1), after(2)];
        let expected = if GATHER.contains(&kind) { "3 6 6" } else { "1 1 1" };
        Self::new(name, Expected::Output(expected), move |mut ctx, pace| {
            let deep = deep.clone();
            async move {
                let mut out = Vec::new();
                for depth in 1..=deep.len() {
                    let branch = ctx.branch(&format!("depth {depth}"));
                    let sum = nest(branch, pace.clone(), &deep[..depth], &[3, 2, 1]).await?;
                    out.push(sum.to_string());
                }
                Ok(out.join(" "))
            }
        })
    }
}

/// Combines as many branches of `ctx` as the first of `widths` says, each of which combines as the
/// rest says; innermost stands a step that gives 1. Gives the sum of what was taken.
#[must_use]
pub fn nest<'a>(
    mut ctx: Ctx,
    pace: Pace,
    kinds: &'a [Combinator],
    widths: &'a [usize],
) -> BoxFuture<'a, Result<u64, StepError>> {
    let ([kind, inner @ ..], [width, narrower @ ..]) = (kinds, widths) else {
        return async move {
            ctx.step_with("leaf", async |leaf| pace.give(leaf.key().as_str(), 1).await).await
        }
        .boxed();
    };
    let parts: Vec<BoxFuture<'a, Result<u64, StepError>>> =
        (0..*width).map(|_| nest(ctx.branch("n"), pace.clone(), inner, narrower)).collect();
    combine(*kind, parts).boxed()
}

/// An optional part: what an absent one gives is given at once where all are taken, and never
/// where one is.
async fn or<T>(part: Option<BoxFuture<'_, T>>, absent: impl Future<Output = T>) -> T {
    match part {
        Some(part) => part.await,
        None => absent.await,
    }
}

async fn combine(
    kind: Combinator,
    parts: Vec<BoxFuture<'_, Result<u64, StepError>>>,
) -> Result<u64, StepError> {
    let width = parts.len();
    let sum = |all: Vec<u64>| all.into_iter().sum();
    match kind {
        JoinAll => join_all(parts).await.into_iter().sum(),
        TryJoinAll => try_join_all(parts).await.map(sum),
        Unordered => {
            parts.into_iter().collect::<FuturesUnordered<_>>().try_collect().await.map(sum)
        }
        Ordered => parts.into_iter().collect::<FuturesOrdered<_>>().try_collect().await.map(sum),
        Buffered => stream::iter(parts).buffered(width).try_collect().await.map(sum),
        BufferUnordered => stream::iter(parts).buffer_unordered(width).try_collect().await.map(sum),
        ForEach => {
            let sum = AtomicU64::new(0);
            let each = stream::iter(parts.into_iter().map(Ok));
            each.try_for_each_concurrent(width, |part| async {
                sum.fetch_add(part.await?, SeqCst);
                Ok(())
            })
            .await?;
            Ok(sum.into_inner())
        }
        SelectAll => select_all(parts).await.0,
        SelectOk => select_ok(parts).await.map(|(first, _)| first),
        Hedge => {
            let mut all: FuturesUnordered<_> = parts.into_iter().collect();
            all.next().await.unwrap_or(Ok(0))
        }
        Join | TokioJoin => {
            let mut parts = parts.into_iter();
            let (a, b, c) = (parts.next(), parts.next(), parts.next());
            let none = || std::future::ready(Ok(0));
            let (a, b, c) = (or(a, none()), or(b, none()), or(c, none()));
            let (a, b, c) = match kind {
                TokioJoin => tokio::join!(a, b, c),
                _ => futures::join!(a, b, c),
            };
            Ok(a? + b? + c?)
        }
        Select | SelectTwo | TokioSelect => {
            let mut parts = parts.into_iter();
            let (a, b, c) = (parts.next(), parts.next(), parts.next());
            let none = std::future::pending;
            let (a, b, c) = (or(a, none()).boxed(), or(b, none()).boxed(), or(c, none()).boxed());
            match kind {
                SelectTwo => {
                    let two = select(a, b).map(|first| first.factor_first().0);
                    select(two, c).await.factor_first().0
                }
                TokioSelect => tokio::select! { biased; x = a => x, x = b => x, x = c => x },
                _ => {
                    let (mut a, mut b, mut c) = (a.fuse(), b.fuse(), c.fuse());
                    futures::select_biased! { x = a => x, x = b => x, x = c => x }
                }
            }
        }
    }
}
