//! Tries again what may be tried again.

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::{
    entropy,
    error::{Error, ErrorKind, Result},
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    record::{Append, Appended, Page},
    world::{Wait, World, WorldInfo},
};

use super::Method;

/// How often and how slowly a [`RetryLayer`] tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBounds {
    /// Tries of one call, the first included.
    pub tries_max: NonZeroU32,
    /// The longest delay before the second try, in milliseconds; it doubles with each try.
    pub delay_first_ms: u64,
    /// The longest delay before any try, in milliseconds.
    pub delay_max_ms: u64,
}

impl Default for RetryBounds {
    /// 6 tries, at most 50 ms before the second and 2 s before any: about 3 s in all.
    fn default() -> Self {
        Self {
            tries_max: NonZeroU32::MIN.saturating_add(5),
            delay_first_ms: 50,
            delay_max_ms: 2_000,
        }
    }
}

impl RetryBounds {
    /// The longest delay after this many tries have failed.
    ///
    /// ```
    /// # use {std::time::Duration, world_core::layer::RetryBounds};
    /// let bounds = RetryBounds { delay_first_ms: 10, delay_max_ms: 35, ..Default::default() };
    /// let delays = [1, 2, 3, 99].map(|failed| bounds.delay_after(failed).as_millis());
    /// assert_eq!(delays, [10, 20, 35, 35]);
    /// ```
    #[must_use]
    pub fn delay_after(&self, failed: u32) -> Duration {
        let factor = 1u64.checked_shl(failed.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.delay_first_ms.saturating_mul(factor).min(self.delay_max_ms))
    }
}

/// A World that sends a call again, as it is, when it failed as `Unavailable` or `Unknown`.
///
/// Before each further try it waits for a random part of a bound that doubles (exponential
/// backoff with full jitter), so that the clients of a store that comes back do not all come at
/// once.
///
/// - **Appends** are safe to send again: the same bytes at the same place are the same append
///   (rule A6), so the answer after an ambiguous try is the true one.
/// - **An append without records** has no A6. If an ambiguous try gave the lease back, the next
///   one is answered [`Appended::Fenced`], and this layer reports just that: it cannot know
///   whether that try or another worker's claim took the lease away, and either way the owner no
///   longer has the run. An owner reads `Fenced` on an append without records as done.
/// - **A deletion** that is answered [`Deleted::Open`] after an ambiguous try may have been done
///   and the token's log have gone on since.
/// - **Claims** are never sent again: a lost answer is a lost lease, which runs out.
/// - **A wait** goes on for what is left of its time.
///
/// An error that comes after a try whose outcome is unknown is `Unknown` itself, whatever the last
/// try said; it keeps the last error as its source. Only `Regressed` stays what it is: what the
/// store has left is to be read again, and shows what became of that try.
#[derive(Clone, Debug)]
pub struct RetryLayer<W> {
    world: W,
    bounds: RetryBounds,
}

impl<W: World> RetryLayer<W> {
    /// Tries calls to `world` within the default bounds.
    #[must_use]
    pub fn new(world: W) -> Self {
        Self { world, bounds: RetryBounds::default() }
    }

    /// Tries within these bounds instead.
    #[must_use]
    pub fn bounds(mut self, bounds: RetryBounds) -> Self {
        self.bounds = bounds;
        self
    }

    async fn retry<T, F>(
        &self,
        method: Method,
        log: Option<&LogId>,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut is_ambiguous = false;
        let mut tries = 0;
        loop {
            let error = match send().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries += 1;
            is_ambiguous |= method.changes() && error.kind() == ErrorKind::Unknown;
            let may_retry = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown);
            if !may_retry || tries >= self.bounds.tries_max.get() {
                return Err(last_error(error, method, log, tries, is_ambiguous));
            }
            let delay = self.bounds.delay_after(tries);
            sleep(delay.mul_f64(entropy::share())).await;
        }
    }
}

fn last_error(
    error: Error,
    method: Method,
    log: Option<&LogId>,
    tries: u32,
    is_ambiguous: bool,
) -> Error {
    if tries == 1 || error.kind() == ErrorKind::Regressed {
        return error; // what is left is to be read again, whatever became of the tries before
    }
    let kind = if is_ambiguous { ErrorKind::Unknown } else { error.kind() };
    let mut last =
        Error::new(kind, format!("{method} failed {tries} times, the last time with \"{error}\""));
    if let Some(log) = log.or(error.log_id()) {
        last = last.log(log.clone());
    }
    if let Some(position) = error.at_position() {
        last = last.position(position);
    }
    if is_ambiguous {
        last = last.help("it may have happened: send the same bytes again");
    }
    last.source(error)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<W: World> World for RetryLayer<W> {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        self.retry(Method::Append, Some(log), || self.world.append(log, append)).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.retry(Method::Read, Some(log), || self.world.read(log, after, limit)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        self.world.claim(claim).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        self.retry(Method::Renew, Some(&log), || self.world.renew(lease, until)).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        self.retry(Method::List, None, || self.world.list(list)).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.retry(Method::Delete, Some(log), || self.world.delete(log, head)).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let start = Instant::now();
        let rest = || async move {
            let at_most = wait.at_most.saturating_sub(start.elapsed());
            self.world.wait(&Wait { at_most, ..wait.clone() }).await
        };
        self.retry(Method::Wait, None, rest).await
    }
}
