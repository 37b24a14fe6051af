//! Everything at once: retries in races, timers in branches, cancellations in the middle.

use std::time::Duration;

use futures::{
    StreamExt, TryStreamExt,
    future::{Either, join_all, select, try_join_all},
    stream,
};
use world_core::{Ctx, Fatal, Retry, RetryAfter, StepError};

use super::{Expected, Pace, Sample};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn cases() -> Vec<Sample> {
    use Expected::{Cancelled, Fails, OneOf, Output};
    vec![
        Sample::new("retry_beats_timer", Output("third"), retry_beats_timer),
        Sample::new("timer_beats_retry", Output("too slow"), timer_beats_retry),
        Sample::new("timers_in_branches", Output("6"), timers_in_branches),
        Sample::new("race_of_branches", Output("left 2 last"), race_of_branches),
        Sample::new("race_then_all", OneOf(&["a 0 1 2", "b 0 1 2"]), race_then_all),
        Sample::new("retries_in_a_fan", Output("15"), retries_in_a_fan),
        Sample::new("poll_until_done", Output("done after 4"), poll_until_done),
        Sample::new("undone_by_hand", Fails("no room"), undone_by_hand),
        Sample::new("undone_in_branches", Cancelled, undone_in_branches).cancelled(),
        Sample::new("orders_at_once", Output("3 sent, 1 refused"), orders_at_once),
        Sample::new("in_time_or_never", Output("never"), in_time_or_never),
    ]
}

async fn retry_beats_timer(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let deadline = ctx.sleep(HOUR * 30);
    let step = ctx
        .step_with("work", async |attempt| {
            pace.at("work").await;
            if attempt.number() < 3 { Err("not yet") } else { Ok("third".to_owned()) }
        })
        .retry(Retry::fixed(20, HOUR));
    let won = match select(step, deadline).await {
        Either::Left((done, _)) => done?,
        Either::Right((slept, _)) => slept.map(|()| "slept".to_owned())?,
    };
    Ok(ctx.step("after", async || pace.give("after", won.clone()).await).await?)
}

async fn timer_beats_retry(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let deadline = ctx.sleep(HOUR * 5);
    let step = ctx
        .step("work", async || {
            pace.at("work").await;
            Err::<String, _>("never")
        })
        .retry(Retry::fixed(20, HOUR * 24));
    let won = match select(step, deadline).await {
        Either::Left((done, _)) => done?,
        Either::Right((slept, _)) => slept.map(|()| "too slow".to_owned())?,
    };
    Ok(ctx.step("after", async || pace.give("after", won.clone()).await).await?)
}

async fn timers_in_branches(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let branches = (1..=3_u32).map(|i| {
        let (mut branch, pace) = (ctx.branch("part"), &pace);
        async move {
            let (first, last) = (format!("first {i}"), format!("last {i}"));
            branch.sleep(HOUR * 10 * i).await?;
            branch.step("first", async || pace.give(&first, ()).await).await?;
            branch.sleep(HOUR * 2).await?;
            branch.step("last", async || pace.give(&last, i).await).await
        }
    });
    let all = try_join_all(branches.collect::<Vec<_>>()).await?;
    let sum = all.iter().sum::<u32>();
    Ok(ctx.step("sum", async || pace.give("sum", sum.to_string()).await).await?)
}

async fn race_of_branches(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let (mut left, mut right) = (ctx.branch("left"), ctx.branch("right"));
    let won = {
        let left = Box::pin(async {
            left.sleep(HOUR).await?;
            let one = left.step("one", async || pace.give("one", 1_u64).await).await?;
            left.step("two", async || pace.give("two", one + 1).await).await
        });
        let right = Box::pin(async {
            right.sleep(HOUR * 24).await?;
            right.step("one", async || pace.give("one", 1_u64).await).await
        });
        match select(left, right).await {
            Either::Left((n, _)) => format!("left {}", n?),
            Either::Right((n, _)) => format!("right {}", n?),
        }
    };
    ctx.sleep(HOUR).await?;
    Ok(ctx.step("last", async || pace.give("last", format!("{won} last")).await).await?)
}

async fn race_then_all(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let a = ctx.step("a", async || pace.give("a", "a".to_owned()).await);
    let b = ctx.step("b", async || pace.give("b", "b".to_owned()).await);
    let won = select(a, b).await.factor_first().0?;
    let steps = (0..3_u64).map(|i| {
        let (mut branch, pace) = (ctx.branch(&won), &pace);
        async move {
            branch.sleep(HOUR).await?;
            branch.step("part", async || pace.give("part", i).await).await
        }
    });
    let parts = try_join_all(steps.collect::<Vec<_>>()).await?;
    let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
    Ok(format!("{won} {}", parts.join(" ")))
}

async fn retries_in_a_fan(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let branches: Vec<_> = (0..6_u64).map(|i| (i, ctx.branch("fan"))).collect();
    let steps = branches.into_iter().map(|(i, mut branch)| {
        let pace = &pace;
        async move {
            let step = branch.step_with("part", async |attempt| {
                pace.at(&i.to_string()).await;
                match (i % 3, attempt.number()) {
                    (1, 1) => Err(anyhow::Error::from(RetryAfter::new(HOUR, "limited"))),
                    (2, 1 | 2) => Err(anyhow::anyhow!("not yet")),
                    _ => Ok(i),
                }
            });
            step.retry(Retry::fixed(20, HOUR / 2)).await
        }
    });
    let sum: u64 = stream::iter(steps)
        .buffer_unordered(4)
        .try_fold(0, |sum, i| futures::future::ok(sum + i))
        .await?;
    Ok(sum.to_string())
}

async fn poll_until_done(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut deadline = ctx.sleep(HOUR * 24 * 30);
    let mut asked = 0_u64;
    loop {
        asked += 1;
        let done = ctx.step("ask", async || pace.give("ask", asked >= 4).await).await?;
        if done {
            return Ok(format!("done after {asked}"));
        }
        match select(&mut deadline, ctx.sleep(HOUR)).await {
            Either::Left((slept, _)) => return Ok(slept.map(|()| "given up".to_owned())?),
            Either::Right((slept, _)) => slept?,
        }
    }
}

async fn undone_by_hand(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut undo = ctx.shield();
    for name in ["flight", "car"] {
        ctx.step(name, async || pace.give(name, ()).await).await?;
    }
    let room = ctx.step("room", async || {
        pace.at("room").await;
        Err::<String, _>(anyhow::Error::from(Fatal::new("no room")))
    });
    let Err(StepError::Failed { failure, .. }) = room.retry(Retry::fixed(9, HOUR)).await else {
        anyhow::bail!("there was room");
    };
    for name in ["undo car", "undo flight"] {
        undo.step(name, async || pace.give(name, ()).await).await?;
        undo.sleep(HOUR).await?;
    }
    anyhow::bail!("{}", failure.message)
}

async fn undone_in_branches(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let branches = (0..3_u64).map(|i| {
        let (mut branch, pace) = (ctx.branch("part"), &pace);
        async move {
            let mut undo = branch.shield();
            branch.step("reserve", async || pace.give("reserve", i).await).await?;
            let slept = branch.sleep(HOUR * 1000).await;
            undo.step("release", async || pace.give("release", i).await).await?;
            undo.sleep(HOUR).await?;
            slept
        }
    });
    for result in join_all(branches.collect::<Vec<_>>()).await {
        result?;
    }
    Ok("not cancelled".to_owned())
}

async fn orders_at_once(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let orders = (0..4_u64).map(|i| {
        let (mut order, pace) = (ctx.branch("order"), &pace);
        async move {
            let charge = order
                .step_with("charge", async |attempt| {
                    pace.at("charge").await;
                    match (i, attempt.number()) {
                        (2, _) => Err(anyhow::Error::from(Fatal::new("refused"))),
                        (3, 1) => Err(anyhow::anyhow!("not yet")),
                        _ => Ok(i),
                    }
                })
                .retry(Retry::exponential(9));
            if charge.await.is_err() {
                return Ok(false);
            }
            let (mut pick, mut wait) = (order.branch("pick"), order.branch("wait"));
            let (picked, waited) = futures::join!(
                pick.step("pick", async || pace.give("pick", ()).await),
                wait.sleep(HOUR * 2)
            );
            picked.and(waited)?;
            order.step("send", async || pace.give("send", ()).await).await?;
            Ok::<_, StepError>(true)
        }
    });
    let sent = try_join_all(orders.collect::<Vec<_>>()).await?;
    let count = sent.iter().filter(|sent| **sent).count();
    Ok(format!("{count} sent, {} refused", sent.len() - count))
}

async fn in_time_or_never(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step("ask", async || {
        pace.at("ask").await;
        Err::<String, _>("nobody answers")
    });
    let asked = step.retry(Retry::fixed(100, HOUR)).deadline(HOUR * 3).await;
    match asked {
        Ok(answer) => Ok(answer),
        Err(StepError::Failed { .. }) => {
            Ok(ctx.step("note", async || pace.give("note", "never".to_owned()).await).await?)
        }
        Err(other) => Err(other.into()),
    }
}
