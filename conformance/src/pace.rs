//! Bounds on real time that a busy machine stretches.
//!
//! A bound in seconds tells a call that hangs from one that is slow, but on a machine whose
//! processors are shared by thirty programs a right World is thirty times slower. So nothing is
//! given up when its bound has passed: the pace of the machine is measured then, and the bound
//! counts as passed only if it has, stretched by as much as the machine is slowed down.

use std::{
    future::Future,
    hint::black_box,
    time::{Duration, Instant},
};

use tokio::time::timeout;

/// The most by which a bound is stretched, so that a hang is found on any machine.
const STRETCH_MAX: f64 = 64.0;

/// The pieces of work by which the pace is measured. One alone often runs without being
/// interrupted; all of them take long enough for other programs to get their turns in between.
const PIECES: u32 = 200;

/// The rounds of a piece: about 0.1 ms in a debug build.
const ROUNDS: u64 = 5_000;

/// Measures how many times longer work takes now than it would on an idle machine, from 1.
///
/// It takes about 20 ms of processor time.
pub(crate) fn slowdown() -> f64 {
    let (mut all, mut fastest) = (Duration::ZERO, Duration::MAX);
    for piece in 0..PIECES {
        let began = Instant::now();
        black_box((0..ROUNDS).fold(u64::from(piece), |sum, round| {
            black_box(sum.rotate_left(7) ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        }));
        let took = began.elapsed();
        all += took;
        fastest = fastest.min(took);
    }
    stretch(all, fastest * PIECES)
}

fn stretch(all: Duration, undisturbed: Duration) -> f64 {
    let times = all.as_secs_f64() / undisturbed.as_secs_f64().max(f64::MIN_POSITIVE);
    times.clamp(1.0, STRETCH_MAX)
}

/// A bound on a machine that is slowed down so many times. One that is too long for a `Duration`
/// stays as it is.
pub(crate) fn stretched(bound: Duration, slowdown: f64) -> Duration {
    Duration::try_from_secs_f64(bound.as_secs_f64() * slowdown).unwrap_or(bound)
}

/// Waits for a future, at most for a bound that is stretched by the machine's pace.
///
/// # Errors
/// The time it has waited.
pub(crate) async fn within<T>(
    bound: Duration,
    coming: impl Future<Output = T>,
) -> Result<T, Duration> {
    within_paced(bound, slowdown, coming).await
}

async fn within_paced<T>(
    bound: Duration,
    mut slowdown: impl FnMut() -> f64,
    coming: impl Future<Output = T>,
) -> Result<T, Duration> {
    tokio::pin!(coming);
    let began = Instant::now();
    let mut end = bound;
    loop {
        if let Ok(come) = timeout(end.saturating_sub(began.elapsed()), coming.as_mut()).await {
            return Ok(come);
        }
        end = stretched(bound, slowdown());
        if began.elapsed() >= end {
            return Err(began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_factor_from_1_to_its_greatest() {
        assert!((1.0..=STRETCH_MAX).contains(&slowdown()));
        let millis = Duration::from_millis;
        assert!((stretch(millis(30), millis(10)) - 3.0).abs() < 1e-9);
        assert!((stretch(millis(9), millis(10)) - 1.0).abs() < 1e-9);
        assert!((stretch(millis(30), Duration::ZERO) - STRETCH_MAX).abs() < 1e-9);
    }

    #[tokio::test]
    async fn an_answer_that_is_late_on_a_slowed_machine_is_waited_for() {
        let (told, bound) = (tokio::sync::Notify::new(), Duration::from_millis(1));
        // It comes only once the bound has passed and the pace was measured.
        let slowed = || {
            told.notify_one();
            STRETCH_MAX
        };
        assert_eq!(within_paced(bound, slowed, told.notified()).await, Ok(()));
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_given_up_at_the_bound_on_an_idle_machine() {
        let bound = Duration::from_millis(1);
        let waited = within_paced(bound, || 1.0, std::future::pending::<()>()).await;
        assert!(waited.unwrap_err() >= bound);
    }
}
