//! One thing at a time: steps, sleeps, errors, values.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use world_core::{Ctx, Fatal, Retry, RetryAfter, StepError, frozen};

use super::{Expected, Pace, Sample};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn cases() -> Vec<Sample> {
    use Expected::{Cancelled, Fails, Length, Output};
    vec![
        Sample::new("no_steps", Output("nothing"), |_, _| async { Ok("nothing".to_owned()) }),
        Sample::new("one_step", Output("one"), one_step),
        Sample::new("sequence", Output("25"), sequence),
        Sample::new("branch_on_result", Output("big"), branch_on_result),
        Sample::new("changing_name", Output("0-1-2-3-4-"), changing_name),
        Sample::new("same_name", Output("charge charge#2 charge#3"), same_name),
        Sample::new("strange_names", Output("5"), strange_names),
        Sample::new("helper_function", Output("3"), helper_function),
        Sample::new("unit_and_none", Output("Some(()) None Some(())"), unit_and_none),
        Sample::new("struct_result", Output("ada 2"), struct_result),
        Sample::new("map_result", Output("a=1 b=2"), map_result),
        Sample::new("big_payload", Length(300_000), big_payload),
        Sample::new("shared_result", Output("7"), shared_result),
        Sample::new("error_caught", Output("caught: no"), error_caught),
        Sample::new("error_not_caught", Fails("step fails failed: no"), error_not_caught),
        Sample::new("error_of_the_workflow", Fails("not enough: 1"), error_of_the_workflow),
        Sample::new("body_panics", Fails("the body panicked: oh"), body_panics),
        Sample::new("retried", Output("3"), retried),
        Sample::new("retried_in_vain", Fails("after 3 attempts"), retried_in_vain),
        Sample::new("fatal", Fails("step card failed: stolen"), fatal),
        Sample::new("retry_after", Output("2"), retry_after),
        Sample::new("at_most_once", Output("sent"), at_most_once),
        Sample::new("sleep", Output("3600"), sleep),
        Sample::new("sleep_of_no_time", Output("0"), sleep_of_no_time),
        Sample::new("sleeps_and_steps", Output("ticked 5"), sleeps_and_steps),
        Sample::new("random", Length(16 + 36 + 16), random),
        Sample::new("now", Output("true"), now),
        Sample::new("cancelled_sleep", Cancelled, cancelled_sleep).cancelled(),
        Sample::new("cancellation_refused", Output("went on"), cancellation_refused).cancelled(),
        Sample::new("cancelled_with_shield", Cancelled, cancelled_with_shield).cancelled(),
        Sample::new("deadline_not_met", Output("in time"), deadline_not_met),
    ]
}

async fn one_step(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    Ok(ctx.step("one", async || pace.give("one", "one".to_owned()).await).await?)
}

async fn sequence(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut n = 0_u64;
    for _ in 0..25 {
        n = ctx.step("add", async || pace.give("add", n + 1).await).await?;
    }
    Ok(n.to_string())
}

async fn branch_on_result(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let n = ctx.step("size", async || pace.give("size", 12_u64).await).await?;
    let name = if n > 10 { "big" } else { "small" };
    Ok(ctx.step(name, async || pace.give(name, name.to_owned()).await).await?)
}

async fn changing_name(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut out = String::new();
    for i in 0..5 {
        let name = format!("item {i}");
        out += &ctx.step(&name, async || pace.give(&name, format!("{i}-")).await).await?;
    }
    Ok(out)
}

async fn same_name(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut keys = Vec::new();
    for _ in 0..3 {
        let step = ctx.step_with("charge", async |attempt| {
            pace.give("charge", attempt.key().to_string()).await
        });
        keys.push(step.await?);
    }
    Ok(keys.join(" "))
}

async fn strange_names(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut n = 0_u64;
    for name in ["", "a/b", "x#2", "100%", "\u{1F980}\0"] {
        n += ctx.step(name, async || pace.give(name, 1_u64).await).await?;
    }
    Ok(n.to_string())
}

async fn add(ctx: &mut Ctx, pace: &Pace, n: u64) -> Result<u64, StepError> {
    ctx.step("add", async || pace.give("add", n + 1).await).await
}

async fn helper_function(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut n = 0;
    for _ in 0..3 {
        n = add(&mut ctx, &pace, n).await?;
    }
    Ok(n.to_string())
}

async fn unit_and_none(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let unit = Some(ctx.step("unit", async || pace.give("unit", ()).await).await?);
    let none = ctx.step("none", async || pace.give("none", None::<u64>).await).await?;
    let some = ctx.step("some", async || pace.give("some", Some(true)).await).await?;
    Ok(format!("{unit:?} {none:?} {:?}", some.map(|_| ())))
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    customer: String,
    lines: Vec<u64>,
}
frozen!(Order { customer, lines });

fn order() -> Order {
    Order { customer: "ada".to_owned(), lines: vec![3, 4] }
}

async fn struct_result(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut order = ctx.step("order", async || pace.give("order", order()).await).await?;
    order.lines.sort_unstable();
    let count = ctx.step("count", async || pace.give("count", order.lines.len()).await).await?;
    Ok(format!("{} {count}", order.customer))
}

async fn map_result(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let map = BTreeMap::from([("b".to_owned(), 2_u64), ("a".to_owned(), 1)]);
    let map = ctx.step("map", async || pace.give("map", map.clone()).await).await?;
    Ok(map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "))
}

async fn big_payload(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    Ok(ctx.step("big", async || pace.give("big", "big".repeat(100_000)).await).await?)
}

async fn shared_result(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let order: Arc<Order> =
        ctx.step("order", async || pace.give("order", order()).await).shared().await?;
    let sum = ctx.step("sum", async || pace.give("sum", order.lines.iter().sum::<u64>()).await);
    Ok(sum.await?.to_string())
}

async fn error_caught(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let failed = ctx.step("fails", async || {
        pace.at("fails").await;
        Err::<u64, _>("no")
    });
    match failed.await {
        Err(StepError::Failed { failure, .. }) => {
            let caught = format!("caught: {failure}");
            Ok(ctx.step("after", async || pace.give("after", caught.clone()).await).await?)
        }
        other => anyhow::bail!("{other:?}"),
    }
}

async fn error_not_caught(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let failed = ctx.step("fails", async || {
        pace.at("fails").await;
        Err::<u64, _>("no")
    });
    Ok(failed.await?.to_string())
}

async fn error_of_the_workflow(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let n = ctx.step("n", async || pace.give("n", 1_u64).await).await?;
    anyhow::ensure!(n > 1, "not enough: {n}");
    Ok(n.to_string())
}

async fn body_panics(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let panics = ctx.step("panics", async || {
        pace.at("panics").await;
        if std::hint::black_box(true) {
            std::panic::resume_unwind(Box::new("oh")); // the same, and nobody prints it
        }
        Ok::<_, StepError>(String::new())
    });
    Ok(panics.await?)
}

async fn retried(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step_with("third", async |attempt| {
        pace.at("third").await;
        if attempt.number() < 3 { Err("not yet") } else { Ok(3_u64) }
    });
    Ok(step.retry(Retry::exponential(20)).await?.to_string())
}

async fn retried_in_vain(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step("never", async || {
        pace.at("never").await;
        Err::<u64, _>("no")
    });
    Ok(step.retry(Retry::fixed(3, HOUR)).await?.to_string())
}

async fn fatal(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step("card", async || {
        pace.at("card").await;
        Err::<u64, _>(anyhow::Error::from(Fatal::new("stolen")))
    });
    Ok(step.retry(Retry::exponential(5)).await?.to_string())
}

async fn retry_after(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step_with("limited", async |attempt| {
        pace.at("limited").await;
        match attempt.number() {
            1 => Err(anyhow::Error::from(RetryAfter::new(HOUR, "rate limited"))),
            _ => Ok(2_u64),
        }
    });
    // A worker that dies in it uses up an attempt, and several do.
    Ok(step.retry(Retry::exponential(20)).await?.to_string())
}

async fn at_most_once(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step("send", async || pace.give("send", "sent".to_owned()).await);
    Ok(step.at_most_once().await?)
}

async fn sleep(mut ctx: Ctx, _: Pace) -> anyhow::Result<String> {
    let began = ctx.now();
    ctx.sleep(HOUR).await?;
    Ok(ctx.now().since(began).as_secs().to_string())
}

async fn sleep_of_no_time(mut ctx: Ctx, _: Pace) -> anyhow::Result<String> {
    ctx.sleep(Duration::ZERO).await?;
    ctx.sleep(Duration::ZERO).await?;
    Ok("0".to_owned())
}

async fn sleeps_and_steps(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut n = 0_u64;
    for _ in 0..5 {
        ctx.sleep(HOUR).await?;
        n = ctx.step("tick", async || pace.give("tick", n + 1).await).await?;
    }
    Ok(format!("ticked {n}"))
}

async fn random(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let (a, mut branch) = (ctx.random(), ctx.branch("other"));
    ctx.step("between", async || pace.give("between", ()).await).await?;
    let (uuid, b) = (ctx.uuid(), branch.random());
    anyhow::ensure!(a != b, "a branch has numbers of its own");
    Ok(format!("{a:016x}{uuid}{b:016x}"))
}

async fn now(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let began = ctx.now();
    ctx.step("step", async || pace.give("step", ()).await).await?;
    let then = ctx.now();
    ctx.sleep(HOUR).await?;
    Ok((began <= then && then < ctx.now()).to_string())
}

async fn cancelled_sleep(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    ctx.step("before", async || pace.give("before", ()).await).await?;
    ctx.sleep(HOUR * 1000).await?;
    Ok("not cancelled".to_owned())
}

async fn cancellation_refused(mut ctx: Ctx, _: Pace) -> anyhow::Result<String> {
    match ctx.sleep(HOUR * 1000).await {
        Err(StepError::Cancelled) => Ok("went on".to_owned()),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn cancelled_with_shield(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let mut undo = ctx.shield();
    let reserved = ctx.step("reserve", async || pace.give("reserve", 1_u64).await).await?;
    if let Err(error) = ctx.sleep(HOUR * 1000).await {
        undo.step("release", async || pace.give("release", reserved).await).await?;
        undo.sleep(HOUR).await?;
        return Err(error.into());
    }
    Ok("not cancelled".to_owned())
}

async fn deadline_not_met(mut ctx: Ctx, pace: Pace) -> anyhow::Result<String> {
    let step = ctx.step("quick", async || pace.give("quick", "in time".to_owned()).await);
    Ok(step.timeout(HOUR).deadline(HOUR * 2).await?)
}
