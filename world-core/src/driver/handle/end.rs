//! Waiting for the end of a run.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Asked, look::Look};
use crate::{
    driver::watchers::Watch,
    entropy,
    error::{ErrorKind, Result},
    event::Logged,
    ids::Position,
    world::{Wait, World},
};

/// The longest wait for a change in the store before the log is looked at all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a wait pauses after a look that has seen nothing new: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// How long a wait pauses after a failure that may pass: at first, and at most.
const FAILURE_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A wait for a run's end, and what it has seen so far.
struct EndWait<'a> {
    asked: &'a Asked,
    watch: Arc<Watch>,
    /// The log is to be looked at before anything is waited for.
    is_to_look: bool,
    /// How long to pause before the next wait for the store.
    pause: Duration,
    /// Since when the log has not changed.
    still_since: Instant,
    /// Up to where every record of the log was opened.
    opened: Position,
    /// How often this engine had found the log unreadable.
    times_unreadable: u64,
}

impl Asked {
    /// Waits for the run's end, for as long as it takes.
    pub(super) async fn wait_for_end(&self) -> Result<Arc<Logged>> {
        let mut wait = EndWait::new(self);
        let mut failures = 0;
        loop {
            match wait.go_on().await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => failures = 0,
                Err(error) if may_pass(error.kind()) => {
                    tracing::debug!(run = %self.run, %error, "the wait for the run's end goes on");
                    let pause = FAILURE_PAUSE.0.saturating_mul(1 << failures.min(16));
                    failures += 1;
                    let pause = pause.min(FAILURE_PAUSE.1).mul_f64(0.5 + entropy::share() / 2.0);
                    wait.unless_told(sleep(pause)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<'a> EndWait<'a> {
    fn new(asked: &'a Asked) -> Self {
        let watch = match &asked.started {
            Some(watch) => Arc::clone(watch),
            None => asked.engine.hub.watchers.watch(&asked.run),
        };
        Self {
            asked,
            // What is known of the log already needs no look, only news.
            is_to_look: !asked.known().is_checked,
            pause: Duration::ZERO,
            still_since: Instant::now(),
            opened: Position::START,
            times_unreadable: watch.times_unreadable(),
            watch,
        }
    }

    /// Takes one step: asks, or waits until asking may tell more. Gives the end once it is known.
    async fn go_on(&mut self) -> Result<Option<Arc<Logged>>> {
        if self.is_to_look {
            return self.look().await;
        }
        let watch = Arc::clone(&self.watch);
        let changed = watch.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        // What is said from here on is not missed.
        if let Some(end) = watch.end() {
            return Ok(Some(Arc::clone(end)));
        }
        if watch.times_unreadable() > self.times_unreadable {
            self.times_unreadable = watch.times_unreadable();
            self.asked.open_all_after(Position::START).await?;
        }
        if self.asked.engine.hub.is_driven(&self.asked.run) {
            changed.await;
            // It has ended, or is driven elsewhere from now on, or waits.
            self.is_to_look = watch.end().is_none();
            return Ok(None);
        }
        self.wait_for_the_store().await?;
        self.is_to_look = !self.asked.engine.hub.is_driven(&self.asked.run);
        Ok(None)
    }

    /// Looks at the end of the log, and remembers whether there was anything new.
    async fn look(&mut self) -> Result<Option<Arc<Logged>>> {
        let seen = self.asked.known().seen;
        let Some(looked) = self.unless_told(self.asked.look()).await else {
            // The first record is checked all the same, whatever was told.
            self.is_to_look = !self.asked.known().is_checked || self.watch.end().is_none();
            return Ok(None);
        };
        let Look { at, last } = looked?;
        if let Some(last) = last.filter(|last| last.kind.is_end()) {
            return Ok(Some(Arc::new(self.asked.open(&last).await?)));
        }
        self.is_to_look = false;
        if at == seen {
            self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
        } else {
            (self.pause, self.still_since) = (Duration::ZERO, Instant::now());
        }
        Ok(None)
    }

    /// Waits for a change of the log in the store.
    async fn wait_for_the_store(&mut self) -> Result<()> {
        let (asked, seen) = (self.asked, self.asked.known().seen);
        // Where nobody makes progress, perhaps nobody can read the log.
        if self.still_since.elapsed() >= LOOK_AGAIN && self.opened < seen {
            self.opened = asked.open_all_after(self.opened).await?;
        }
        let logs = vec![(asked.log_id(), seen)];
        let wait = Wait { queues: Vec::new(), logs, at_most: LOOK_AGAIN };
        let pause = self.pause;
        // A World's wait may return early, as often as it likes.
        let waited = self.unless_told(async {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            asked.engine.world.wait(&wait).await
        });
        waited.await.unwrap_or(Ok(()))
    }

    /// Does something until this engine has news of the run.
    async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let changed = self.watch.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if self.watch.end().is_some() && self.asked.known().is_checked {
            return None;
        }
        tokio::select! {
            biased;
            () = changed => None,
            done = work => Some(done),
        }
    }
}

/// Whether what failed may succeed when it is asked again: the store or the key provider cannot be
/// reached, or the store has lost something and says so.
const fn may_pass(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Busy | ErrorKind::Regressed => {
            true
        }
        ErrorKind::TooLarge
        | ErrorKind::NotFound
        | ErrorKind::Invalid
        | ErrorKind::Conflict
        | ErrorKind::Ended
        | ErrorKind::Corrupt
        | ErrorKind::Unsupported
        | ErrorKind::Unsuitable
        | ErrorKind::Key => false,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use crate::{Ctx, Engine, MemoryWorld, StepError, Workflow};

    const WAITS: Workflow<(), ()> = Workflow::new("waits");

    async fn waits(mut ctx: Ctx, (): ()) -> Result<(), StepError> {
        ctx.step("wait", async || std::future::pending::<Result<(), StepError>>().await).await
    }

    fn engine() -> Engine {
        let builder = Engine::builder(MemoryWorld::new()).without_encryption();
        builder.workflow(WAITS, waits).build().unwrap()
    }

    #[tokio::test]
    async fn a_wait_for_an_output_that_is_dropped_midway_leaves_nothing_behind() {
        let engine = engine();
        let watchers = &engine.inner().hub.watchers;
        let started = engine.client().start(WAITS, ()).id("a").await.unwrap();
        assert_eq!(watchers.len(), 1, "a run that was started here is watched");
        drop(started);
        assert_eq!(watchers.len(), 0);
        for is_driven in [false, true] {
            let worker = is_driven.then(|| engine.spawn_worker());
            let run = engine.client().run(WAITS, "a").unwrap();
            for _ in 0..1_000 {
                let mut output = Box::pin(run.output());
                for _ in 0..10 {
                    assert!((&mut output).now_or_never().is_none());
                    tokio::task::yield_now().await;
                }
                assert_eq!(watchers.len(), 1);
            }
            assert_eq!(watchers.len(), 0, "driven: {is_driven}");
            drop(worker);
        }
    }
}
