//! What a `tracing` subscriber is shown of runs: their life, the reason of a block, and what user
//! code traces, once and in its spans.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod heard;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use heard::Heard;
use tracing::{info, info_span};
use world_core::{
    Ctx, Fatal, Residency, Retry, RunError, StepError, Workflow,
    testing::{Replay, TestEngine},
};

const ORDER: Workflow<u64, u64> = Workflow::new("order");
const HOUR: Duration = Duration::from_secs(3600);

/// Says where it is, and retries a step once.
async fn order(mut ctx: Ctx, cents: u64) -> anyhow::Result<u64> {
    info!("order begins");
    let paid = ctx
        .step_with("pay", async |attempt| {
            info!("body of pay");
            tokio::task::yield_now().await;
            info!("body of pay goes on");
            if attempt.number() == 1 { Err(anyhow::anyhow!("canary")) } else { Ok(cents) }
        })
        .retry(Retry::fixed(2, HOUR))
        .await?;
    info!("has paid");
    ctx.sleep(HOUR).await?;
    info!("has slept");
    Ok(paid)
}

#[tokio::test]
async fn the_life_of_a_run_is_shown_from_start_to_end() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, order);
    let client = t.client().unwrap();
    let run = client.start(ORDER, 7).id("a").await.unwrap();
    assert_eq!(t.finish(&run).await.unwrap(), 7);
    assert!(!heard.is_in_a_span());
    for line in [
        "INFO run{id=a workflow=order}: the run starts run=a workflow=order version=1",
        "INFO run{id=a workflow=order}:workflow: order begins",
        "DEBUG run{id=a workflow=order}:workflow: an attempt begins run=a key=pay attempt=1",
        "INFO run{id=a workflow=order}:workflow:step{key=pay}:attempt{number=1}: body of pay",
        "INFO run{id=a workflow=order}:workflow:step{key=pay}:attempt{number=1}: body of pay goes on",
        "WARN run{id=a workflow=order}:workflow: an attempt failed, and will be followed by another \
         run=a key=pay attempt=1 kind=Error retry_in=3600s",
        "INFO run{id=a workflow=order}:workflow:step{key=pay}:attempt{number=2}: body of pay",
        "DEBUG run{id=a workflow=order}:workflow: an attempt returned a result run=a key=pay attempt=2",
        "INFO run{id=a workflow=order}:workflow: has paid",
        "INFO run{id=a workflow=order}:workflow: has slept",
        "INFO run{id=a workflow=order}: the run ended run=a end=run_completed head=6",
    ] {
        let count = heard.lines().iter().filter(|found| *found == line).count();
        assert_eq!(count, 1, "{line:?} in\n{:#?}", heard.lines());
    }
    assert_eq!(heard.with("the run rests run=a").len(), 2, "{:#?}", heard.lines());
    assert_eq!(heard.with("canary"), Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_run_and_a_failed_step_are_warned_of_without_their_messages() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, async |mut ctx: Ctx, _: u64| {
        let failed = ctx.step("pay", async || Err::<u64, _>(Fatal::new("canary"))).await;
        failed.map_err(|_| anyhow::anyhow!("canary"))
    });
    let run = t.client().unwrap().start(ORDER, 7).id("a").await.unwrap();
    t.finish(&run).await.unwrap_err();
    let all = heard.lines().join("\n");
    assert_eq!(heard.with(": a step failed run=a key=pay attempts=1 kind=Fatal").len(), 1, "{all}");
    assert_eq!(heard.with("the run failed run=a end=run_failed kind=Error").len(), 1, "{all}");
    assert!(heard.with("WARN").len() == 2 && !all.contains("canary"), "{all}");
}

#[tokio::test]
async fn a_run_that_was_not_given_back_is_said_to_be_taken_over() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, order);
    let run = t.client().unwrap().start(ORDER, 7).id("a").await.unwrap();
    let begun = Arc::new(tokio::sync::Notify::new());
    let hangs = {
        let begun = Arc::clone(&begun);
        move |mut ctx: Ctx, _: u64| {
            let begun = Arc::clone(&begun);
            async move {
                let hangs = ctx.step("pay", async || {
                    begun.notify_one();
                    std::future::pending::<anyhow::Result<u64>>().await
                });
                hangs.await
            }
        }
    };
    let first = t.deploy().workflow(ORDER, hangs);
    tokio::select! {
        _ = first.turn() => panic!("a body that hangs has ended"),
        () = begun.notified() => {}
    }
    first.crash();
    tokio::task::yield_now().await;
    assert!(heard.with("taken over").is_empty());
    assert_eq!(t.finish(&run).await.unwrap(), 7);
    assert_eq!(
        heard.with("INFO run{id=a}: the run is taken over").len(),
        1,
        "{:#?}",
        heard.lines()
    );
}

#[tokio::test]
async fn the_whole_reason_of_a_block_is_shown_on_one_line() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, order);
    let run = t.client().unwrap().start(ORDER, 7).id("a").await.unwrap();
    t.turn().await.unwrap();
    t.clock().advance(HOUR);
    t.turn().await.unwrap();
    let renamed = t.deploy().workflow(ORDER, async |mut ctx: Ctx, _: u64| {
        ctx.step("charge", async || anyhow::Ok(1)).await
    });
    let error = renamed.finish(&run).await.unwrap_err();
    assert!(matches!(error, RunError::Blocked { .. }), "{error}");
    let shown = heard.with("ERROR");
    assert_eq!(shown.len(), 1, "{shown:#?}");
    for part in [
        "run{id=a workflow=order}: the run is blocked",
        "run=a",
        "kind=diverged",
        "why=the workflow's code has changed under a run: at position 3",
        "- log:  step_completed pay; + code: never asked for it; + open: charge; deploy code",
    ] {
        assert!(shown[0].contains(part), "no {part:?} in {}", shown[0]);
    }
}

#[tokio::test]
async fn a_workflow_that_waits_for_nothing_durable_is_shown_with_what_it_awaits() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, async |mut ctx: Ctx, _: u64| {
        let _held = ctx.step("held", async || anyhow::Ok(1));
        std::future::pending::<anyhow::Result<u64>>().await
    });
    t.run(ORDER, 7).await.unwrap_err();
    let shown = heard.with("ERROR");
    assert_eq!(shown.len(), 1, "{shown:#?}");
    assert!(shown[0].contains("kind=violation why=the workflow waits for something that is not durable, and awaits none of held"), "{shown:#?}");
}

#[tokio::test]
async fn an_engine_of_another_realm_is_told_of_the_realm() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, order);
    let run = t.client().unwrap().start(ORDER, 7).id("a").await.unwrap();
    let other = t.deploy().configure(|builder| builder.realm("staging")).workflow(ORDER, order);
    other.turn().await.unwrap();
    let shown = heard.with("ERROR");
    assert_eq!(shown.len(), 1, "{:#?}", heard.lines());
    let error = other.status(run.id()).await.unwrap_err().to_string();
    for text in [&shown[0], &error] {
        assert!(text.contains("in the realm \"staging\""), "{text}");
        assert!(text.contains("most likely the run was started in another realm"), "{text}");
    }
}

#[tokio::test]
async fn what_a_panic_said_is_not_shown_and_where_it_is_found_is() {
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, async |_: Ctx, _: u64| -> anyhow::Result<u64> {
        std::panic::resume_unwind(Box::new("canary"))
    });
    let error = t.run(ORDER, 7).await.unwrap_err();
    assert!(error.to_string().contains("canary"), "{error}");
    let all = heard.lines().join("\n");
    assert!(
        all.contains("kind=panicked why=the workflow panicked: RunHandle::status gives"),
        "{all}"
    );
    assert!(!all.contains("canary"), "{all}");
}

#[tokio::test]
async fn what_a_workflow_traces_appears_once_however_often_it_is_replayed() {
    for residency in [Residency::Resident, Residency::Replay] {
        let (heard, _guard) = Heard::listen();
        let engine = |t: TestEngine| {
            t.configure(|builder| builder.residency(residency)).workflow(ORDER, order)
        };
        let t = engine(TestEngine::new());
        let run = t.client().unwrap().start(ORDER, 7).id("a").await.unwrap();
        let mut next = t.deploy();
        // Each turn by an engine that has nothing in memory.
        for _ in 0..3 {
            next = engine(next.deploy());
            next.turn().await.unwrap();
            next.clock().advance(HOUR);
        }
        assert_eq!(next.finish(&run).await.unwrap(), 7);
        for said in ["order begins", "has paid", "has slept"] {
            let line = format!("INFO run{{id=a workflow=order}}:workflow: {said}");
            assert_eq!(heard.with(said), [line], "{residency:?}: {:#?}", heard.lines());
        }
        assert_eq!(heard.with("the run starts").len(), 1);
        let log = t.log(run.id()).await.unwrap();
        Replay::of(log).with(ORDER, order).every_prefix().jitter(8).check().unwrap();
        assert_eq!(heard.with("has slept").len(), 1, "the test kit's replays say nothing");
    }
}

#[tokio::test]
async fn what_follows_a_cancellation_is_traced_by_a_worker_that_had_to_replay() {
    async fn gives_way(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        info!("order begins");
        let slept = ctx.sleep(HOUR).await;
        info!("gives way: {}", slept.is_err());
        slept?;
        Ok(1)
    }
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, gives_way);
    let run = t.start(ORDER, 7).await.unwrap();
    t.turn().await.unwrap();
    run.cancel("canary").await.unwrap();
    let next = t.deploy().workflow(ORDER, gives_way);
    next.finish(&run).await.unwrap_err();
    assert_eq!(heard.with("begins").len(), 1, "{:#?}", heard.lines());
    assert_eq!(heard.with("gives way: true").len(), 1, "{:#?}", heard.lines());
    assert_eq!(heard.with("the run ended").len(), 1, "{:#?}", heard.lines());
    assert_eq!(heard.with("canary"), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_that_leaves_memory_does_so_in_silence_and_a_body_that_is_cut_off_does_not() {
    struct Guard(&'static str);
    impl Drop for Guard {
        fn drop(&mut self) {
            info!("{} is dropped", self.0);
        }
    }
    let (heard, _guard) = Heard::listen();
    let t = TestEngine::new().workflow(ORDER, async |mut ctx: Ctx, _: u64| {
        let _local = Guard("a local");
        ctx.sleep(HOUR).await?;
        ctx.step("pay", async || {
            let _guard = Guard("a body");
            std::future::pending::<anyhow::Result<u64>>().await
        })
        .await
    });
    t.client().unwrap().start(ORDER, 7).id("a").await.unwrap();
    t.turn().await.unwrap();
    let next = t.deploy(); // it has the function no more
    drop(t);
    assert_eq!(heard.with("is dropped"), Vec::<String>::new());
    let next = next.workflow(ORDER, async |mut ctx: Ctx, _: u64| {
        ctx.sleep(HOUR).await?;
        ctx.step("pay", async || {
            let _guard = Guard("a body");
            std::future::pending::<anyhow::Result<u64>>().await
        })
        .await
    });
    next.clock().advance(HOUR);
    let cut_off = async {
        while heard.with("an attempt begins").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = next.turn() => panic!("a body that hangs has ended"),
        () = cut_off => {}
    }
    next.crash();
    tokio::task::yield_now().await;
    let said = heard.with("a body is dropped");
    assert_eq!(said.len(), 1, "{:#?}", heard.lines());
    assert!(said[0].contains("step{key=pay}:attempt{number=1}"), "{said:?}");
}

#[tokio::test]
async fn steps_lie_in_the_spans_that_the_workflow_has_opened() {
    use tracing::Instrument as _;
    let (heard, _guard) = Heard::listen();
    let polls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&polls);
    let t = TestEngine::new().workflow(ORDER, move |mut ctx: Ctx, n: u64| {
        let polls = Arc::clone(&counted);
        async move {
            let (mut left, mut right) = (ctx.branch("left"), ctx.branch("right"));
            let step = async |ctx: &mut Ctx, name: &str| -> Result<u64, StepError> {
                ctx.step(name, async || {
                    info!("in the body");
                    tokio::task::yield_now().await;
                    polls.fetch_add(1, SeqCst);
                    Ok::<_, StepError>(n)
                })
                .await
            };
            let (left, right) = tokio::join!(
                step(&mut left, "a").instrument(info_span!("mine", side = "left")),
                step(&mut right, "b").instrument(info_span!("mine", side = "right")),
            );
            anyhow::Ok(left? + right?)
        }
    });
    assert_eq!(t.run(ORDER, 7).await.unwrap(), 14);
    assert_eq!(polls.load(SeqCst), 2);
    let lines = heard.with("in the body");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for (side, key) in [("left", "left/a"), ("right", "right/b")] {
        let spans =
            format!(":workflow:mine{{side={side}}}:step{{key={key}}}:attempt{{number=1}}: ");
        assert!(lines.iter().any(|line| line.contains(&spans)), "no {spans} in {lines:#?}");
    }
}
