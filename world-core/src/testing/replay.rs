//! Replays of a log without any World, under spurious polls.

use std::{fmt, future::Future, sync::Arc};

use futures::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use super::ReplayError;
use crate::{
    codec,
    context::{BoxError, Ctx, Registered, Workflow, failure_of, is_cancellation},
    event::{Event, Failure, FailureKind, Logged},
    ids::{RunId, WorkflowName},
    observe,
    replay::{Blocked, Divergence, Hydration, Jitter, Key, Mismatch, Program},
};

/// How many prefixes of a log are replayed from the beginning, at most. Every other prefix is
/// looked at as a longer replay passes by it.
const FRESH_PREFIXES_MAX: usize = 64;

/// How many opened bytes are kept between the replays of one check.
const HYDRATION_BYTES_MAX: usize = 16 << 20;

/// A log that is to be replayed; give it the function with [`Replay::with`].
///
/// ```
/// # use world_core::{Ctx, StepError, Workflow, testing::{Replay, TestEngine}};
/// # const ADD: Workflow<u64, u64> = Workflow::new("add");
/// # async fn add(mut ctx: Ctx, n: u64) -> Result<u64, StepError> {
/// #     ctx.step("add", async || Ok::<_, StepError>(n + 1)).await
/// # }
/// async fn other(mut ctx: Ctx, n: u64) -> Result<u64, StepError> {
///     ctx.step("subtract", async || Ok::<_, StepError>(n - 1)).await
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # let t = TestEngine::new().workflow(ADD, add);
/// # let run = t.start(ADD, 1).await?;
/// # t.finish(&run).await?;
/// # let log = t.log(run.id()).await?;
/// Replay::of(log.clone()).with(ADD, add).every_prefix().jitter(64).check()?;
///
/// let error = Replay::of(log).with(ADD, other).check().unwrap_err();
/// assert_eq!(error.prefix, 2);
/// assert!(error.to_string().contains("- log:  step_completed add"));
/// assert!(error.to_string().contains("+ open: subtract"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Replay {
    log: Vec<Arc<Logged>>,
    run: Option<RunId>,
}

impl Replay {
    /// A log, as [`RunHandle::log`](crate::RunHandle::log) gives it. It need not have ended.
    #[must_use]
    pub fn of(log: Vec<Logged>) -> Self {
        Self { log: log.into_iter().map(Arc::new).collect(), run: None }
    }

    /// Says which run's log it is: needed where the workflow uses its id, `random` or `uuid`, as
    /// they differ from run to run.
    #[must_use]
    pub fn run(self, run: &RunId) -> Self {
        Self { run: Some(run.clone()), ..self }
    }

    /// The function to replay it with.
    pub fn with<I, O, F, Fut, E>(self, workflow: Workflow<I, O>, function: F) -> ReplayCheck
    where
        F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned,
        O: Serialize + DeserializeOwned,
        E: Into<BoxError>,
    {
        ReplayCheck {
            log: self.log,
            run: self.run.or_else(|| RunId::new("replayed").ok()),
            workflow: WorkflowName::new(workflow.name()).ok(),
            function: Registered::new(workflow.version_number(), function),
            encode_anew: codec::encode_anew::<O>,
            every_prefix: false,
            seeds: 0,
        }
    }
}

/// A replay about to be made; see [`Replay`].
#[must_use = "nothing is replayed before check"]
pub struct ReplayCheck {
    log: Vec<Arc<Logged>>,
    run: Option<RunId>,
    workflow: Option<WorkflowName>,
    function: Registered,
    /// Encodes a logged output as the code would.
    encode_anew: codec::EncodeAnew,
    every_prefix: bool,
    seeds: u64,
}

impl fmt::Debug for ReplayCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayCheck")
            .field("events", &self.log.len())
            .field("every_prefix", &self.every_prefix)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

impl ReplayCheck {
    /// Looks at every prefix of the log: which operations are open, and which are asked for and
    /// not recorded yet, must follow from the prefix alone.
    ///
    /// A replay passes by every prefix, so a log of N events costs O(N) deliveries for each
    /// replay of it; up to 64 prefixes, evenly apart, are also replayed from the beginning.
    pub const fn every_prefix(mut self) -> Self {
        self.every_prefix = true;
        self
    }

    /// Replays the log once more for each of this many seeds, with 0 to 3 spurious polls wherever
    /// the workflow is at rest. Spurious polls are what tells code that depends on timing from
    /// code that does not.
    pub const fn jitter(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Replays the log: it must be one that this code can have written, and end as the code does.
    ///
    /// The code's output is compared with the log's as inputs are by
    /// [`Start::id`](crate::Start::id): a `HashMap` agrees with itself, a `HashSet` does not, so use a
    /// `BTreeSet`.
    ///
    /// # Errors
    /// The first disagreement, with the seed and the prefix at which it shows.
    pub fn check(self) -> Result<(), ReplayError> {
        // What the workflow traces was traced when it ran.
        let _silence = observe::silence();
        // A test's task has a budget of polls in tokio, and replay must not depend on it.
        let checked = tokio::task::unconstrained(async { self.check_all() }).now_or_never();
        checked.unwrap_or(Ok(()))
    }

    fn check_all(&self) -> Result<(), ReplayError> {
        let cache = Arc::new(Hydration::new(HYDRATION_BYTES_MAX));
        let events = self.log.len();
        let mut first = Vec::with_capacity(events);
        self.replay(None, events, &cache, |_, program| {
            first.push(program.footing());
            Ok(())
        })?;
        let compare = |prefix: usize, program: &mut Program| match first.get(prefix - 1) {
            Some(footing) if !self.every_prefix || *footing == program.footing() => Ok(()),
            _ => Err(self.differs(prefix, program, &cache)),
        };
        for seed in 1..=self.seeds {
            self.replay(Some(seed), events, &cache, compare)?;
        }
        if self.every_prefix {
            let step = events.div_ceil(FRESH_PREFIXES_MAX).max(1);
            for prefix in (1..events).step_by(step) {
                self.replay(None, prefix, &cache, compare)?;
            }
        }
        Ok(())
    }

    /// Replays the first `prefix` events, and looks at the program after each.
    fn replay(
        &self,
        seed: Option<u64>,
        prefix: usize,
        cache: &Arc<Hydration>,
        mut look: impl FnMut(usize, &mut Program) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let mut program: Option<Program> = None;
        for (logged, delivered) in self.log.iter().take(prefix).zip(1..) {
            let at = |why: Blocked| self.error(seed, delivered, why);
            let program = match &mut program {
                None => program.insert(self.start(logged, seed, cache).map_err(at)?),
                Some(program) => {
                    check_end(program, logged, delivered == self.log.len(), self.encode_anew)
                        .map_err(|divergence| at(divergence.into()))?;
                    program.deliver(logged).map_err(at)?;
                    program
                }
            };
            if let Some(warning) = program.take_warnings().pop() {
                return Err(at(warning.into()));
            }
            look(delivered, program)?;
        }
        Ok(())
    }

    fn start(
        &self,
        created: &Arc<Logged>,
        seed: Option<u64>,
        cache: &Arc<Hydration>,
    ) -> Result<Program, Blocked> {
        if let Event::RunCreated { workflow, .. } = &created.event
            && self.workflow.as_ref() != Some(workflow)
        {
            return Err(Blocked::Unregistered { workflow: workflow.clone() });
        }
        let run = self
            .run
            .clone()
            .ok_or_else(|| Blocked::Unreadable { why: "a run without an id".to_owned() })?;
        let jitter = seed.map(Jitter::seeded);
        Program::start(run, created, Some(Arc::clone(cache)), jitter, |shared, input| {
            self.function.make(shared, input)
        })
    }

    fn error(&self, seed: Option<u64>, prefix: usize, why: Blocked) -> ReplayError {
        let events = self.log.len();
        let why = Box::new(why);
        ReplayError { seed, prefix, events, why, missing: Vec::new(), unexpected: Vec::new() }
    }

    /// Says what the first replay had open that this one has not, and the other way round.
    fn differs(&self, prefix: usize, program: &Program, cache: &Arc<Hydration>) -> ReplayError {
        let keys = |program: &Program| {
            let mut keys = program.open_keys();
            keys.extend(program.pending_intents());
            keys
        };
        let here = keys(program);
        let mut first: Vec<Key> = Vec::new();
        // It has been replayed this far before.
        let _ = self.replay(None, prefix, cache, |_, program| {
            first = keys(program);
            Ok(())
        });
        let missing = first.iter().filter(|key| !here.contains(key)).cloned().collect();
        let unexpected = here.iter().filter(|key| !first.contains(key)).cloned().collect();
        let logged = self.log.get(prefix - 1);
        let why = match logged {
            Some(logged) => disagreement(logged, Mismatch::OtherOpen).into(),
            None => Blocked::Unreadable { why: "the log has no first event".to_owned() },
        };
        ReplayError { missing, unexpected, ..self.error(program.seed(), prefix, why) }
    }
}

fn disagreement(logged: &Logged, why: Mismatch) -> Divergence {
    let (position, kind) = (logged.position, logged.event.kind());
    Divergence { position, kind, key: logged.event.key().cloned(), why, open: Vec::new() }
}

/// Compares the end that the log holds with what the code has done.
fn check_end(
    program: &Program,
    logged: &Logged,
    is_last: bool,
    encode_anew: codec::EncodeAnew,
) -> Result<(), Divergence> {
    if !logged.event.is_end() {
        return Ok(());
    }
    if !is_last {
        return Err(disagreement(logged, Mismatch::Misplaced));
    }
    let Some(code) = other_end(program, &logged.event, encode_anew) else {
        // Whatever the code asked for stands before its end.
        return match program.pending_intents().pop() {
            Some(key) if !was_given_up(&logged.event) => {
                Err(disagreement(logged, Mismatch::MissingIntent { key }))
            }
            _ => Ok(()),
        };
    };
    let open = program.open_keys().into_iter().take(Divergence::SHOWN_MAX).collect();
    Err(Divergence { open, ..disagreement(logged, Mismatch::OtherEnd { code }) })
}

/// Whether the engine ended the run without asking the code.
fn was_given_up(end: &Event) -> bool {
    matches!(end, Event::RunFailed { failure } if failure.kind == FailureKind::Poisoned)
}

/// What the code did, if it is not what the log says.
fn other_end(program: &Program, end: &Event, encode_anew: codec::EncodeAnew) -> Option<String> {
    if was_given_up(end) {
        return None;
    }
    let too_large = |failure: &Failure| failure.kind == FailureKind::TooLarge;
    match (program.output(), end) {
        (None, _) => Some("has not ended".to_owned()),
        (Some(Ok(output)), Event::RunCompleted { output: logged })
            if codec::same_value(logged, output, encode_anew) =>
        {
            None
        }
        (Some(Ok(_)), Event::RunCompleted { .. }) => Some("returns another output".to_owned()),
        (Some(_), Event::RunFailed { failure }) if too_large(failure) => None,
        (Some(Ok(_)), _) => Some("returns an output".to_owned()),
        (Some(Err(error)), end) => {
            let error: &(dyn std::error::Error + 'static) = &**error;
            let cancelled = program.is_cancelled() && is_cancellation(error);
            match end {
                Event::RunCancelled { reason } if cancelled => (*reason != program.cancel_reason())
                    .then(|| "gives way to another cancellation".to_owned()),
                Event::RunFailed { failure } if !cancelled => {
                    let code = failure_of(FailureKind::Error, error);
                    (code != *failure).then(|| format!("fails otherwise: {code}"))
                }
                _ if cancelled => Some("gives way to the cancellation".to_owned()),
                _ => Some(format!("fails: {error}")),
            }
        }
    }
}
