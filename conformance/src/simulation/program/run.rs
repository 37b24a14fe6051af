//! Runs a drawn program.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{Either, join_all, select, select_all, try_join_all},
    stream::FuturesUnordered,
};
use world_core::{Attempt, Ctx, Fatal, Retry, RetryAfter, RunId, StepError};

use super::{Ending, Node, StepPlan, draw};
use crate::simulation::{
    ledger::{Bounds, Site},
    rng::{Rng, mix, name_hash},
};

type Outcome = Result<u64, StepError>;
type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
type Program = Pin<Box<dyn Future<Output = anyhow::Result<String>> + Send>>;

/// How many times a step is looked at between sleeps.
const TICKS_MAX: u32 = 4;

/// The function of [`PROGRAM`](super::PROGRAM), as the worker at this site runs it.
pub(in crate::simulation) fn function(
    site: Arc<Site>,
) -> impl Fn(Ctx, u64) -> Program + Clone + Send + Sync + 'static {
    move |ctx, input| {
        let site = Arc::clone(&site);
        Box::pin(async move {
            let mut ctx = ctx;
            let program = draw(input);
            let value = Player { site: &site, input }.run(&program, &mut ctx).await?;
            Ok(format!("{value:016x}"))
        })
    }
}

/// Where a program runs, and with which input.
#[derive(Clone, Copy)]
struct Player<'a> {
    site: &'a Arc<Site>,
    input: u64,
}

const fn fold(sum: u64, value: u64) -> u64 {
    mix(sum ^ mix(value))
}

/// An error as a value, or the cancellation, which is none.
fn caught(outcome: Outcome) -> Outcome {
    match outcome {
        Err(StepError::Failed { failure, .. }) => Ok(name_hash(&format!("{:?}", failure.kind))),
        Err(StepError::Interrupted { .. }) => Ok(name_hash("interrupted")),
        other => other,
    }
}

impl<'a> Player<'a> {
    fn run<'f>(self, node: &'f Node, ctx: &'f mut Ctx) -> Running<'f>
    where
        'a: 'f,
    {
        Box::pin(async move {
            match node {
                Node::Step(plan) => self.step(plan, ctx).await,
                Node::Sleep(time) => ctx.sleep(*time).await.map(|()| 1),
                Node::Sequence(nodes) => {
                    let mut sum = 0;
                    for node in nodes {
                        sum = fold(sum, self.run(node, ctx).await?);
                    }
                    Ok(sum)
                }
                Node::Join(nodes) => {
                    let all = join_all(self.branches(nodes, ctx)).await;
                    all.into_iter().try_fold(0, |sum, value| Ok(fold(sum, value?)))
                }
                Node::TryJoin(nodes) => {
                    let all = try_join_all(self.branches(nodes, ctx)).await?;
                    Ok(all.into_iter().fold(0, fold))
                }
                Node::Unordered(nodes) => self.unordered(nodes, ctx).await,
                Node::Race(nodes) => {
                    let (first, nth, rest) = select_all(self.branches(nodes, ctx)).await;
                    drop(rest);
                    Ok(fold(nth as u64, first?))
                }
                Node::Within(time, node) => {
                    let mut late = ctx.branch("late");
                    tokio::select! { biased;
                        value = self.run(node, ctx) => value,
                        slept = late.sleep(*time) => slept.map(|()| 2),
                    }
                }
                Node::Held(plan, node) => {
                    let mut held = self.step(plan, ctx);
                    let early = futures::poll!(&mut held).is_ready();
                    debug_assert!(!early, "nothing is ready on the poll that makes it");
                    let between = self.run(node, ctx).await;
                    let held = held.await;
                    Ok(fold(between?, held?))
                }
                Node::Ticks(plan, time) => {
                    let mut work = self.step(plan, ctx);
                    for _ in 0..TICKS_MAX {
                        match select(&mut work, ctx.sleep(*time)).await {
                            Either::Left((done, _)) => return done,
                            Either::Right((slept, _)) => slept?,
                        }
                    }
                    work.await
                }
                Node::Chance(left, right) => {
                    let side = if ctx.random().is_multiple_of(2) { left } else { right };
                    self.run(side, ctx).await
                }
                Node::Shield(node) => self.run(node, &mut ctx.shield()).await,
                Node::Caught(node) => caught(self.run(node, ctx).await),
                Node::Undone(node, undo) => {
                    let mut shield = ctx.shield();
                    let done = self.run(node, ctx).await;
                    let undone = caught(self.run(undo, &mut shield).await);
                    Ok(fold(done?, undone?))
                }
            }
        })
    }

    /// Each in a branch of its own.
    fn branches<'f>(self, nodes: &'f [Node], ctx: &mut Ctx) -> Vec<Running<'f>>
    where
        'a: 'f,
    {
        let branches: Vec<(&Node, Ctx)> =
            nodes.iter().map(|node| (node, ctx.branch("arm"))).collect();
        branches
            .into_iter()
            .map(|(node, mut ctx)| async move { self.run(node, &mut ctx).await }.boxed())
            .collect()
    }

    async fn unordered(self, nodes: &[Node], ctx: &mut Ctx) -> Outcome {
        let mut all: FuturesUnordered<_> = self.branches(nodes, ctx).into_iter().collect();
        let mut sum = 0;
        while let Some(value) = all.next().await {
            let value = value?;
            let taken = ctx.step("take", async || Ok::<_, StepError>(value)).await?;
            sum = fold(sum, taken);
        }
        Ok(sum)
    }

    /// The step, not polled yet.
    fn step<'f>(self, plan: &'f StepPlan, ctx: &mut Ctx) -> Running<'f>
    where
        'a: 'f,
    {
        let (run, site) = (ctx.run_id().clone(), self.site);
        let begun = run.clone();
        let mut step = ctx.step_with(plan.name, move |at: Attempt| {
            let run = begun.clone();
            async move { self.body(plan, &run, at).await }
        });
        if let Some(retry) = plan.retry {
            step = step.retry(if retry.exponential {
                Retry::exponential(retry.attempts_max).first_delay(retry.delay)
            } else {
                Retry::fixed(retry.attempts_max, retry.delay)
            });
        }
        if let Some(timeout) = plan.timeout {
            step = step.timeout(timeout);
        }
        if let Some(deadline) = plan.deadline {
            step = step.deadline(deadline);
        }
        if plan.at_most_once {
            step = step.at_most_once();
        }
        Box::pin(async move {
            let (key, value) = step.await?;
            if value != self.value(&key) {
                site.objects(format!("{run}: {key} was given {value:x}, which is another's"));
            }
            Ok(value)
        })
    }

    /// What the step of this key gives, in this run.
    fn value(self, key: &str) -> u64 {
        mix(self.input ^ name_hash(key))
    }

    async fn body(
        self,
        plan: &StepPlan,
        run: &RunId,
        at: Attempt,
    ) -> anyhow::Result<(String, u64)> {
        let bounds = Bounds {
            at_most_once: plan.at_most_once,
            attempts_max: plan.retry.map(|retry| retry.attempts_max),
        };
        self.site.begins(run, at.key(), at.number(), bounds);
        let key = at.key().as_str();
        let mut rng = Rng::new(self.input ^ u64::from(at.number()), key);
        let pause = rng.time(plan.pause.max(Duration::from_millis(1)));
        match rng.below(3) {
            _ if !pause.is_zero() => tokio::time::sleep(pause).await,
            0 => tokio::task::yield_now().await,
            _ => {}
        }
        if at.number() <= plan.failures {
            match plan.ending {
                Ending::Error => anyhow::bail!("attempt {} fails", at.number()),
                Ending::Fatal => return Err(Fatal::new("fatal").into()),
                Ending::RetryAfter(delay) => return Err(RetryAfter::new(delay, "later").into()),
                Ending::Panic => std::panic::resume_unwind(Box::new("a body panics")),
                Ending::Hang => std::future::pending().await,
            }
        }
        Ok((key.to_owned(), self.value(key)))
    }
}
