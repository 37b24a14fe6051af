//! The engines of a simulation: workers that come and go, and clients.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use world_core::{Client, Engine, Residency, Result, Worker, World, seal::Key};

use super::{
    book::Book,
    clock::SkewedClock,
    ledger::Site,
    plan::{Plan, What},
    program::{self, PROGRAM},
    rng::Rng,
    wire::{Way, Wire},
    witness::Witness,
};
use crate::corpus::Sample;

/// What all engines of a simulation are made of.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) plan: Plan,
    pub(super) book: Arc<Book>,
    pub(super) store: Arc<dyn World>,
    pub(super) key: Key,
    pub(super) began: Instant,
    pub(super) samples: Vec<Sample>,
    rng: Mutex<Rng>,
    made: Mutex<u64>,
    calm: Arc<AtomicBool>,
}

/// An engine, and what a simulation does to it.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) who: String,
    pub(super) engine: Engine,
    pub(super) worker: Option<Worker>,
    pub(super) clock: SkewedClock,
    pub(super) way: Way,
}

impl Fleet {
    pub(super) fn new(
        seed: u64,
        plan: Plan,
        book: Arc<Book>,
        store: Arc<dyn World>,
        began: Instant,
        samples: Vec<Sample>,
    ) -> Self {
        let rng = Mutex::new(Rng::new(seed, "fleet"));
        Self {
            plan,
            book,
            store,
            key: Key::generate(),
            began,
            samples,
            rng,
            made: Mutex::default(),
            calm: Arc::default(),
        }
    }

    /// Another engine, with a worker or as a client only.
    pub(super) fn engine(&self, works: bool) -> Result<Hand> {
        let number = {
            let mut made = super::lock(&self.made);
            *made += 1;
            *made
        };
        let who = format!("{} {number}", if works { "worker" } else { "client" });
        let rng = &mut *super::lock(&self.rng);
        let skew = self.plan.skew.as_millis() as u64;
        let ahead = rng.below(skew * 2 + 1) as i64 - skew as i64;
        let clock = SkewedClock::new(self.began, ahead);
        let way = Way::new(&self.calm);
        let world = self.wire(&who, &way, rng);
        let site =
            Arc::new(Site { who: who.clone(), book: Arc::clone(&self.book), is_cold: false });
        let lease = self.plan.lease;
        let mut builder = Engine::builder(world)
            .key(self.key.clone())
            .clock(clock.clone())
            .lease(lease * rng.one_of(&[1, 1, 1, 2]))
            .linger(rng.one_of(&[Duration::ZERO, Duration::from_secs(1), lease / 2, lease * 3]))
            .poll(lease / rng.one_of(&[1, 4, 10]))
            .residency(rng.one_of(&[Residency::Resident, Residency::Resident, Residency::Replay]))
            .hydration_bytes_max(rng.one_of(&[0, 100, 16 << 20]))
            .residents_max(rng.one_of(&[0, 1, 1024, 1024]))
            .runs_max(rng.one_of(&[1, 2, 4096, 4096]))
            .bodies_max(rng.one_of(&self.plan.bodies_max));
        if let Some(retention) = self.plan.retention {
            builder = builder.retention(retention);
        }
        if let Some(claims) = self.plan.poison_after {
            builder = builder.poison_after(claims);
        }
        let options = format!("{builder:?}");
        let engine = self.register(builder, &site).build()?;
        let worker = works.then(|| engine.spawn_worker());
        self.book.trace.note(
            &who,
            format_args!(
                "begins, {ahead} ms ahead: {}",
                options.split("options").nth(1).unwrap_or_default()
            ),
        );
        Ok(Hand { who, engine, worker, clock, way })
    }

    fn wire(&self, who: &str, way: &Way, rng: &mut Rng) -> Wire {
        let store = Witness {
            who: who.to_owned(),
            world: Arc::clone(&self.store),
            book: Arc::clone(&self.book),
        };
        Wire {
            store: Arc::new(store),
            weather: self.plan.weather.clone(),
            way: way.clone(),
            rng: Mutex::new(Rng::new(rng.next(), who)),
        }
    }

    /// Registers the workflows that the plan names, as they run at a site.
    pub(super) fn register(
        &self,
        builder: world_core::EngineBuilder,
        site: &Arc<Site>,
    ) -> world_core::EngineBuilder {
        let mut samples = BTreeMap::new();
        for run in &self.plan.runs {
            if let What::Sample(nth) = run.what {
                samples.insert(nth, self.paced(nth, site));
            }
        }
        let builder = builder.workflow(PROGRAM, program::function(Arc::clone(site)));
        samples.values().fold(builder, |builder, sample| sample.register(builder))
    }

    /// A sample whose bodies are told of, and take as long as the plan says.
    pub(super) fn paced(&self, nth: usize, site: &Arc<Site>) -> Sample {
        let (site, pause) = (Arc::clone(site), self.plan.pause);
        self.samples[nth].clone().paced(Arc::new(move |name: &str, input: u64| {
            site.begins_some(name, input);
            let mut rng = Rng::new(input, name);
            let (time, idle) = (rng.time(pause), rng.chance(300));
            Box::pin(async move {
                if !time.is_zero() {
                    sleep(time).await;
                } else if idle {
                    tokio::task::yield_now().await;
                }
            }) as Pin<Box<dyn Future<Output = ()> + Send>>
        }))
    }

    /// Lets nothing go wrong any more.
    pub(super) fn calm(&self) {
        self.calm.store(true, SeqCst);
        self.book.trace.note("calm", format_args!("nothing goes wrong from now on"));
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        super::lock(&self.rng).below(end)
    }
}

impl Hand {
    pub(super) fn client(&self) -> Client {
        self.engine.client()
    }

    /// Ends as a process does that is killed: nothing gets through any more.
    pub(super) fn kill(mut self) {
        self.way.end();
        if let Some(worker) = self.worker.take() {
            worker.abort();
        }
    }
}
