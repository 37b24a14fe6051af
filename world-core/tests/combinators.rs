//! Combinators inside one another: every body below them begins at once, whatever yields above it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod heard;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use conformance::corpus::{Combinator, Pace, nest};
use futures::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use heard::Heard;
use tokio::{sync::Barrier, time::timeout};
use world_core::{
    Ctx, StepError, Workflow,
    testing::{Replay, TestEngine},
};

const NESTED: Workflow<u64, u64> = Workflow::new("nested");

/// Runs it to its end, and says how many bodies were called starved. Its log must replay.
async fn ends<F, Fut>(what: &str, function: F) -> (u64, usize)
where
    F: Fn(Ctx, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<u64, StepError>> + Send + 'static,
{
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(NESTED, function.clone());
    let run = t.start(NESTED, 0).await.unwrap();
    // Nothing here takes time: what takes this long hangs.
    let ended = timeout(Duration::from_secs(60), t.finish(&run)).await;
    let output = ended.unwrap_or_else(|_| panic!("{what} hangs")).unwrap();
    let log = t.log(run.id()).await.unwrap();
    let replay = Replay::of(log).run(run.id()).with(NESTED, function);
    replay.every_prefix().jitter(4).check().unwrap_or_else(|error| panic!("{what}: {error}"));
    (output, heard.with("starved").len())
}

#[tokio::test(start_paused = true)]
async fn a_hedge_over_streams_of_steps_ends_with_the_one_that_is_not_slow() {
    async fn hedge(mut ctx: Ctx, _: u64) -> Result<u64, StepError> {
        let mut replicas = FuturesUnordered::new();
        for i in 0..3_u64 {
            let mut branch = ctx.branch("replica");
            replicas.push(async move {
                let mut one = FuturesUnordered::new();
                one.push(branch.step("ask", move || async move {
                    if i < 2 {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, StepError>(i)
                }));
                one.next().await.unwrap_or(Ok(9))
            });
        }
        replicas.next().await.unwrap_or(Ok(9))
    }
    assert_eq!(ends("a hedge", hedge).await, (2, 0));
}

#[tokio::test(start_paused = true)]
async fn bodies_below_a_stream_in_a_stream_run_all_at_once_and_none_is_called_starved() {
    let begun = Arc::new(Barrier::new(60));
    let fan = move |mut ctx: Ctx, _: u64| {
        let begun = Arc::clone(&begun);
        async move {
            let customers: Vec<_> = (0..20)
                .map(|_| {
                    let (mut branch, begun) = (ctx.branch("customer"), &begun);
                    async move {
                        let items: Vec<_> = (0..3)
                            .map(|_| {
                                branch.step("item", move || async move {
                                    begun.wait().await; // for the 59 others
                                    Ok::<_, StepError>(())
                                })
                            })
                            .collect();
                        stream::iter(items).buffer_unordered(3).count().await as u64
                    }
                })
                .collect();
            let counts: Vec<u64> = stream::iter(customers).buffer_unordered(20).collect().await;
            Ok(counts.into_iter().sum())
        }
    };
    assert_eq!(ends("a fan", fan).await, (60, 0));
}

/// Runs a nest whose bodies wait for one another: it ends only if all of them begin.
async fn all_begin(kinds: Vec<Combinator>, widths: &'static [usize]) {
    let begun = Arc::new(Barrier::new(widths.iter().product()));
    let what = format!("{kinds:?} of {widths:?}");
    let function = move |ctx: Ctx, seed: u64| {
        let (kinds, begun) = (kinds.clone(), Arc::clone(&begun));
        let wait = move |_: &str, _: u64| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let begun = Arc::clone(&begun);
            Box::pin(async move {
                begun.wait().await;
            })
        };
        async move { nest(ctx, Pace::new(seed, Arc::new(wait)), &kinds, widths).await }
    };
    let (_, starved) = ends(&what, function).await;
    assert_eq!(starved, 0, "{what}");
}

#[tokio::test(start_paused = true)]
async fn all_bodies_below_one_combinator_run_at_once() {
    for kind in Combinator::all() {
        all_begin(vec![kind], &[3]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_bodies_below_every_combinator_in_every_other_run_at_once() {
    for outer in Combinator::all() {
        for inner in Combinator::all() {
            all_begin(vec![outer, inner], &[3, 2]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_bodies_below_three_combinators_run_at_once() {
    // Each of the outermost with each of the next, and with a third that differs for each pair.
    let kinds: Vec<_> = Combinator::all().collect();
    for (i, outer) in kinds.iter().enumerate() {
        for (j, middle) in kinds.iter().enumerate() {
            let inner = kinds[(i * 7 + j) % kinds.len()];
            all_begin(vec![*outer, *middle, inner], &[3, 2, 2]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_bodies_below_joins_of_more_than_30_run_at_once() {
    use Combinator::{BufferUnordered, JoinAll, TryJoinAll, Unordered};
    for other in [JoinAll, TryJoinAll, Unordered, BufferUnordered] {
        for wide in [JoinAll, TryJoinAll] {
            all_begin(vec![wide, other], &[31, 3]).await;
            all_begin(vec![other, wide], &[3, 31]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_below_a_stream_in_a_stream_that_wakes_the_workflow_is_named() {
    const NAMED: Workflow<u64, u64> = Workflow::new("named");
    // The step that is woken by it comes before it or after it.
    async fn shares(mut ctx: Ctx, listens_at: u64) -> Result<u64, StepError> {
        let (sender, receiver) = tokio::sync::watch::channel(0_u64);
        let outer = FuturesUnordered::new();
        for at in 0..4 {
            let (mut branch, sender, mut receiver) =
                (ctx.branch("part"), &sender, receiver.clone());
            outer.push(async move {
                let mut inner = FuturesUnordered::new();
                if at == listens_at {
                    let heard = receiver.changed().await;
                    inner.push(branch.step("hears", async || Ok::<_, StepError>(2)));
                    assert!(heard.is_ok(), "the sender outlives this");
                } else {
                    inner.push(branch.step("tells", move || async move {
                        tokio::task::yield_now().await;
                        if at == 3 {
                            sender.send_replace(1);
                        }
                        Ok::<_, StepError>(1)
                    }));
                }
                inner.next().await.unwrap_or(Ok(0))
            });
        }
        let all: Vec<_> = outer.collect().await;
        all.into_iter().sum()
    }
    for listens_at in 0..3 {
        let t = TestEngine::new().workflow(NAMED, shares);
        let run = t.start(NAMED, listens_at).await.unwrap();
        let error = t.finish(&run).await.unwrap_err().to_string();
        assert!(error.contains("woke the workflow through a channel"), "{listens_at}: {error}");
    }
}
