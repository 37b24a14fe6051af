//! A store that lost acknowledged records, and in which others have since written as many: its
//! head looks right, so the World says `Regressed`, and the engine replays from what is left.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is what a test is for")]

mod kit;
mod workflows;

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::yield_now;
use workflows::{TokioClock, rebuild};
use world_core::{
    event::{Event, Logged},
    layer::{Fault, FaultLayer, Method},
    seal::{Key, Keyring, Seal},
    testing::{Replay, TestEngine},
    *,
};

/// A World with one run, whose server fails over when it is told to.
#[derive(Debug)]
struct Failover {
    key: Key,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    world: MemoryWorld,
    /// The last lease that was seen.
    ticket: Option<Ticket>,
    /// What has been confirmed since the last failover; everything before the first.
    confirmed: Option<HashSet<Ticket>>,
    /// Whether the next claim is to be told.
    tells_claim: bool,
    claims_refused: usize,
    leases_given: usize,
    /// How long the last renewal prolonged the lease; none is to shorten it.
    until: Timestamp,
    /// Renewals of tickets that were not confirmed, by owners who say they have seen something.
    late_renewals: usize,
}

fn regressed() -> Error {
    Error::new(ErrorKind::Regressed, "another server answers")
}

impl State {
    fn note(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
        if let Some(confirmed) = &mut self.confirmed {
            confirmed.insert(ticket);
        }
    }

    fn is_confirmed(&self, ticket: Ticket) -> bool {
        self.confirmed.as_ref().is_none_or(|confirmed| confirmed.contains(&ticket))
    }
}

impl Failover {
    fn new() -> Arc<Self> {
        Arc::new(Self { key: Key::generate(), state: Mutex::default() })
    }

    fn world(&self) -> MemoryWorld {
        self.state.lock().unwrap().world.clone()
    }

    /// Loses the last records of the run, and gets as many notes in their place.
    async fn fail_over(&self, run: &RunId, lost: usize, keeps_lease: bool) {
        let (old, new, log) = (self.world(), MemoryWorld::new(), LogId::Run(run.clone()));
        let records = old.read_all(&log).await.unwrap().records;
        let (left, gone) = records.split_at(records.len() - lost);
        let ticket = self.state.lock().unwrap().ticket.filter(|_| keeps_lease);
        let lease = ticket.map(|ticket| (ticket, Timestamp::MAX));
        rebuild(&new, &old, &self.key, run, left, lease).await;
        let seal = Seal::new("default", Keyring::new(self.key.clone()));
        let seal = seal.of(log.clone(), &left[0].body).await.unwrap();
        for lost in gone {
            let note = Event::RunBlocked { why: "another's note".to_owned() };
            let (position, at) = (lost.position, lost.at);
            let expected = Position::new(position.get() - 1);
            let records = vec![seal.seal(position, at, &note).unwrap()];
            let append = Append { expected, records, at, by: By::Outsider };
            new.append(&log, &append).await.unwrap();
        }
        let mut state = self.state.lock().unwrap();
        state.world = new;
        state.confirmed = Some(HashSet::new());
        state.tells_claim = true;
    }
}

#[async_trait]
impl World for Failover {
    fn info(&self) -> WorldInfo {
        self.world().info()
    }
    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        if let By::Owner { ticket, .. } = append.by
            && !self.state.lock().unwrap().is_confirmed(ticket)
        {
            return Err(regressed());
        }
        self.world().append(log, append).await
    }
    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        self.world().read(log, after, limit).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        if std::mem::take(&mut self.state.lock().unwrap().tells_claim) {
            self.state.lock().unwrap().claims_refused += 1;
            for _ in 0..10 {
                yield_now().await; // another claim is answered first, if it may be
            }
            return Err(regressed());
        }
        let leases = self.world().claim(claim).await?;
        let mut state = self.state.lock().unwrap();
        state.leases_given += leases.len();
        if !leases.is_empty() {
            state.note(claim.ticket);
        }
        Ok(leases)
    }
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let renewed = self.world().renew(lease, until).await?;
        let mut state = self.state.lock().unwrap();
        assert!(until >= state.until, "a lease is shortened");
        state.until = until;
        match renewed {
            Renewed::Held { .. } if lease.head == Position::START => state.note(lease.ticket),
            _ => state.late_renewals += usize::from(!state.is_confirmed(lease.ticket)),
        }
        Ok(renewed)
    }
    async fn list(&self, list: &List) -> Result<RunPage> {
        self.world().list(list).await
    }
    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        self.world().delete(log, head).await
    }
    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.world().wait(wait).await
    }
}

/// Visits four places, with a rest in the middle; each body gives the number of its execution.
const TOUR: Workflow<u64, Vec<u64>> = Workflow::new("tour");

/// What the bodies of a tour do.
struct Tour {
    world: Arc<Failover>,
    clock: VirtualClock,
    /// Which places were visited, each time a body begins.
    bodies: Mutex<Vec<u64>>,
    /// At these places, when first visited, the server loses its last record.
    fails_at: Mutex<Vec<u64>>,
}

impl Tour {
    fn new(fails_at: &[u64]) -> Arc<Self> {
        Arc::new(Self {
            world: Failover::new(),
            clock: VirtualClock::new(),
            bodies: Mutex::default(),
            fails_at: Mutex::new(fails_at.to_vec()),
        })
    }

    async fn visit(&self, run: &RunId, place: u64) -> Result<u64, StepError> {
        let nth = {
            let mut bodies = self.bodies.lock().unwrap();
            bodies.push(place);
            bodies.len() as u64
        };
        let fails = {
            let mut fails_at = self.fails_at.lock().unwrap();
            let before = fails_at.len();
            fails_at.retain(|at| *at != place);
            fails_at.len() < before
        };
        if fails {
            self.world.fail_over(run, 1, true).await;
            // It takes so long that its lease is renewed meanwhile.
            self.clock.advance(Duration::from_secs(6));
            for _ in 0..20 {
                yield_now().await;
            }
        }
        Ok(nth)
    }

    fn engine(self: &Arc<Self>) -> TestEngine {
        let tour = Arc::clone(self);
        TestEngine::on(Arc::clone(&self.world))
            .key(self.world.key.clone())
            .at(self.clock.clone())
            .workflow(TOUR, move |ctx, rest| Arc::clone(&tour).take(ctx, rest))
    }

    async fn take(self: Arc<Self>, mut ctx: Ctx, rest: u64) -> Result<Vec<u64>, StepError> {
        let run = ctx.run_id().clone();
        let mut visits = Vec::new();
        for place in 1..=4 {
            if place == 3 && rest > 0 {
                ctx.sleep(Duration::from_secs(rest)).await?;
            }
            visits.push(ctx.step("visit", async || self.visit(&run, place).await).await?);
        }
        Ok(visits)
    }

    /// Each body ran again only if its record was lost, and the log holds what the run has told.
    async fn has_ended(
        self: &Arc<Self>,
        t: &TestEngine,
        run: &RunId,
        told: &[u64],
        bodies: &[u64],
    ) {
        assert_eq!(*self.bodies.lock().unwrap(), bodies);
        let log: Vec<Logged> = t.log(run).await.unwrap();
        let visits =
            log.iter().filter(|logged| matches!(logged.event, Event::StepCompleted { .. }));
        assert_eq!(visits.count(), told.len(), "{log:#?}");
        let tour = Arc::clone(self);
        Replay::of(log)
            .run(run)
            .with(TOUR, move |ctx, rest| Arc::clone(&tour).take(ctx, rest))
            .check()
            .unwrap();
    }
}

#[tokio::test]
async fn an_owner_that_is_told_of_a_failover_replays_under_its_lease() {
    let tour = Tour::new(&[4]);
    let t = tour.engine();
    let run = t.start(TOUR, 0).await.unwrap();
    let told = t.finish(&run).await.unwrap();
    assert_eq!(told, [1, 2, 5, 6]);
    tour.has_ended(&t, run.id(), &told, &[1, 2, 3, 4, 3, 4]).await;
    let state = tour.world.state.lock().unwrap();
    assert!(state.late_renewals > 0, "a renewal in between is not to hide it");
    assert_eq!(state.leases_given, 1);
}

#[tokio::test]
async fn one_turn_survives_any_number_of_failovers_between_which_it_gets_on() {
    let tour = Tour::new(&[2, 3, 4]);
    let t = tour.engine();
    let run = t.start(TOUR, 0).await.unwrap();
    let told = t.finish(&run).await.unwrap();
    tour.has_ended(&t, run.id(), &told, &[1, 2, 1, 2, 3, 2, 3, 4, 3, 4]).await;
    assert_eq!(tour.world.state.lock().unwrap().leases_given, 1);
}

#[tokio::test]
async fn a_program_that_rested_through_a_failover_is_not_resumed() {
    let tour = Tour::new(&[]);
    let t = tour.engine();
    let run = t.start(TOUR, 3_600).await.unwrap();
    t.turn().await.unwrap();
    assert_eq!(*tour.bodies.lock().unwrap(), [1, 2]);
    tour.world.fail_over(run.id(), 2, false).await; // the second visit, and the sleep
    tour.clock.advance(Duration::from_secs(3_600)); // the program from before could go on
    let (one, other) = tokio::join!(t.turn(), t.turn()); // of two claims, one is told
    one.and(other).unwrap();
    let told = t.finish(&run).await.unwrap();
    assert_eq!(told, [1, 3, 4, 5]);
    tour.has_ended(&t, run.id(), &told, &[1, 2, 2, 3, 4]).await;
    assert_eq!(tour.world.state.lock().unwrap().claims_refused, 1, "and it claimed again at once");
}

type Broken = Arc<FaultLayer<MemoryWorld>>;

/// A World that answers these calls with `Regressed`.
fn broken(breaks: impl Fn(Method, u64) -> bool + Send + Sync + 'static) -> Broken {
    Arc::new(FaultLayer::new(MemoryWorld::new(), move |seen| {
        assert!(seen.number < 1_000, "it goes on without end");
        if breaks(seen.method, seen.nth) { Fault::Error(ErrorKind::Regressed) } else { Fault::None }
    }))
}

#[tokio::test]
async fn a_store_that_regresses_without_end_ends_the_turn_and_not_the_run() {
    const ONE: Workflow<u64, u64> = Workflow::new("one");
    static IS_HEALED: AtomicBool = AtomicBool::new(false);
    let world =
        broken(|method, nth| method == Method::Append && nth > 1 && !IS_HEALED.load(SeqCst));
    let t = TestEngine::on(Arc::clone(&world)).workflow(ONE, async |mut ctx: Ctx, input: u64| {
        ctx.step("step", async || Ok::<_, StepError>(input + 1)).await
    });
    let run = t.start(ONE, 1).await.unwrap();
    t.turn().await.unwrap();
    assert!(world.calls() < 50, "{}", world.calls());
    IS_HEALED.store(true, SeqCst);
    assert_eq!(t.finish(&run).await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_that_is_refused_once_is_followed_by_a_replay_at_once() {
    const TWO: Workflow<u64, u64> = Workflow::new("two");
    for (method, nth) in [(Method::Append, 2), (Method::Append, 3), (Method::Read, 1)] {
        let world = broken(move |called, number| (called, number) == (method, nth));
        let t = TestEngine::on(world).workflow(TWO, async |mut ctx: Ctx, input: u64| {
            let sum = ctx.step("step", async || Ok::<_, StepError>(input + 1)).await?;
            ctx.step("step", async || Ok::<_, StepError>(sum + 1)).await
        });
        let run = t.start(TWO, 1).await.unwrap();
        t.turn().await.unwrap();
        let status = run.status().await.unwrap();
        assert!(matches!(status, Status::Completed), "{method} {nth}: {status:?}");
    }
}

#[tokio::test]
async fn a_note_that_is_refused_is_written_after_a_replay() {
    const WAITS: Workflow<u64, u64> = Workflow::new("waits");
    let world = broken(|method, nth| method == Method::Append && nth == 2);
    let t = TestEngine::on(world).workflow(WAITS, async |_: Ctx, input: u64| {
        yield_now().await; // not durable, and so the run is blocked
        Ok::<_, StepError>(input)
    });
    let run = t.start(WAITS, 1).await.unwrap();
    t.turn().await.unwrap();
    let status = run.status().await.unwrap();
    assert!(matches!(status, Status::Blocked { .. }), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_claims_are_refused_without_end_does_not_spin() {
    const ONE: Workflow<u64, u64> = Workflow::new("one");
    let world = broken(|method, _| method == Method::Claim);
    let engine = Engine::builder(Arc::clone(&world))
        .key(Key::generate())
        .clock(TokioClock::new())
        .workflow(ONE, async |_: Ctx, input: u64| Ok::<_, StepError>(input))
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let calls = world.calls();
    assert!((20..=50).contains(&calls), "{calls}");
    worker.shutdown().await;
}
