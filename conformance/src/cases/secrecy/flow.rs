//! Workflows with a canary in every kind of payload.

use std::{error::Error as StdError, fmt, time::Duration};

use serde::de::DeserializeOwned;
use world_core::{Ctx, Engine, EngineBuilder, Retry, RunError, RunHandle, StepError, Workflow};

use super::canaries::*;
use crate::{
    failure::{Failure, Verdict, error_text},
    pace::within,
};

/// The id of the first run: clear by design, so it must be found.
pub(super) const RUN: &str = "run-that-may-be-found";
const FAILS: &str = "run-that-fails";
const WAITS: &str = "run-that-is-cancelled";

const EVERYTHING: Workflow<String, String> = Workflow::new("everything");
const FAILING: Workflow<(), ()> = Workflow::new("failing");
const WAITING: Workflow<(), ()> = Workflow::new("waiting");

/// An error with a cause.
#[derive(Debug)]
struct Caused(String, Option<Box<Self>>);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Caused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.1.as_ref().map(|cause| &**cause as _)
    }
}

async fn everything(mut ctx: Ctx, _: String, canaries: Canaries) -> Result<String, StepError> {
    let of = &canaries;
    ctx.step("text", async || Ok::<_, StepError>(of.text(TEXT))).await?;
    ctx.step("bytes", async || Ok::<_, StepError>(Bytes(of.bytes(BYTES)))).await?;
    ctx.step("long text", async || Ok::<_, StepError>(of.text(LONG_TEXT))).await?;
    ctx.step("long bytes", async || Ok::<_, StepError>(Bytes(of.bytes(LONG_BYTES)))).await?;
    ctx.sleep(Duration::from_millis(1)).await?;
    let retried = ctx.step_with("retried", async |attempt| match attempt.number() {
        1 => Err(Caused(of.text(RETRIED), None)),
        _ => Ok(()),
    });
    retried.retry(Retry::fixed(2, Duration::from_millis(1))).await?;
    let once = Retry::fixed(1, Duration::ZERO);
    let failure = || Caused(of.text(FAILURE), Some(Box::new(Caused(of.text(CAUSE), None))));
    let failed = ctx.step("failed", async || Err::<(), _>(failure())).retry(once).await;
    let panicked = ctx.step("panicked", async || panics(&of.text(PANIC))).retry(once).await;
    match (failed, panicked) {
        (Err(_), Err(_)) => Ok(of.text(OUTPUT)),
        _ => Ok("a step that fails has not failed".to_owned()),
    }
}

/// Panics without a word on the terminal.
fn panics(message: &str) -> Result<(), StepError> {
    std::panic::resume_unwind(Box::new(message.to_owned()))
}

/// Bytes that are encoded as bytes.
struct Bytes(Vec<u8>);

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Registers the workflows.
pub(super) fn register(builder: EngineBuilder, canaries: &Canaries) -> EngineBuilder {
    let (of_everything, of_failing) = (canaries.clone(), canaries.clone());
    builder
        .poll(Duration::from_millis(20))
        .workflow(EVERYTHING, move |ctx, input| everything(ctx, input, of_everything.clone()))
        .workflow(FAILING, move |_: Ctx, (): ()| {
            let failure = of_failing.text(RUN_FAILURE);
            async move { Err::<(), _>(Caused(failure, None)) }
        })
        .workflow(WAITING, |mut ctx: Ctx, (): ()| async move {
            ctx.sleep(Duration::from_secs(86_400)).await
        })
}

/// Runs all of them to their ends.
pub(super) async fn run(engine: &Engine, canaries: &Canaries) -> Verdict {
    let (client, worker) = (engine.client(), engine.spawn_worker());
    let run = client.start(EVERYTHING, canaries.text(INPUT)).id(RUN).await?;
    match end(run).await? {
        Ok(output) if output == canaries.text(OUTPUT) => {}
        other => return Err(ended_otherwise(RUN, &other)),
    }
    let run = client.start(FAILING, ()).id(FAILS).await?;
    match end(run).await? {
        Err(RunError::Failed { .. }) => {}
        other => return Err(ended_otherwise(FAILS, &other)),
    }
    let run = client.start(WAITING, ()).id(WAITS).await?;
    run.cancel(canaries.text(REASON)).await?;
    match end(run).await? {
        Err(RunError::Cancelled { .. }) => {}
        other => return Err(ended_otherwise(WAITS, &other)),
    }
    worker.shutdown().await;
    Ok(())
}

/// The longest a run may take on an idle machine.
const RUN_AT_MOST: Duration = Duration::from_secs(10);

async fn end<O: DeserializeOwned>(run: RunHandle<O>) -> Verdict<Result<O, RunError>> {
    let id = run.id().clone();
    let end = within(RUN_AT_MOST, run.output()).await;
    end.map_err(|waited| Failure::failed(format!("the run {id} has not ended within {waited:.0?}")))
}

fn ended_otherwise<T: fmt::Debug>(run: &str, end: &Result<T, RunError>) -> Failure {
    Failure::failed(format!("the run {run} has ended otherwise than it does: {end:?}"))
}

/// Errors of a client, each with its causes: of a log that does not open, of an output that does
/// not decode, of a run that is there already and of one that is not.
pub(super) async fn errors(engine: &Engine) -> Vec<(String, String)> {
    const AS_NUMBER: Workflow<u64, u64> = Workflow::new("everything");
    let client = engine.client();
    let mut texts = Vec::new();
    let mut tell = |text: Option<String>| {
        texts.extend(text.map(|text| ("an error of the engine".to_owned(), text)));
    };
    if let Ok(run) = client.run(AS_NUMBER, RUN) {
        tell(run.status().await.err().map(|error| told(&error)));
        tell(run.cancel("too late").await.err().map(|error| told(&error)));
        if let Ok(Err(RunError::World(error))) = end(run).await {
            tell(Some(told(&error)));
        }
    }
    tell(client.start(AS_NUMBER, 7).id(RUN).await.err().map(|error| told(&error)));
    tell(client.start(WAITING, ()).id(RUN).await.err().map(|error| told(&error)));
    texts
}

fn told(error: &world_core::Error) -> String {
    format!("{error} {error:?} {}", error_text(error))
}
