//! Starting a run again under its id.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;

use std::{collections::HashMap, fmt::Debug};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use world_core::{
    Ctx, Engine, Error, ErrorKind, MemoryWorld, Workflow,
    event::{Event, Logged},
    seal::{Key, Plain},
    testing::{Replay, TestEngine},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct First {
    a: u64,
}

/// The same with an optional field more.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Second {
    a: u64,
    #[serde(default)]
    gift: Option<bool>,
}

fn prices() -> HashMap<String, u64> {
    (0..12).map(|n| (format!("item {n}"), n)).collect()
}

fn client() -> world_core::Client {
    Engine::builder(MemoryWorld::new()).key(Key::generate()).build().unwrap().client()
}

/// Starts a run twice under one id, with inputs of two types.
async fn started_twice<A, B>(first: A, second: B) -> Result<(), Error>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    B: Serialize + DeserializeOwned + Send + 'static,
{
    let client = client();
    let run = client.start(Workflow::<A, u64>::new("order"), first).id("7").await.unwrap();
    assert!(run.is_new());
    let again = client.start(Workflow::<B, u64>::new("order"), second).id("7").await?;
    assert!(!again.is_new());
    assert_eq!(again.id(), run.id());
    Ok(())
}

#[tokio::test]
async fn a_start_with_an_equal_map_gives_the_same_run() {
    for _ in 0..50 {
        started_twice(prices(), prices()).await.unwrap();
        started_twice(vec![Some(prices())], vec![Some(prices())]).await.unwrap();
    }
    let other: HashMap<_, _> = prices().into_iter().map(|(item, n)| (item, n + 1)).collect();
    let error = started_twice(prices(), other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn a_start_with_an_optional_field_more_or_less_gives_the_same_run() {
    started_twice(First { a: 1 }, Second { a: 1, gift: None }).await.unwrap();
    started_twice(Second { a: 1, gift: None }, First { a: 1 }).await.unwrap();
    for second in [Second { a: 1, gift: Some(true) }, Second { a: 2, gift: None }] {
        let error = started_twice(First { a: 1 }, second).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("another input"), "{error}");
    }
}

#[tokio::test]
async fn a_client_without_the_types_compares_what_the_inputs_say() {
    use serde_json::{Value, json};
    started_twice(json!({"a": 1, "b": [1.5]}), json!({"b": [1.5], "a": 1})).await.unwrap();
    started_twice(Second { a: 1, gift: None }, json!({"gift": null, "a": 1})).await.unwrap();
    for other in [json!({"a": 1}), json!({"a": 1, "b": [-1.5]}), Value::Null] {
        let error = started_twice(json!({"a": 1, "b": [1.5]}), other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}

#[tokio::test]
async fn floating_point_numbers_are_compared_by_their_bits() {
    started_twice(f64::NAN, f64::NAN).await.unwrap();
    let error = started_twice(0.0, -0.0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn an_input_of_another_type_is_a_conflict_and_so_is_one_whose_deserialize_panics() {
    /// Reads only what it has written.
    #[derive(Serialize)]
    struct Picky(u64);
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let n = u64::deserialize(from)?;
            assert_eq!(n, 2, "a Deserialize panics");
            Ok(Self(n))
        }
    }
    for error in [
        started_twice("secret".to_owned(), 1_u64).await.unwrap_err(),
        started_twice(1_u64, vec![()]).await.unwrap_err(),
        started_twice(1_u64, Picky(2)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_start_under_the_id_of_another_workflow_is_a_conflict_and_a_bad_id_is_not() {
    const ORDER: Workflow<u64, u64> = Workflow::new("order");
    const MAIL: Workflow<u64, u64> = Workflow::new("mail");
    let client = client();
    client.start(ORDER, 1).id("7").await.unwrap();
    let error = client.start(MAIL, 1).id("7").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("runs the workflow order"), "{error}");
    assert_eq!(client.start(ORDER, 1).id("").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_run_that_has_ended_is_given_again_until_it_is_deleted_and_then_its_id_is_spent() {
    const ORDER: Workflow<u64, u64> = Workflow::new("order");
    let t = TestEngine::new().workflow(ORDER, |_: Ctx, n: u64| async move { anyhow::Ok(n) });
    let client = t.client().unwrap();
    let run = client.start(ORDER, 1).id("7").await.unwrap();
    t.finish(&run).await.unwrap();
    let again = client.start(ORDER, 1).id("7").await.unwrap();
    assert!(!again.is_new());
    assert_eq!(again.output().await.unwrap(), 1);
    let error = run.cancel("too late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ended, "{error}");
    client.delete(run.id()).await.unwrap();
    for input in [1, 2] {
        let error = client.start(ORDER, input).id("7").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ended, "{error}");
    }
}

#[tokio::test]
async fn a_handle_of_a_run_that_was_not_started_by_it_is_not_new() {
    const ORDER: Workflow<u64, u64> = Workflow::new("order");
    let client = client();
    assert!(client.start(ORDER, 1).await.unwrap().is_new());
    assert!(!client.run(ORDER, "7").unwrap().is_new());
}

/// Replays a log that ends with this output with code that returns another value of it.
async fn replayed<O>(
    logged: O,
    returned: impl Fn() -> O + Send + Sync + 'static,
) -> Result<(), String>
where
    O: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let workflow = Workflow::<u64, O>::new("output");
    let program = move |_: Ctx, _: u64| {
        let logged = logged.clone();
        async move { anyhow::Ok(logged) }
    };
    let (_, run, log) = kit::live(workflow, program, 0, 3).await;
    let code = move |_: Ctx, _: u64| {
        let output = returned();
        async move { anyhow::Ok(output) }
    };
    let check = Replay::of(log).run(&run).with(workflow, code).every_prefix().jitter(8).check();
    check.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_replay_takes_an_output_that_is_an_equal_map_and_no_other() {
    replayed(prices(), prices).await.unwrap();
    replayed(vec![prices()], || vec![prices()]).await.unwrap();
    let error = replayed(prices(), HashMap::new).await.unwrap_err();
    assert!(error.contains("returns another output"), "{error}");
    assert!(replayed(0.0, || -0.0).await.is_err());
}

#[tokio::test]
async fn a_replay_takes_an_output_with_an_optional_field_more() {
    const OLD: Workflow<u64, First> = Workflow::new("output");
    const NEW: Workflow<u64, Second> = Workflow::new("output");
    let old = |_: Ctx, a: u64| async move { anyhow::Ok(First { a }) };
    let (_, run, log) = kit::live(OLD, old, 5, 3).await;
    let check = |log: Vec<Logged>, gift| {
        let code = move |_: Ctx, a: u64| async move { anyhow::Ok(Second { a, gift }) };
        Replay::of(log).run(&run).with(NEW, code).check()
    };
    check(log.clone(), None).unwrap();
    assert!(check(log.clone(), Some(true)).is_err());
    // What is no Second at all.
    let mut other = log;
    if let Some(Event::RunCompleted { output }) = other.last_mut().map(|last| &mut last.event) {
        *output = Plain::new(vec![0xC3]);
    }
    assert!(check(other, None).is_err());
}
