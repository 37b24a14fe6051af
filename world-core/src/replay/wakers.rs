//! Who wakes whom: where this thread is, the waker of a body, and the engine's own guard.
//!
//! The root waker knows who wakes it by where the waking thread is: inside the program's own
//! poll, inside a body, or elsewhere.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

use super::slots::{OpId, Shared};

/// What a thread is doing for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Outside,
    /// Polling it with at most one result visible.
    Delivery,
    /// Polling it so that bodies are polled.
    Bodies,
    /// Inside a body of it.
    Body,
    /// Waking its operations.
    Waking,
}

thread_local! {
    static AT: Cell<(usize, Mode)> = const { Cell::new((0, Mode::Outside)) };
}

/// Marks this thread until it is dropped.
#[derive(Debug)]
pub(crate) struct At((usize, Mode));

impl At {
    #[inline]
    pub(crate) fn enter(program: usize, mode: Mode) -> Self {
        Self(AT.replace((program, mode)))
    }

    /// What this thread is doing for `program`.
    #[inline]
    pub(crate) fn here(program: usize) -> Mode {
        match AT.get() {
            (id, mode) if id == program => mode,
            _ => Mode::Outside,
        }
    }
}

/// Whether this thread is polling a body of any program.
pub(crate) fn is_in_a_body() -> bool {
    AT.get().1 == Mode::Body
}

impl Drop for At {
    #[inline]
    fn drop(&mut self) {
        AT.set(self.0);
    }
}

/// The root waker.
impl Wake for Shared {
    #[inline]
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match At::here(self.id()) {
            Mode::Delivery | Mode::Bodies | Mode::Waking => self.root_woken.store(true, SeqCst),
            Mode::Body => {
                self.woken_by_body.store(true, SeqCst);
                self.root_woken.store(true, SeqCst);
            }
            Mode::Outside => {
                self.woken_from_outside.store(true, SeqCst);
                self.wake_driver();
            }
        }
    }
}

/// The waker of one body: it asks for a poll once the program is live, however often it fires.
#[derive(Debug)]
struct BodyWaker {
    shared: Arc<Shared>,
    op: OpId,
    fired: AtomicBool,
}

impl Wake for BodyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.fired.swap(true, SeqCst) {
            self.shared.body_woken(self.op);
        }
    }
}

/// A body's waker, kept for all its polls.
#[derive(Debug)]
pub(crate) struct BodySignal {
    inner: Arc<BodyWaker>,
    waker: Waker,
}

impl BodySignal {
    pub(crate) fn new(shared: &Arc<Shared>, op: OpId) -> Self {
        let inner =
            Arc::new(BodyWaker { shared: Arc::clone(shared), op, fired: AtomicBool::new(false) });
        Self { waker: Arc::clone(&inner).into(), inner }
    }

    /// The waker for the next poll; what it said before that poll is forgotten.
    pub(crate) fn arm(&self) -> &Waker {
        self.inner.fired.store(false, SeqCst);
        &self.waker
    }
}
