//! A workflow being replayed or run: events in, decisions out.
//!
//! The order of calls is: [`Program::start`], then [`Program::deliver`] for every event of the log
//! in order, and only at the head [`Program::poll_bodies`]; what [`Program::take_batch`] gives is
//! committed and then delivered like any other event. Live and replay run the same code.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use super::{
    Blocked, Divergence, Hydration, Key, Mismatch, Violation,
    slots::{Core, Identity, OpId, Parcel, Shared, Slot, Work},
    wakers::{At, Mode},
};
use crate::{
    event::{Event, Logged, Seen},
    ids::{Position, RunId, Timestamp},
    seal::Plain,
};

/// How a workflow function ended.
pub(crate) type Output = Result<Plain, Box<dyn std::error::Error + Send + Sync>>;

/// A workflow function's future.
pub(crate) type WorkflowFuture = Pin<Box<dyn Future<Output = Output> + Send>>;

/// The most polls, or results tried, within one delivery: beyond it the workflow spins.
const POLLS_MAX: u32 = 100_000;

/// The most rounds of polling bodies before the driver is given a turn.
const ROUNDS_MAX: u32 = 64;

/// A workflow, the operations it has open, and where it stands in its log.
pub(crate) struct Program {
    workflow: Option<WorkflowFuture>,
    shared: Arc<Shared>,
    waker: Waker,
    output: Option<Output>,
    /// What was open after each position, as far back as a decision may still refer to.
    history: VecDeque<(Position, u64)>,
    /// Where it stands in its log.
    position: Position,
    /// Decisions whose `open` differs from what the code waits for.
    warnings: Vec<Divergence>,
    /// Bodies that were woken and that the workflow did not poll.
    starved: Vec<Key>,
    /// Bodies to be polled now, with their wakers.
    runnable: Vec<(OpId, Option<Waker>)>,
    claims: u32,
    jitter: Option<Jitter>,
}

/// Spurious polls, for the test kit: from 0 to 3 at each quiescent point.
#[derive(Debug)]
pub(crate) struct Jitter {
    seed: u64,
    state: u64,
}

/// What a prefix of a log decides, in a form that is cheap to compare: the open operations, and
/// the intents that the prefix does not hold yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footing {
    asked: u64,
    open: (usize, u64),
    intents: (usize, u64),
    ended: bool,
}

impl Jitter {
    /// Spurious polls after a seed; every seed gives others.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self { seed, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// Marsaglia's xorshift64 ("Xorshift RNGs", 2003).
    fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Program {
    /// Begins a workflow with the first event of its log, and polls it to quiescence.
    pub(crate) fn start(
        run: RunId,
        created: &Arc<Logged>,
        hydration: Option<Arc<Hydration>>,
        jitter: Option<Jitter>,
        make: impl FnOnce(Arc<Shared>, &Plain) -> Result<WorkflowFuture, Blocked>,
    ) -> Result<Self, Blocked> {
        let Event::RunCreated { input, seed, .. } = &created.event else {
            return Err(misplaced(created).into());
        };
        let shared = Arc::new(Shared::new(Identity { run, seed: seed.clone() }, hydration));
        shared.core().position = created.position;
        shared.advance_now(created.at);
        let guard = At::enter(shared.id(), Mode::Delivery);
        let workflow = guarded(|| make(Arc::clone(&shared), input))??;
        drop(guard);
        let waker = Waker::from(Arc::clone(&shared));
        let mut program = Self {
            workflow: Some(workflow),
            shared,
            waker,
            output: None,
            history: VecDeque::new(),
            position: created.position,
            warnings: Vec::new(),
            starved: Vec::new(),
            runnable: Vec::new(),
            claims: 0,
            jitter,
        };
        program.settle(None)?;
        program.shake()?;
        program.settle_all()?;
        program.remember();
        Ok(program)
    }

    /// Where it stands in its log.
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// How the workflow ended, once it has.
    pub(crate) const fn output(&self) -> Option<&Output> {
        self.output.as_ref()
    }

    /// Whether somebody has asked the run to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.shared.core().is_cancelled()
    }

    /// Why somebody has asked the run to end.
    pub(crate) fn cancel_reason(&self) -> String {
        self.shared.core().cancel_reason.clone()
    }

    /// The operations it waits for, sorted.
    pub(crate) fn open_keys(&self) -> Vec<Key> {
        self.shared.core().open_keys()
    }

    /// The intents the log does not hold yet, sorted.
    pub(crate) fn pending_intents(&self) -> Vec<Key> {
        self.shared.core().outbox.intent_keys().cloned().collect()
    }

    /// What the log so far decides.
    pub(crate) fn footing(&self) -> Footing {
        let core = self.shared.core();
        Footing {
            asked: core.asked(),
            open: (core.open_count(), core.open_hash),
            intents: core.outbox.intents_digest(),
            ended: self.output.is_some(),
        }
    }

    /// The seed of its spurious polls.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.jitter.as_ref().map(|jitter| jitter.seed)
    }

    /// Decisions that were written while other operations were open, since the last call.
    pub(crate) fn take_warnings(&mut self) -> Vec<Divergence> {
        std::mem::take(&mut self.warnings)
    }

    /// Bodies that were woken and that the workflow did not poll, since the last call.
    pub(crate) fn take_starved(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.starved)
    }

    /// Claims without progress before this one; they count as attempts of what begins now.
    pub(crate) fn set_claims(&mut self, claims: u32) {
        if std::mem::replace(&mut self.claims, claims) != claims {
            self.shared.core().claims = claims;
        }
    }

    /// How many bodies run or could begin.
    pub(crate) fn bodies_wanted(&self) -> usize {
        self.shared.core().wanted()
    }

    /// Whether no body runs, none could begin, and nothing waits to be written at once.
    pub(crate) fn is_idle(&self) -> bool {
        let core = self.shared.core();
        core.wanted() == 0 && !core.outbox.is_pressing()
    }

    /// Whether it could not be executed anew from its log at this point: a body runs, is
    /// announced, or has left something to be written.
    pub(crate) fn is_busy(&self) -> bool {
        let core = self.shared.core();
        core.running() > 0 || core.outbox.holds_news() || core.has_announced()
    }

    /// Whether something waits that is worth an append.
    pub(crate) fn is_pressing(&self) -> bool {
        self.shared.core().outbox.is_pressing()
    }

    /// When it next wants to be polled for time's sake.
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        self.shared.core().next_alarm()
    }

    /// The reason to block a program that nothing durable will ever wake.
    pub(crate) fn waits_for_nothing(&self) -> Blocked {
        Violation::WaitsForNothingDurable { open: self.shared.core().shown_keys() }.into()
    }

    /// All that waits to be written, in order. The caller keeps it until it is committed.
    pub(crate) fn take_batch(&mut self, batch: &mut VecDeque<Event>) {
        let mut core = self.shared.core();
        let seen = Seen { after: core.position, open: core.open_hash };
        core.outbox.take(seen, batch);
    }

    /// Delivers the next event of the log, and polls to quiescence.
    pub(crate) fn deliver(&mut self, logged: &Arc<Logged>) -> Result<(), Blocked> {
        self.probe()?;
        let position = self.position;
        if logged.position != position.next() {
            return Err(misplaced(logged).into());
        }
        match &logged.event {
            Event::StepCompleted { key, seen, .. } | Event::StepFailed { key, seen, .. } => {
                self.check_seen(logged, *seen)?;
                self.decide(logged, key, "step")?;
            }
            Event::TimerFired { key, seen } => {
                self.check_seen(logged, *seen)?;
                self.decide(logged, key, "timer")?;
            }
            Event::CancelRequested { reason } => {
                self.shared.advance_now(logged.at);
                self.shared.core().cancel(logged.position, reason);
            }
            Event::TimerSet { key, at } => self.confirm(logged, key, *at)?,
            Event::StepStarted { key } => {
                let mut core = self.shared.core();
                if let Some((op, _)) = core.find(key) {
                    core.announced(op);
                }
            }
            Event::StepRetrying { key, attempt, retry_at, .. } => {
                let mut core = self.shared.core();
                if let Some((op, _)) = core.find(key) {
                    core.retrying(op, *attempt, *retry_at);
                }
            }
            Event::StepAbandoned { key } => self.shared.core().outbox.confirm_abandoned(key),
            Event::RunBlocked { .. } => {}
            Event::RunCompleted { .. } | Event::RunFailed { .. } | Event::RunCancelled { .. } => {}
            Event::RunCreated { .. } => return Err(misplaced(logged).into()),
        }
        self.position = logged.position;
        self.shared.core().position = logged.position;
        self.settle_all()?;
        self.remember();
        Ok(())
    }

    /// Polls bodies at the head of the log, at most `bodies_max` at once: ready when something is
    /// to be written at once.
    pub(crate) fn poll_bodies(
        &mut self,
        cx: &Context<'_>,
        now: Timestamp,
        bodies_max: usize,
    ) -> Poll<Result<(), Blocked>> {
        self.shared.set_driver(cx.waker());
        if let Err(blocked) = self.probe() {
            return Poll::Ready(Err(blocked));
        }
        if self.output.is_some() {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..ROUNDS_MAX {
            let mut woken = self.shared.take_ready();
            let asked = {
                let mut core = self.shared.core();
                core.bodies_max = bodies_max;
                core.expire(now, &mut woken);
                core.make_runnable(&woken, &mut self.runnable);
                if self.runnable.is_empty() {
                    if core.outbox.is_pressing() {
                        return Poll::Ready(Ok(()));
                    }
                    if core.open_count() == 0 {
                        drop(core);
                        return Poll::Ready(Err(self.waits_for_nothing()));
                    }
                    return Poll::Pending;
                }
                core.asked()
            };
            if let Err(blocked) = self.poll_for_bodies(asked) {
                return Poll::Ready(Err(blocked));
            }
        }
        if self.is_pressing() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_for_bodies(&mut self, asked: OpId) -> Result<(), Blocked> {
        {
            let _at = At::enter(self.shared.id(), Mode::Waking);
            for (_, waker) in &mut self.runnable {
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
        }
        let ended = self.poll_workflow(Mode::Bodies)?;
        let mut core = self.shared.core();
        core.find_starved(&self.runnable, &mut self.starved);
        self.runnable.clear();
        if let Some(blocked) = core.blocked.take() {
            return Err(blocked);
        }
        if ended || core.asked() != asked {
            return Err(Violation::MovedByItself { open: core.shown_keys() }.into());
        }
        Ok(())
    }

    // ---- the delivery rule ----

    /// Makes the parked results visible, one at a time, until none is left to try.
    fn settle_all(&mut self) -> Result<(), Blocked> {
        for _ in 0..POLLS_MAX {
            if self.output.is_some() {
                return Ok(());
            }
            let Some(waker) = self.shared.core().show_next() else {
                debug_assert!(self.shared.core().visible.is_none(), "nothing is visible at rest");
                return Ok(());
            };
            self.settle(waker)?;
            self.shake()?;
        }
        Err(Violation::Spins { open: self.shared.core().shown_keys() }.into())
    }

    /// Polls until the root waker is quiet, with what is visible.
    fn settle(&mut self, visible: Option<Waker>) -> Result<(), Blocked> {
        if let Some(waker) = visible {
            let _at = At::enter(self.shared.id(), Mode::Waking);
            waker.wake();
        }
        for _ in 0..POLLS_MAX {
            if self.output.is_some() {
                break;
            }
            self.shared.root_woken.store(false, SeqCst);
            self.poll_workflow(Mode::Delivery)?;
            if !self.shared.root_woken.load(SeqCst) {
                break;
            }
        }
        let mut core = self.shared.core();
        core.visible = None;
        if let Some(blocked) = core.blocked.take() {
            return Err(blocked);
        }
        if self.output.is_none() && self.shared.root_woken.load(SeqCst) {
            return Err(Violation::Spins { open: core.shown_keys() }.into());
        }
        Ok(())
    }

    /// A wake from outside the program is tried before the next delivery: if the program moves,
    /// it awaited something that is not durable.
    fn probe(&mut self) -> Result<(), Blocked> {
        if !self.shared.woken_from_outside.swap(false, SeqCst) || self.output.is_some() {
            return Ok(());
        }
        self.nudge()
    }

    /// Polls with nothing visible; nothing may come of it.
    fn nudge(&mut self) -> Result<(), Blocked> {
        let mark = |core: &Core| (core.asked(), core.open_count(), core.open_hash);
        let (before, open) = {
            let core = self.shared.core();
            let few = core.open_count() <= Divergence::SHOWN_MAX;
            (mark(&core), if few { core.shown_keys() } else { Vec::new() })
        };
        self.settle(None)?;
        let core = self.shared.core();
        if self.output.is_none() && mark(&core) == before {
            return Ok(());
        }
        let open = if open.is_empty() { core.shown_keys() } else { open };
        Err(Violation::MovedByItself { open }.into())
    }

    /// The test kit's spurious polls.
    fn shake(&mut self) -> Result<(), Blocked> {
        /// The most operations that are woken for one spurious poll.
        const WAKERS_MAX: usize = 64;
        let Some(jitter) = &mut self.jitter else { return Ok(()) };
        let (polls, chance) = (jitter.draw() >> 62, jitter.draw());
        for _ in 0..polls {
            if self.output.is_some() {
                break;
            }
            let wakers = self.shared.core().some_wakers(chance, WAKERS_MAX);
            {
                let _at = At::enter(self.shared.id(), Mode::Waking);
                wakers.into_iter().for_each(Waker::wake);
            }
            self.nudge()?;
        }
        Ok(())
    }

    /// Polls the workflow once; true when it has ended.
    fn poll_workflow(&mut self, mode: Mode) -> Result<bool, Blocked> {
        let Some(workflow) = &mut self.workflow else { return Ok(true) };
        let _at = At::enter(self.shared.id(), mode);
        let mut cx = Context::from_waker(&self.waker);
        match guarded(|| workflow.as_mut().poll(&mut cx))? {
            Poll::Pending => Ok(false),
            Poll::Ready(output) => {
                self.shared.core().finished = true;
                self.output = Some(output);
                let workflow = self.workflow.take();
                guarded(|| drop(workflow))?;
                Ok(true)
            }
        }
    }

    // ---- the log ----

    fn decide(
        &mut self,
        logged: &Arc<Logged>,
        key: &Key,
        kind: &'static str,
    ) -> Result<(), Blocked> {
        self.shared.advance_now(logged.at);
        let mut core = self.shared.core();
        let why = match core.find(key) {
            Some((op, slot)) if work_name(slot) == kind => {
                core.park(op, logged.position, Parcel::Logged(Arc::clone(logged)));
                return Ok(());
            }
            Some((_, slot)) => Mismatch::OtherKind { asked: work_name(slot) },
            None if core.was_dropped(key) => return Ok(()),
            None => Mismatch::NeverAsked,
        };
        Err(diverged(&core, logged, why).into())
    }

    fn confirm(&mut self, logged: &Logged, key: &Key, at: Timestamp) -> Result<(), Blocked> {
        let mut core = self.shared.core();
        if !core.outbox.confirm(key) {
            return Err(diverged(&core, logged, Mismatch::UnexpectedIntent).into());
        }
        if let Some((op, _)) = core.find(key) {
            core.retime(op, at);
        }
        Ok(())
    }

    /// Compares what the program knew when a decision was written with what it knows.
    fn check_seen(&mut self, logged: &Logged, seen: Seen) -> Result<(), Blocked> {
        let core = self.shared.core();
        if let Some(key) = core.outbox.missing(seen.after) {
            let key = key.clone();
            return Err(diverged(&core, logged, Mismatch::MissingIntent { key }).into());
        }
        while self.history.front().is_some_and(|(position, _)| *position < seen.after) {
            self.history.pop_front();
        }
        if self.history.front().is_some_and(|known| *known != (seen.after, seen.open)) {
            self.warnings.push(diverged(&core, logged, Mismatch::OtherOpen));
        }
        Ok(())
    }

    fn remember(&mut self) {
        let core = self.shared.core();
        self.history.push_back((core.position, core.open_hash));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.shared.core().finished = true;
        let workflow = self.workflow.take();
        // A panic of a destructor has nowhere to go: the run is not affected by it.
        let _ = guarded(|| drop(workflow));
    }
}

fn work_name(slot: &Slot) -> &'static str {
    match slot.work {
        Work::Timer { .. } => "timer",
        Work::Step(_) => "step",
    }
}

fn diverged(core: &Core, logged: &Logged, why: Mismatch) -> Divergence {
    Divergence {
        position: logged.position,
        kind: logged.event.kind(),
        key: logged.event.key().cloned(),
        why,
        open: core.shown_keys(),
    }
}

fn misplaced(logged: &Logged) -> Divergence {
    Divergence {
        position: logged.position,
        kind: logged.event.kind(),
        key: logged.event.key().cloned(),
        why: Mismatch::Misplaced,
        open: Vec::new(),
    }
}

/// Runs user code; a panic of it becomes a reason to block.
pub(crate) fn guarded<T>(code: impl FnOnce() -> T) -> Result<T, Blocked> {
    catch_unwind(AssertUnwindSafe(code))
        .map_err(|payload| Blocked::Panicked { message: panic_message(payload) })
}

/// What a panic said. The payload's own destructor may panic too.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    message
}
