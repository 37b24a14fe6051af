//! Several processes and many threads on one file.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use support::*;
use world_core::*;
use world_sqlite::{Options, SqliteWorld};

/// Runs a part of this file as a process of its own; it finds its directory in `WORLD_TEST_DIR`.
fn child(part: &str, dir: &tempfile::TempDir, shell: Option<&str>) -> Child {
    let test = std::env::current_exe().unwrap();
    let mut command = match shell {
        Some(limits) => {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]).arg(test);
            command
        }
        None => Command::new(test),
    };
    command
        .args(["--exact", part, "--ignored", "--nocapture"])
        .env("WORLD_TEST_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn in_child(options: Options) -> SqliteWorld {
    let dir = std::env::var_os("WORLD_TEST_DIR").unwrap();
    SqliteWorld::open(std::path::Path::new(&dir).join("w.db"), options).unwrap()
}

/// Appends `count` records to a log that others write too, at whatever head there is.
async fn push(world: &SqliteWorld, log: &LogId, who: &str, count: u64) {
    let mut head = 0;
    for n in 0..count {
        loop {
            let append = append(head, &[&format!("{who}{n}")], By::Outsider);
            match world.append(log, &append).await.unwrap() {
                Appended::Committed { .. } => break,
                Appended::Conflict { head: there } => head = there.get(),
                other => unreachable!("{other:?}"),
            }
        }
        head += 1;
    }
}

/// Each writer's records are all there, once and in its order.
async fn check(world: &SqliteWorld, log: &LogId, writers: &[String], count: u64) {
    let all = bodies(world, log).await;
    assert_eq!(all.len() as u64, count * writers.len() as u64);
    for who in writers {
        let own: Vec<_> = all.iter().filter(|body| body.starts_with(who.as_str())).collect();
        let expected: Vec<_> = (0..count).map(|n| format!("{who}{n}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "a part of a3_two_processes_and_their_threads_leave_no_gap"]
fn part_push() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { push(&in_child(fast()), &token("t"), "child-", 200).await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a3_two_processes_and_their_threads_leave_no_gap() {
    let (world, dir) = file();
    let world = Arc::new(world);
    let mut part = child("part_push", &dir, None);
    let tasks: Vec<_> = (0..4)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { push(&world, &token("t"), &format!("task{n}-"), 200).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(part.wait().unwrap().success());
    let writers: Vec<String> =
        (0..4).map(|n| format!("task{n}-")).chain(["child-".to_owned()]).collect();
    check(&world, &token("t"), &writers, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_runs_at_once_commit_in_groups_and_each_keeps_its_order() {
    let (world, _dir) = file();
    let world = Arc::new(world);
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let log = run(&format!("r{n}"));
                do_append(&world, &log, &append(0, &["0"], holder("q", 1, 10))).await;
                for step in 1..20 {
                    let body = step.to_string();
                    let answer = do_append(&world, &log, &append(step, &[&body], owner(1))).await;
                    assert_eq!(answer, committed(step + 1));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for n in 0..100 {
        assert_eq!(bodies(&world, &run(&format!("r{n}"))).await, expected);
    }
}

#[test]
#[ignore = "a part of a1_what_was_acknowledged_survives_a_kill"]
fn part_until_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = in_child(fast());
        for n in 0.. {
            let three = append(n * 3, &["a", "b", "c"], By::Outsider);
            assert_eq!(do_append(&world, &token("t"), &three).await, committed(n * 3 + 3));
            println!("committed {}", n * 3 + 3);
        }
    });
}

#[tokio::test]
async fn a1_what_was_acknowledged_survives_a_kill() {
    for rounds in [1, 17, 60] {
        let (world, dir) = file();
        drop(world);
        let mut part = child("part_until_killed", &dir, None);
        let lines = BufReader::new(part.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = lines.filter(|line| line.starts_with("committed")).nth(rounds).unwrap();
        part.kill().unwrap();
        part.wait().unwrap();
        let acknowledged: u64 = acknowledged.split(' ').nth(1).unwrap().parse().unwrap();
        let all = bodies(&open(&dir), &token("t")).await;
        assert!(all.len() as u64 >= acknowledged && all.len() % 3 == 0, "{}", all.len());
    }
}

#[cfg(unix)]
#[test]
#[ignore = "a part of a1_a_disk_that_fails_at_commit_leaves_an_unknown_outcome"]
fn part_disk_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = in_child(fast());
        let body = "x".repeat(10_000);
        let (mut head, mut failures) = (0, 0);
        // Sent again, the same bytes find room once the database was opened anew, until it too
        // is as large as it may be.
        while failures < 5 {
            match world.append(&token("t"), &append(head, &[&body], By::Outsider)).await {
                Ok(answer) => {
                    head += 1;
                    assert_eq!(answer, committed(head));
                    failures = 0;
                }
                Err(error) => {
                    println!("failed {:?} after {head}", error.kind());
                    failures += 1;
                }
            }
        }
    });
}

/// A limit on the size of files makes the write of the commit fail, as a broken disk does.
#[cfg(unix)]
#[tokio::test]
async fn a1_a_disk_that_fails_at_commit_leaves_an_unknown_outcome() {
    let (world, dir) = file();
    drop(world);
    let mut part = child("part_disk_fails", &dir, Some("trap '' XFSZ; ulimit -f 600"));
    let lines = BufReader::new(part.stdout.take().unwrap()).lines().map_while(Result::ok);
    let failed: Vec<String> = lines.filter(|line| line.starts_with("failed")).collect();
    assert!(part.wait().unwrap().success());
    assert!(failed.iter().any(|line| line.contains("Unknown")), "{failed:?}");
    let kept: u64 = failed[failed.len() - 1].rsplit(' ').next().unwrap().parse().unwrap();
    let world = open(&dir);
    let page = world.read_all(&token("t")).await.unwrap();
    assert!(page.head.get() == kept || page.head.get() == kept + 1, "{} {kept}", page.head);
    // A6 settles it.
    let again = append(kept, &[&"x".repeat(10_000)], By::Outsider);
    assert_eq!(do_append(&world, &token("t"), &again).await, committed(kept + 1));
}
