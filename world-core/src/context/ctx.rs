//! The context: how a workflow asks for durable operations.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use super::{Attempt, BoxError, Sleep, Step};
use crate::{
    ids::{RunId, Timestamp},
    replay::{Key, Namer, Shared},
};

/// What a workflow gets: the only way to durable operations, times and random numbers.
///
/// It is not `Clone`, and its operations take `&mut self`: each piece of concurrent code takes a
/// [`branch`](Ctx::branch) of its own, so that no key depends on the order in which futures are
/// polled. One context in two branches does not compile:
///
/// ```compile_fail,E0499
/// # use world_core::{Ctx, StepError};
/// async fn both(mut ctx: Ctx) -> Result<u64, StepError> {
///     let left = async { ctx.step("left", async || Ok::<_, StepError>(1)).await };
///     let right = async { ctx.step("right", async || Ok::<_, StepError>(2)).await };
///     Ok(left.await? + right.await?)
/// }
/// ```
///
/// Nor does a step inside a step:
///
/// ```compile_fail
/// # use world_core::{Ctx, StepError};
/// async fn nested(mut ctx: Ctx) -> Result<u64, StepError> {
///     let mut inner = ctx.branch("inner");
///     ctx.step("outer", async || inner.step("inner", async || Ok::<_, StepError>(1)).await).await
/// }
/// ```
pub struct Ctx {
    shared: Arc<Shared>,
    namer: Namer,
    shielded: bool,
    draws: u64,
}

impl Ctx {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, namer: Namer::default(), shielded: false, draws: 0 }
    }

    /// A step: `body` does the work, and its result is recorded once.
    ///
    /// The body borrows from the workflow and cannot write its locals. It runs at least once: after
    /// a crash before the result is recorded it runs again. Awaiting the step gives the recorded
    /// result. Nothing happens before the step is awaited; dropping it cancels the body.
    ///
    /// - What the step gives is decoded from what is recorded, in MessagePack. A result that does not
    ///   decode again is not recorded: the step fails with
    ///   [`Fatal`](crate::event::FailureKind::Fatal), although its body has run. Such are a field with
    ///   `skip_serializing_if` and without `default`; `u128`, `IpAddr` and `SocketAddr` below the
    ///   attributes `tag`, `untagged` and `flatten`; and `Some(())` and `Some(None)`, which would come
    ///   back as `None`. A `Vec<u8>` is shorter as `serde_bytes::ByteBuf`.
    /// - A result may take as much as the World's limit for a record once it is sealed, 1 MiB in
    ///   memory and on SQLite; a larger one is a failed step.
    /// - The type of the body's error must be known, and a body that only returns `Ok` does not say
    ///   it: `async || Ok(7)` does not compile, nor does one that uses `?` before it.
    ///   `anyhow::Ok(7)` is the shortest form that infers the type, and `Ok::<_, StepError>(7)` the
    ///   one without another crate. A body that ends in a call whose error is known needs neither.
    /// - A body must not block its thread: give blocking work to `tokio::task::spawn_blocking`.
    ///
    /// ```
    /// # use world_core::{Ctx, Retry};
    /// # use std::time::Duration;
    /// # struct Bank;
    /// # impl Bank { async fn charge(&self, cents: u64) -> Result<u64, std::io::Error> { Ok(cents) } }
    /// async fn order(mut ctx: Ctx, cents: u64) -> anyhow::Result<u64> {
    ///     let bank = Bank;
    ///     let receipt = ctx
    ///         .step("charge", async || bank.charge(cents).await)
    ///         .retry(Retry::exponential(5))
    ///         .timeout(Duration::from_secs(10))
    ///         .await?;
    ///     Ok(receipt)
    /// }
    /// ```
    ///
    /// A body that writes a local of the workflow does not compile, for replay would not write it:
    ///
    /// ```compile_fail
    /// # use world_core::{Ctx, StepError};
    /// async fn count(mut ctx: Ctx) -> Result<u64, StepError> {
    ///     let mut n = 0;
    ///     ctx.step("count", async || { n += 1; Ok::<_, StepError>(n) }).await
    /// }
    /// ```
    ///
    /// Nor does one that cannot run again because it consumes what it captured:
    ///
    /// ```compile_fail,E0507
    /// # use world_core::{Ctx, StepError};
    /// async fn send(mut ctx: Ctx, letter: String) -> Result<String, StepError> {
    ///     ctx.step("send", || { let l = letter; async move { Ok::<_, StepError>(l) } }).await
    /// }
    /// ```
    ///
    /// Nor one that cannot move between threads:
    ///
    /// ```compile_fail
    /// # use world_core::{Ctx, StepError};
    /// # async fn work() {}
    /// async fn count(mut ctx: Ctx) -> Result<u64, StepError> {
    ///     ctx.step("count", async || {
    ///         let n = std::rc::Rc::new(1);
    ///         work().await;
    ///         Ok::<_, StepError>(*n)
    ///     })
    ///     .await
    /// }
    /// ```
    pub fn step<'a, F, Fut, T, E>(&mut self, name: &str, body: F) -> Step<'a, T>
    where
        F: Fn() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Into<BoxError>,
    {
        Step::new(&self.shared, self.namer.operation(name), self.shielded, move |_| body())
    }

    /// A step whose body is told which attempt it is.
    ///
    /// ```
    /// # use world_core::*;
    /// # struct Bank;
    /// # impl Bank { async fn pay(&self, cents: u64, _key: String) -> Result<u64, std::io::Error> { Ok(cents) } }
    /// async fn pay(mut ctx: Ctx, cents: u64) -> anyhow::Result<u64> {
    ///     let bank = Bank;
    ///     let paid = ctx
    ///         .step_with("pay", async |at: Attempt| bank.pay(cents, at.idempotency_key()).await)
    ///         .await?;
    ///     Ok(paid)
    /// }
    /// # const PAY: Workflow<u64, u64> = Workflow::new("pay");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(PAY, pay).build()?;
    /// # let worker = engine.spawn_worker();
    /// assert_eq!(engine.client().start(PAY, 700).await?.output().await?, 700);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn step_with<'a, F, Fut, T, E>(&mut self, name: &str, body: F) -> Step<'a, T>
    where
        F: Fn(Attempt) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Into<BoxError>,
    {
        Step::new(&self.shared, self.namer.operation(name), self.shielded, body)
    }

    /// A durable sleep: it outlives the worker, and takes no worker's time.
    ///
    /// It is recorded with the time it ends, so a later change of `duration` in the code does not
    /// move a sleep that has begun and been recorded.
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::time::Duration;
    /// async fn remind(mut ctx: Ctx, delay: Duration) -> Result<u128, StepError> {
    ///     let before = ctx.now();
    ///     ctx.sleep(delay).await?;
    ///     Ok(ctx.now().since(before).as_millis())
    /// }
    /// # const REMIND: Workflow<Duration, u128> = Workflow::new("remind");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(REMIND, remind).build()?;
    /// # let worker = engine.spawn_worker();
    /// let run = engine.client().start(REMIND, Duration::from_millis(20)).await?;
    /// assert!(run.output().await? >= 20);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sleep(&mut self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().plus(duration))
    }

    /// A durable sleep until a time; one that is past ends at once.
    pub fn sleep_until(&mut self, until: Timestamp) -> Sleep {
        Sleep::new(&self.shared, self.namer.operation("sleep"), until, self.shielded)
    }

    /// A context for another piece of concurrent code, with keys of its own below `name`.
    ///
    /// ```
    /// # use world_core::*;
    /// async fn both(mut ctx: Ctx, n: u64) -> Result<u64, StepError> {
    ///     let (mut left, mut right) = (ctx.branch("left"), ctx.branch("right"));
    ///     let (left, right) = futures::join!(
    ///         left.step("add", async || Ok::<_, StepError>(n + 1)), // left/add
    ///         right.step("add", async || Ok::<_, StepError>(n + 2)), // right/add
    ///     );
    ///     Ok(left? + right?)
    /// }
    /// # const BOTH: Workflow<u64, u64> = Workflow::new("both");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(BOTH, both).build()?;
    /// # let worker = engine.spawn_worker();
    /// assert_eq!(engine.client().start(BOTH, 1).await?.output().await?, 5);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn branch(&mut self, name: &str) -> Self {
        self.branch_for("ctx.branch()", name)
    }

    fn branch_for(&mut self, call: &'static str, name: &str) -> Self {
        self.shared.draw(call, self.namer.path());
        Self {
            shared: Arc::clone(&self.shared),
            namer: self.namer.branch(name),
            shielded: self.shielded,
            draws: 0,
        }
    }

    /// A branch that a cancellation of the run does not reach: for what must be undone.
    ///
    /// ```
    /// # use world_core::*;
    /// # use std::time::Duration;
    /// async fn rent(mut ctx: Ctx, car: u64) -> Result<u64, StepError> {
    ///     let ended = ctx.sleep(Duration::from_secs(3600)).await;
    ///     ctx.shield().step("take back", async || Ok::<_, StepError>(car)).await?;
    ///     ended.map(|()| car)
    /// }
    /// # const RENT: Workflow<u64, u64> = Workflow::new("rent");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(RENT, rent).build()?;
    /// # let worker = engine.spawn_worker();
    /// let run = engine.client().start(RENT, 7).id("car-7").await?;
    /// run.cancel("no longer wanted").await?;
    /// assert!(matches!(run.output().await, Err(RunError::Cancelled { .. })));
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn shield(&mut self) -> Self {
        Self { shielded: true, ..self.branch_for("ctx.shield()", "shield") }
    }

    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.shared.identity.run
    }

    /// The time, as far as the workflow has been told: the latest time of any result it was given.
    /// The same in every replay; it writes nothing.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// 64 random bits, the same in every replay; it writes nothing.
    ///
    /// Call it in the workflow and give the body of a step what it returns: in a body, which a replay
    /// does not run, it blocks the run.
    pub fn random(&mut self) -> u64 {
        first_u64(&self.draw("ctx.random()"))
    }

    /// A random UUID (version 4), the same in every replay; it writes nothing.
    ///
    /// ```
    /// # use world_core::*;
    /// async fn number(mut ctx: Ctx, prefix: String) -> Result<String, StepError> {
    ///     Ok(format!("{prefix}-{}", ctx.uuid()))
    /// }
    /// # const NUMBER: Workflow<String, String> = Workflow::new("number");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let engine = Engine::builder(MemoryWorld::new()).key(seal::Key::generate()).workflow(NUMBER, number).build()?;
    /// # let worker = engine.spawn_worker();
    /// let number = engine.client().start(NUMBER, "order".to_owned()).await?.output().await?;
    /// assert_eq!(number.len(), "order-".len() + 36);
    /// # worker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn uuid(&mut self) -> uuid::Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.draw("ctx.uuid()")[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn draw(&mut self, call: &'static str) -> [u8; 32] {
        self.shared.draw(call, self.namer.path());
        self.draws += 1;
        let draw = self.draws.to_be_bytes();
        derive(&self.shared, "random", &[self.namer.path().as_bytes(), &draw])
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("run", self.run_id())
            .field("branch", &self.namer.path())
            .finish_non_exhaustive()
    }
}

/// Random bytes of a run, for a purpose: HMAC-SHA-256 (RFC 2104) of the parts, each with its
/// length before it, under the run's sealed seed.
pub(super) fn derive(shared: &Shared, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(&shared.identity.seed.0) {
        Ok(mac) => mac,
        Err(_) => return [0; 32], // HMAC takes a key of any length
    };
    let run = shared.identity.run.as_str().as_bytes();
    for part in [purpose.as_bytes(), run].into_iter().chain(parts.iter().copied()) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) const fn first_u64(bytes: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What identifies one step of one run to the outside, for ever.
pub(super) fn idempotency_key(shared: &Shared, key: &Key) -> String {
    let bytes = derive(shared, "idempotency", &[key.as_str().as_bytes()]);
    bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
