//! Values that do not come back from what they are encoded as.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use kit::{Done, live};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use world_core::{
    Ctx, ErrorKind, List, Residency, Retry, RunError, StepError, Workflow, World,
    codec::{decode_value, encode_value},
    event::{Event, FailureKind},
    frozen,
    seal::Plain,
    testing::{Replay, TestEngine},
};

/// A text that no error may repeat.
const CANARY: &str = "canary-5150";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Skipped {
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

fn skipped() -> Skipped {
    Skipped { id: CANARY.to_owned(), notes: Vec::new() }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Wide { n: u128 },
    Ip { ip: IpAddr },
    Socket { at: SocketAddr },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Wide(u128),
    Ip(IpAddr),
    Socket(SocketAddr),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flat<T> {
    #[serde(flatten)]
    inner: Inner<T>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Inner<T> {
    field: T,
}

/// Is written as a text and read as a number.
#[derive(Clone, Debug)]
struct Asymmetric;

impl Serialize for Asymmetric {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(CANARY)
    }
}

impl<'de> Deserialize<'de> for Asymmetric {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(|_| Self)
    }
}

#[derive(Clone, Debug, Serialize)]
struct PanicsWhenRead(u8);

impl<'de> Deserialize<'de> for PanicsWhenRead {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a Deserialize panics");
    }
}

#[derive(Clone, Debug, Deserialize)]
struct PanicsWhenWritten;

impl Serialize for PanicsWhenWritten {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a Serialize panics");
    }
}

/// Runs a step that leaves this value and may be tried five times, in a workflow that goes on
/// without it. Returns the step's failure.
async fn failure_of_step<T>(value: T) -> String
where
    T: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let bodies = Arc::new(AtomicU64::new(0));
    let program = {
        let bodies = Arc::clone(&bodies);
        move |mut ctx: Ctx, _: u64| {
            let (value, bodies) = (value.clone(), Arc::clone(&bodies));
            async move {
                let step = ctx.step("charge", async || {
                    bodies.fetch_add(1, SeqCst);
                    Done::Ok(value.clone())
                });
                let failure = match step.retry(Retry::exponential(5)).await {
                    Err(StepError::Failed { attempts: 1, failure, .. }) => failure,
                    other => anyhow::bail!("{other:?}"),
                };
                anyhow::ensure!(failure.kind == FailureKind::Fatal, "{failure:?}");
                ctx.step("refund", async || Done::Ok(())).await?;
                anyhow::Ok(failure.message)
            }
        }
    };
    let workflow = Workflow::<u64, String>::new("charge");
    let (output, run, log) = live(workflow, program.clone(), 0, 3).await;
    assert_eq!(bodies.load(SeqCst), 1, "{}", std::any::type_name::<T>());
    let failure = output.unwrap_or_else(|error| panic!("{error}\n{log:#?}"));
    Replay::of(log).run(&run).with(workflow, program).every_prefix().jitter(8).check().unwrap();
    assert!(!failure.contains(CANARY), "{failure}");
    assert!(failure.contains("the step's body has run"), "{failure}");
    failure
}

#[tokio::test]
async fn a_result_that_does_not_decode_again_is_a_fatal_failure_and_the_workflow_goes_on() {
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    let at: SocketAddr = "[::1]:443".parse().unwrap();
    let failures = [
        (failure_of_step(skipped()).await, "the field notes is missing"),
        (failure_of_step(Tagged::Wide { n: 5 }).await, "u128 is not supported"),
        (failure_of_step(Tagged::Ip { ip }).await, "expected IP address"),
        (failure_of_step(Tagged::Socket { at }).await, "expected socket address"),
        (failure_of_step(Untagged::Wide(5)).await, "no variant of untagged enum Untagged"),
        (failure_of_step(Untagged::Ip(ip)).await, "no variant of untagged enum Untagged"),
        (failure_of_step(Untagged::Socket(at)).await, "no variant of untagged enum Untagged"),
        (failure_of_step(Flat { inner: Inner { field: 5_u128 } }).await, "u128 is not supported"),
        (failure_of_step(Flat { inner: Inner { field: ip } }).await, "expected IP address"),
        (failure_of_step(Flat { inner: Inner { field: at } }).await, "expected socket address"),
        (failure_of_step(Asymmetric).await, "a field of another type"),
        (failure_of_step(PanicsWhenRead(1)).await, "its Deserialize panics"),
        (failure_of_step(vec![Some(skipped())]).await, "the field notes is missing"),
    ];
    for (failure, reason) in failures {
        assert!(failure.contains(reason), "{failure}, and not: {reason}");
    }
}

#[tokio::test]
async fn the_failure_says_what_to_change() {
    assert!(failure_of_step(skipped()).await.contains("#[serde(default)]"));
    let tagged = failure_of_step(Tagged::Wide { n: 5 }).await;
    assert!(tagged.contains("tag, untagged and flatten"), "{tagged}");
    let nil = failure_of_step(Some(())).await;
    assert!(nil.contains("an enum"), "{nil}");
}

#[tokio::test]
async fn a_serialize_that_panics_is_a_fatal_failure_and_the_body_does_not_run_again() {
    let failure = failure_of_step(PanicsWhenWritten).await;
    assert!(failure.contains("its Serialize panics"), "{failure}");
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Newtype<T>(T);

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(transparent)]
struct Transparent {
    field: Option<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
enum Wraps {
    Newtype(Option<Option<u8>>),
    Tuple(u8, Option<Option<u8>>),
    Struct { field: Option<Option<u8>> },
}

#[tokio::test]
async fn a_some_that_would_come_back_as_none_is_a_fatal_failure() {
    let failures = [
        failure_of_step(Some(())).await,
        failure_of_step(Some(None::<u8>)).await,
        failure_of_step(Some(Some(None::<u8>))).await,
        failure_of_step(Some(Newtype(()))).await,
        failure_of_step(Some(Newtype(None::<u8>))).await,
        failure_of_step(Newtype(Some(None::<u8>))).await,
        failure_of_step(Some(Box::new(()))).await,
        failure_of_step(Some(Transparent { field: None })).await,
        failure_of_step(Some(serde_json::Value::Null)).await,
        failure_of_step(vec![Some(Some(1)), Some(None)]).await,
        failure_of_step((1, Some(()))).await,
        failure_of_step(std::collections::BTreeMap::from([(1, Some(()))])).await,
        failure_of_step(Wraps::Newtype(Some(None))).await,
        failure_of_step(Wraps::Tuple(1, Some(None))).await,
        failure_of_step(Wraps::Struct { field: Some(None) }).await,
        failure_of_step(Inner { field: Some(()) }).await,
        failure_of_step(Flat { inner: Inner { field: Some(()) } }).await,
    ];
    for failure in failures {
        assert!(failure.contains("would come back as None"), "{failure}");
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Unit;

#[test]
fn a_value_that_comes_back_is_encoded() {
    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let plain = encode_value(&value).unwrap();
        assert_eq!(decode_value::<T>(&plain).unwrap(), value);
    }
    comes_back(());
    comes_back(None::<()>);
    comes_back(None::<Option<u8>>);
    comes_back(Some(Some(2)));
    comes_back(Some(Unit));
    comes_back(Some(vec![None, Some(1)]));
    comes_back(Some((None::<u8>, ())));
    comes_back(Some(Inner2 { field: None::<u8> }));
    comes_back(Some(Wraps::Newtype(None)));
    comes_back(Wraps::Tuple(1, Some(Some(3))));
    comes_back(Some(Ok::<(), ()>(())));
    comes_back(Some(String::new()));
    comes_back(vec![(), ()]);
    comes_back(u128::MAX);
    comes_back(i128::MIN);
    comes_back(('x', -0.0_f64, 1.5_f32, i64::MIN));
    comes_back("10.0.0.1".parse::<IpAddr>().unwrap());
    comes_back(std::collections::BTreeMap::from([((1_u8, 2_u8), Some(3_u8))]));
    comes_back(serde_bytes::ByteBuf::from(vec![1, 2, 255]));
    comes_back(Duration::from_millis(5));
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Inner2<T> {
    field: T,
}

#[test]
fn a_nil_that_an_earlier_version_wrote_for_some_is_read_as_none() {
    let nil = Plain::new(vec![0xC0]);
    assert_eq!(decode_value::<Option<()>>(&nil).unwrap(), None);
    assert_eq!(decode_value::<Option<Option<u8>>>(&nil).unwrap(), None);
}

/// Starts a run with this input; returns why it is refused.
async fn refusal_of_input<I>(input: I) -> String
where
    I: Serialize + DeserializeOwned + Send + 'static,
{
    let workflow = Workflow::<I, u64>::new("input");
    let t = TestEngine::new().workflow(workflow, |_: Ctx, _: I| async { anyhow::Ok(1) });
    let error = t.start(workflow, input).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let runs = t.world().list(&List::all(NonZeroU32::MAX)).await.unwrap().runs;
    assert!(runs.is_empty(), "{runs:?}");
    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn an_input_that_does_not_come_back_is_refused_before_anything_is_written() {
    let refusals = [
        (refusal_of_input(skipped()).await, "the field notes is missing"),
        (refusal_of_input(Tagged::Wide { n: 5 }).await, "u128 is not supported"),
        (refusal_of_input(Asymmetric).await, "a field of another type"),
        (refusal_of_input(PanicsWhenRead(1)).await, "its Deserialize panics"),
        (refusal_of_input(PanicsWhenWritten).await, "its Serialize panics"),
        (refusal_of_input(Some(())).await, "would come back as None"),
    ];
    for (refusal, reason) in refusals {
        assert!(refusal.contains(reason), "{refusal}, and not: {reason}");
    }
}

/// Runs a workflow with this output; returns the run's failure.
async fn failure_of_output<O>(output: O) -> String
where
    O: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let workflow = Workflow::<u64, O>::new("output");
    let program = move |mut ctx: Ctx, _: u64| {
        let output = output.clone();
        async move {
            ctx.step("step", async || Done::Ok(())).await?;
            anyhow::Ok(output)
        }
    };
    let (ended, run, log) = live(workflow, program.clone(), 0, 3).await;
    let Err(RunError::Failed { failure, .. }) = ended else { panic!("{ended:?}\n{log:#?}") };
    Replay::of(log).run(&run).with(workflow, program).every_prefix().jitter(8).check().unwrap();
    assert!(!format!("{failure:?}").contains(CANARY), "{failure:?}");
    failure.message
}

#[tokio::test]
async fn an_output_that_does_not_come_back_fails_the_run() {
    let failures = [
        (failure_of_output(skipped()).await, "the field notes is missing"),
        (failure_of_output(Untagged::Wide(5)).await, "no variant of untagged enum Untagged"),
        (failure_of_output(Asymmetric).await, "a field of another type"),
        (failure_of_output(PanicsWhenRead(1)).await, "its Deserialize panics"),
        (failure_of_output(PanicsWhenWritten).await, "its Serialize panics"),
        (failure_of_output(Some(())).await, "would come back as None"),
    ];
    for (failure, reason) in failures {
        assert!(failure.contains(reason), "{failure}, and not: {reason}");
    }
}

#[tokio::test]
async fn a_stored_result_that_does_not_decode_blocks_with_the_cause() {
    #[derive(Serialize, Deserialize)]
    struct Old {
        id: String,
    }
    #[derive(Serialize, Deserialize)]
    struct New {
        id: String,
        total: u64,
    }
    const CHARGE: Workflow<u64, u64> = Workflow::new("charge");
    let old = |mut ctx: Ctx, _: u64| async move {
        ctx.step("charge", async || Done::Ok(Old { id: CANARY.to_owned() })).await?;
        ctx.sleep(Duration::from_secs(60)).await?;
        anyhow::Ok(0)
    };
    let new = |mut ctx: Ctx, _: u64| async move {
        let new =
            ctx.step("charge", async || Done::Ok(New { id: String::new(), total: 1 })).await?;
        ctx.sleep(Duration::from_secs(60)).await?;
        anyhow::Ok(new.total)
    };
    let t = TestEngine::new().workflow(CHARGE, old);
    let run = t.start(CHARGE, 0).await.unwrap();
    t.turn().await.unwrap();
    let error = t.deploy().workflow(CHARGE, new).finish(&run).await.unwrap_err().to_string();
    assert!(error.contains("wants a ") && error.contains("New"), "{error}");
    assert!(error.contains("the field total is missing"), "{error}");
    assert!(!error.contains(CANARY), "{error}");
}

#[tokio::test]
async fn a_stored_input_that_does_not_decode_blocks_with_the_cause() {
    const OLD: Workflow<u64, u64> = Workflow::new("input");
    const NEW: Workflow<Newtype<bool>, u64> = Workflow::new("input");
    let t = TestEngine::new().workflow(OLD, |_: Ctx, _| async { anyhow::Ok(0) });
    let run = t.start(OLD, 7).await.unwrap();
    let new = t.deploy().workflow(NEW, |_: Ctx, _| async { anyhow::Ok(0) });
    let error = new.finish(&run).await.unwrap_err().to_string();
    assert!(error.contains("expected a boolean"), "{error}");
}

static DECODED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug, Serialize)]
struct Counted {
    n: u64,
}
frozen!(Counted { n });

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            n: u64,
        }
        DECODED.fetch_add(1, SeqCst);
        Fields::deserialize(from).map(|Fields { n }| Self { n })
    }
}

#[tokio::test]
async fn a_resident_program_decodes_each_result_once() {
    const STEPS: u64 = 20;
    const COUNT: Workflow<u64, u64> = Workflow::new("count");
    let program = |mut ctx: Ctx, steps: u64| async move {
        let mut sum = Counted { n: 0 };
        for _ in 0..steps {
            sum = ctx.step("add", async || Done::Ok(Counted { n: sum.n + 1 })).await?;
            let shared = ctx.step("same", async || Done::Ok(sum.clone())).shared();
            sum = Counted::clone(&*shared.await?);
        }
        anyhow::Ok(sum.n)
    };
    let decoded = async |residency| {
        let t = TestEngine::new()
            .configure(|builder| builder.residency(residency))
            .workflow(COUNT, program);
        let before = DECODED.load(SeqCst);
        assert_eq!(t.run(COUNT, STEPS).await.unwrap(), STEPS);
        DECODED.load(SeqCst) - before
    };
    assert_eq!(decoded(Residency::Resident).await, 2 * STEPS);
    // Executed anew: what is not shared is decoded in each later turn too.
    let turns = 2 * STEPS;
    assert_eq!(decoded(Residency::Replay).await, 2 * STEPS + turns * (turns - 1) / 4 + STEPS / 2);
}

#[tokio::test]
async fn what_a_step_gives_is_what_was_decoded_from_the_record() {
    // A Deserialize may change a value: the live program sees what a replay will see.
    #[derive(Clone, Debug, Serialize)]
    struct Lower(String);
    impl<'de> Deserialize<'de> for Lower {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            String::deserialize(from).map(|text| Self(text.to_lowercase()))
        }
    }
    let program = |mut ctx: Ctx, _: u64| async move {
        let lower = ctx.step("lower", async || Done::Ok(Lower("ADA".to_owned()))).await?.0;
        ctx.step("next", async || Done::Ok(())).await?;
        anyhow::Ok(lower)
    };
    assert_eq!(kit::lives_and_replays(0..4, 4, program).await, ["ada"; 4]);
}

#[tokio::test]
async fn the_record_of_a_refused_result_holds_nothing_of_it() {
    const CHARGE: Workflow<u64, u64> = Workflow::new("charge");
    let t = TestEngine::new().workflow(CHARGE, |mut ctx: Ctx, _| async move {
        ctx.step("charge", async || Done::Ok(skipped())).await.map(|_| 1)
    });
    let run = t.start(CHARGE, 0).await.unwrap();
    t.finish(&run).await.unwrap_err();
    let log = t.log(run.id()).await.unwrap();
    assert!(!log.iter().any(|logged| matches!(logged.event, Event::StepCompleted { .. })));
    assert!(!format!("{log:?}").contains(CANARY), "{log:?}");
}
