//! What a worker does with its runs: shares them, bounds them, gives them back, leaves them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod workflows;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use workflows::*;
use world_core::{
    event::Event,
    layer::{CountLayer, Fault, FaultLayer, Gate, Method},
    seal::Key,
    *,
};

const ONE: Workflow<u64, u64> = Workflow::new("one");

fn builder(world: impl World, key: &Key) -> EngineBuilder {
    Engine::builder(world).key(key.clone()).clock(TokioClock::new())
}

/// An engine whose one workflow has one step, with this body.
fn with_body<F, Fut>(builder: EngineBuilder, body: F) -> Engine
where
    F: Fn(u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = u64> + Send + 'static,
{
    let workflow = move |mut ctx: Ctx, input: u64| {
        let body = body.clone();
        async move { ctx.step("body", async || Ok::<_, StepError>(body(input).await)).await }
    };
    builder.workflow(ONE, workflow).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_shuts_down_without_grace_gives_its_runs_to_another_at_once() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let begun = Arc::new(Notify::new());
    let told = Arc::clone(&begun);
    let first = with_body(builder(memory.clone(), &key), move |_| {
        told.notify_one();
        pending()
    });
    let worker = first.spawn_worker();
    let run = first.client().start(ONE, 4).await.unwrap();
    begun.notified().await;
    let second = with_body(builder(memory.clone(), &key), |input| async move { input + 1 });
    let other = second.spawn_worker();
    let start = Instant::now();
    worker.shutdown_within(Duration::ZERO).await;
    assert_eq!(run.output().await.unwrap(), 5);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    other.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_aborted_leaves_its_leases_to_run_out_and_its_clients_learn_the_end() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let begun = Arc::new(Notify::new());
    let told = Arc::clone(&begun);
    let first = with_body(builder(memory.clone(), &key), move |_| {
        told.notify_one();
        pending()
    });
    let worker = first.spawn_worker();
    let run = first.client().start(ONE, 4).await.unwrap();
    begun.notified().await;
    let second = with_body(builder(memory.clone(), &key), |input| async move { input + 1 });
    let other = second.spawn_worker();
    let start = Instant::now();
    worker.abort();
    let output = timeout(Duration::from_secs(600), run.output()).await;
    assert_eq!(output.expect("the client of the aborted worker's engine learns").unwrap(), 5);
    let waited = start.elapsed();
    assert!((14..20).contains(&waited.as_secs()), "a lease of 15 s, and {waited:?}");
    other.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_runs_than_allowed_are_driven_at_once_and_all_finish() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let engine = with_body(builder(memory, &key).runs_max(3), move |input| {
        let (counted, peak) = (Arc::clone(&counted), Arc::clone(&peak));
        async move {
            peak.fetch_max(counted.fetch_add(1, SeqCst) + 1, SeqCst);
            sleep(Duration::from_millis(10)).await;
            counted.fetch_sub(1, SeqCst);
            input
        }
    });
    let worker = engine.spawn_worker();
    let mut runs = Vec::new();
    for input in 0..40 {
        runs.push(engine.client().start(ONE, input).await.unwrap());
    }
    for (input, run) in (0..).zip(runs) {
        let output = timeout(Duration::from_secs(600), run.output()).await;
        assert_eq!(output.expect("it ends").unwrap(), input);
    }
    assert_eq!(most.load(SeqCst), 3);
    worker.shutdown().await;
}

const WIDE: Workflow<u64, u64> = Workflow::new("wide");

#[tokio::test(start_paused = true)]
async fn no_more_bodies_than_allowed_run_at_once_and_all_finish() {
    for bodies_max in [1, 2, 7] {
        let (key, memory) = (Key::generate(), MemoryWorld::new());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
        let wide = move |mut ctx: Ctx, input: u64| {
            let (counted, peak) = (Arc::clone(&counted), Arc::clone(&peak));
            async move {
                let arms: Vec<_> = (0..6).map(|_| ctx.branch("arm")).collect();
                let arms = arms.into_iter().map(|mut ctx| {
                    let (counted, peak) = (&*counted, &*peak);
                    async move {
                        for _ in 0..3 {
                            let step = ctx.step("step", async || {
                                peak.fetch_max(counted.fetch_add(1, SeqCst) + 1, SeqCst);
                                sleep(Duration::from_millis(5)).await;
                                counted.fetch_sub(1, SeqCst);
                                Ok::<_, StepError>(())
                            });
                            step.await?;
                        }
                        Ok::<_, StepError>(())
                    }
                });
                join_all(arms).await.into_iter().collect::<Outcome<()>>()?;
                Ok::<_, StepError>(input)
            }
        };
        let engine =
            builder(memory, &key).bodies_max(bodies_max).workflow(WIDE, wide).build().unwrap();
        let worker = engine.spawn_worker();
        let mut runs = Vec::new();
        for input in 0..12 {
            runs.push(engine.client().start(WIDE, input).await.unwrap());
        }
        for (input, run) in (0..).zip(runs) {
            let output = timeout(Duration::from_secs(600), run.output()).await;
            assert_eq!(output.expect("it ends").unwrap(), input);
        }
        assert_eq!(most.load(SeqCst), bodies_max);
        worker.shutdown().await;
    }
}

const NAP: Workflow<u64, u64> = Workflow::new("nap");

#[tokio::test(start_paused = true)]
async fn a_run_that_only_waits_holds_no_permit_for_bodies() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let engine = builder(memory, &key).bodies_max(1).workflow(NAP, nap_for).build().unwrap();
    let worker = engine.spawn_worker();
    let start = Instant::now();
    let long = engine.client().start(NAP, 900).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let short = engine.client().start(NAP, 10).await.unwrap();
    assert_eq!(short.output().await.unwrap(), 10);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(long.output().await.unwrap(), 900);
    worker.shutdown().await;
}

async fn nap_for(mut ctx: Ctx, millis: u64) -> Outcome<u64> {
    ctx.step("before", async || Ok::<_, StepError>(())).await?;
    ctx.sleep(Duration::from_millis(millis)).await?;
    Ok(millis)
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_a_thousand_runs_and_nothing_is_doubled() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let client = builder(memory.clone(), &key).build().unwrap().client();
    for n in 0..1_000 {
        client.start(ONE, n).id(format!("run-{n}")).await.unwrap();
    }
    let bodies = Arc::new(AtomicU64::new(0));
    let counts: Vec<_> = (0..2).map(|_| Arc::new(CountLayer::new(memory.clone()))).collect();
    let mut workers = Vec::new();
    for world in &counts {
        let bodies = Arc::clone(&bodies);
        // Fewer runs at once than there are, so that neither takes them all.
        let engine = with_body(builder(Arc::clone(world), &key).runs_max(50), move |input| {
            bodies.fetch_add(1, SeqCst);
            async move {
                sleep(Duration::from_millis(1)).await;
                input
            }
        });
        workers.push(engine.spawn_worker());
    }
    for n in 0..1_000_u64 {
        let run = client.run(ONE, &format!("run-{n}")).unwrap();
        assert_eq!(run.output().await.unwrap(), n);
    }
    for worker in workers {
        worker.shutdown().await;
    }
    assert_eq!(bodies.load(SeqCst), 1_000);
    let written: Vec<u64> = counts.iter().map(|world| world.counts().records_written).collect();
    assert_eq!(written.iter().sum::<u64>(), 2_000, "{written:?}");
    assert!(written.iter().all(|written| *written > 200), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn an_output_is_waited_for_without_asking_the_store() {
    let key = Key::generate();
    let world = Arc::new(CountLayer::new(MemoryWorld::new()));
    let engine = with_body(builder(Arc::clone(&world), &key), |input| async move {
        sleep(Duration::from_secs(100)).await;
        input
    });
    let worker = engine.spawn_worker();
    let run = engine.client().start(ONE, 3).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let before = world.counts();
    assert_eq!(run.output().await.unwrap(), 3);
    let counts = world.counts().since(&before);
    assert_eq!(counts.reads, 0, "{counts:?}");
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_run_is_deleted_when_its_time_of_retention_is_over_and_not_before() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let retention = Duration::from_secs(3_600);
    let engine =
        with_body(builder(memory.clone(), &key).retention(retention), |n| async move { n });
    let worker = engine.spawn_worker();
    let run = engine.client().start(ONE, 3).id("kept").await.unwrap();
    assert_eq!(run.output().await.unwrap(), 3);
    sleep(retention - Duration::from_secs(5)).await;
    let again = engine.client().run(ONE, "kept").unwrap();
    assert_eq!(again.status().await.unwrap(), Status::Completed);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(again.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    let spent = engine.client().start(ONE, 3).id("kept").await.unwrap_err();
    assert_eq!(spent.kind(), ErrorKind::Ended);
    worker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_started_again_is_the_same_run() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let bodies = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&bodies);
    let engine = with_body(builder(memory, &key), move |input| {
        counted.fetch_add(1, SeqCst);
        async move { input }
    });
    let worker = engine.spawn_worker();
    let client = engine.client();
    let starts = (0..10).map(|_| {
        let client = client.clone();
        async move { client.start(ONE, 3).id("one").await.unwrap().output().await.unwrap() }
    });
    assert_eq!(join_all(starts).await, [3; 10]);
    let after = client.start(ONE, 3).id("one").await.unwrap();
    assert_eq!(after.output().await.unwrap(), 3);
    assert_eq!(bodies.load(SeqCst), 1);
    worker.shutdown().await;
}

const TWO_NAPS: Workflow<u64, u64> = Workflow::new("two-naps");

async fn two_naps(mut ctx: Ctx, input: u64) -> Outcome<u64> {
    ctx.sleep(Duration::from_secs(2)).await?;
    ctx.sleep(Duration::from_secs(100)).await?;
    ctx.step("after", async || Ok::<_, StepError>(input)).await
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_learns_late_that_its_run_rests_does_not_fire_its_timers_again() {
    let (key, memory, gate) = (Key::generate(), MemoryWorld::new(), Gate::new());
    let held = gate.clone();
    let world = FaultLayer::new(memory.clone(), move |seen| match seen.method {
        Method::Append if seen.nth == 2 => Fault::AnswerHeld(held.clone()),
        _ => Fault::None,
    });
    let first = builder(world, &key).workflow(TWO_NAPS, two_naps).build().unwrap();
    let second = builder(memory.clone(), &key).workflow(TWO_NAPS, two_naps).build().unwrap();
    let worker = first.spawn_worker();
    let run = first.client().start(TWO_NAPS, 3).id("naps").await.unwrap();
    gate.arrived(1).await; // it rests, and does not know
    let other = second.spawn_worker();
    sleep(Duration::from_secs(4)).await; // the other has fired the first timer, and rests
    other.shutdown().await;
    gate.open();
    let output = timeout(Duration::from_secs(600), run.output()).await;
    let log = log_of(&outsider(memory, &key), &RunId::new("naps").unwrap()).await;
    assert_eq!(output.unwrap_or_else(|_| panic!("it never ends: {log:#?}")).unwrap(), 3);
    let _ = told(&log);
    worker.shutdown().await;
}

const BUSY: Workflow<u64, u64> = Workflow::new("busy");

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_also_where_the_program_is_executed_anew_for_every_turn() {
    for residency in [Residency::Resident, Residency::Replay] {
        let (key, memory) = (Key::generate(), MemoryWorld::new());
        let bodies = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bodies);
        let busy = move |mut ctx: Ctx, _: u64| {
            let counted = Arc::clone(&counted);
            async move {
                let (mut a, mut b) = (ctx.branch("a"), ctx.branch("b"));
                let (failed, _) = tokio::join!(
                    a.step("fails", async || {
                        counted.fetch_add(1, SeqCst);
                        Err::<u64, _>("no")
                    })
                    .retry(Retry::fixed(3, Duration::from_millis(50))),
                    async {
                        for _ in 0..100 {
                            b.step("goes on", async || {
                                sleep(Duration::from_millis(5)).await;
                                Ok::<_, StepError>(())
                            })
                            .await?;
                        }
                        Ok::<_, StepError>(())
                    },
                );
                match failed {
                    Err(StepError::Failed { attempts, .. }) => {
                        Ok::<_, StepError>(u64::from(attempts))
                    }
                    other => other,
                }
            }
        };
        let engine = builder(memory, &key).residency(residency).workflow(BUSY, busy);
        let engine = engine.build().unwrap();
        let worker = engine.spawn_worker();
        let run = engine.client().start(BUSY, 0).await.unwrap();
        let output = timeout(Duration::from_secs(60), run.output()).await;
        assert_eq!(output.expect("it ends").unwrap(), 3, "{residency:?}");
        assert_eq!(bodies.load(SeqCst), 3, "{residency:?}");
        worker.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_asked_to_end_once_it_exists_and_before_it_has_ended() {
    let (key, memory) = (Key::generate(), MemoryWorld::new());
    let engine = with_body(builder(memory.clone(), &key), |_| pending());
    let worker = engine.spawn_worker();
    let absent = engine.client().run(ONE, "absent").unwrap();
    let error = absent.cancel("no").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("absent"), "{error}");
    let RunError::World(error) = absent.output().await.unwrap_err() else { panic!("not asked") };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("absent"), "{error}");

    let run = engine.client().start(ONE, 1).id("there").await.unwrap();
    run.cancel("sold out").await.unwrap();
    let ended = run.output().await.unwrap_err();
    assert!(
        matches!(&ended, RunError::Cancelled { reason, .. } if reason == "sold out"),
        "{ended}"
    );
    let again = engine.client().run(ONE, "there").unwrap();
    let error = again.cancel("again").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ended);
    assert!(error.to_string().contains("there"), "{error}");
    let log = again.log().await.unwrap();
    assert!(matches!(log[log.len() - 1].event, Event::RunCancelled { .. }), "{log:#?}");
    worker.shutdown().await;
}
