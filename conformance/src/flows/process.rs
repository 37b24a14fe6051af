//! One process that drives runs on the World under test: it may be broken, and it may die.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use world_core::{
    Clock, ErrorKind, Residency, Result, RunError, RunId, Timestamp, VirtualClock, World,
    layer::{Fault, FaultLayer, Method, RetryBounds, Seen},
    testing::TestEngine,
};

use super::{
    clock_at,
    look::{Look, Standing},
    public_test_key,
};
use crate::{
    corpus::Sample,
    failure::{Failure, Verdict},
    pace::within,
    subject::Subject,
};

/// What every run is started with: by it its bodies take longer or shorter.
pub(crate) const SEED: u64 = 3;

/// The most turns of one run.
const TURNS_MAX: u32 = 500;

/// How often a client asks again that was told nothing.
const TRIES_MAX: u32 = 400;

/// The most real time of one run on an idle machine: nothing here waits for the machine's clock.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// One run of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) sample: Sample,
    pub(crate) run: RunId,
}

impl Flow {
    pub(crate) fn new(sample: &Sample, run: &str) -> Verdict<Self> {
        Ok(Self { sample: sample.clone(), run: RunId::new(run)? })
    }
}

/// How a process ended with a run.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The run has ended.
    Run(Result<String, RunError>),
    /// The process has died.
    Died,
}

/// One process: a handle of its own on the World, under faults, an engine and a clock.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) engine: TestEngine,
    pub(crate) store: Arc<FaultLayer<Arc<dyn World>>>,
    /// A handle that nothing breaks, to see how things stand.
    look: Look,
    calls: Arc<watch::Sender<u64>>,
}

/// How many calls pass before what is kept on its way is delivered.
const KEPT_FOR: u64 = 3;

/// Says what becomes of a call, by its number among those that change something: what a read that
/// is broken leaves behind, the next change leaves too.
pub(crate) type Plan = Box<dyn Fn(u64, &Seen<'_>) -> Fault + Send + Sync>;

/// A plan.
pub(crate) fn plan(plan: impl Fn(u64, &Seen<'_>) -> Fault + Send + Sync + 'static) -> Plan {
    Box::new(plan)
}

/// The plan that breaks nothing.
pub(crate) fn unbroken() -> Plan {
    plan(|_, _| Fault::None)
}

/// The plan that breaks one call.
pub(crate) fn broken_at(call: u64, fault: Fault) -> Plan {
    plan(
        move |number, seen| {
            if number == call && seen.method.changes() { fault.clone() } else { Fault::None }
        },
    )
}

impl Process {
    /// Begins at this time, for these samples, under a plan; `look` is not broken.
    ///
    /// The plan sees neither waits nor listings: only time hangs on them.
    pub(crate) async fn begin(
        subject: &Subject,
        look: &Look,
        samples: &[Sample],
        at: Timestamp,
        residency: Residency,
        plan: Plan,
    ) -> Verdict<Self> {
        Self::with_clock(subject, look, samples, clock_at(at), residency, plan).await
    }

    /// The same on a clock that others have too.
    pub(crate) async fn with_clock(
        subject: &Subject,
        look: &Look,
        samples: &[Sample],
        clock: VirtualClock,
        residency: Residency,
        plan: Plan,
    ) -> Verdict<Self> {
        Self::on(subject.open().await?, look, samples, clock, residency, plan)
    }

    /// The same on this handle.
    pub(crate) fn on(
        world: Arc<dyn World>,
        look: &Look,
        samples: &[Sample],
        clock: VirtualClock,
        residency: Residency,
        plan: Plan,
    ) -> Verdict<Self> {
        let calls = Arc::new(watch::Sender::new(0));
        let counted = Arc::clone(&calls);
        let store = FaultLayer::new(world, move |seen| match seen.method {
            Method::Wait | Method::List => Fault::None,
            method => {
                counted.send_modify(|calls| *calls += u64::from(method.changes()));
                plan(*counted.borrow(), seen)
            }
        });
        let store = Arc::new(store);
        // Nobody else comes back at the same time, so nobody waits before the next try.
        let at_once = RetryBounds { delay_first_ms: 0, delay_max_ms: 0, ..RetryBounds::default() };
        let engine = TestEngine::on(Arc::clone(&store))
            .key(public_test_key()?)
            .at(clock)
            .configure(|builder| builder.residency(residency).retries(at_once))
            .configure(|builder| samples.iter().fold(builder, |b, sample| sample.register(b)));
        Ok(Self { engine, store, look: look.clone(), calls })
    }

    /// The time of this process.
    pub(crate) fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// How many calls that change something there have been.
    pub(crate) fn calls(&self) -> u64 {
        *self.calls.borrow()
    }

    /// Delivers, for ever, what is kept on its way, when a few more calls have been made.
    async fn deliver_late(&self) {
        let mut calls = self.calls.subscribe();
        while calls.changed().await.is_ok() {
            if calls.borrow_and_update().is_multiple_of(KEPT_FOR) {
                self.store.deliver_kept().await;
            }
        }
    }

    /// Starts the run if nobody has, and drives it to its end or this process's.
    pub(crate) async fn drive(&self, flow: &Flow) -> Verdict<Ended> {
        let life = async {
            tokio::select! {
                biased;
                () = self.store.crashed() => Ok(Ended::Died),
                () = self.deliver_late() => Err(Failure::failed("nobody counts calls")),
                ended = self.live(flow) => match ended {
                    Err(_) if self.store.is_crashed() => Ok(Ended::Died),
                    ended => ended.map(Ended::Run),
                },
            }
        };
        within(HANGS_AFTER, life).await.unwrap_or_else(|waited| {
            Err(Failure::failed(format!(
                "{} has not ended within {waited:.0?}, on a clock that waits for nothing",
                flow.run
            )))
        })
    }

    async fn live(&self, flow: &Flow) -> Verdict<Result<String, RunError>> {
        self.start(flow).await?;
        for _ in 0..TURNS_MAX {
            self.turn().await?;
            match self.look.standing(flow).await? {
                Standing::Ended => {
                    self.store.deliver_kept().await;
                    return Ok(self.look.outcome(flow).await);
                }
                Standing::ToBeCancelled => self.cancel(flow).await?,
                Standing::Open => self.pass_time(flow).await?,
            }
        }
        Err(Failure::failed(format!("{} has not ended after {TURNS_MAX} turns", flow.run)))
    }

    /// Moves the clock to the next due time, or a little on if a lease has to run out.
    pub(crate) async fn pass_time(&self, flow: &Flow) -> Verdict {
        self.look.pass_time(self.engine.clock(), flow).await
    }

    /// Starts the run; a client that is told nothing asks again.
    pub(crate) async fn start(&self, flow: &Flow) -> Verdict {
        let client = self.engine.client()?;
        again(|| async {
            client.start(flow.sample.workflow(), SEED).id(flow.run.as_str()).await.map(drop)
        })
        .await
    }

    /// Drives what is due.
    pub(crate) async fn turn(&self) -> Verdict {
        again(|| self.engine.turn()).await
    }

    pub(crate) async fn cancel(&self, flow: &Flow) -> Verdict {
        let run = self.engine.client()?.run(flow.sample.workflow(), flow.run.as_str())?;
        again(|| async {
            match run.cancel("the corpus says so").await {
                // It ended before it was asked to.
                Err(error) if error.kind() == ErrorKind::Ended => Ok(()),
                asked => asked,
            }
        })
        .await
    }
}

/// Asks again while the World says that this may help.
async fn again<F: Future<Output = Result<()>>>(ask: impl Fn() -> F) -> Verdict {
    for _ in 1..TRIES_MAX {
        match ask().await {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {}
            answer => return Ok(answer?),
        }
    }
    Ok(ask().await?)
}
