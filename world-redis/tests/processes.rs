//! Two processes that work and one that asks, of which one that works is killed half-way.
//!
//! `WORLD_RUNS` sets how many runs they have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "a process tells its parent what it has done")]

mod runs;

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use redis_servers::Private;
use runs::{key, runtime, variable, workflows::outsider};
use world_core::{event::Event, *};
use world_redis::RedisWorld;

const SUM: Workflow<u64, u64> = Workflow::new("sum");
const STEPS: u64 = 3;

/// How many runs are asked for at once.
const AT_ONCE: usize = 64;

/// Far more than a run takes; then the test is over.
const A_RUN_AT_MOST: Duration = Duration::from_millis(20);

/// Tells of each step whose body it has run and whose result is committed.
async fn sum(mut ctx: Ctx, input: u64) -> Result<u64, StepError> {
    let mut sum = input;
    for number in 0..STEPS {
        let ran = AtomicBool::new(false);
        let body = async || {
            ran.store(true, Relaxed);
            Ok::<_, StepError>(input * number)
        };
        sum += ctx.step("add", body).await?;
        if ran.load(Relaxed) {
            println!("taken {input} {number}");
        }
    }
    Ok(sum)
}

fn output(input: u64) -> u64 {
    input + input * (0..STEPS).sum::<u64>()
}

async fn in_part() -> EngineBuilder {
    let world = RedisWorld::connect(&std::env::var("WORLD_TEST_URL").unwrap()).await.unwrap();
    Engine::builder(world).key(key()).lease(Duration::from_secs(3))
}

#[test]
#[ignore = "a part of three_processes_finish_their_runs_though_one_is_killed"]
fn part_works() {
    runtime().block_on(async {
        let _worker = in_part().await.workflow(SUM, sum).build().unwrap().spawn_worker();
        println!("ready");
        parent_is_gone().await;
    });
}

/// Returns when the process that has started this one is gone: its end of the pipe is closed.
async fn parent_is_gone() {
    let read = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(read).await.unwrap();
}

#[test]
#[ignore = "a part of three_processes_finish_their_runs_though_one_is_killed"]
fn part_asks() {
    runtime().block_on(async {
        let client = in_part().await.build().unwrap().client();
        let ended = stream::iter(0..variable("WORLD_RUNS", 0)).map(|run| {
            let client = &client;
            async move {
                let handle = client.start(SUM, run).id(format!("run-{run}")).await?;
                assert_eq!(handle.output().await.unwrap(), output(run));
                println!("ended {run}");
                Ok::<_, Error>(())
            }
        });
        tokio::select! {
            all = ended.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>() => all.map(drop).unwrap(),
            () = parent_is_gone() => {}
        }
        std::process::exit(0); // and do not wait for the parent
    });
}

/// A process, and what it has told.
struct Part {
    child: Child,
    lines: JoinHandle<Vec<String>>,
}

/// Starts a part of this test binary; `hear` is given each line.
fn start(part: &str, url: &str, runs: u64, mut hear: impl FnMut(&str) + Send + 'static) -> Part {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", part, "--ignored", "--nocapture"])
        .env("WORLD_TEST_URL", url)
        .env("WORLD_RUNS", runs.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let lines = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.inspect(|line| hear(line)).collect()
    });
    Part { child, lines }
}

impl Part {
    /// The steps that it has told of, after its end.
    fn taken(self) -> Vec<String> {
        let lines = self.lines.join().unwrap();
        lines.into_iter().filter(|line| line.starts_with("taken ")).collect()
    }
}

#[test]
fn three_processes_finish_their_runs_though_one_is_killed() {
    let runs = variable("WORLD_RUNS", 1000);
    let server = Private::start(&[]).unwrap();
    let url = format!("redis://{}", server.address());
    let begin = Instant::now();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let mut workers: Vec<Part> = (0..2)
        .map(|_| {
            let ready = ready.clone();
            start("part_works", &url, runs, move |line| {
                if line == "ready" {
                    ready.send(()).unwrap();
                }
            })
        })
        .collect();
    for _ in &workers {
        is_ready.recv().unwrap();
    }
    let (half, is_half) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel();
    let mut ended = 0;
    let mut client = start("part_asks", &url, runs, move |line| {
        ended += u64::from(line.starts_with("ended "));
        if ended == runs / 2 {
            let _ = half.send(()); // once is enough
        } else if ended == runs {
            let _ = done.send(());
        }
    });
    is_half.recv_timeout(Duration::from_secs(60) + runs as u32 * A_RUN_AT_MOST).unwrap();
    let mut killed = workers.remove(0);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    is_done.recv_timeout(Duration::from_secs(60) + runs as u32 * A_RUN_AT_MOST).unwrap();
    assert!(client.child.wait().unwrap().success());
    let time = begin.elapsed();
    let mut survivor = workers.remove(0);
    survivor.child.kill().unwrap();
    survivor.child.wait().unwrap();

    // A step that one process has committed, no other has.
    let (first, second) = (killed.taken(), survivor.taken());
    let all: HashSet<&String> = first.iter().chain(&second).collect();
    assert_eq!(all.len(), first.len() + second.len(), "a step was committed twice");
    assert!(!first.is_empty() && !second.is_empty(), "one of them did nothing");
    println!(
        "{runs} runs in {time:?}: {} steps by the one that was killed, {} by the other",
        first.len(),
        second.len()
    );
    runtime().block_on(check(&url, runs));
}

/// Every run has its result, and each of its steps once.
async fn check(url: &str, runs: u64) {
    let client = outsider(RedisWorld::connect(url).await.unwrap(), &key());
    for run in 0..runs {
        let handle = client.run(SUM, &format!("run-{run}")).unwrap();
        let log = handle.log().await.unwrap();
        let standing = conformance::audit::audit(&log);
        assert_eq!(standing, Ok(conformance::audit::Standing::Ended), "{log:#?}");
        let steps = log.iter().filter(|logged| matches!(logged.event, Event::StepCompleted { .. }));
        assert_eq!(steps.count() as u64, STEPS, "{log:#?}");
        assert_eq!(handle.output().await.unwrap(), output(run));
    }
    let world = RedisWorld::connect(url).await.unwrap();
    let mut list = List::all(std::num::NonZeroU32::MAX);
    let mut listed = 0;
    loop {
        let page = world.list(&list).await.unwrap();
        assert!(page.runs.iter().all(|run| run.phase == Phase::Closed));
        listed += page.runs.len() as u64;
        match page.next {
            Some(next) => list.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, runs);
}
