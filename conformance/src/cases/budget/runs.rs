//! What a run costs.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use tokio::sync::Barrier;
use world_core::{Clock, Ctx, Residency, StepError, Workflow, layer::Counts, testing::TestEngine};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict},
    flows::{BEGIN, Counted, clock_at, public_test_key, soon},
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Budget [] a_run_of_n_steps_makes_n_plus_2_appends_and_at_most_2_reads),
        case!(Budget [] a_step_is_one_append_and_nothing_else),
        case!(Budget [] steps_that_finish_together_share_appends),
        case!(Budget [] a_run_that_sleeps_rests_once),
    ]
}

const ADD: Workflow<u64, u64> = Workflow::new("add");

async fn add(mut ctx: Ctx, steps: u64) -> Result<u64, StepError> {
    let mut sum = 0;
    for _ in 0..steps {
        sum = ctx.step("add", async || Ok::<_, StepError>(sum + 1)).await?;
    }
    Ok(sum)
}

/// What a run costs from before it is created until it has ended.
async fn cost_of(subject: &Subject, steps: u64, residency: Residency) -> Verdict<Counts> {
    let counted = Counted::open(subject, clock_at(BEGIN)).await?;
    let engine = counted.engine(|builder| builder.residency(residency).workflow(ADD, add))?;
    let worker = engine.spawn_worker();
    let before = counted.counts();
    let run = engine.client().start(ADD, steps).await?;
    let ended = soon("the end of the run", run.output()).await?;
    let counts = counted.counts().since(&before);
    worker.shutdown().await;
    match ended {
        Ok(output) if output == steps => Ok(counts),
        other => Err(Failure::failed(format!("{steps} steps came to {other:?}"))),
    }
}

/// Ends a case that counted something else.
pub(super) fn within(holds: bool, what: &str, counts: &Counts) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::failed(format!("{what}; counted: {counts:?}"))) }
}

async fn a_run_of_n_steps_makes_n_plus_2_appends_and_at_most_2_reads(subject: Subject) -> Verdict {
    for residency in [Residency::Resident, Residency::Replay] {
        let counts = cost_of(&subject, 25, residency).await?;
        let what = format!("25 steps, {residency:?}, cost more or less than 27 appends");
        let appends = (counts.appends, counts.committed, counts.records_written);
        within(appends == (27, 27, 27), &what, &counts)?;
        let what = format!("25 steps, {residency:?}, cost more than 2 reads");
        within(counts.reads <= 2, &what, &counts)?;
    }
    Ok(())
}

async fn a_step_is_one_append_and_nothing_else(subject: Subject) -> Verdict {
    let few = cost_of(&subject, 10, Residency::Resident).await?;
    let many = cost_of(&subject, 50, Residency::Resident).await?;
    let more = many.since(&few);
    within(more.appends == 40, "40 steps more do not cost 40 appends more", &more)?;
    let others = [more.reads, more.renewals, more.lists, more.deletes, more.leases];
    within(others == [0; 5], "40 steps more cost more than appends", &more)
}

const TOGETHER: Workflow<(), usize> = Workflow::new("together");

/// How many steps end at the same time.
const STEPS: usize = 100;

/// The most appends for them: what is ready when an append has gone waits for the next.
const APPENDS_MAX: u64 = 8;

async fn together(mut ctx: Ctx, (): ()) -> Result<usize, StepError> {
    let all_begun = Arc::new(Barrier::new(STEPS));
    let steps = (0..STEPS).map(|_| {
        let all_begun = Arc::clone(&all_begun);
        ctx.step("part", move || {
            let all_begun = Arc::clone(&all_begun);
            async move {
                all_begun.wait().await;
                Ok::<_, StepError>(1_u64)
            }
        })
    });
    let steps: Vec<_> = steps.collect();
    Ok(try_join_all(steps).await?.len())
}

async fn steps_that_finish_together_share_appends(subject: Subject) -> Verdict {
    let counted = Counted::open(&subject, clock_at(BEGIN)).await?;
    let engine = counted.engine(|builder| builder.workflow(TOGETHER, together))?;
    let worker = engine.spawn_worker();
    let before = counted.counts();
    let ended = soon("the end of the run", engine.client().start(TOGETHER, ()).await?.output());
    let ended = ended.await?;
    let counts = counted.counts().since(&before);
    worker.shutdown().await;
    within(matches!(ended, Ok(STEPS)), &format!("{STEPS} steps came to {ended:?}"), &counts)?;
    let what = format!("{STEPS} results at once take more than {APPENDS_MAX} appends");
    within(counts.appends <= APPENDS_MAX, &what, &counts)
}

const SLEEPER: Workflow<(), u64> = Workflow::new("sleeper");

const HOUR: Duration = Duration::from_secs(3600);

async fn sleeper(mut ctx: Ctx, (): ()) -> Result<u64, StepError> {
    let one = ctx.step("one", async || Ok::<_, StepError>(1_u64)).await?;
    ctx.sleep(HOUR).await?;
    ctx.step("two", async || Ok::<_, StepError>(one + 1)).await
}

async fn a_run_that_sleeps_rests_once(subject: Subject) -> Verdict {
    let counted = Counted::open(&subject, clock_at(BEGIN)).await?;
    let engine = TestEngine::on(Arc::clone(&counted.world))
        .key(public_test_key()?)
        .at(counted.clock.clone())
        .workflow(SLEEPER, sleeper);
    engine.start(SLEEPER, ()).await?;
    soon("the rest", engine.turn()).await??;
    let counts = counted.counts();
    // The creation, the first step, and the timer with the rest.
    within(counts.appends == 3, "a run comes to rest with more than one append", &counts)?;
    soon("a turn that has nothing to do", engine.turn()).await??;
    let counts = counted.counts();
    within(counts.appends == 3, "a run that rests makes appends", &counts)?;
    counted.clock.set(counted.clock.now().plus(HOUR));
    soon("the end", engine.turn()).await??;
    let counts = counted.counts();
    // The timer, the second step, the end.
    within(counts.appends == 6, "a run that slept does not end with 3 appends more", &counts)?;
    within(counts.leases == 2, "a run that slept once was not claimed twice", &counts)?;
    within(counts.reads <= 2, "a run that slept once was read more than twice", &counts)
}
