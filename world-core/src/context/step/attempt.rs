//! The attempts of a step: how one begins, ends, and is followed by another.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tracing::Span;

use super::{Kept, Step, unrecordable};
use crate::{
    awaited,
    context::{
        BoxError,
        ctx::{derive, first_u64, idempotency_key},
        error::{Advice, advice_of, failure_of},
    },
    event::{Event, Failure, FailureKind},
    ids::Timestamp,
    observe,
    replay::{Announced, At, Blocked, BodySignal, Deposit, Key, Mode, Run, Shared, guarded},
    seal::Plain,
};

/// Which attempt a body is.
pub struct Attempt {
    shared: Arc<Shared>,
    key: Key,
    number: u32,
}

impl Attempt {
    /// The number of the attempt, from 1; attempts that died with their worker count.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The step's key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// 32 hexadecimal digits that are the same for every attempt of this step of this run, and
    /// of no other: hand them to a service that takes an idempotency key.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        idempotency_key(&self.shared, &self.key)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({} of {})", self.number, self.key)
    }
}

impl<T> Step<'_, T> {
    /// Polls the body, beginning an attempt if none is under way.
    pub(super) fn run(&mut self, run: Run) {
        debug_assert_eq!(At::here(self.shared.id()), Mode::Bodies, "never in a delivery");
        if run.timed_out && self.body.is_some() {
            self.drop_body();
            let failure = self.timed_out();
            return self.attempt_failed(run.now.wall, failure, Advice::default(), true);
        }
        if self.body.is_none() && !self.begin(run) {
            return;
        }
        let Some(body) = &mut self.body else { return };
        let signal = self.signal.get_or_insert_with(|| BodySignal::new(&self.shared, self.op));
        let polled = {
            let _at = At::enter(self.shared.id(), Mode::Body);
            let _span = self.span.enter();
            guarded(|| body.as_mut().poll(&mut Context::from_waker(signal.arm())))
        };
        let awaited = awaited::take();
        self.shared.blame_wake(&self.key);
        if let Ok(Poll::Pending) = polled {
            return self.shared.body_pending(self.op, self.alarm, awaited);
        }
        self.drop_body();
        match polled.map(|polled| polled.map(|left| left.and_then(|result| self.keep(result)))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(Ok(result))) => {
                let (key, attempts) = (self.key.clone(), self.attempt);
                observe::attempt_returned(&self.shared.identity.run, &key, attempts);
                self.shared.deposit(self.op, Deposit::Completed { key, result, attempts });
            }
            Ok(Poll::Ready(Err(error))) => {
                let advice = advice_of(&*error);
                let kind = if advice.fatal { FailureKind::Fatal } else { FailureKind::Error };
                let worth_it = match &self.retry_if {
                    Some(filter) => match guarded(|| filter(&*error)) {
                        Ok(worth_it) => worth_it,
                        Err(blocked) => return self.shared.block(blocked),
                    },
                    None => true,
                };
                self.attempt_failed(run.now.wall, failure_of(kind, &*error), advice, worth_it);
            }
            Err(panic) => {
                let failure = panicked(&panic);
                self.attempt_failed(run.now.wall, failure, Advice::default(), true);
            }
        }
    }

    /// Decodes what the body left before it is recorded, and keeps it for when it is delivered:
    /// what could never be read again must not get into the log.
    fn keep(&mut self, result: Plain) -> Result<Plain, BoxError> {
        let decoded = {
            let _at = At::enter(self.shared.id(), Mode::Body);
            (self.decode.left)(&result)
        };
        self.shared.blame_wake(&self.key);
        let value = decoded.map_err(unrecordable)?;
        self.kept = Some(Kept { value, place: result.place() });
        Ok(result)
    }

    /// Begins an attempt; false if there is none to begin now.
    fn begin(&mut self, run: Run) -> bool {
        self.attempt = run.attempt;
        if self.at_most_once && run.announced != Announced::Committed {
            if run.announced == Announced::Before {
                self.fail(interrupted("the worker died after the body was announced"));
            } else {
                self.shared.announce(self.op, self.key.clone());
            }
            return false;
        }
        // The last look before the body: this worker may have been paused since the announcement
        // was sent, and another one may have told the workflow that it was interrupted.
        if run.announced == Announced::Committed && !self.shared.lease_holds() {
            self.shared.await_lease(self.op);
            return false;
        }
        if self.retry.is_some_and(|retry| run.attempt > retry.attempts_max()) {
            self.attempt = run.attempt - 1;
            self.fail(interrupted("the worker died during the last attempt"));
            return false;
        }
        self.alarm = self.timeout.map(|timeout| run.now.monotonic.saturating_add(timeout));
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            key: self.key.clone(),
            number: self.attempt,
        };
        self.span = observe::attempt_span(&self.shared.identity.run, &self.key, self.attempt);
        let made = {
            let _at = At::enter(self.shared.id(), Mode::Body);
            let _span = self.span.enter();
            guarded(|| (self.make)(attempt))
        };
        match made {
            Ok(body) => self.body = Some(body),
            Err(panic) => {
                let failure = panicked(&panic);
                self.attempt_failed(run.now.wall, failure, Advice::default(), true);
            }
        }
        self.body.is_some()
    }

    /// Notes a failed attempt, or ends the step if there is to be no other.
    fn attempt_failed(&self, now: Timestamp, failure: Failure, advice: Advice, worth_it: bool) {
        let retry = self
            .retry
            .filter(|retry| self.attempt < retry.attempts_max())
            .filter(|_| worth_it && !advice.fatal && !self.at_most_once);
        let Some(retry) = retry else { return self.fail(failure) };
        let parts: [&[u8]; 2] = [self.key.as_str().as_bytes(), &self.attempt.to_be_bytes()];
        let random = first_u64(&derive(&self.shared, "retry", &parts));
        let delay = advice.retry_after.unwrap_or_else(|| retry.delay(self.attempt, random));
        let retry_at = now.plus(delay);
        if self.shared.deadline(self.op).is_some_and(|deadline| deadline <= retry_at) {
            return self.fail(no_time_left(failure));
        }
        let (key, attempt) = (self.key.clone(), self.attempt);
        let run = &self.shared.identity.run;
        observe::attempt_failed(run, &key, attempt, failure.kind, delay);
        let note = Event::StepRetrying { key, failure, attempt, retry_at };
        self.shared.retry(self.op, note, attempt, delay, retry_at);
    }

    fn fail(&self, failure: Failure) {
        let (key, attempts) = (self.key.clone(), self.attempt);
        observe::step_failed(&self.shared.identity.run, &key, attempts, failure.kind);
        self.shared.deposit(self.op, Deposit::Failed { key, failure, attempts });
    }

    fn timed_out(&self) -> Failure {
        let message = format!("no answer within {:?}", self.timeout.unwrap_or_default());
        Failure { kind: FailureKind::TimedOut, message, causes: Vec::new() }
    }

    /// Drops the body as the body's own doing: its destructors may wake what it shares.
    pub(super) fn drop_body(&mut self) {
        if let Some(body) = self.body.take() {
            let _at = At::enter(self.shared.id(), Mode::Body);
            let _span = std::mem::replace(&mut self.span, Span::none()).entered();
            // A panic of a destructor comes after the outcome is known, and changes nothing.
            let _ = guarded(|| drop(body));
            self.shared.blame_wake(&self.key);
        }
    }
}

/// The end of a step whose deadline comes before it may be tried again; the last failure is why.
fn no_time_left(last: Failure) -> Failure {
    let message = "the step's deadline passes before another attempt".to_owned();
    let causes = std::iter::once(last.message).chain(last.causes).collect();
    Failure { kind: FailureKind::TimedOut, message, causes }
}

fn interrupted(message: &str) -> Failure {
    Failure { kind: FailureKind::Interrupted, message: message.to_owned(), causes: Vec::new() }
}

fn panicked(panic: &Blocked) -> Failure {
    let message = match panic {
        Blocked::Panicked { message } => format!("the body panicked: {message}"),
        other => other.to_string(),
    };
    Failure { kind: FailureKind::Panicked, message, causes: Vec::new() }
}
