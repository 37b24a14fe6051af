//! An owner that is stopped past its lease, and continued when another has its run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "a process tells its parent what it has done")]

mod crash;
#[path = "../../world-core/tests/workflows/mod.rs"]
mod workflows;

use std::{sync::Arc, time::Duration};

use crash::*;
use rustix::process::Signal;
use workflows::{
    ALL, RETRIES, Trying, log_of, mix, outsider, register, replays_cold, told, undisturbed,
};
use world_core::*;

const SLOW: Workflow<u64, u64> = Workflow::new("slow");

/// Thirty steps of about a millisecond, alone and in pairs.
async fn slow(mut ctx: Ctx, input: u64) -> Result<u64, StepError> {
    let mut sum = input;
    for number in 0..10 {
        sum ^= ctx.step("one", async || workflows::work(input, number).await).await?;
        let (mut a, mut b) = (ctx.branch("a"), ctx.branch("b"));
        let (left, right) = tokio::join!(
            a.step("pair", async || workflows::work(input, number + 100).await),
            b.step("pair", async || workflows::work(input, number + 200).await),
        );
        sum ^= left? ^ right?;
    }
    Ok(sum)
}

fn builder(world: impl World, clock: FastClock) -> EngineBuilder {
    register(Engine::builder(world).key(key()).clock(clock).workflow(SLOW, slow))
}

#[test]
#[ignore = "a part of an_owner_that_was_stopped_past_its_lease_writes_nothing_more"]
fn part_works_until_stopped() {
    let (world, clock, runtime) = in_part();
    runtime.block_on(async {
        let engine = builder(world, clock).build().unwrap();
        let _worker = engine.spawn_worker();
        println!("ready");
        std::future::pending::<()>().await;
    });
}

fn started(round: u64) -> Vec<(String, Workflow<u64, u64>, u64)> {
    let mut runs: Vec<_> = (0..6).map(|n| (format!("{round}-slow-{n}"), SLOW, n)).collect();
    // One of them waits for so long that its owner would renew its lease before it writes.
    let quick = ALL.iter().filter(|workflow| workflow.name() != RETRIES.name());
    runs.extend(quick.map(|workflow| (format!("{round}-{}", workflow.name()), *workflow, 5)));
    runs
}

#[test]
fn an_owner_that_was_stopped_past_its_lease_writes_nothing_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut fenced, mut too_late, mut taken_over) = (0, 0, 0);
    for round in 0..8_u64 {
        let trying = Trying(format!("round {round}"));
        let dir = tempfile::tempdir().unwrap();
        let world = Arc::new(open(dir.path()));
        let runs = started(round);
        let first = start("part_works_until_stopped", dir.path(), 0, Death::Parent, 2);
        first.wait_until_ready();
        // It is stopped at some moment of its work, perhaps with a write in flight.
        runtime.block_on(async {
            let client = builder(world.clone(), FastClock(0)).build().unwrap().client();
            for (id, workflow, input) in &runs {
                client.start(*workflow, *input).id(id.as_str()).await.unwrap();
            }
        });
        std::thread::sleep(Duration::from_micros(mix(round) % 30_000));
        first.stop();
        // Stopped inside a write, it would hold the file's lock, and stop everybody with it.
        for _ in 0..100 {
            if is_free(dir.path()) {
                break;
            }
            first.signal(Signal::CONT);
            std::thread::sleep(Duration::from_micros(300));
            first.stop();
        }
        // The other's clock is past every lease of the first.
        runtime.block_on(async {
            let engine = builder(world.clone(), FastClock(400)).build().unwrap();
            let worker = engine.spawn_worker();
            if round % 2 == 1 {
                // The first goes on while the other works on its runs.
                tokio::time::sleep(Duration::from_millis(4)).await;
                first.signal(Signal::CONT);
            }
            for (id, workflow, _) in &runs {
                let handle = engine.client().run(*workflow, id).unwrap();
                let ended = tokio::time::timeout(Duration::from_secs(120), handle.output()).await;
                assert!(ended.is_ok(), "{id} never ends");
            }
            worker.shutdown().await;
        });
        let ends = heads(&runtime, &world, &runs);
        first.signal(Signal::CONT);
        std::thread::sleep(Duration::from_millis(150));
        first.signal(Signal::KILL);
        let lines = first.end();
        assert_eq!(heads(&runtime, &world, &runs), ends, "the first has written after all");
        let told = |what| lines.iter().filter(|line| line.starts_with(what)).count();
        fenced += told("fenced");
        too_late += told("not open");
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        taken_over += paused.block_on(check(&world, &runs, &committed(&lines)));
        drop(trying);
    }
    println!("{taken_over} runs taken over; {fenced} appends fenced, {too_late} after the end");
    assert!(taken_over > 10, "{taken_over} runs were taken over");
    assert!(fenced > 0 && too_late > 0, "{fenced} appends fenced, {too_late} after the end");
}

/// Whether the file can be written at this moment.
fn is_free(dir: &std::path::Path) -> bool {
    let conn = rusqlite::Connection::open(dir.join("w.db")).unwrap();
    conn.busy_timeout(Duration::from_millis(20)).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
}

type Runs = [(String, Workflow<u64, u64>, u64)];

fn heads(
    runtime: &tokio::runtime::Runtime,
    world: &Arc<world_sqlite::SqliteWorld>,
    runs: &Runs,
) -> Vec<u64> {
    runtime.block_on(async {
        let mut heads = Vec::new();
        for (id, ..) in runs {
            let log = LogId::Run(RunId::new(id.as_str()).unwrap());
            heads.push(world.read_all(&log).await.unwrap().head.get());
        }
        heads
    })
}

/// Checks every run; gives how many the first owner had begun and not ended.
async fn check(
    world: &Arc<world_sqlite::SqliteWorld>,
    runs: &Runs,
    acknowledged: &[(String, u64, u64)],
) -> usize {
    let look = outsider(world.clone(), &key());
    let mut taken_over = 0;
    for (id, workflow, input) in runs {
        let id = RunId::new(id.as_str()).unwrap();
        let log = log_of(&look, &id).await;
        let told = told(&log);
        if workflow.name() != SLOW.name() {
            assert_eq!(told, undisturbed(*workflow, *input).await, "{log:#?}");
            replays_cold(world, &key(), &id, &log).await;
        }
        let records = world.read_all(&LogId::Run(id.clone())).await.unwrap().records;
        let own: Vec<_> = acknowledged.iter().filter(|(run, ..)| *run == id.as_str()).collect();
        for (_, position, print) in &own {
            assert_eq!(fingerprint(&records[*position as usize - 1]), *print, "{position} of {id}");
        }
        taken_over += usize::from(!own.is_empty() && own.len() < records.len() - 1);
    }
    taken_over
}
