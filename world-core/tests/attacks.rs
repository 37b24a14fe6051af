//! Twenty programs that break careless replay: those that are right replay to the same result
//! whatever the timing, those that are not are reported with their place and the remedy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use kit::{Done, blocked, live, lives_and_replays, pick, rounds};
use world_core::{
    Ctx, RunError, Workflow,
    replay::{Blocked, Mismatch},
    testing::{Replay, TestEngine},
};

const SEEDS: std::ops::Range<u64> = 0..24;
const JITTER: u64 = 24;

async fn fetch(mut ctx: Ctx, url: &'static str, turns: u64) -> anyhow::Result<String> {
    let body = ctx
        .step("fetch", async || {
            rounds(turns).await;
            Done::Ok(format!("body of {url}"))
        })
        .await?;
    Ok(body)
}

#[tokio::test]
async fn p01_results_that_wait_while_another_is_handled_keep_their_order() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let mut out = String::new();
        let mut make = |name: &'static str| {
            ctx.step(name, move || async move {
                rounds(pick(seed, name, 3)).await;
                Done::Ok(name.to_owned())
            })
        };
        let (mut a, mut b, mut c) = (make("a"), make("b"), make("c"));
        let (mut da, mut db, mut dc) = (false, false, false);
        while !(da && db && dc) {
            let x = tokio::select! {
                x = &mut a, if !da => { da = true; x? }
                x = &mut b, if !db => { db = true; x? }
                x = &mut c, if !dc => { dc = true; x? }
            };
            out += &x;
            out += &ctx.step("handle", || async { Done::Ok("h".to_owned()) }).await?;
        }
        Ok(out)
    }
    for output in lives_and_replays(SEEDS, JITTER, program).await {
        assert_eq!(output.len(), 6);
    }
}

#[tokio::test]
async fn results_that_wait_become_visible_in_the_order_of_the_log() {
    const PROGRAM: Workflow<u64, String> = Workflow::new("program");
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let mut waiting: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| {
                ctx.step(name, move || async move {
                    rounds(pick(seed, name, 3)).await;
                    Done::Ok(name.to_owned())
                })
            })
            .into();
        let mut out = String::new();
        while !waiting.is_empty() {
            let (first, index, _) = futures::future::select_all(&mut waiting).await;
            drop(waiting.remove(index));
            out += &first?;
            ctx.step("handle", || async {
                rounds(6).await;
                Done::Ok(())
            })
            .await?;
        }
        Ok(out)
    }
    for seed in SEEDS {
        let (output, _, log) = live(PROGRAM, program, seed, seed).await;
        let keys = log.iter().filter_map(|logged| logged.event.key()).map(|key| key.as_str());
        let logged: String = keys.filter(|key| key.len() == 1).collect();
        assert_eq!(output.unwrap(), logged, "seed {seed}");
        Replay::of(log).with(PROGRAM, program).every_prefix().jitter(JITTER).check().unwrap();
    }
}

#[tokio::test]
async fn p02_a_branch_may_wait_for_another_by_a_channel() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let (sender, receiver) = tokio::sync::oneshot::channel::<u64>();
        let mut inner = ctx.branch("b");
        let (b, a) = futures::join!(
            async move {
                let v = receiver.await?;
                anyhow::Ok(inner.step("b", move || async move { Done::Ok(v + 1) }).await?)
            },
            async {
                let v = ctx.step("a", || async { Done::Ok(41_u64) }).await?;
                let _ = sender.send(v);
                anyhow::Ok(())
            }
        );
        a?;
        b
    }
    assert_eq!(lives_and_replays(0..3, JITTER, program).await, [42, 42, 42]);
}

#[tokio::test]
async fn p03_replay_does_not_depend_on_tokios_budget() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let m = tokio::sync::Mutex::new(0_u64);
        for _ in 0..300_u64 {
            let v = ctx.step("l", || async { Done::Ok(1_u64) }).await?;
            *m.lock().await += v;
        }
        let sum = *m.lock().await;
        Ok(sum)
    }
    assert_eq!(lives_and_replays(0..2, 4, program).await, [300, 300]);
}

#[tokio::test]
async fn p04_the_same_name_in_two_branches_of_a_select_is_two_steps() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let (one, two) = (ctx.branch("get"), ctx.branch("get"));
        Ok(tokio::select! {
            x = fetch(one, "one", pick(seed, "one", 4)) => format!("one={}", x?),
            x = fetch(two, "two", pick(seed, "two", 4)) => format!("two={}", x?),
        })
    }
    for output in lives_and_replays(SEEDS, JITTER, program).await {
        let (branch, body) = output.split_once('=').unwrap();
        assert_eq!(body, format!("body of {branch}"));
    }
}

#[tokio::test]
async fn p05_branches_that_share_a_step_and_rotate_in_tokio_join_keep_their_keys() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let shared = ctx
            .step("s", move || async move {
                rounds(pick(seed, "s", 4)).await;
                Done::Ok(0_u8)
            })
            .boxed()
            .shared();
        let mut branch = |name: &'static str| {
            let (shared, ctx) = (shared.clone(), ctx.branch("br"));
            async move {
                shared.await?;
                let r = fetch(ctx, name, pick(seed, name, 3)).await?;
                anyhow::Ok(format!("{name}={r}"))
            }
        };
        let (a, b) = tokio::join!(branch("left"), branch("right"));
        Ok(format!("{} {}", a?, b?))
    }
    for output in lives_and_replays(SEEDS, JITTER, program).await {
        assert_eq!(output, "left=body of left right=body of right");
    }
}

#[tokio::test]
async fn p06_a_body_that_feeds_the_workflow_by_a_channel_is_named() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
        let mut total = 0_u64;
        let (crawled, ()) = futures::join!(
            ctx.step("crawl", async || {
                for i in 1..=4_u64 {
                    sender.send(i).await?;
                }
                anyhow::Ok(())
            }),
            async {
                while let Some(v) = receiver.recv().await {
                    total += v;
                }
            }
        );
        crawled?;
        Ok(total)
    }
    let why = blocked(program).await;
    assert!(why.contains("the body of step crawl woke the workflow"), "{why}");
    assert!(why.contains("return the value from the step instead"), "{why}");
}

#[tokio::test]
async fn p07_a_body_that_writes_what_the_workflow_reads_is_found_by_replay() {
    // Writing a local does not compile; writing through a shared reference does.
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let n = AtomicU64::new(0);
        ctx.step("x", async || {
            n.fetch_add(5, SeqCst);
            Done::Ok(())
        })
        .await?;
        Ok(n.load(SeqCst))
    }
    const PROGRAM: Workflow<u64, u64> = Workflow::new("program");
    let (output, _, log) = live(PROGRAM, program, 0, 0).await;
    assert_eq!(output.unwrap(), 5);
    let error = Replay::of(log).with(PROGRAM, program).check().unwrap_err();
    assert_eq!(error.prefix, 3);
    assert!(error.to_string().contains("returns another output"), "{error}");
}

#[tokio::test]
async fn p08_a_panic_in_a_body_is_a_failed_attempt() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let x = ctx.step("x", || async {
            assert!(std::hint::black_box(false), "in a body");
            Done::Ok(1_u64)
        });
        Ok(x.await?)
    }
    const PROGRAM: Workflow<u64, u64> = Workflow::new("program");
    let (output, _, log) = live(PROGRAM, program, 0, 0).await;
    let Err(RunError::Failed { failure, .. }) = output else { panic!("{output:?}") };
    assert_eq!(failure.message, "step x failed: the body panicked: in a body");
    Replay::of(log).with(PROGRAM, program).every_prefix().jitter(JITTER).check().unwrap();
}

#[tokio::test]
async fn p09_a_step_in_a_spawned_task_is_named() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let mut inner = ctx.branch("t");
        let task =
            tokio::spawn(async move { inner.step("in_task", || async { Done::Ok(1_u64) }).await });
        let x = ctx.step("x", || async {
            rounds(5).await;
            Done::Ok(2_u64)
        });
        Ok(x.await? + task.await??)
    }
    let why = blocked(program).await;
    assert!(why.contains("t/in_task was made outside the workflow's own poll"), "{why}");
    assert!(why.contains("use ctx.branch and join, not spawn"), "{why}");
}

const CHARGE: Workflow<u64, u64> = Workflow::new("charge");

async fn charge(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
    Ok(ctx.step("charge", || async { Done::Ok(1_u64) }).await?)
}

async fn charge_after_fraud_check(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
    let fraud = ctx.step("fraud", || async { Done::Ok(100_u64) }).await?;
    Ok(fraud + ctx.step("charge", || async { Done::Ok(1_u64) }).await?)
}

#[tokio::test]
async fn p10_a_step_inserted_by_a_new_deployment_is_shown_as_a_diff() {
    let (_, _, log) = live(CHARGE, charge, 0, 0).await;
    let error = Replay::of(log).with(CHARGE, charge_after_fraud_check).check().unwrap_err();
    let Blocked::Diverged(divergence) = &*error.why else { panic!("{error}") };
    assert_eq!((error.prefix, &divergence.why), (2, &Mismatch::NeverAsked));
    let text = error.to_string();
    assert!(text.contains("- log:  step_completed charge"), "{text}");
    assert!(text.contains("+ code: never asked for it"), "{text}");
    assert!(text.contains("+ open: fraud"), "{text}");
}

#[tokio::test]
async fn p11_waiting_for_nothing_durable_is_reported() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        ctx.step("x", || async { Done::Ok(1_u64) }).await?;
        Ok(std::future::pending::<u64>().await)
    }
    let why = blocked(program).await;
    assert!(why.contains("waits for something that is not durable"), "{why}");
    assert!(why.contains("do it inside a step, or wait for it with ctx.sleep"), "{why}");
}

#[tokio::test]
async fn p12_a_join_of_2000_steps_replays() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let steps: Vec<_> = (0..2000_u64)
            .map(|i| {
                ctx.step("fan", move || async move {
                    rounds(i % 3).await;
                    Done::Ok(i)
                })
            })
            .collect();
        let results: Result<Vec<u64>, _> =
            futures::future::join_all(steps).await.into_iter().collect();
        Ok(results?.iter().sum())
    }
    assert_eq!(lives_and_replays(0..1, 1, program).await, [1_999_000]);
}

#[tokio::test]
async fn p13_a_sequence_of_1000_steps_replays() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let mut x = 0;
        for _ in 0..1000 {
            x = ctx.step("add", async || Done::Ok(x + 1)).await?;
        }
        Ok(x)
    }
    assert_eq!(lives_and_replays(0..1, 4, program).await, [1000]);
}

#[tokio::test]
async fn p14_a_tokio_sleep_between_steps_is_reported() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let a = ctx.step("a", async || Done::Ok(1_u64)).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(a + ctx.step("b", async || Done::Ok(1_u64)).await?)
    }
    let why = blocked(program).await;
    assert!(why.contains("waits for something that is not durable"), "{why}");
}

#[tokio::test]
async fn p15_futures_unordered_may_be_pushed_to_while_it_is_drained() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let mut out = String::new();
        let mut all = FuturesUnordered::new();
        for i in 0..40_u64 {
            all.push(
                ctx.step("f", move || async move {
                    rounds((i * 7 + seed) % 11).await;
                    Done::Ok(i)
                })
                .boxed(),
            );
        }
        let mut pushed = 0;
        while let Some(x) = all.next().await {
            let x = x?;
            out += &format!("{x},");
            if pushed < 20 {
                pushed += 1;
                all.push(
                    ctx.step("f", move || async move {
                        rounds(x % 3).await;
                        Done::Ok(100 + x)
                    })
                    .boxed(),
                );
            }
        }
        Ok(out)
    }
    for output in lives_and_replays(0..8, 8, program).await {
        assert_eq!(output.matches(',').count(), 60);
    }
}

#[tokio::test]
async fn p16_a_loser_that_is_dropped_may_be_made_again() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<String> {
        let mut out = String::new();
        for _ in 0..5 {
            out += &tokio::select! {
                x = ctx.step("slow", async || {
                    std::future::pending::<()>().await;
                    Done::Ok("s".to_owned())
                }) => x?,
                x = ctx.branch("b").step("fast", async || Done::Ok("f".to_owned())) => x?,
            };
        }
        Ok(out)
    }
    // `ctx` cannot be lent twice at once, so each arm takes a branch of its own.
    async fn branches(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let mut out = String::new();
        for _ in 0..5 {
            let (mut left, mut right) = (ctx.branch("l"), ctx.branch("r"));
            out += &tokio::select! {
                x = left.step("slow", async || {
                    rounds(30 + pick(seed, "slow", 5)).await;
                    Done::Ok("s".to_owned())
                }) => x?,
                x = right.step("fast", async || Done::Ok("f".to_owned())) => x?,
            };
        }
        Ok(out)
    }
    for output in lives_and_replays(0..2, JITTER, program).await {
        assert_eq!(output, "fffff");
    }
    for output in lives_and_replays(0..8, JITTER, branches).await {
        assert_eq!(output, "fffff");
    }
}

#[tokio::test]
async fn p17_two_that_finish_at_once_give_the_first_in_the_log_and_the_other_is_stepped_over() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<String> {
        let mut out = String::new();
        for _ in 0..20 {
            let p = ctx.step("p", async || {
                rounds(pick(seed, "p", 2)).await;
                Done::Ok("p".to_owned())
            });
            let q = ctx.step("q", async || {
                rounds(pick(seed, "q", 2)).await;
                Done::Ok("q".to_owned())
            });
            out += &tokio::select! { x = p => x?, x = q => x? };
        }
        Ok(out)
    }
    for output in lives_and_replays(SEEDS, JITTER, program).await {
        assert_eq!(output.len(), 20);
    }
}

#[tokio::test]
async fn p18_tokios_yield_now_in_the_workflow_is_reported() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let a = ctx.step("a", async || Done::Ok(1_u64)).await?;
        tokio::task::yield_now().await;
        Ok(a + ctx.step("b", async || Done::Ok(1_u64)).await?)
    }
    let why = blocked(program).await;
    assert!(why.contains("not durable"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn p19_a_tokio_timeout_around_a_step_is_reported() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<Option<u64>> {
        let step = ctx.step("a", || async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Done::Ok(1_u64)
        });
        let limited = tokio::time::timeout(Duration::from_millis(3), step).await;
        Ok(limited.ok().transpose()?)
    }
    let why = blocked(program).await;
    assert!(why.contains("moved on by something that is not durable"), "{why}");
    assert!(why.contains("while it waited for a"), "{why}");
}

#[tokio::test]
async fn p20_a_step_polled_once_and_held_runs_meanwhile() {
    async fn program(mut ctx: Ctx, seed: u64) -> anyhow::Result<u64> {
        let mut a = ctx.step("a", async || {
            rounds(pick(seed, "a", 3)).await;
            Done::Ok(1_u64)
        });
        let _ = futures::poll!(&mut a);
        let b = ctx.step("b", async || {
            rounds(pick(seed, "b", 3)).await;
            Done::Ok(2_u64)
        });
        Ok(b.await? * 10 + a.await?)
    }
    for output in lives_and_replays(SEEDS, JITTER, program).await {
        assert_eq!(output, 21);
    }
}

#[tokio::test]
async fn a_body_that_is_woken_while_its_step_is_held_goes_on_when_the_step_is_awaited_again() {
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let bell = tokio::sync::Notify::new();
        let mut held = ctx.step("held", async || {
            bell.notified().await;
            Done::Ok(1_u64)
        });
        let quick = ctx.step("quick", async || Done::Ok(2_u64));
        let quick = tokio::select! { biased; _ = &mut held => 0, x = quick => x? };
        let long = ctx.step("long", async || {
            bell.notify_one();
            tokio::task::yield_now().await;
            Done::Ok(3_u64)
        });
        let long = long.await?;
        Ok(quick * 100 + long * 10 + held.await?)
    }
    let outputs = lives_and_replays(0..4, JITTER, program);
    let outputs = tokio::time::timeout(Duration::from_secs(120), outputs).await;
    assert_eq!(outputs.expect("the body goes on"), [231; 4]);
}

#[tokio::test]
async fn a_blocked_run_says_so_and_goes_on_with_the_next_deployment() {
    let t = TestEngine::new().workflow(CHARGE, |_: Ctx, _: u64| async {
        Ok::<u64, anyhow::Error>(std::future::pending().await)
    });
    let run = t.start(CHARGE, 0).await.unwrap();
    let Err(RunError::Blocked { why, .. }) = t.finish(&run).await else { panic!("not blocked") };
    assert_eq!(t.status(run.id()).await.unwrap(), world_core::Status::Blocked { why });
    let next = t.deploy().workflow(CHARGE, charge);
    assert_eq!(next.finish(&run).await.unwrap(), 1);
}

#[tokio::test]
async fn a_workflow_that_depends_on_how_often_it_is_polled_is_found_by_jitter() {
    const PROGRAM: Workflow<u64, u64> = Workflow::new("program");
    async fn program(mut ctx: Ctx, _: u64) -> anyhow::Result<u64> {
        let mut polls = 0;
        let mut step = ctx.step("a", async || Done::Ok(1_u64));
        let a = std::future::poll_fn(|cx| {
            polls += 1;
            step.poll_unpin(cx)
        })
        .await?;
        let name = if polls > 3 { "many" } else { "few" };
        Ok(a + ctx.step(name, async || Done::Ok(1_u64)).await?)
    }
    let (output, _, log) = live(PROGRAM, program, 0, 0).await;
    assert_eq!(output.unwrap(), 2);
    Replay::of(log.clone()).with(PROGRAM, program).every_prefix().check().unwrap();
    let error = Replay::of(log).with(PROGRAM, program).every_prefix().jitter(64).check();
    let error = error.unwrap_err();
    assert!(error.seed.is_some(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("- first replay: few") && text.contains("+ this replay:  many"),
        "{text}"
    );
    assert!(text.contains("seed "), "{text}");
}

#[tokio::test]
async fn the_kit_knows_an_end_that_the_code_does_not_come_to() {
    let (_, _, log) = live(CHARGE, charge, 0, 0).await;
    let other = |mut ctx: Ctx, _: u64| async move {
        let x = ctx.step("charge", async || Done::Ok(1_u64)).await?;
        anyhow::ensure!(x > 1, "not enough");
        Ok(x)
    };
    let error = Replay::of(log.clone()).with(CHARGE, other).check().unwrap_err();
    assert!(error.to_string().contains("fails: not enough"), "{error}");
    let longer = |mut ctx: Ctx, _: u64| async move {
        let x = ctx.step("charge", async || Done::Ok(1_u64)).await?;
        anyhow::Ok(x + ctx.step("more", async || Done::Ok(1_u64)).await?)
    };
    let error = Replay::of(log.clone()).with(CHARGE, longer).check().unwrap_err();
    assert!(error.to_string().contains("has not ended"), "{error}");
    let mut twice = log.clone();
    let mut again = log[2].clone();
    again.position = again.position.next();
    twice.push(again);
    let error = Replay::of(twice).with(CHARGE, charge).check().unwrap_err();
    assert!(error.to_string().contains("it has no place there"), "{error}");
    Replay::of(log[..2].to_vec()).with(CHARGE, charge).check().unwrap();
}

#[tokio::test]
async fn a_decision_taken_while_other_operations_were_open_is_an_error_of_the_kit() {
    const PROGRAM: Workflow<u64, u64> = Workflow::new("program");
    let one = |mut ctx: Ctx, _: u64| async move {
        anyhow::Ok(ctx.step("a", async || Done::Ok(1_u64)).await?)
    };
    let with_another = |mut ctx: Ctx, _: u64| async move {
        let _other = ctx.step("b", async || Done::Ok(1_u64));
        anyhow::Ok(ctx.step("a", async || Done::Ok(1_u64)).await?)
    };
    let (_, _, log) = live(PROGRAM, one, 0, 0).await;
    let error = Replay::of(log).with(PROGRAM, with_another).check().unwrap_err();
    let Blocked::Diverged(divergence) = &*error.why else { panic!("{error}") };
    assert_eq!(divergence.why, Mismatch::OtherOpen);
}

#[tokio::test]
async fn concurrent_runs_are_driven_together() {
    let meet = Arc::new(tokio::sync::Barrier::new(2));
    let seen = Arc::new(Mutex::new(0));
    const MEET: Workflow<u64, u64> = Workflow::new("meet");
    let (barrier, count) = (Arc::clone(&meet), Arc::clone(&seen));
    let t = TestEngine::new().workflow(MEET, move |mut ctx: Ctx, n: u64| {
        let (barrier, count) = (Arc::clone(&barrier), Arc::clone(&count));
        async move {
            let n = ctx
                .step("meet", async || {
                    barrier.wait().await;
                    *count.lock().unwrap() += 1;
                    Done::Ok(n)
                })
                .await?;
            anyhow::Ok(n)
        }
    });
    let (one, two) = (t.start(MEET, 1).await.unwrap(), t.start(MEET, 2).await.unwrap());
    assert_eq!(t.finish(&one).await.unwrap() + t.finish(&two).await.unwrap(), 3);
    assert_eq!(*seen.lock().unwrap(), 2);
}
