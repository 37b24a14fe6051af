//! What becomes of a step's attempts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{sync::Arc, time::Duration};

use kit::{Done, live};
use tokio::sync::{Notify, mpsc};
use world_core::{
    Clock, Ctx, Engine, Fatal, Kind, MemoryWorld, Residency, Retry, RetryAfter, RunError,
    StepError, VirtualClock, Workflow,
    event::{Event, FailureKind},
    seal::Key,
    testing::{Replay, TestEngine},
};

const WORK: Workflow<u64, String> = Workflow::new("work");
const MINUTE: Duration = Duration::from_secs(60);

/// Runs a workflow whose log must replay, and returns how it ended.
async fn ended<F, Fut>(function: F) -> Result<String, RunError>
where
    F: Fn(Ctx, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<String>> + Send + 'static,
{
    let (output, run, log) = live(WORK, function.clone(), 0, 3).await;
    Replay::of(log).run(&run).with(WORK, function).every_prefix().jitter(16).check().unwrap();
    output
}

#[tokio::test]
async fn the_question_mark_takes_std_errors_and_anyhow() {
    let std_error = ended(|mut ctx: Ctx, _| async move {
        let n = ctx.step("parse", async || "x".parse::<u64>()).await?;
        Ok(n.to_string())
    });
    let anyhow_error = ended(|mut ctx: Ctx, _| async move {
        let n = ctx.step("parse", async || {
            let n: u64 = "x".parse()?;
            anyhow::ensure!(n > 1, "too few");
            Ok::<_, anyhow::Error>(n)
        });
        Ok(n.await?.to_string())
    });
    let text = ended(|mut ctx: Ctx, _| async move {
        ctx.step("text", async || Err::<(), _>("invalid digit found in string")).await?;
        Ok(String::new())
    });
    for (error, step) in
        [(std_error.await, "parse"), (anyhow_error.await, "parse"), (text.await, "text")]
    {
        let Err(RunError::Failed { failure, .. }) = error else { panic!("{error:?}") };
        let expected = format!("step {step} failed: invalid digit found in string");
        assert_eq!(failure.message, expected);
    }
}

#[tokio::test]
async fn an_error_of_a_step_may_be_caught() {
    let output = ended(|mut ctx: Ctx, _| async move {
        match ctx.step("fails", async || Err::<u64, _>("no")).await {
            Ok(_) => anyhow::bail!("it does not fail"),
            Err(StepError::Failed { attempts, failure, key }) => {
                Ok(format!("{key} {attempts} {}", failure.message))
            }
            Err(other) => anyhow::bail!("{other}"),
        }
    });
    assert_eq!(output.await.unwrap(), "fails 1 no");
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_after_its_wait() {
    const RETRY: Retry = Retry::exponential(4).without_jitter();
    let t = TestEngine::new().workflow(WORK, |mut ctx: Ctx, _| async move {
        let third = ctx.step_with("third", async |attempt| match attempt.number() {
            3 => Ok(attempt.idempotency_key()),
            n => Err(format!("attempt {n}")),
        });
        third.retry(RETRY).await
    });
    let (began, run) = (t.clock().now(), t.start(WORK, 0).await.unwrap());
    assert_eq!(t.finish(&run).await.unwrap().len(), 32);
    assert_eq!(t.clock().now().since(began), Duration::from_secs(1 + 2));
    let log = t.log(run.id()).await.unwrap();
    let attempts = log.iter().find_map(|logged| match &logged.event {
        Event::StepCompleted { attempts, .. } => Some(*attempts),
        _ => None,
    });
    assert_eq!(attempts, Some(3));
}

#[tokio::test]
async fn the_last_attempts_error_is_the_steps() {
    let output = ended(|mut ctx: Ctx, _| async move {
        let step = ctx.step_with("never", async |attempt| {
            Err::<(), _>(format!("attempt {}", attempt.number()))
        });
        step.retry(Retry::exponential(3)).await?;
        Ok(String::new())
    });
    let Err(RunError::Failed { failure, .. }) = output.await else { panic!() };
    assert_eq!(failure.message, "step never failed after 3 attempts: attempt 3");
}

#[tokio::test]
async fn a_fatal_error_is_not_tried_again() {
    let output = ended(|mut ctx: Ctx, _| async move {
        let step = ctx.step_with("card", async |attempt| {
            let error = anyhow::Error::from(Fatal::new("stolen"));
            Err::<(), _>(error.context(format!("attempt {}", attempt.number())))
        });
        match step.retry(Retry::exponential(5)).await {
            Err(StepError::Failed { attempts, failure, .. }) => {
                Ok(format!("{attempts} {failure} {:?}", failure.kind))
            }
            other => anyhow::bail!("{other:?}"),
        }
    });
    assert_eq!(output.await.unwrap(), "1 attempt 1: stolen Fatal");
}

#[tokio::test]
async fn retry_after_says_when_the_next_attempt_is() {
    let t = TestEngine::new().workflow(WORK, |mut ctx: Ctx, _| async move {
        let step = ctx.step_with("limited", async |attempt| match attempt.number() {
            1 => Err(anyhow::Error::from(RetryAfter::new(MINUTE * 7, "rate limited"))),
            _ => Ok("done".to_owned()),
        });
        step.retry(Retry::exponential(2)).await
    });
    let began = t.clock().now();
    assert_eq!(t.run(WORK, 0).await.unwrap(), "done");
    assert_eq!(t.clock().now().since(began), MINUTE * 7);
}

#[tokio::test]
async fn retry_if_tries_again_only_what_it_names() {
    let output = ended(|mut ctx: Ctx, _| async move {
        let mut tried = Vec::new();
        for kind in [std::io::ErrorKind::TimedOut, std::io::ErrorKind::NotFound] {
            let step = ctx.step("io", async || Err::<(), _>(std::io::Error::from(kind)));
            let step = step.retry(Retry::exponential(3));
            let step = step
                .retry_if::<std::io::Error>(|error| error.kind() == std::io::ErrorKind::TimedOut);
            if let Err(StepError::Failed { attempts, .. }) = step.await {
                tried.push(attempts);
            }
        }
        Ok(format!("{tried:?}"))
    });
    assert_eq!(output.await.unwrap(), "[3, 1]");
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_tried_again_and_a_deadline_ends_them_all() {
    // A body that hangs: time has to be moved while it does.
    async fn timed(deadline: Option<Duration>) -> (Result<String, RunError>, Duration, u32) {
        let (attempts, mut began) = mpsc::unbounded_channel();
        let t = Arc::new(TestEngine::new().workflow(WORK, move |mut ctx: Ctx, _| {
            let attempts = attempts.clone();
            async move {
                let step = ctx.step_with("slow", async |attempt| {
                    attempts.send(attempt.number())?;
                    std::future::pending::<()>().await;
                    anyhow::Ok(String::new())
                });
                let step = step.timeout(MINUTE).retry(Retry::fixed(3, MINUTE));
                match deadline {
                    Some(deadline) => step.deadline(deadline).await,
                    None => step.await,
                }
            }
        }));
        let (clock, at) = (t.clock().clone(), t.clock().now());
        let run = tokio::spawn({
            let t = Arc::clone(&t);
            async move { t.run(WORK, 0).await }
        });
        let mut last = 0;
        while let Some(attempt) = tokio::select! {
            attempt = began.recv() => attempt,
            () = async { while !run.is_finished() { tokio::task::yield_now().await } } => None,
        } {
            last = attempt;
            clock.advance(MINUTE);
        }
        (run.await.unwrap(), clock.now().since(at), last)
    }
    let (output, took, attempts) = timed(None).await;
    let Err(RunError::Failed { failure, .. }) = output else { panic!("{output:?}") };
    assert_eq!(failure.message, "step slow failed after 3 attempts: no answer within 60s");
    assert_eq!((took, attempts), (MINUTE * 5, 3));
    let (output, took, attempts) = timed(Some(MINUTE * 3)).await;
    let Err(RunError::Failed { failure, .. }) = output else { panic!("{output:?}") };
    assert!(failure.message.ends_with("the step's deadline has passed"), "{failure}");
    assert_eq!((took, attempts), (MINUTE * 3, 2));
}

/// Starts a run whose body hangs the first two times, and kills the worker in each.
/// With `progress` the first worker has recorded another step before.
async fn killed_twice(at_most_once: bool, progress: bool) -> (Result<String, RunError>, Vec<u32>) {
    let begun = Arc::new(Notify::new());
    let numbers: Arc<std::sync::Mutex<Vec<u32>>> = Arc::default();
    let t = {
        let (begun, numbers) = (Arc::clone(&begun), Arc::clone(&numbers));
        TestEngine::new().workflow(WORK, move |mut ctx: Ctx, _| {
            let (begun, numbers) = (Arc::clone(&begun), Arc::clone(&numbers));
            async move {
                if progress {
                    ctx.step("before", async || Done::Ok(())).await?;
                }
                let step = ctx.step_with("work", async |attempt| {
                    let bodies = {
                        let mut numbers = numbers.lock().unwrap();
                        numbers.push(attempt.number());
                        numbers.len()
                    };
                    if bodies < 3 {
                        begun.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Done::Ok("done".to_owned())
                });
                if at_most_once { step.at_most_once().await } else { step.await }
            }
        })
    };
    let run = t.start(WORK, 0).await.unwrap();
    for _ in 0..if at_most_once { 1 } else { 2 } {
        tokio::select! {
            output = t.finish(&run) => panic!("{output:?}"),
            () = begun.notified() => t.crash(),
        }
    }
    let output = t.finish(&run).await;
    let numbers = numbers.lock().unwrap().clone();
    (output, numbers)
}

#[tokio::test]
async fn a_worker_that_dies_after_progress_counts_as_an_attempt_too() {
    let (output, numbers) = killed_twice(false, true).await;
    assert_eq!(output.unwrap(), "done");
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn attempts_that_die_with_their_worker_count() {
    let (output, attempts) = killed_twice(false, false).await;
    assert_eq!((output.unwrap().as_str(), attempts), ("done", vec![1, 2, 3]));
}

#[tokio::test]
async fn an_at_most_once_body_is_not_run_again_after_a_takeover() {
    let (output, attempts) = killed_twice(true, false).await;
    let Err(RunError::Failed { failure, .. }) = output else { panic!("{output:?}") };
    assert!(failure.message.contains("may have run: its worker died"), "{failure}");
    assert_eq!(attempts, [1]);
}

#[tokio::test]
async fn an_at_most_once_body_begins_after_its_announcement_is_committed() {
    let (output, _, log) = live(
        WORK,
        |mut ctx: Ctx, _| async move {
            let x = ctx.step("once", async || Done::Ok("x".to_owned())).at_most_once().await?;
            Ok(x)
        },
        0,
        5,
    )
    .await;
    assert_eq!(output.unwrap(), "x");
    let kinds: Vec<Kind> = log.iter().map(|logged| logged.event.kind()).collect();
    let expected =
        [Kind::RUN_CREATED, Kind::STEP_STARTED, Kind::STEP_COMPLETED, Kind::RUN_COMPLETED];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_cancellation_ends_what_is_open_and_a_shield_keeps_it_off() {
    let program = |mut ctx: Ctx, _: u64| async move {
        let mut undo = ctx.shield();
        match ctx.sleep(MINUTE * 1000).await {
            Err(StepError::Cancelled) => {
                undo.step("undo", async || Done::Ok(())).await?;
                undo.sleep(MINUTE).await?;
                ctx.step("more", async || Done::Ok(())).await?;
                Ok(String::new())
            }
            other => anyhow::bail!("{other:?}"),
        }
    };
    let t = TestEngine::new().workflow(WORK, program);
    let run = t.start(WORK, 0).await.unwrap();
    t.turn().await.unwrap();
    run.cancel("sold out").await.unwrap();
    run.cancel("again").await.unwrap();
    let error = t.finish(&run).await.unwrap_err();
    let RunError::Cancelled { reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason, "sold out");
    let log = t.log(run.id()).await.unwrap();
    let undone = log.iter().any(|logged| logged.event.kind() == Kind::STEP_COMPLETED);
    assert!(undone, "{log:#?}");
    Replay::of(log).with(WORK, program).every_prefix().jitter(32).check().unwrap();
}

#[tokio::test]
async fn a_cancellation_drops_a_body_that_runs() {
    struct OnDrop(Arc<Notify>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let t = {
        let (begun, dropped) = (Arc::clone(&begun), Arc::clone(&dropped));
        Arc::new(TestEngine::new().workflow(WORK, move |mut ctx: Ctx, _| {
            let (begun, dropped) = (Arc::clone(&begun), Arc::clone(&dropped));
            async move {
                let step = ctx.step("hangs", async || {
                    let _on_drop = OnDrop(Arc::clone(&dropped));
                    begun.notify_one();
                    std::future::pending::<()>().await;
                    Done::Ok(String::new())
                });
                step.await
            }
        }))
    };
    let run = t.start(WORK, 0).await.unwrap();
    let (output, ()) = tokio::join!(t.finish(&run), async {
        begun.notified().await;
        run.cancel("enough").await.unwrap();
        dropped.notified().await;
    });
    assert!(matches!(output, Err(RunError::Cancelled { .. })), "{output:?}");
}

#[tokio::test]
async fn a_retry_that_waits_in_memory_survives_a_program_that_is_executed_anew() {
    let (attempts, mut began) = mpsc::unbounded_channel();
    let clock = VirtualClock::new();
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .clock(clock.clone())
        .residency(Residency::Replay)
        .linger(MINUTE)
        .workflow(WORK, move |mut ctx: Ctx, _| {
            let attempts = attempts.clone();
            async move {
                let mut shield = ctx.shield();
                let step = shield.step_with("work", async |attempt| {
                    attempts.send(attempt.number())?;
                    anyhow::ensure!(attempt.number() > 1, "the first fails");
                    Ok(attempt.number().to_string())
                });
                step.retry(Retry::fixed(3, Duration::from_secs(4))).await
            }
        })
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let run = engine.client().start(WORK, 0).await.unwrap();
    assert_eq!(began.recv().await, Some(1));
    // Whatever makes the worker look at the log makes it execute the program anew.
    run.cancel("does not reach it").await.unwrap();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(4));
    assert_eq!(began.recv().await, Some(2));
    assert_eq!(run.output().await.unwrap(), "2");
    worker.shutdown().await;
}

#[tokio::test]
async fn a_result_larger_than_the_world_takes_fails_the_step_and_says_what_to_do() {
    let output = ended(|mut ctx: Ctx, _| async move {
        let step = ctx.step("big", async || {
            // Noise, which does not compress.
            let mut rng = kit::Rng(1);
            Done::Ok((0..400_000).map(|_| rng.next()).collect::<Vec<u64>>())
        });
        match step.await {
            Err(StepError::Failed { failure, .. }) if failure.kind == FailureKind::TooLarge => {
                Ok(failure.causes.concat())
            }
            other => anyhow::bail!("{:?}", other.map(|big| big.len())),
        }
    });
    let help = output.await.unwrap();
    assert_eq!(help, "store large data elsewhere and return a reference to it");
}
