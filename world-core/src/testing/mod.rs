//! The test kit: replays of a log under stress, and an engine on which time takes no time.
//!
//! [`Replay`] answers "does this code agree with this log, whatever the timing?", for a log from
//! production or from a test. [`TestEngine`] answers "what does this workflow do?": a World in
//! memory, and a clock that jumps over every sleep.
//!
//! ```
//! use std::time::Duration;
//! use world_core::{Ctx, Workflow, testing::{Replay, TestEngine}};
//!
//! const REMIND: Workflow<String, String> = Workflow::new("remind");
//!
//! async fn remind(mut ctx: Ctx, name: String) -> anyhow::Result<String> {
//!     ctx.sleep(Duration::from_secs(3 * 24 * 3600)).await?;
//!     let sent = ctx.step("send", async || Ok::<_, anyhow::Error>(format!("Dear {name}"))).await?;
//!     Ok(sent)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let t = TestEngine::new().workflow(REMIND, remind);
//! let run = t.start(REMIND, "Ada".to_owned()).await?;
//! assert_eq!(t.finish(&run).await?, "Dear Ada"); // three days, in no time
//!
//! let log = t.log(run.id()).await?;
//! Replay::of(log).run(run.id()).with(REMIND, remind).every_prefix().jitter(64).check()?;
//! # Ok(())
//! # }
//! ```

mod engine;
mod error;
mod replay;

#[cfg(feature = "simulation")]
pub use crate::entropy::Predictable;
pub use engine::TestEngine;
pub use error::ReplayError;
pub use replay::{Replay, ReplayCheck};
