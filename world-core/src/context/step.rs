//! A step: how it is made, and what awaiting it gives.

mod attempt;

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tracing::Span;

pub use attempt::Attempt;

use super::{BoxError, Fatal, Frozen, Retry, StepError, error::find_error};
use crate::{
    codec::{self, Undecodable},
    error::Error,
    event::{Event, FailureKind, Logged},
    ids::Position,
    replay::{BodySignal, Divergence, Key, Mismatch, OpId, Parcel, Shared, StepWork, Turn, Work},
    seal::Plain,
};

type Body<'a> = Pin<Box<dyn Future<Output = Result<Plain, BoxError>> + Send + 'a>>;
type Filter<'a> = Box<dyn Fn(&(dyn StdError + 'static)) -> bool + Send + 'a>;

/// The decoders of a step's result.
struct Decode<T> {
    /// Decodes what a body has just left, which is not recorded yet.
    left: fn(&Plain) -> Result<T, Error>,
    /// Decodes what the log holds, unless this step's own body left it and it was decoded then.
    logged: fn(&Shared, Position, &Plain, Option<T>) -> Result<T, Undecodable>,
}

/// What a body has left, decoded before it is recorded.
struct Kept<T> {
    value: T,
    /// Where the bytes are of which it was decoded; they move into the log's event as they are.
    place: (usize, usize),
}

/// A step that waits to be awaited; made by [`Ctx::step`](crate::Ctx::step).
///
/// It is `Unpin`, `Send` and has a name of its own, so it may stand in a `Vec`, in
/// `FuturesUnordered`, or behind `&mut` in a `select!`.
///
/// ```
/// # use world_core::*;
/// use futures::{StreamExt, stream::FuturesUnordered};
///
/// async fn fastest(mut ctx: Ctx, urls: Vec<String>) -> anyhow::Result<Option<usize>> {
///     let mut sizes: FuturesUnordered<Step<'_, usize>> = urls
///         .iter()
///         .map(|url| ctx.step(url, async || Ok::<_, StepError>(url.len())))
///         .collect();
///     let first = sizes.next().await.transpose()?; // the same one in every replay
///     Ok(first)
/// }
/// # const FASTEST: Workflow<Vec<String>, Option<usize>> = Workflow::new("fastest");
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(FASTEST, fastest).build()?;
/// # let worker = engine.spawn_worker();
/// let urls = vec!["a".to_owned(), "bb".to_owned()];
/// assert!(engine.client().start(FASTEST, urls).await?.output().await?.is_some());
/// # worker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a step does nothing unless it is awaited"]
pub struct Step<'a, T> {
    shared: Arc<Shared>,
    op: OpId,
    key: Key,
    make: Box<dyn Fn(Attempt) -> Body<'a> + Send + 'a>,
    body: Option<Body<'a>>,
    /// Around the attempt under way.
    span: Span,
    signal: Option<BodySignal>,
    attempt: u32,
    /// When the attempt under way is out of time, by the monotonic clock.
    alarm: Option<Duration>,
    retry: Option<Retry>,
    retry_if: Option<Filter<'a>>,
    timeout: Option<Duration>,
    at_most_once: bool,
    decode: Decode<T>,
    kept: Option<Kept<T>>,
    done: bool,
}

impl<T> Unpin for Step<'_, T> {}

impl<'a, T> Step<'a, T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    pub(super) fn new<F, Fut, E>(shared: &Arc<Shared>, key: Key, shielded: bool, body: F) -> Self
    where
        F: Fn(Attempt) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<BoxError>,
    {
        let op = shared.ask(key.clone(), Work::Step(StepWork::default()), shielded);
        let make = Box::new(move |attempt| -> Body<'a> {
            let body = body(attempt);
            Box::pin(async move {
                let value = body.await.map_err(Into::into)?;
                codec::encode_guarded(&value).map_err(unrecordable)
            })
        });
        Self {
            shared: Arc::clone(shared),
            op,
            key,
            make,
            body: None,
            span: Span::none(),
            signal: None,
            attempt: 0,
            alarm: None,
            retry: None,
            retry_if: None,
            timeout: None,
            at_most_once: false,
            decode: Decode {
                left: codec::decode_again,
                logged: |shared, position, plain, kept| {
                    let decode = || kept.map_or_else(|| codec::read_value(plain), Ok);
                    match &shared.hydration {
                        Some(hydration) => hydration.hydrate(position, decode),
                        None => decode(),
                    }
                },
            },
            kept: None,
            done: false,
        }
    }

    /// Gives the result as an `Arc`, decoded once in a session however often it is replayed.
    ///
    /// A type that can change through a shared reference does not compile:
    ///
    /// ```compile_fail,E0277
    /// # use world_core::{Ctx, StepError};
    /// async fn seen(mut ctx: Ctx) -> Result<(), StepError> {
    ///     let seen = ctx.step("seen", async || Ok::<_, StepError>(std::sync::Mutex::new(1)));
    ///     seen.shared().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::sync::Arc;
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Rates { euro: u64, names: Vec<String> }
    /// frozen!(Rates { euro, names });
    ///
    /// async fn convert(mut ctx: Ctx, cents: u64) -> Result<u64, StepError> {
    ///     let rates: Arc<Rates> = ctx
    ///         .step("rates", async || Ok::<_, StepError>(Rates { euro: 2, names: Vec::new() }))
    ///         .shared()
    ///         .await?;
    ///     Ok(rates.euro * cents)
    /// }
    /// # const CONVERT: Workflow<u64, u64> = Workflow::new("convert");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(CONVERT, convert).build()?;
    /// # let worker = engine.spawn_worker();
    /// assert_eq!(engine.client().start(CONVERT, 21).await?.output().await?, 42);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn shared(self) -> Step<'a, Arc<T>>
    where
        T: Frozen + Sync,
    {
        self.with_decode(Decode {
            left: |plain| codec::decode_again(plain).map(Arc::new),
            logged: |shared, position, plain, kept| {
                let decode = || kept.map_or_else(|| codec::read_value(plain).map(Arc::new), Ok);
                match &shared.hydration {
                    Some(hydration) => hydration.hydrate_shared(position, decode),
                    None => decode(),
                }
            },
        })
    }

    fn with_decode<U>(mut self, decode: Decode<U>) -> Step<'a, U> {
        let (at, done) = ((self.op, self.key.clone()), std::mem::replace(&mut self.done, true));
        Step {
            shared: Arc::clone(&self.shared),
            op: at.0,
            key: at.1,
            make: std::mem::replace(&mut self.make, Box::new(|_| Box::pin(std::future::pending()))),
            body: self.body.take(),
            span: std::mem::replace(&mut self.span, Span::none()),
            signal: self.signal.take(),
            attempt: self.attempt,
            alarm: self.alarm,
            retry: self.retry,
            retry_if: self.retry_if.take(),
            timeout: self.timeout,
            at_most_once: self.at_most_once,
            decode,
            kept: None,
            done,
        }
    }
}

impl<'a, T> Step<'a, T> {
    /// Tries again after an error, a timeout, a panic or the death of the worker.
    ///
    /// Without it the first error is the step's; a body whose worker died runs again all the same.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Tries again only after errors of this type, found anywhere in the chain of sources, of
    /// which `worth_it` says so.
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::{io, time::Duration};
    /// async fn fetch(mut ctx: Ctx, _url: String) -> Result<u64, StepError> {
    ///     ctx.step_with("get", async |at: Attempt| match at.number() {
    ///         1 => Err(io::Error::from(io::ErrorKind::TimedOut)), // worth another try
    ///         _ => Err(io::Error::from(io::ErrorKind::NotFound)), // not
    ///     })
    ///     .retry(Retry::fixed(9, Duration::from_millis(5)))
    ///     .retry_if(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
    ///     .await
    /// }
    /// # const FETCH: Workflow<String, u64> = Workflow::new("fetch");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(FETCH, fetch).build()?;
    /// # let worker = engine.spawn_worker();
    /// let failed = engine.client().start(FETCH, "/".to_owned()).await?.output().await.unwrap_err();
    /// assert!(failed.to_string().contains("failed after 2 attempts"), "{failed}");
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_if<E: StdError + 'static>(
        mut self,
        worth_it: impl Fn(&E) -> bool + Send + 'a,
    ) -> Self {
        self.retry_if = Some(Box::new(move |error| find_error::<E>(error).is_some_and(&worth_it)));
        self
    }

    /// Gives each attempt this long; one that takes longer has failed, and may be retried.
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::time::Duration;
    /// async fn ask(mut ctx: Ctx, nobody: String) -> Result<bool, StepError> {
    ///     let asked = ctx
    ///         .step("ask", async || std::future::pending::<Result<String, StepError>>().await)
    ///         .timeout(Duration::from_millis(20))
    ///         .await;
    ///     Ok(asked.is_err_and(|error| error.is_timeout()))
    /// }
    /// # const ASK: Workflow<String, bool> = Workflow::new("ask");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(ASK, ask).build()?;
    /// # let worker = engine.spawn_worker();
    /// assert!(engine.client().start(ASK, "nobody".to_owned()).await?.output().await?);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives the whole step this long from when the workflow asks for it: also while its body
    /// waits for room or for another attempt, and across crashes. A step whose deadline has passed
    /// fails, and [`StepError::is_timeout`] says so.
    ///
    /// The time counts from when a worker first comes to this step, and is noted with the next
    /// record of the run; if the worker dies before, it begins anew. A deadline that is noted stays
    /// as it is when the code changes.
    ///
    /// ```
    /// # use world_core::{testing::TestEngine, *};
    /// # use std::time::Duration;
    /// const HOUR: Duration = Duration::from_secs(3600);
    ///
    /// async fn approval(mut ctx: Ctx, (): ()) -> Result<bool, StepError> {
    ///     let approved = ctx
    ///         .step("approved", async || Err::<(), _>("not yet"))
    ///         .retry(Retry::fixed(u32::MAX, Duration::from_secs(60)))
    ///         .deadline(HOUR)
    ///         .await;
    ///     Ok(!approved.is_err_and(|error| error.is_timeout()))
    /// }
    /// # const APPROVAL: Workflow<(), bool> = Workflow::new("approval");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let t = TestEngine::new().workflow(APPROVAL, approval);
    /// assert!(!t.run(APPROVAL, ()).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(self, deadline: Duration) -> Self {
        self.shared.set_deadline(self.op, deadline);
        self
    }

    /// Runs the body at most once: it is announced in the log first, and after a crash the step
    /// ends as [`StepError::Interrupted`] instead of running again. It is not retried.
    ///
    /// ```
    /// # use world_core::*;
    /// async fn launch(mut ctx: Ctx, rocket: u64) -> anyhow::Result<u64> {
    ///     match ctx.step("launch", async || Ok::<_, StepError>(rocket)).at_most_once().await {
    ///         Err(StepError::Interrupted { .. }) => anyhow::bail!("look whether it has left"),
    ///         launched => Ok(launched?),
    ///     }
    /// }
    /// # const LAUNCH: Workflow<u64, u64> = Workflow::new("launch");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(LAUNCH, launch).build()?;
    /// # let worker = engine.spawn_worker();
    /// assert_eq!(engine.client().start(LAUNCH, 11).await?.output().await?, 11);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }

    fn result(&mut self, logged: &Logged) -> Option<Result<T, StepError>> {
        match &logged.event {
            Event::StepCompleted { result, .. } => {
                let kept = self.kept.take().filter(|kept| kept.place == result.place());
                let kept = kept.map(|kept| kept.value);
                match (self.decode.logged)(&self.shared, logged.position, result, kept) {
                    Ok(value) => Some(Ok(value)),
                    Err(undecodable) => {
                        self.shared.block(Divergence {
                            position: logged.position,
                            kind: logged.event.kind(),
                            key: Some(self.key.clone()),
                            why: Mismatch::Undecodable {
                                wanted: std::any::type_name::<T>(),
                                why: undecodable.why.into_owned(),
                            },
                            open: Vec::new(),
                        });
                        None
                    }
                }
            }
            Event::StepFailed { failure, .. } if failure.kind == FailureKind::Interrupted => {
                Some(Err(StepError::Interrupted { key: self.key.clone() }))
            }
            Event::StepFailed { failure, attempts, .. } => Some(Err(StepError::Failed {
                key: self.key.clone(),
                attempts: *attempts,
                failure: failure.clone(),
            })),
            _ => None,
        }
    }
}

impl<T> Future for Step<'_, T> {
    type Output = Result<T, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let step = &mut *self;
        match step.shared.poll(step.op, &step.key, cx) {
            Turn::Pending => Poll::Pending,
            Turn::Run(run) => {
                step.run(run);
                Poll::Pending
            }
            Turn::Take(parcel) => {
                step.done = true;
                step.drop_body();
                match parcel {
                    Parcel::Cancelled => Poll::Ready(Err(StepError::Cancelled)),
                    Parcel::Logged(logged) => match step.result(&logged) {
                        Some(result) => Poll::Ready(result),
                        None => Poll::Pending,
                    },
                }
            }
        }
    }
}

impl<T> Drop for Step<'_, T> {
    fn drop(&mut self) {
        self.drop_body();
        if !self.done {
            self.shared.dropped(self.op);
        }
    }
}

impl<T> fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Step").field(&self.key).finish()
    }
}

/// The error of a body that has run, and whose result cannot be recorded.
fn unrecordable(error: Error) -> BoxError {
    Fatal::new(format!("the step's body has run, and what it left is not recorded: {error}")).into()
}
