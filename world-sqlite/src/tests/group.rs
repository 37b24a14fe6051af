//! Groups: what they share, and what they do not.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use world_core::*;

use super::{append, committed, creator, file, fill, read, sql, token};
use crate::SqliteWorld;

/// Polls once, after which the write waits.
fn assert_queued<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.poll(&mut context).is_pending());
}

/// Queues these while the connection is taken, so that they become one group.
async fn as_a_group(world: &SqliteWorld, members: &[(LogId, Append)]) -> Vec<Result<Appended>> {
    let mut futures: Vec<_> =
        members.iter().map(|(log, append)| Box::pin(world.append(log, append))).collect();
    let taken = world.writer.store();
    for future in &mut futures {
        assert_queued(future.as_mut());
    }
    assert_eq!(world.writer.queued(), members.len());
    drop(taken);
    let mut answers = Vec::new();
    // The first to go on leads, and answers the others.
    world.writer.lead();
    for future in futures {
        answers.push(future.await);
    }
    answers
}

#[tokio::test]
async fn a_member_that_fails_before_it_writes_fails_alone() {
    let (world, _dir) = file();
    world.append(&token("bad"), &append(0, b"x")).await.unwrap();
    sql(&world, "UPDATE logs SET head = -1");
    let members =
        ["a", "bad", "b"].map(|name| (token(name), append(u64::from(name == "bad"), b"x")));
    let answers = as_a_group(&world, &members).await;
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    for (answer, log) in [(&answers[0], "a"), (&answers[2], "b")] {
        assert_eq!(*answer.as_ref().unwrap(), committed(1));
        assert_eq!(read(&world, &token(log)).await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn a_member_that_fails_after_it_wrote_fails_alone() {
    let (world, _dir) = file();
    world.append(&token("bad"), &append(0, b"x")).await.unwrap();
    // A record beyond the head: the primary key is the second net (A2).
    sql(&world, "INSERT INTO records SELECT log, 2, 1, 1, x'00' FROM logs");
    let members =
        ["a", "bad", "b"].map(|name| (token(name), append(u64::from(name == "bad"), b"x")));
    let answers = as_a_group(&world, &members).await;
    let error = answers[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("token bad"), "{error}");
    for (answer, log) in [(&answers[0], "a"), (&answers[2], "b")] {
        assert_eq!(*answer.as_ref().unwrap(), committed(1));
        assert_eq!(read(&world, &token(log)).await.unwrap().records.len(), 1);
    }
    assert_eq!(read(&world, &token("bad")).await.unwrap().head, Position::new(1));
}

#[tokio::test]
async fn a_member_that_fills_the_database_fails_alone() {
    let (world, _dir) = file();
    fill(&world);
    let bodies = [vec![1; 10], vec![1; 1 << 20], vec![1; 10]];
    let members: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| (token(&format!("t{n}")), append(0, body)))
        .collect();
    let answers = as_a_group(&world, &members).await;
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(*answers[0].as_ref().unwrap(), committed(1));
    assert_eq!(*answers[2].as_ref().unwrap(), committed(1));
}

#[tokio::test]
async fn a_member_whose_caller_has_gone_harms_nobody() {
    let (world, _dir) = file();
    {
        let taken = world.writer.store();
        let (log, gone) = (token("gone"), append(0, b"x"));
        let mut future = world.append(&log, &gone);
        assert_queued(future.as_mut());
        drop(taken);
    }
    assert_eq!(world.append(&token("t"), &append(0, b"x")).await.unwrap(), committed(1));
    assert_eq!(world.writer.queued(), 0);
    assert_eq!(read(&world, &token("gone")).await.unwrap().head, Position::START);
}

#[tokio::test]
async fn a_group_commits_together() {
    let (world, _dir) = file();
    let before = world.writer.store().commits;
    let members: Vec<_> = (0..50).map(|n| (token(&format!("t{n}")), append(0, b"x"))).collect();
    for answer in as_a_group(&world, &members).await {
        assert_eq!(answer.unwrap(), committed(1));
    }
    assert_eq!(world.writer.store().commits - before, 1);
}

#[tokio::test]
async fn many_tasks_on_one_thread_form_groups() {
    const TASKS: usize = 100;
    const STEPS: usize = 5;
    let (world, _dir) = file();
    let world = Arc::new(world);
    let tasks: Vec<_> = (0..TASKS)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let log = LogId::Run(RunId::new(format!("r{n}")).unwrap());
                let first = Append { by: creator(Due::Never), ..append(0, b"x") };
                assert_eq!(world.append(&log, &first).await.unwrap(), committed(1));
                for step in 1..STEPS as u64 {
                    let answer = world.append(&log, &append(step, b"x")).await.unwrap();
                    assert_eq!(answer, committed(step + 1));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // The writer's own thread may cut a group short; half as many commits as writes is far off.
    let commits = world.writer.store().commits;
    assert!(commits < TASKS * STEPS / 2, "{commits}");
}

#[tokio::test]
async fn a_lone_run_commits_on_its_callers_thread() {
    let (world, _dir) = file();
    let log = token("t");
    for n in 0..20 {
        // Ready at the first poll: nothing was handed over.
        let next = append(n, b"x");
        let mut future = world.append(&log, &next);
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_ready());
    }
}
