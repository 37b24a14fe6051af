//! Many things at once: joins, races, branches, streams.

use std::time::Duration;

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{Either, join_all, select, select_all, select_ok, try_join_all},
    stream::{self, FuturesUnordered},
};
use world_core::{Ctx, StepError};

use super::{Expected, Pace, Sample};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn cases() -> Vec<Sample> {
    use Expected::{Fails, Length, OneOf, Output};
    const AB: &[&str] = &["a", "b"];
    vec![
        Sample::new("all", Output("0 1 2 3 4 5 6 7 8 9"), all),
        Sample::new("all_of_2000", Output("1999000"), all_of_2000),
        Sample::new("all_fails_early", Fails("step bad failed: no"), all_fails_early),
        Sample::new("race", OneOf(AB), race),
        Sample::new("race_stress", Length(30), race_stress),
        Sample::new("any", Output("good"), any),
        Sample::new("select_all", OneOf(&["0", "1", "2"]), first_of_three),
        Sample::new("sleep_wins", Output("slept"), sleep_wins),
        Sample::new("step_wins", Output("stepped"), step_wins),
        Sample::new("losers_dropped", Output("fffff"), losers_dropped),
        Sample::new("loop_over_mut", Length(6), loop_over_mut),
        Sample::new("loop_with_ticks", Output("done"), loop_with_ticks),
        Sample::new("nested_branches", Output("0:3 1:3 2:3"), nested_branches),
        Sample::new("branches_of_branches", Output("16"), branches_of_branches),
        Sample::new("shared_future", Output("2 2 2"), shared_future),
        Sample::new("held", Output("231"), held),
        Sample::new("never_awaited", Output("1"), never_awaited),
        Sample::new("tokio_select", OneOf(AB), tokio_select),
        Sample::new("futures_select", OneOf(AB), futures_select),
        Sample::new("tokio_join", Output("1 2 3"), tokio_join),
        Sample::new("channel_between_branches", Output("42"), channel_between_branches),
        Sample::new("lock_between_branches", Output("10"), lock_between_branches),
        Sample::new("futures_unordered", Length(60), futures_unordered),
        Sample::new("buffered", Output("0 1 2 3 4 5 6 7 8 9 10 11"), buffered),
        Sample::new("buffer_unordered", Output("66"), buffer_unordered),
        Sample::new("for_each_concurrent", Output("12"), for_each_concurrent),
        Sample::new("sleeps_at_once", Output("1 2 3"), sleeps_at_once),
        Sample::new("errors_beside_results", Output("ok err ok err"), errors_beside_results),
    ]
}

async fn all(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let steps = (0..10_u64).map(|i| {
        let name = format!("step {i}");
        ctx.step(&name.clone(), move || {
            let name = name.clone();
            async move { pace.give(&name, i).await }
        })
    });
    let results: Vec<u64> = try_join_all(steps.collect::<Vec<_>>()).await?;
    Ok(text(&results))
}

fn text(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

async fn all_of_2000(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let steps: Vec<_> = (0..2000_u64)
        .map(|i| ctx.step("fan", move || async move { pace.give("fan", i).await }))
        .collect();
    Ok(try_join_all(steps).await?.iter().sum::<u64>().to_string())
}

async fn all_fails_early(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let bad = ctx.step("bad", || async move {
        pace.at("bad").await;
        Err::<u64, _>("no")
    });
    let good = ctx.step("good", || async move { pace.give("good", 1_u64).await });
    let other = ctx.step("other", || async move { pace.give("other", 1_u64).await });
    let results = try_join_all([good, bad, other]).await?;
    Ok(text(&results))
}

async fn race(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let a = ctx.step("a", async || pace.give("a", "a".to_owned()).await);
    let b = ctx.step("b", async || pace.give("b", "b".to_owned()).await);
    Ok(select(a, b).await.factor_first().0?)
}

async fn race_stress(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut out = String::new();
    for round in 0..30 {
        let (left, right) = (format!("l{round}"), format!("r{round}"));
        let a = ctx.step("l", async || pace.give(&left, "l".to_owned()).await);
        let b = ctx.step("r", async || pace.give(&right, "r".to_owned()).await);
        out += &select(a, b).await.factor_first().0?;
    }
    Ok(out)
}

async fn any(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let bad = ctx.step("bad", || async move {
        pace.at("bad").await;
        Err::<String, _>("no")
    });
    let good = ctx.step("good", || async move { pace.give("good", "good".to_owned()).await });
    Ok(select_ok([bad, good]).await?.0)
}

async fn first_of_three(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let steps: Vec<_> = ["x", "y", "z"]
        .map(|name| ctx.step(name, move || async move { pace.give(name, ()).await }))
        .into();
    let (result, index, rest) = select_all(steps).await;
    result?;
    drop(rest);
    Ok(index.to_string())
}

async fn sleep_wins(mut ctx: Ctx, _: Pace) -> anyhow::Result<String> {
    let sleep = ctx.sleep(Duration::ZERO);
    let step = ctx.step("hangs", async || {
        std::future::pending::<()>().await;
        Ok::<_, StepError>(())
    });
    match select(sleep, step).await {
        Either::Left((slept, _)) => slept.map(|()| "slept".to_owned()).map_err(Into::into),
        Either::Right(_) => Ok("stepped".to_owned()),
    }
}

async fn step_wins(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let sleep = ctx.sleep(HOUR);
    let step = ctx.step("work", async || pace.give("work", "stepped".to_owned()).await);
    match select(sleep, step).await {
        Either::Left(_) => Ok("slept".to_owned()),
        Either::Right((result, _)) => Ok(result?),
    }
}

async fn losers_dropped(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut out = String::new();
    for _ in 0..5 {
        let slow = ctx.step("slow", async || {
            std::future::pending::<()>().await;
            Ok::<_, StepError>("s".to_owned())
        });
        let fast = ctx.step("fast", async || pace.give("fast", "f".to_owned()).await);
        out += &select(slow, fast).await.factor_first().0?;
    }
    Ok(out)
}

async fn loop_over_mut(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let mut out = String::new();
    let mut waiting: Vec<_> = ["a", "b", "c"]
        .map(|name| ctx.step(name, move || async move { pace.give(name, name.to_owned()).await }))
        .into();
    while !waiting.is_empty() {
        let (result, index, _) = select_all(&mut waiting).await;
        drop(waiting.remove(index));
        out += &result?;
        out += &ctx.step("handle", async || pace.give("handle", "h".to_owned()).await).await?;
    }
    Ok(out)
}

async fn loop_with_ticks(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut work = ctx.step("work", async || pace.give("work", "done".to_owned()).await);
    loop {
        match select(&mut work, ctx.sleep(HOUR)).await {
            Either::Left((done, _)) => return Ok(done?),
            Either::Right((slept, _)) => slept?,
        }
    }
}

async fn nested_branches(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let items = (0..3_u64).map(|i| {
        let (mut branch, pace) = (ctx.branch("item"), &pace);
        async move {
            let mut n = 0_u64;
            for name in ["pick", "pack", "ship"] {
                let at = format!("{i}{name}");
                n = branch.step(name, async || pace.give(&at, n + 1).await).await?;
            }
            Ok::<_, StepError>(format!("{i}:{n}"))
        }
    });
    Ok(try_join_all(items.collect::<Vec<_>>()).await?.join(" "))
}

fn tree(
    mut ctx: Ctx,
    pace: Pace,
    depth: u32,
) -> futures::future::BoxFuture<'static, Result<u64, StepError>> {
    async move {
        if depth == 0 {
            return ctx.step("leaf", async || pace.give("leaf", 1_u64).await).await;
        }
        let (left, right) = (ctx.branch("b"), ctx.branch("b"));
        let (left, right) = futures::join!(
            tree(left, pace.clone(), depth - 1),
            tree(right, pace.clone(), depth - 1)
        );
        Ok(left? + right?)
    }
    .boxed()
}

async fn branches_of_branches(ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    Ok(tree(ctx, pace, 4).await?.to_string())
}

async fn shared_future(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let shared = ctx.step("s", async || pace.give("s", 1_u64).await).boxed().shared();
    let users = (0..3).map(|i| {
        let (mut branch, shared, pace) = (ctx.branch("user"), shared.clone(), &pace);
        async move {
            let n = shared.await?;
            let name = format!("use {i}");
            branch.step("use", async || pace.give(&name, n + 1).await).await
        }
    });
    Ok(text(&try_join_all(users.collect::<Vec<_>>()).await?))
}

async fn held(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut held = ctx.step("held", async || pace.give("held", 1_u64).await);
    let _ = futures::poll!(&mut held);
    let two = ctx.step("two", async || pace.give("two", 2_u64).await).await?;
    let three = ctx.step("three", async || pace.give("three", 3_u64).await).await?;
    Ok((two * 100 + three * 10 + held.await?).to_string())
}

async fn never_awaited(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let unused = ctx.step("unused", async || pace.give("unused", 0_u64).await);
    let one = ctx.step("one", async || pace.give("one", 1_u64).await).await?;
    drop(unused);
    Ok(one.to_string())
}

async fn tokio_select(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let a = ctx.step("a", async || pace.give("a", "a".to_owned()).await);
    let b = ctx.step("b", async || pace.give("b", "b".to_owned()).await);
    Ok(tokio::select! { x = a => x?, x = b => x? })
}

async fn futures_select(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut a = ctx.step("a", async || pace.give("a", "a".to_owned()).await).fuse();
    let mut b = ctx.step("b", async || pace.give("b", "b".to_owned()).await).fuse();
    Ok(futures::select! { x = a => x?, x = b => x? })
}

async fn tokio_join(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let a = ctx.step("a", async || pace.give("a", 1_u64).await);
    let b = ctx.step("b", async || pace.give("b", 2_u64).await);
    let c = ctx.step("c", async || pace.give("c", 3_u64).await);
    let (a, b, c) = tokio::try_join!(a, b, c)?;
    Ok(text(&[a, b, c]))
}

async fn channel_between_branches(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let (sender, receiver) = tokio::sync::oneshot::channel::<u64>();
    let mut after = ctx.branch("after");
    let (b, a) = futures::join!(
        async {
            let n = receiver.await?;
            anyhow::Ok(after.step("b", async || pace.give("b", n + 1).await).await?)
        },
        async {
            let n = ctx.step("a", async || pace.give("a", 41_u64).await).await?;
            sender.send(n).map_err(|n| anyhow::anyhow!("nobody takes {n}"))
        }
    );
    a?;
    Ok(b?.to_string())
}

async fn lock_between_branches(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let sum = tokio::sync::Mutex::new(0_u64);
    let adders = (0..5).map(|i| {
        let (mut branch, sum, pace) = (ctx.branch("adder"), &sum, &pace);
        async move {
            let mut sum = sum.lock().await;
            let name = format!("add {i}");
            *sum = branch.step("add", async || pace.give(&name, *sum + 2).await).await?;
            Ok::<_, StepError>(())
        }
    });
    try_join_all(adders.collect::<Vec<_>>()).await?;
    Ok(sum.into_inner().to_string())
}

async fn futures_unordered(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let mut out = String::new();
    let mut make = |i: u64| {
        let name = format!("f{i}");
        ctx.step("f", move || {
            let name = name.clone();
            async move { pace.give(&name, i).await }
        })
    };
    let mut all: FuturesUnordered<_> = (0..40).map(&mut make).collect();
    let mut pushed = 0;
    while let Some(i) = all.next().await {
        out.push(if i? < 100 { '.' } else { '!' });
        if pushed < 20 {
            pushed += 1;
            all.push(make(100 + pushed));
        }
    }
    Ok(out)
}

async fn buffered(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let steps: Vec<_> = (0..12_u64)
        .map(|i| {
            let name = format!("b{i}");
            ctx.step("b", move || {
                let name = name.clone();
                async move { pace.give(&name, i).await }
            })
        })
        .collect();
    Ok(text(&stream::iter(steps).buffered(4).try_collect::<Vec<u64>>().await?))
}

async fn buffer_unordered(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let steps: Vec<_> = (0..12_u64)
        .map(|i| {
            let mut branch = ctx.branch("item");
            async move {
                let name = format!("b{i}");
                branch.step("b", async || pace.give(&name, i).await).await
            }
        })
        .collect();
    let sum = stream::iter(steps)
        .buffer_unordered(3)
        .try_fold(0, |sum, i| futures::future::ok(sum + i))
        .await?;
    Ok(sum.to_string())
}

async fn for_each_concurrent(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let count = std::sync::atomic::AtomicU64::new(0);
    let branches: Vec<Ctx> = (0..12).map(|_| ctx.branch("each")).collect();
    stream::iter(branches)
        .for_each_concurrent(5, |mut branch| {
            let (count, pace) = (&count, &pace);
            async move {
                if branch.step("one", async || pace.give("one", ()).await).await.is_ok() {
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            }
        })
        .await;
    Ok(count.into_inner().to_string())
}

async fn sleeps_at_once(mut ctx: Ctx, _: Pace) -> anyhow::Result<String> {
    let mut sleeps: FuturesUnordered<_> = [3_u64, 1, 2]
        .into_iter()
        .map(|hours| {
            let sleep = ctx.sleep(HOUR * u32::try_from(hours).unwrap_or(1));
            async move { sleep.await.map(|()| hours) }
        })
        .collect();
    let mut order = Vec::new();
    while let Some(hours) = sleeps.next().await {
        order.push(hours?);
    }
    Ok(text(&order))
}

async fn errors_beside_results(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let pace = &pace;
    let steps: Vec<_> = (0..4_u64)
        .map(|i| {
            ctx.step("mixed", move || async move {
                pace.at("mixed").await;
                if i % 2 == 0 { Ok(()) } else { Err("odd") }
            })
        })
        .collect();
    let results = join_all(steps).await;
    Ok(results
        .iter()
        .map(|result| if result.is_ok() { "ok" } else { "err" })
        .collect::<Vec<_>>()
        .join(" "))
}
