//! What a program keeps in memory, counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{future::pending, time::Duration};

use futures::future::select;

use super::*;
use crate::{
    context::{Ctx, Registered, Retry, StepError},
    event::Seed,
    ids::{Timestamp, WorkflowName},
};

/// Runs a program to its end, commits each batch as it comes, and looks at it after each delivery.
fn drive<F, Fut>(input: u64, function: F, mut look: impl FnMut(&Program)) -> Output
where
    F: Fn(Ctx, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u64, StepError>> + Send + 'static,
{
    let registered = Registered::new(1, function);
    let logged =
        |position, event| Arc::new(Logged { position, at: Timestamp::from_millis(1), event });
    let created = Event::RunCreated {
        workflow: WorkflowName::new("counted").unwrap(),
        version: 1,
        input: crate::codec::encode_value(&input).unwrap(),
        seed: Seed::from_bytes([7; 32]),
        parent: None,
    };
    let created = logged(Position::new(1), created);
    let mut program =
        Program::start(RunId::new("run").unwrap(), &created, None, None, |shared, input| {
            registered.make(shared, input)
        })
        .unwrap();
    let mut batch = VecDeque::new();
    while program.output.is_none() {
        let cx = Context::from_waker(Waker::noop());
        let now = Moment { wall: Timestamp::from_millis(1), ..Moment::default() };
        match program.poll_bodies(&cx, now, 16) {
            Poll::Ready(blocked) => blocked.unwrap(),
            Poll::Pending => {}
        }
        look(&program);
        if program.is_pressing() {
            program.take_batch(&mut batch);
        }
        for event in batch.drain(..) {
            program.deliver(&logged(program.position().next(), event)).unwrap();
            look(&program);
        }
    }
    program.output.take().unwrap()
}

#[test]
fn a_loop_that_drops_steps_remembers_a_few_and_takes_their_late_results() {
    async fn races(mut ctx: Ctx, rounds: u64) -> Result<u64, StepError> {
        for round in 0..rounds {
            let (mut left, mut right) = (ctx.branch("left"), ctx.branch("right"));
            let wins = left.step("wins", async || Ok::<_, StepError>(round));
            let loses = right.step("loses", async || match round % 3 {
                0 => Ok::<_, StepError>(round), // its result is in the same batch
                _ => pending().await,
            });
            let _ = select(wins, loses).await;
        }
        Ok(rounds)
    }
    let mut most = 0;
    let ended = drive(3_000, races, |program| {
        most = most.max(program.shared.core().dropped_count());
    });
    assert!(ended.is_ok());
    assert!((1..8).contains(&most), "{most} dropped operations are remembered");
}

#[test]
fn a_step_that_fails_many_times_at_once_keeps_a_few_notes() {
    async fn tries(mut ctx: Ctx, attempts: u64) -> Result<u64, StepError> {
        let step = ctx.step_with("poll", async |at: crate::Attempt| match u64::from(at.number()) {
            number if number < attempts => Err("not yet"),
            number => Ok(number),
        });
        step.retry(Retry::fixed(u32::MAX, Duration::ZERO)).await
    }
    let mut most = 0;
    let ended = drive(20_000, tries, |program| {
        most = most.max(program.shared.core().outbox.notes_count());
    });
    assert!(ended.is_ok());
    assert!((2..16).contains(&most), "{most} notes wait");
}
