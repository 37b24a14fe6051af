//! What a worker costs.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::Notify;
use world_core::{
    Ctx, Engine, LogId, Position, RunId, StepError, Workflow, World,
    layer::{Fault, FaultLayer, Method},
};

use super::runs::within;
use crate::{
    case::{Case, case},
    failure::Verdict,
    flows::{BEGIN, Counted, LATER, clock_at, public_test_key, soon},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Budget [] a_takeover_costs_a_claim_and_the_reading_of_the_log),
        case!(Budget [] a_worker_without_work_asks_and_writes_nothing),
    ]
}

const CHAIN: Workflow<u64, u64> = Workflow::new("chain");

/// A chain of steps; the one of this number never ends, and tells that it has begun.
fn chain(
    stuck: Option<(u64, Arc<Notify>)>,
) -> impl Fn(Ctx, u64) -> futures::future::BoxFuture<'static, Result<u64, StepError>> {
    move |mut ctx, steps| {
        let stuck = stuck.clone();
        Box::pin(async move {
            let mut sum = 0;
            for number in 0..steps {
                let stuck = &stuck;
                let step = ctx.step("link", async || {
                    if let Some((_, begun)) = stuck.as_ref().filter(|(at, _)| *at == number) {
                        begun.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, StepError>(sum + 1)
                });
                sum = step.await?;
            }
            Ok(sum)
        })
    }
}

async fn a_takeover_costs_a_claim_and_the_reading_of_the_log(subject: Subject) -> Verdict {
    const STEPS: u64 = 20;
    const DONE: u64 = 12;
    let first = Counted::open(&subject, clock_at(BEGIN)).await?;
    let begun = Arc::new(Notify::new());
    let stuck = chain(Some((DONE, Arc::clone(&begun))));
    let engine = first.engine(|builder| builder.workflow(CHAIN, stuck))?;
    let worker = engine.spawn_worker();
    engine.client().start(CHAIN, STEPS).id("taken").await?;
    soon("the step that is stuck", begun.notified()).await?;
    worker.abort();

    let second = Counted::open(&subject, clock_at(BEGIN.plus(LATER))).await?;
    let engine = second.engine(|builder| builder.workflow(CHAIN, chain(None)))?;
    let log = LogId::Run(RunId::new("taken")?);
    let pages = pages(&*subject.open().await?, &log).await?;
    let worker = engine.spawn_worker();
    // It is asked by another handle, whose calls do not count.
    let asked = Counted::open(&subject, clock_at(BEGIN)).await?.engine(|builder| builder)?;
    let ended = soon("the end of the run", asked.client().run(CHAIN, "taken")?.output()).await?;
    let counts = second.counts();
    worker.shutdown().await;
    within(matches!(ended, Ok(STEPS)), &format!("{STEPS} steps came to {ended:?}"), &counts)?;
    within(counts.leases == 1, "a takeover needs more than one lease", &counts)?;
    let left = STEPS - DONE + 1;
    let what = format!("a takeover with {left} appends to be made costs others");
    within(counts.appends == left, &what, &counts)?;
    within(counts.renewals <= 1, "a takeover costs more than one renewal", &counts)?;
    let what = format!("a takeover of a log of {pages} pages costs more than {} reads", pages + 1);
    within(counts.reads <= pages + 1, &what, &counts)
}

/// How many pages the World makes of a log.
async fn pages(world: &dyn World, log: &LogId) -> Verdict<u64> {
    let (mut after, mut pages) = (Position::START, 0);
    loop {
        let page = world.read(log, after, NonZeroU32::MAX).await?;
        pages += 1;
        match page.records.last() {
            Some(last) if last.position < page.head && last.position > after => {
                after = last.position;
            }
            _ => return Ok(pages),
        }
    }
}

async fn a_worker_without_work_asks_and_writes_nothing(subject: Subject) -> Verdict {
    const ASKED: u32 = 5;
    const POLL: Duration = Duration::from_secs(1);
    let counted = Counted::open(&subject, clock_at(BEGIN)).await?;
    let asked = Arc::new(Notify::new());
    let told = Arc::clone(&asked);
    let store = FaultLayer::new(Arc::clone(&counted.world), move |seen| {
        if seen.method == Method::Claim {
            told.notify_one();
        }
        Fault::None
    });
    let engine = Engine::builder(store)
        .key(public_test_key()?)
        .clock(counted.clock.clone())
        .poll(POLL)
        .workflow(CHAIN, chain(None))
        .build()?;
    let worker = engine.spawn_worker();
    for _ in 0..ASKED {
        soon("a claim of a worker that waits", asked.notified()).await?;
        counted.clock.advance(POLL);
    }
    let counts = counted.counts();
    worker.shutdown().await;
    within(counts.leases == 0, "a World without runs gave a lease", &counts)?;
    let others = [counts.appends, counts.reads, counts.renewals, counts.lists, counts.deletes];
    within(others == [0; 5], "a worker without work does more than ask", &counts)
}
