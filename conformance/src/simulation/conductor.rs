//! Conducts a simulation: lets the plan happen, waits until all has ended, and asks for the verdict.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::subscriber::set_default;
use world_core::{List, MemoryWorld, World, testing::Predictable};

use super::{
    Options, Outcome,
    book::Book,
    flaw::Flawed,
    fleet::{Fleet, Hand},
    life::{Life, Told},
    plan::{Act, Plan, What},
    program::draw,
    rng::mix,
    verdict,
    voices::{Voices, listen},
};
use crate::corpus::corpus;

/// The longest that a run rests after its retention is over.
const RETIRE: Duration = Duration::from_secs(3600);

/// The workers at their places, each with the time at which an empty place is filled again.
struct Places {
    hands: Vec<Result<Hand, Instant>>,
    leaving: JoinSet<()>,
}

pub(super) async fn conduct(seed: u64, options: &Options) -> Outcome {
    listen();
    let began = Instant::now();
    let samples = corpus();
    let names: Vec<&str> = samples.iter().map(|sample| sample.name).collect();
    let mut plan = Plan::draw(seed, &names);
    if options.flaw.is_some() {
        plan.patience /= 6; // what hangs has been found, or is found with another seed
    }
    let book = Arc::new(Book::new(began, options.trace));
    let memory = MemoryWorld::new();
    let store: Arc<dyn World> = match options.flaw {
        Some(flaw) => Arc::new(Flawed::new(memory, flaw)),
        None => Arc::new(memory),
    };
    let fleet = Arc::new(Fleet::new(seed, plan, Arc::clone(&book), store, began, samples));
    let _voices = options.trace.then(|| set_default(Voices(Some(Arc::clone(&book)))));
    book.trace.note("seed", format_args!("{seed}: {:?}", fleet.plan));
    for run in fleet.plan.runs.iter().filter(|run| matches!(run.what, What::Program)) {
        book.trace.note("program", format_args!("{:?}", draw(run.input)));
    }
    if let Err(what) = play(&fleet).await {
        book.objects(what);
    }
    let virtual_time = began.elapsed();
    // The verdict must not depend on how much was drawn before it.
    let _predictable = Predictable::from_seed(mix(!seed));
    if book.state().objections.is_empty()
        && let Err(what) = verdict::judge(&fleet).await
    {
        book.objects(what);
    }
    let (digest, trace) = book.trace.end();
    let mut state = book.state();
    state.counts.runs = state.runs.len() as u64;
    let (objections, counts) = (std::mem::take(&mut state.objections), state.counts.clone());
    Outcome { seed, digest, objections, trace, counts, virtual_time }
}

/// Lets the plan happen, until all runs have ended.
async fn play(fleet: &Arc<Fleet>) -> Result<(), String> {
    let plan = &fleet.plan;
    let made = |error: world_core::Error| format!("no engine: {error}");
    let client = fleet.engine(false).map_err(made)?;
    let mut places = Places { hands: Vec::new(), leaving: JoinSet::new() };
    for _ in 0..plan.workers {
        places.hands.push(Ok(fleet.engine(true).map_err(made)?));
    }
    let mut lives: JoinSet<Vec<Told>> = JoinSet::new();
    for run in &plan.runs {
        let starter = match &places.hands[0] {
            Ok(worker) if run.by_worker => worker.client(),
            _ => client.client(),
        };
        let (plan, client) = (run.clone(), client.client());
        lives.spawn(Life { fleet: Arc::clone(fleet), plan, client, starter }.live());
    }
    for at in plan.lists.clone() {
        let (fleet, client) = (Arc::clone(fleet), client.client());
        lives.spawn(async move {
            sleep(at).await;
            if let Ok(page) = client.list(&List::all(NonZeroU32::MAX)).await {
                verdict::check_listing(&fleet, &page.runs, false);
            }
            Vec::new()
        });
    }
    for (at, place, act) in plan.acts.clone() {
        places.wait_until(fleet, fleet.began + at).await.map_err(made)?;
        places.act(fleet, place, act);
    }
    places.wait_until(fleet, fleet.began + plan.calm_at).await.map_err(made)?;
    fleet.calm();
    places.fill(fleet).map_err(made)?;
    let lived = timeout(plan.patience, lives.join_all()).await;
    let told = lived.map_err(|_| stuck(fleet, "clients still wait"))?;
    let all_ended = async {
        while fleet.book.state().runs.values().any(|run| !run.closed) {
            sleep(plan.lease).await;
        }
    };
    timeout(plan.patience, all_ended).await.map_err(|_| stuck(fleet, "runs do not end"))?;
    if let Some(retention) = plan.retention {
        let all_deleted = async {
            while fleet.book.state().runs.values().any(|run| !run.deleted) {
                sleep(plan.lease).await;
            }
        };
        let at_most = retention + plan.skew * 2 + RETIRE;
        let deleted = timeout(at_most, all_deleted).await;
        deleted.map_err(|_| stuck(fleet, "runs are kept beyond their retention"))?;
    }
    drop(client);
    for hand in places.hands.into_iter().flatten() {
        match hand {
            hand if fleet.below(2) == 0 => hand.kill(),
            Hand { worker: Some(worker), .. } => {
                let down = timeout(plan.patience, worker.shutdown()).await;
                down.map_err(|_| "a worker does not shut down".to_owned())?;
            }
            Hand { .. } => {}
        }
    }
    let down = timeout(plan.patience, places.leaving.join_all()).await;
    down.map_err(|_| "a worker did not shut down".to_owned())?;
    verdict::check_told(fleet, told.into_iter().flatten().collect()).await
}

fn stuck(fleet: &Fleet, what: &str) -> String {
    let state = fleet.book.state();
    let open: Vec<String> = state
        .runs
        .iter()
        .filter(|(_, run)| !run.closed)
        .map(|(id, run)| format!("{id} at head {}", run.head()))
        .collect();
    format!("{what}, {:?} after the last fault; open: {open:?}", fleet.plan.patience)
}

impl Places {
    /// Waits, and fills places whose time has come meanwhile.
    async fn wait_until(&mut self, fleet: &Fleet, time: Instant) -> world_core::Result<()> {
        loop {
            let next = self.hands.iter().filter_map(|hand| hand.as_ref().err()).min().copied();
            let Some(next) = next.filter(|next| *next <= time) else { break };
            sleep_until(next).await;
            for hand in &mut self.hands {
                if matches!(hand, Err(at) if *at <= next) {
                    *hand = Ok(fleet.engine(true)?);
                }
            }
        }
        sleep_until(time).await;
        Ok(())
    }

    fn act(&mut self, fleet: &Fleet, place: usize, act: Act) {
        let Some(Ok(hand)) = self.hands.get_mut(place) else { return };
        fleet.book.trace.note(&hand.who, format_args!("{act:?}"));
        let name = match act {
            Act::Crash(_) => "crash",
            Act::Shutdown(_) => "shutdown",
            Act::Step(_) => "clock step",
            Act::CutOff(_) => "partition",
        };
        *fleet.book.state().counts.faults.entry(name).or_default() += 1;
        match act {
            Act::Step(by) => hand.clock.step(by),
            Act::CutOff(time) => {
                hand.way.cut(true);
                let way = hand.way.clone();
                self.leaving.spawn(async move {
                    sleep(time).await;
                    way.cut(false);
                });
            }
            Act::Crash(time) | Act::Shutdown(time) => {
                let empty = Err(Instant::now() + time);
                let left = std::mem::replace(&mut self.hands[place], empty);
                match (left, act) {
                    (Ok(hand), Act::Crash(_)) => hand.kill(),
                    (Ok(Hand { worker: Some(worker), .. }), _) => {
                        self.leaving.spawn(async move { drop(worker.shutdown().await) });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Fills all places, and opens all ways.
    fn fill(&mut self, fleet: &Fleet) -> world_core::Result<()> {
        for hand in &mut self.hands {
            match hand {
                Ok(hand) => hand.way.cut(false),
                Err(_) => *hand = Ok(fleet.engine(true)?),
            }
        }
        Ok(())
    }
}
