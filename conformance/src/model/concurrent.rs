//! Histories of several writers at once: the calls and answers of all of them are linearizable.
//!
//! When a history is not, no order of it exists, and so no one answer that is wrong. What is named
//! is the first answer that cannot be, and the rule it breaks in one order of what was before.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use world_core::{
    Appended, ErrorKind, LogId, RunId, World,
    layer::{Fault, FaultLayer},
};

use crate::{
    failure::{Failure, Verdict},
    rule::Rule,
    subject::Subject,
};

use super::{
    blame::{always_wrong, broken_rule},
    draw::{self, Family, intents},
    forget::shortest,
    intent::Intent,
    known::Known,
    linear::{self, Event, Found},
    op::{Answer, Op},
    perform::{perform, polled_at_most},
    random::Random,
    sequential::not_allowed,
    spec::State,
};

/// Whether answers get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Troubles {
    /// Every call is answered.
    None,
    /// Requests and answers get lost or come late, and clients die while they wait.
    Lost,
}

/// The number of writers, and of the operations of each.
const WRITERS: u64 = 4;
const EACH: u64 = 9;

/// Makes a history of several writers at a site of its own, and looks for an order of it. Whether
/// it was decided: a search has a bound.
///
/// # Errors
/// A history that is not linearizable, as short as still is not.
pub(crate) async fn any_history_of_many_writers(
    subject: &Subject,
    troubles: Troubles,
    seed: u64,
) -> Verdict<bool> {
    let subject = subject.elsewhere()?;
    let history = history(&subject, troubles, seed).await?;
    for Event { op, answer, .. } in &history {
        if let Some((rule, what)) = always_wrong(op, answer) {
            return Err(Failure::broken(rule, format!("{op} -> {answer}: {what}")));
        }
    }
    let runs: BTreeSet<RunId> = draw::runs().collect();
    let mut is_decided = true;
    for (object, events) in linear::by_object(&history, &runs) {
        match linear::check(&events) {
            Found::Linearizable(_) => {}
            Found::NotDecided => is_decided = false,
            Found::NotLinearizable => return Err(failure(&object, &events)),
        }
    }
    Ok(is_decided)
}

/// Says what cannot be: the answer before which all was well.
fn failure(object: &LogId, events: &[Event]) -> Failure {
    let mut others = shortest(events);
    let last = others.iter().enumerate().max_by_key(|(_, event)| event.answered);
    let Some(last) = last.map(|(index, _)| index) else {
        return Failure::failed(format!("the history of {object} is not linearizable"));
    };
    let last = others.remove(last);
    let order = match linear::check(&others) {
        Found::Linearizable(order) => order,
        Found::NotLinearizable | Found::NotDecided => linear::Order::default(),
    };
    let state = match order.state.head(object) {
        Some(_) => order.state.clone(),
        None => with_the_unanswered(&order.state, &others),
    };
    let rule = if shows_half_an_append(&last, &others) {
        Rule::A1
    } else {
        broken_rule(&state, &last.op, &last.answer, None)
    };
    let mut what =
        format!("the history of {object} is not linearizable. In one order of the rest, ");
    what.push_str(&not_allowed(&state, &last.op, &last.answer));
    what.push_str("\n  of the history what is needed, with each call and answer counted:");
    others.sort_by_key(|event| event.called);
    for event in others.iter().chain([&last]) {
        let Event { writer, op, answer, called, answered } = event;
        let span = answered.map_or("...".to_owned(), |answered| answered.to_string());
        let _ = write!(what, "\n  {called:>4} to {span:<4} writer {writer}: {op} -> {answer}");
    }
    Failure::broken(rule, what)
}

/// The state once everything without an answer has taken effect.
fn with_the_unanswered(state: &State, others: &[Event]) -> State {
    let unanswered = others.iter().filter(|event| event.answered.is_none());
    unanswered.fold(state.clone(), |state, event| {
        state.step(&event.op, &Answer::Unknown).unwrap_or(state)
    })
}

/// Whether an answer's head lies inside an append, and at the end of none.
fn shows_half_an_append(last: &Event, others: &[Event]) -> bool {
    let Some(seen) = last.answer.head() else { return false };
    if let (Op::Append(..), Answer::Appended(Appended::Committed { .. })) = (&last.op, &last.answer)
    {
        return false;
    }
    let appends = || {
        others.iter().filter_map(|event| match &event.op {
            Op::Append(log, append) if Some(log) == last.op.log().as_ref() => Some(append),
            _ => None,
        })
    };
    appends().any(|append| append.expected < seen && seen < append.head_after())
        && !appends().any(|append| append.head_after() == seen)
}

/// Lets the writers loose, and after them one that reads everything.
async fn history(subject: &Subject, troubles: Troubles, seed: u64) -> Verdict<Vec<Event>> {
    let clock = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(tokio::sync::Barrier::new(usize::try_from(WRITERS).unwrap_or(1)));
    let mut random = Random::new(seed);
    let (mut writing, mut layers) = (Vec::new(), Vec::new());
    for number in 1..=WRITERS {
        let first = number * 1000;
        let intents = intents(&mut random, Family::Everything, first..first + EACH, 1);
        let mut writer = Writer::open(subject, number, troubles, random.next(), &clock).await?;
        layers.push(Arc::clone(&writer.world));
        let barrier = Arc::clone(&barrier);
        writing.push(tokio::spawn(async move {
            barrier.wait().await;
            for intent in &intents {
                writer.does(intent).await?;
            }
            Verdict::Ok(writer.events)
        }));
    }
    let mut history = Vec::new();
    for writer in writing {
        history.extend(writer.await??);
    }
    for layer in layers {
        layer.deliver_kept().await;
    }
    let unanswered = history.iter().filter(|event| event.answered.is_none()).count();
    subject.injected(unanswered as u64);
    let mut reader = Writer::open(subject, 0, Troubles::None, 0, &clock).await?;
    for look in draw::looks(1..) {
        reader.does(&look).await?;
    }
    history.extend(reader.events);
    Ok(history)
}

struct Writer {
    number: usize,
    world: Arc<FaultLayer<Arc<dyn World>>>,
    troubles: Troubles,
    random: Random,
    clock: Arc<AtomicU64>,
    known: Known,
    events: Vec<Event>,
}

impl Writer {
    async fn open(
        subject: &Subject,
        number: u64,
        troubles: Troubles,
        seed: u64,
        clock: &Arc<AtomicU64>,
    ) -> Verdict<Self> {
        let faults = match troubles {
            Troubles::None => Vec::new(),
            Troubles::Lost => {
                vec![(Fault::AnswerLost, 100), (Fault::Late, 60), (Fault::Lost, 30)]
            }
        };
        let world = FaultLayer::new(subject.open().await?, Fault::seeded(seed, faults));
        Ok(Self {
            number: usize::try_from(number).unwrap_or(0),
            world: Arc::new(world),
            troubles,
            random: Random::new(seed),
            clock: Arc::clone(clock),
            known: Known::default(),
            events: Vec::new(),
        })
    }

    async fn does(&mut self, intent: &Intent) -> Verdict {
        if self.random.is(30) {
            tokio::task::yield_now().await;
        }
        if self.troubles == Troubles::Lost && self.random.is(15) {
            self.world.deliver_kept().await;
        }
        let Some(op) = intent.op(&self.known) else { return Ok(()) };
        let is_unknown = self.makes(&op).await?;
        if is_unknown && matches!(op, Op::Append(..)) && self.random.is(60) {
            self.makes(&op).await?; // the same bytes again (rule A6)
        }
        Ok(())
    }

    /// Makes an operation and records it; whether it was left without an answer.
    async fn makes(&mut self, op: &Op) -> Verdict<bool> {
        let polls = match self.troubles {
            Troubles::Lost => self.random.maybe(10, |random| random.below(3)),
            Troubles::None => None,
        };
        let called = self.clock.fetch_add(1, SeqCst);
        let making = perform(&*self.world, op);
        let answer = match polls {
            None => making.await?,
            Some(polls) => polled_at_most(polls, making).await.unwrap_or(Ok(Answer::Unknown))?,
        };
        let answered = self.clock.fetch_add(1, SeqCst);
        self.known.learn(op, &answer);
        let is_unknown = answer == Answer::Unknown;
        match answer {
            Answer::Refused(ErrorKind::Unavailable) if self.troubles == Troubles::Lost => {}
            Answer::Refused(kind) if !matches!(kind, ErrorKind::Invalid | ErrorKind::TooLarge) => {
                return Err(Failure::failed(format!("{op}: it fails: {kind}")));
            }
            Answer::Unknown if self.troubles == Troubles::None => {
                return Err(Failure::failed(format!("{op}: it says that its outcome is unknown")));
            }
            answer => {
                let answered = (!is_unknown).then_some(answered);
                let (writer, op) = (self.number, op.clone());
                self.events.push(Event { writer, op, answer, called, answered });
            }
        }
        Ok(is_unknown)
    }
}
