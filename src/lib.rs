//! Durable execution: plain `async fn`s that survive crashes.
//!
//! A workflow is an `async fn`. The result of every step in it is sealed (AES-256-GCM) and appended
//! to the run's event log in a [`World`]; after a crash the function is executed again, and the log
//! answers for what has already happened. A World is any store that can keep an ordered, append-only
//! log: SQLite, Redis, DynamoDB, memory, or one that you write.
//!
//! ```
//! use world::prelude::*;
//!
//! const GREET: Workflow<String, String> = Workflow::new("greet");
//!
//! async fn greet(mut ctx: Ctx, name: String) -> anyhow::Result<String> {
//!     let greeting = ctx.step("compose", async || compose(&name).await).await?; // recorded once
//!     ctx.sleep(SECOND / 100).await?;                                           // outlives the process
//!     Ok(greeting)
//! }
//!
//! # async fn compose(name: &str) -> anyhow::Result<String> { Ok(format!("Hello, {name}!")) }
//! #[tokio::main]
//! async fn main() -> anyhow::Result<()> {
//!     let world = world::connect("memory:").await?; // or sqlite://runs.db
//!     let engine = Engine::builder(world).key(Key::generate()).workflow(GREET, greet).build()?;
//!     let worker = engine.spawn_worker();
//!     let run = engine.client().start(GREET, "Ada".to_owned()).id("greet-ada").await?;
//!     assert_eq!(run.output().await?, "Hello, Ada!");
//!     worker.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # Steps
//!
//! [`Ctx::step`] takes a name and a body, an `async ||` that borrows what it needs. The body runs
//! *at least* once: if the process dies before its result is in the log, it runs again. Once the
//! result is in the log, it never runs again. [`Ctx::step_with`] tells the body which [`Attempt`] it
//! is, and gives it an idempotency key that is the same for all of them.
//!
//! ```
//! # use world::prelude::*;
//! # struct Bank;
//! # impl Bank { async fn charge(&self, cents: u64, _key: String) -> Result<u64, std::io::Error> { Ok(cents) } }
//! async fn pay(mut ctx: Ctx, cents: u64) -> anyhow::Result<u64> {
//!     let bank = Bank;
//!     let receipt = ctx
//!         .step_with("charge", async |at: Attempt| bank.charge(cents, at.idempotency_key()).await)
//!         .retry(Retry::exponential(5).max_delay(MINUTE))
//!         .timeout(SECOND * 10)
//!         .await?;
//!     Ok(receipt)
//! }
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! # const PAY: Workflow<u64, u64> = Workflow::new("pay");
//! # let engine = Engine::builder(MemoryWorld::new()).key(Key::generate()).workflow(PAY, pay).build()?;
//! # let worker = engine.spawn_worker();
//! # assert_eq!(engine.client().start(PAY, 700).await?.output().await?, 700);
//! # worker.shutdown().await; Ok(()) }
//! ```
//!
//! An error that is [`Fatal`] is not retried, one that is a [`RetryAfter`] says when. A step that
//! must never run twice is [`at_most_once`](Step::at_most_once): after a crash in its body it ends as
//! [`StepError::Interrupted`], and the workflow decides.
//!
//! # Concurrency
//!
//! Concurrent code takes a [`branch`](Ctx::branch) each, so that no name depends on who is faster.
//! `join!`, `join_all` and `select!` are the usual ones.
//!
//! ```
//! # use world::prelude::*;
//! use futures::future::try_join_all;
//!
//! async fn pack(mut ctx: Ctx, items: Vec<String>) -> anyhow::Result<usize> {
//!     let packed = try_join_all(items.iter().map(|item| {
//!         let mut branch = ctx.branch(item);
//!         async move { branch.step("pack", async || Ok::<_, StepError>(item.len())).await }
//!     }))
//!     .await?;
//!     Ok(packed.into_iter().sum())
//! }
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! # const PACK: Workflow<Vec<String>, usize> = Workflow::new("pack");
//! # let engine = Engine::builder(MemoryWorld::new()).key(Key::generate()).workflow(PACK, pack).build()?;
//! # let worker = engine.spawn_worker();
//! # let items = vec!["ink".to_owned(), "paper".to_owned()];
//! # assert_eq!(engine.client().start(PACK, items).await?.output().await?, 8);
//! # worker.shutdown().await; Ok(()) }
//! ```
//!
//! # Time and chance
//!
//! [`Ctx::now`], [`Ctx::random`] and [`Ctx::uuid`] are the same in every replay. [`Ctx::sleep`]
//! outlives the process, and takes no worker's time.
//!
//! # Cancellation
//!
//! [`RunHandle::cancel`] asks a run to end: its open operations end as [`StepError::Cancelled`],
//! except those of a [`shield`](Ctx::shield), under which a workflow undoes what it has done.
//!
//! ```
//! # use world::prelude::*;
//! async fn rent(mut ctx: Ctx, car: u64) -> anyhow::Result<u64> {
//!     let key = ctx.step("hand out", async || Ok::<_, StepError>(car)).await?;
//!     let ended = ctx.sleep(DAY * 7).await;
//!     let mut shield = ctx.shield();
//!     shield.step("take back", async || Ok::<_, StepError>(key)).await?;
//!     ended?; // a cancelled run ends as cancelled
//!     Ok(key)
//! }
//!
//! # const RENT: Workflow<u64, u64> = Workflow::new("rent");
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! # let engine = Engine::builder(MemoryWorld::new()).key(Key::generate()).workflow(RENT, rent).build()?;
//! # let worker = engine.spawn_worker();
//! let run = engine.client().start(RENT, 7).id("car-7").await?;
//! run.cancel("the customer called").await?;
//! assert!(matches!(run.output().await, Err(RunError::Cancelled { .. })));
//! # worker.shutdown().await; Ok(()) }
//! ```
//!
//! # Looking at a run
//!
//! [`RunHandle::log`] opens a run's whole log. A store sees less: the kind, the position and the time
//! of each record, and ciphertext.
//!
//! ```
//! # use world::{prelude::*, LogId, Position};
//! # const ADD: Workflow<u64, u64> = Workflow::new("add");
//! # async fn add(mut ctx: Ctx, n: u64) -> anyhow::Result<u64> {
//! #     Ok(ctx.step("add", async || Ok::<_, StepError>(n + 1)).await?)
//! # }
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! # let world = MemoryWorld::new();
//! # let engine = Engine::builder(world.clone()).key(Key::generate()).workflow(ADD, add).build()?;
//! # let worker = engine.spawn_worker();
//! assert_eq!(engine.client().start(ADD, 41).id("add-41").await?.output().await?, 42);
//! let run = engine.client().run(ADD, "add-41")?;
//! let kinds: Vec<_> = run.log().await?.iter().map(|logged| logged.event.kind().to_string()).collect();
//! assert_eq!(kinds, ["run_created", "step_completed", "run_completed"]);
//!
//! let stored = world.read_all(&LogId::Run(run.id().clone())).await?;
//! assert_eq!(stored.head, Position::new(3));
//! # worker.shutdown().await; Ok(()) }
//! ```
//!
//! # Testing
//!
//! In a [`TestEngine`](testing::TestEngine) three days take no time, and a
//! [`Replay`](testing::Replay) says whether code and log agree after a crash at any place.
//!
//! ```
//! # use world::prelude::*;
//! use world::testing::{Replay, TestEngine};
//!
//! # const REMIND: Workflow<String, String> = Workflow::new("remind");
//! async fn remind(mut ctx: Ctx, name: String) -> anyhow::Result<String> {
//!     ctx.sleep(DAY * 3).await?;
//!     let sent = ctx.step("send", async || Ok::<_, StepError>(format!("Dear {name}"))).await?;
//!     Ok(sent)
//! }
//!
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! let t = TestEngine::new().workflow(REMIND, remind);
//! let run = t.start(REMIND, "Ada".to_owned()).await?;
//! assert_eq!(t.finish(&run).await?, "Dear Ada");
//!
//! let log = t.log(run.id()).await?;
//! Replay::of(log).run(run.id()).with(REMIND, remind).every_prefix().jitter(64).check()?;
//! # Ok(()) }
//! ```
//!
//! # Worlds
//!
//! [`connect`](connect()) opens the World that a URL names. Anything that implements [`World`] will
//! do; a [`Connector`] gives it a URL scheme, and the layers in [`layer`] go around any of them.
//!
//! # Features
//!
//! | feature | adds | least Rust |
//! |---|---|---|
//! | `sqlite` (default) | `sqlite:` URLs, `SqliteWorld` | 1.89 |
//! | `redis` | `redis:`, `redis+unix:` and `redis-cluster:` URLs, `RedisWorld` | 1.89 |
//! | `redis-tls` | `rediss:` and `rediss-cluster:` URLs | 1.89 |
//! | `dynamo` | `dynamodb:` URLs, `DynamoWorld` | 1.94.1 |
//! | none | `memory:` URLs, the engine, your own Worlds | 1.89 |

#![forbid(unsafe_code)]

mod connect;
pub mod prelude;

use std::time::Duration;

#[doc(inline)]
pub use world_core::{
    seal::{Key, KeyProvider, Keyring},
    *,
};
#[cfg(feature = "dynamo")]
#[doc(inline)]
pub use world_dynamo::{self as dynamo, DynamoWorld};
#[cfg(feature = "redis")]
#[doc(inline)]
pub use world_redis::{self as redis, RedisWorld};
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use world_sqlite::{self as sqlite, SqliteWorld};

pub use crate::connect::{Connecting, Connector, Connectors, connect};

/// A second.
pub const SECOND: Duration = Duration::from_secs(1);

/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);

/// An hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// 24 hours.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The code in the README and in the documents compiles.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/replay.md")]
#[doc = include_str!("../docs/recipes.md")]
#[doc = include_str!("../docs/operating.md")]
struct Documents;
