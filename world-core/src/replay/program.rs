//! A workflow being replayed or run: events in, decisions out.
//!
//! The order of calls is: [`Program::start`], then [`Program::deliver`] for every event of the log
//! in order, and only at the head [`Program::poll_bodies`]; what [`Program::take_batch`] gives is
//! committed and then delivered like any other event. Live and replay run the same code.

mod deliver;
mod settle;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use deliver::misplaced;
use settle::SpinGuard;
pub(crate) use settle::{Jitter, guarded};

use super::{
    Blocked, Divergence, Hydration, Key, Violation,
    slots::{Identity, LeaseWatch, Mark, NextAlarm, OpId, Shared},
    wakers::{At, Mode},
};
use crate::{
    event::{Event, FailureKind, Logged, Seen},
    ids::{Position, RunId},
    moment::Moment,
    observe,
    seal::Plain,
};

/// How a workflow function ended.
pub(crate) type Output = Result<Plain, Box<dyn std::error::Error + Send + Sync>>;

/// A workflow function's future.
pub(crate) type WorkflowFuture = Pin<Box<dyn Future<Output = Output> + Send>>;

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
    lease: Option<Arc<dyn LeaseWatch>>,
    jitter: Option<Jitter>,
}

/// What a prefix of a log decides, in a form that is cheap to compare: the open operations, and
/// the intents that the prefix does not hold yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footing {
    asked: u64,
    drawn: u64,
    open: (usize, u64),
    intents: (usize, u64),
    ended: bool,
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
            lease: None,
            jitter,
        };
        program.settle(None)?;
        program.shake()?;
        program.settle_all()?;
        program.remember();
        Ok(program)
    }

    /// What it shares with its operations.
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
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
            drawn: core.drawn,
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
    #[inline]
    pub(crate) fn set_claims(&mut self, claims: u32) {
        if std::mem::replace(&mut self.claims, claims) != claims {
            self.shared.core().claims = claims;
        }
    }

    /// The lease under which it is driven; at-most-once bodies begin only while it holds.
    #[inline]
    pub(crate) fn set_lease(&mut self, lease: &Arc<impl LeaseWatch + 'static>) {
        let is_known =
            |known: &Arc<dyn LeaseWatch>| std::ptr::addr_eq(&raw const **known, &raw const **lease);
        if !self.lease.as_ref().is_some_and(is_known) {
            let lease: Arc<dyn LeaseWatch> = Arc::clone(lease) as _;
            self.shared.core().lease = Some(Arc::clone(&lease));
            self.lease = Some(lease);
        }
    }

    /// Whether the body of an at-most-once step waits until the lease is confirmed.
    pub(crate) fn wants_lease(&self) -> bool {
        self.shared.core().wants_lease()
    }

    /// The lease holds: the bodies that waited for it may begin.
    pub(crate) fn confirm_lease(&self) {
        self.shared.core().confirm_lease();
    }

    /// How many bodies run or could begin, but for those that the workflow does not poll.
    pub(crate) fn bodies_wanted(&self) -> usize {
        self.shared.core().wanted()
    }

    /// Whether no body runs that the workflow polls, none could begin or would if the worker did
    /// not stop, and nothing waits to be written at once: nothing happens before a time that it
    /// waits for, or an event from outside.
    pub(crate) fn is_idle(&self) -> bool {
        let core = self.shared.core();
        !core.has_bodies() && !core.held_back && !core.outbox.is_pressing() && !core.wants_lease()
    }

    /// Begins no body from now on, but for those that the log has announced.
    pub(crate) fn drain(&mut self) {
        self.shared.core().drain();
    }

    /// Whether no body runs that the workflow polls, none is announced that it would poll, and
    /// nothing waits to be written at once.
    pub(crate) fn is_drained(&self) -> bool {
        let core = self.shared.core();
        core.polled_running() == 0 && !core.awaits_announced() && !core.outbox.is_pressing()
    }

    /// Whether bodies would begin if the program were not being drained.
    pub(crate) fn holds_bodies_back(&self) -> bool {
        self.shared.core().held_back
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
    pub(crate) fn next_alarm(&self) -> NextAlarm {
        self.shared.core().next_alarm()
    }

    /// The reason to block a program that nothing durable will ever wake.
    pub(crate) fn waits_for_nothing(&self) -> Blocked {
        Violation::WaitsForNothingDurable { open: self.shared.core().shown_keys() }.into()
    }

    /// All that waits to be written, in order. The caller keeps it until it is committed.
    #[inline]
    pub(crate) fn take_batch(&mut self, batch: &mut VecDeque<Event>) {
        let mut core = self.shared.core();
        let seen = Seen { after: core.position, open: core.open_hash };
        core.outbox.take(seen, batch);
    }

    /// Polls bodies at the head of the log, at most `bodies_max` at once: ready when something is
    /// to be written at once.
    pub(crate) fn poll_bodies(
        &mut self,
        cx: &Context<'_>,
        now: Moment,
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
            let before = {
                let mut core = self.shared.core();
                if let Some(blocked) = core.blocked.take() {
                    return Poll::Ready(Err(blocked));
                }
                core.bodies_max = bodies_max;
                core.expire(now, &mut woken);
                if !core.overdue.is_empty() {
                    let overdue = std::mem::take(&mut core.overdue);
                    drop(core); // a subscriber is user code
                    for (key, attempts) in &overdue {
                        let run = &self.shared.identity.run;
                        observe::step_failed(run, key, *attempts, FailureKind::TimedOut);
                    }
                    core = self.shared.core();
                }
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
                core.mark()
            };
            if let Err(blocked) = self.poll_for_bodies(before) {
                return Poll::Ready(Err(blocked));
            }
        }
        if self.is_pressing() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls the bodies that are runnable. The workflow is polled until the root waker is quiet, as
    /// in a delivery: a combinator may yield before it has polled all of its futures, and those
    /// that it has not reached must not wait for another wake.
    fn poll_for_bodies(&mut self, before: Mark) -> Result<(), Blocked> {
        {
            let _at = At::enter(self.shared.id(), Mode::Waking);
            for (_, waker) in &mut self.runnable {
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
        }
        let mut guard = SpinGuard::default();
        loop {
            self.shared.root_woken.store(false, SeqCst);
            let ended = self.poll_workflow(Mode::Bodies)?;
            let is_quiet = !self.shared.root_woken.load(SeqCst);
            let mut core = self.shared.core();
            // A body that woke the workflow is named here, before what it did is acted on.
            if let Some(blocked) = core.blocked.take() {
                return Err(blocked);
            }
            if ended || core.mark() != before {
                return Err(Violation::MovedByItself { open: core.shown_keys() }.into());
            }
            if is_quiet {
                core.find_starved(&self.runnable, &mut self.starved);
                drop(core);
                self.runnable.clear();
                return Ok(());
            }
            drop(core);
            if guard.has_spun(&self.shared) {
                return Err(Violation::Spins { open: self.shared.core().shown_keys() }.into());
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let runs_bodies = {
            let mut core = self.shared.core();
            core.finished = true;
            core.running() > 0
        };
        // A program that leaves memory is no event in the workflow's life; a body cut off is one.
        let _silence = if runs_bodies { None } else { observe::silence() };
        let workflow = self.workflow.take();
        // A panic of a destructor has nowhere to go: the run is not affected by it.
        let _ = guarded(|| drop(workflow));
    }
}
