//! No payload and no key in what the store holds, in errors, in what is shown and in traces.

mod canaries;
mod flow;
mod listen;
mod search;

use std::{fmt::Debug, num::NonZeroU32, sync::Arc};

use world_core::{
    Append, By, Engine, EngineBuilder, KeyId, LogId, Position, Record, Sealed, World,
    layer::TraceLayer, seal::Key,
};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict, error_text},
    kit::*,
    subject::Subject,
};

use {
    canaries::Canaries,
    listen::{Listener, listening},
    search::{Found, Search},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Secrecy [] no_payload_and_no_key_is_in_what_the_store_holds),
        case!(Secrecy [] what_is_not_sealed_is_found_so_the_search_can_find_it),
        case!(Secrecy [] no_payload_and_no_key_is_in_errors_views_and_traces),
    ]
}

/// The key of these cases: its bytes are looked for too.
const KEY: [u8; 32] = *b"\xF1no store may ever hold my key!\x9D";

fn key() -> Verdict<Key> {
    Ok(Key::from_bytes(KeyId::new("secrecy")?, KEY))
}

/// What must not be found: every canary, and the key.
fn secrets(canaries: &Canaries) -> Search {
    canaries.all().fold(Search::default(), Search::secret).secret(("the key", &KEY))
}

/// Runs a workflow of every kind of payload on a World, up to its ends.
async fn run_on(
    world: Arc<dyn World>,
    canaries: &Canaries,
    sealing: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> Verdict<Engine> {
    let builder = flow::register(sealing(Engine::builder(world)), canaries);
    let engine = builder.build()?;
    flow::run(&engine, canaries).await?;
    Ok(engine)
}

/// Fails when a secret is found.
fn keeps_its_secrets(search: &Search, place: &str, bytes: &[u8]) -> Verdict {
    match search.find(bytes) {
        None => Ok(()),
        Some(Found { name, encoding, at }) => Err(Failure::failed(format!(
            "{name} is in {place}, {encoding}, at byte {at} of {}: a World stores and shows only \
             sealed bodies, and no key",
            bytes.len()
        ))),
    }
}

/// Looks through all that the store holds, which must be the place where the runs are.
fn look_through(dump: &[u8], canaries: &Canaries, when: &str) -> Verdict {
    let control = Search::default().secret(("the run id", flow::RUN.as_bytes()));
    if control.find(dump).is_none() {
        return Err(Failure::failed(format!(
            "the run id {:?} is not in the {} bytes of the dump {when}, in any encoding: run ids \
             are stored in clear, so this is not what the store holds, or the store compresses or \
             encodes what it keeps. Give the suite a `dump` that reads all keys and values of the \
             site as the World wrote them",
            flow::RUN,
            dump.len()
        )));
    }
    keeps_its_secrets(&secrets(canaries), &format!("what the store holds {when}"), dump)
}

async fn no_payload_and_no_key_is_in_what_the_store_holds(subject: Subject) -> Verdict {
    let canaries = Canaries::drawn(subject.settings().seed);
    let key = key()?;
    let engine = run_on(subject.open().await?, &canaries, |builder| builder.key(key)).await?;
    let while_open = subject.dump().await?;
    drop(engine);
    look_through(&while_open, &canaries, "while the World is open")?;
    look_through(&subject.dump().await?, &canaries, "after the World was closed")?;
    can_be_found(&subject.elsewhere()?, &canaries).await
}

async fn what_is_not_sealed_is_found_so_the_search_can_find_it(subject: Subject) -> Verdict {
    can_be_found(&subject, &Canaries::drawn(subject.settings().seed)).await
}

/// Runs the same without sealing: what is not found then is not shown to be hidden by sealing.
async fn can_be_found(subject: &Subject, canaries: &Canaries) -> Verdict {
    let world = subject.open().await?;
    let _engine = run_on(world, canaries, EngineBuilder::without_encryption).await?;
    let dump = subject.dump().await?;
    let hidden: Vec<_> = canaries
        .uncompressed()
        .filter(|secret| Search::default().secret(*secret).find(&dump).is_none())
        .map(|(name, _)| name)
        .collect();
    if hidden.is_empty() {
        return Ok(());
    }
    Err(Failure::not_proven(format!(
        "the search does not find these even where nothing is sealed: {}. The store compresses or \
         encodes what it keeps, so that nothing is shown by not finding them; a `dump` that gives \
         what the World wrote would prove it",
        hidden.join(", ")
    )))
}

async fn no_payload_and_no_key_is_in_errors_views_and_traces(subject: Subject) -> Verdict {
    let canaries = Canaries::drawn(subject.settings().seed);
    let listener = Listener::default();
    let listened = listening(&listener, shown(subject, canaries.clone())).await?;
    let search = secrets(&canaries);
    for (place, text) in listened {
        keeps_its_secrets(&search, &place, text.as_bytes())?;
    }
    let traces = listener.text();
    if !traces.contains(flow::RUN) {
        return Err(Failure::not_proven(
            "the suite hears no traces: a subscriber that was set before hears them",
        ));
    }
    keeps_its_secrets(&search, "the traces", traces.as_bytes())
}

/// What the World and the engine show of themselves, and their errors.
async fn shown(subject: Subject, canaries: Canaries) -> Verdict<Vec<(String, String)>> {
    let world = subject.open().await?;
    let traced: Arc<dyn World> = Arc::new(TraceLayer::new(Arc::clone(&world)));
    let key = key()?;
    let engine = run_on(Arc::clone(&traced), &canaries, |builder| builder.key(key)).await?;
    let mut texts = flow::errors(&engine).await;
    texts.extend(errors_of(&*traced, &canaries).await);
    texts.push(view("the World's Debug", &world));
    texts.push(view("the engine's Debug", &engine));
    texts.push(view("the client's Debug", &engine.client()));
    let wrong = Key::from_bytes(KeyId::new("secrecy")?, [0x5A; 32]);
    let builder = flow::register(Engine::builder(traced).key(wrong), &canaries);
    texts.extend(flow::errors(&builder.build()?).await);
    Ok(texts)
}

fn view(place: &str, thing: &impl Debug) -> (String, String) {
    (place.to_owned(), format!("{thing:?} {thing:#?}"))
}

/// Appends that no World takes, and one it does not commit, each with a canary as its body.
async fn errors_of(world: &dyn World, canaries: &Canaries) -> Vec<(String, String)> {
    let (_, canary) = canaries.short();
    let too_large = canary.repeat(world.info().limits.record_bytes_max / canary.len() + 2);
    let run = LogId::Run(id(flow::RUN));
    let bodies = [
        (&run, 1, too_large, By::Outsider),
        (&run, 9_999, canary.to_vec(), By::Outsider),
        (&run, 0, canary.to_vec(), owner(7)),
        (&token("secrecy"), 0, canary.to_vec(), owner(7)),
    ];
    let mut texts = Vec::new();
    for (log, expected, body, by) in bodies {
        let record = Record {
            position: pos(expected + 1),
            kind: world_core::Kind(1),
            at: at(1),
            body: Sealed::from_stored(body),
        };
        let append = Append { expected: pos(expected), records: vec![record], at: at(1), by };
        let answer = world.append(log, &append).await;
        texts.push(view("the answer to an append", &answer));
        if let Err(error) = answer {
            texts.push(("the error of an append".to_owned(), error_text(&error)));
        }
    }
    let page = world.read(&run, Position::START, NonZeroU32::MAX).await;
    texts.push(view("a page's Debug", &page));
    texts
}
