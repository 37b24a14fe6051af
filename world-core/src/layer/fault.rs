//! Breaks calls on purpose, for tests: by a plan or a seed, never by chance.

mod gate;
mod plan;

use std::{fmt, future::poll_fn, num::NonZeroU32, pin::pin, sync::Mutex, task::Poll};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{LogId, Position, Timestamp},
    lease::{Claim, Lease, Renewed},
    list::{Deleted, List, RunPage},
    lock::lock,
    record::{Append, Appended, Page},
    world::{Wait, World, WorldInfo},
};

use super::Method;

pub use gate::Gate;
pub use plan::{Fault, Seen};

/// The most requests kept for [`FaultLayer::deliver_kept`]; what comes beyond is never delivered.
const KEPT_MAX: usize = 65_536;

type Plan = dyn Fn(&Seen<'_>) -> Fault + Send + Sync;

/// A World that breaks calls to the one inside as a plan says.
///
/// The plan sees each call before it is delivered and picks a [`Fault`]. As it is a function of
/// what it sees, a single-threaded test breaks at the same calls each time it runs.
///
/// ```
/// # use world_core::{layer::{Fault, FaultLayer, Method}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let world = FaultLayer::new(MemoryWorld::new(), |seen| match (seen.method, seen.nth) {
///     (Method::Append, 1) => Fault::AnswerLost,
///     _ => Fault::None,
/// });
/// # let record = Record {
/// #     position: Position::new(1),
/// #     kind: Kind(1),
/// #     at: Timestamp::ZERO,
/// #     body: Sealed::from_stored(&b"opaque"[..]),
/// # };
/// # let at = Timestamp::ZERO;
/// # let append = Append { expected: Position::START, records: vec![record], at, by: By::Outsider };
/// let log = LogId::Token(Token::new("order-7")?);
/// let lost = world.append(&log, &append).await.unwrap_err();
/// assert_eq!(lost.kind(), ErrorKind::Unknown);
/// let committed = Appended::Committed { head: Position::new(1) };
/// assert_eq!(world.append(&log, &append).await?, committed); // rule A6
/// # Ok(())
/// # }
/// ```
pub struct FaultLayer<W> {
    world: W,
    plan: Box<Plan>,
    state: Mutex<State>,
    is_crashed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    by_method: [u64; Method::ALL.len()],
    kept: Vec<Kept>,
}

/// A request that is delivered later.
#[derive(Clone, Debug)]
enum Kept {
    Append(LogId, Append),
    Claim(Claim),
    Renew(Lease, Timestamp),
    Delete(LogId, Position),
}

impl<W: fmt::Debug> fmt::Debug for FaultLayer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultLayer")
            .field("world", &self.world)
            .field("is_crashed", &*self.is_crashed.borrow())
            .finish_non_exhaustive()
    }
}

impl<W: World> FaultLayer<W> {
    /// Breaks the calls to `world` as `plan` says.
    pub fn new(world: W, plan: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static) -> Self {
        Self {
            world,
            plan: Box::new(plan),
            state: Mutex::default(),
            is_crashed: watch::Sender::new(false),
        }
    }

    /// Ends the client, as far as the World is concerned: every call from now on fails as
    /// `Unavailable` without being delivered, and one that is under way gets no answer.
    pub fn crash(&self) {
        self.is_crashed.send_replace(true);
    }

    /// Whether [`FaultLayer::crash`] or a crashing [`Fault`] has come.
    pub fn is_crashed(&self) -> bool {
        *self.is_crashed.borrow()
    }

    /// Returns once the client has crashed.
    pub async fn crashed(&self) {
        // The sender lives as long as this layer.
        let _ = self.is_crashed.subscribe().wait_for(|is_crashed| *is_crashed).await;
    }

    /// How many calls have been made.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Delivers what [`Fault::Late`] and [`Fault::Again`] have kept, in the order in which it was
    /// sent and whether or not the client has crashed; says how much that was. Nobody learns the
    /// answers.
    pub async fn deliver_kept(&self) -> usize {
        let kept = std::mem::take(&mut self.state().kept);
        for request in &kept {
            let _ = match request {
                Kept::Append(log, append) => self.world.append(log, append).await.map(drop),
                Kept::Claim(claim) => self.world.claim(claim).await.map(drop),
                Kept::Renew(lease, until) => self.world.renew(lease, *until).await.map(drop),
                Kept::Delete(log, head) => self.world.delete(log, *head).await.map(drop),
            };
        }
        kept.len()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Counts a call and asks the plan about it.
    fn fault(&self, method: Method, log: Option<&LogId>, append: Option<&Append>) -> Fault {
        let (nth, number) = {
            let mut state = self.state();
            state.calls += 1;
            let nth = &mut state.by_method[method as usize];
            *nth += 1;
            (*nth, state.calls)
        };
        (self.plan)(&Seen { method, number, nth, log, append })
    }

    fn keep(&self, request: Option<Kept>) {
        let mut state = self.state();
        if state.kept.len() < KEPT_MAX {
            state.kept.extend(request);
        }
    }

    async fn deliver<T, F>(
        &self,
        method: Method,
        fault: Fault,
        request: impl Fn() -> Option<Kept> + Send + Sync,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let undelivered = || Err(Error::new(ErrorKind::Unavailable, format!("a lost {method}")));
        if self.is_crashed() {
            return undelivered();
        }
        let answer = match fault {
            Fault::None => send().await,
            Fault::Lost => return undelivered(),
            Fault::Error(kind) => return Err(Error::new(kind, format!("a {method} made to fail"))),
            Fault::AnswerLost => {
                let _ = send().await;
                return Err(unanswered(method));
            }
            Fault::Twice => {
                let _ = send().await;
                send().await
            }
            Fault::Late => {
                self.keep(request());
                return Err(unanswered(method));
            }
            Fault::Again => {
                let answer = send().await;
                self.keep(request());
                answer
            }
            Fault::Held(gate) => {
                gate.pass().await;
                if self.is_crashed() {
                    return undelivered();
                }
                send().await
            }
            Fault::AnswerHeld(gate) => {
                let answer = send().await;
                gate.pass().await;
                answer
            }
            Fault::CrashBefore => {
                self.crash();
                return undelivered();
            }
            Fault::CrashAfter => {
                let _ = send().await;
                self.crash();
                return Err(unanswered(method));
            }
            Fault::CrashMidway(polls) => {
                polled_up_to(polls, send()).await;
                self.crash();
                return Err(unanswered(method));
            }
        };
        if self.is_crashed() { Err(unanswered(method)) } else { answer }
    }
}

/// Polls a call this many times, or until it is answered, and drops it.
async fn polled_up_to<T>(polls: u32, call: impl Future<Output = T>) {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn unanswered(method: Method) -> Error {
    Error::new(method.unanswered(), format!("the answer to a {method} was lost"))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<W: World> World for FaultLayer<W> {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let fault = self.fault(Method::Append, Some(log), Some(append));
        let request = || Some(Kept::Append(log.clone(), append.clone()));
        let send = || self.world.append(log, append);
        self.deliver(Method::Append, fault, request, send).await
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let fault = self.fault(Method::Read, Some(log), None);
        let send = || self.world.read(log, after, limit);
        self.deliver(Method::Read, fault, || None, send).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let fault = self.fault(Method::Claim, None, None);
        let request = || Some(Kept::Claim(claim.clone()));
        self.deliver(Method::Claim, fault, request, || self.world.claim(claim)).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let log = LogId::Run(lease.run.clone());
        let fault = self.fault(Method::Renew, Some(&log), None);
        let request = || Some(Kept::Renew(lease.clone(), until));
        self.deliver(Method::Renew, fault, request, || self.world.renew(lease, until)).await
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let fault = self.fault(Method::List, None, None);
        self.deliver(Method::List, fault, || None, || self.world.list(list)).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let fault = self.fault(Method::Delete, Some(log), None);
        let request = || Some(Kept::Delete(log.clone(), head));
        self.deliver(Method::Delete, fault, request, || self.world.delete(log, head)).await
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let fault = self.fault(Method::Wait, None, None);
        self.deliver(Method::Wait, fault, || None, || self.world.wait(wait)).await
    }
}
