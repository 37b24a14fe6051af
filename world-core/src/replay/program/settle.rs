//! The delivery rule: one result visible at a time, and polled to quiescence before the next.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll, Waker},
};

use super::Program;
use crate::{
    replay::{
        Blocked, Divergence, Violation,
        slots::Shared,
        wakers::{At, Mode},
    },
    text,
};

/// The most results tried within one delivery, beyond those of what was open before it: a workflow
/// that goes on after a cancellation gets one for each operation that it asks for.
const RESULTS_MAX: u32 = 100_000;

/// Tells a workflow that works from one that spins, within one delivery or one poll of bodies, by
/// how much it has done. Two branches that hand each other items through a channel are polled once
/// an item or so, and nothing else is seen of them; nor is it of a loop that goes on for ever.
#[derive(Debug, Default)]
pub(super) struct SpinGuard {
    polls: u64,
    /// How many operations had been asked for at the first look.
    asked: Option<u64>,
}

impl SpinGuard {
    /// The most polls.
    const WORK_MAX: u64 = 4_000_000;

    /// How many polls an operation counts for that is asked for meanwhile: it takes memory.
    const POLLS_AN_OPERATION: u64 = 10;

    /// A short delivery is not looked at.
    const LOOKS_EVERY: u64 = 1_000;

    /// Counts a poll; true if the workflow spins.
    pub(super) fn has_spun(&mut self, shared: &Shared) -> bool {
        self.polls += 1;
        if !self.polls.is_multiple_of(Self::LOOKS_EVERY) {
            return false;
        }
        let asked = shared.core().asked();
        let since = asked - *self.asked.get_or_insert(asked);
        self.polls + since.saturating_mul(Self::POLLS_AN_OPERATION) >= Self::WORK_MAX
    }
}

/// Spurious polls, for the test kit: from 0 to 3 at each quiescent point.
#[derive(Debug)]
pub(crate) struct Jitter {
    pub(super) seed: u64,
    state: u64,
}

impl Jitter {
    /// Spurious polls after a seed; every seed gives others.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self { seed, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// Marsaglia's xorshift64 ("Xorshift RNGs", 2003).
    pub(super) fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Program {
    /// Makes the parked results visible, one at a time, until none is left to try.
    pub(super) fn settle_all(&mut self) -> Result<(), Blocked> {
        // A cancellation ends every open operation, however many there are.
        let open = u32::try_from(self.shared.core().open_count()).unwrap_or(u32::MAX);
        for _ in 0..RESULTS_MAX.saturating_add(open) {
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
    pub(super) fn settle(&mut self, visible: Option<Waker>) -> Result<(), Blocked> {
        if let Some(waker) = visible {
            let _at = At::enter(self.shared.id(), Mode::Waking);
            waker.wake();
        }
        let mut guard = SpinGuard::default();
        while self.output.is_none() {
            self.shared.root_woken.store(false, SeqCst);
            self.poll_workflow(Mode::Delivery)?;
            if !self.shared.root_woken.load(SeqCst) || guard.has_spun(&self.shared) {
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
    pub(super) fn probe(&mut self) -> Result<(), Blocked> {
        if !self.shared.woken_from_outside.swap(false, SeqCst) || self.output.is_some() {
            return Ok(());
        }
        self.nudge()
    }

    /// Polls with nothing visible; nothing may come of it.
    pub(super) fn nudge(&mut self) -> Result<(), Blocked> {
        let (before, open) = {
            let core = self.shared.core();
            let few = core.open_count() <= Divergence::SHOWN_MAX;
            (core.mark(), if few { core.shown_keys() } else { Vec::new() })
        };
        self.settle(None)?;
        let core = self.shared.core();
        if self.output.is_none() && core.mark() == before {
            return Ok(());
        }
        let open = if open.is_empty() { core.shown_keys() } else { open };
        Err(Violation::MovedByItself { open }.into())
    }

    /// The test kit's spurious polls.
    pub(super) fn shake(&mut self) -> Result<(), Blocked> {
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
    pub(super) fn poll_workflow(&mut self, mode: Mode) -> Result<bool, Blocked> {
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
}

/// Runs user code; a panic of it becomes a reason to block.
pub(crate) fn guarded<T>(code: impl FnOnce() -> T) -> Result<T, Blocked> {
    catch_unwind(AssertUnwindSafe(code))
        .map_err(|payload| Blocked::Panicked { message: panic_message(payload) })
}

/// What a panic said. The payload's own destructor may panic too.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text::shown(message.unwrap_or("a panic without a message"));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    message
}
