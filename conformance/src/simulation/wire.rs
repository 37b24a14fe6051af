//! The way to the store: requests and answers that are slow, lost, doubled or late.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::{sync::oneshot, time::sleep};
use world_core::{
    Append, Appended, By, Claim, Deleted, Error, ErrorKind, Lease, List, LogId, Page, Position,
    Renewed, Result, RunId, RunPage, Ticket, Timestamp, Wait, World, WorldInfo, layer::Method,
};

use super::{
    rng::Rng,
    witness::Witness,
    words::{Answer, append_words, bytes_hash},
};

/// What may befall a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// It is refused at once, and not done.
    Refused,
    /// The request is lost.
    Lost,
    /// It is done, and its answer is lost.
    AnswerLost,
    /// It is done after its sender has given up.
    Late,
    /// It arrives twice, the second time perhaps much later.
    Twice,
    /// It takes nearly as long as its sender waits.
    Slow,
    /// The way is broken.
    Cut,
}

impl Mishap {
    const DRAWN: [Self; 6] =
        [Self::Refused, Self::Lost, Self::AnswerLost, Self::Late, Self::Twice, Self::Slow];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Lost => "request lost",
            Self::AnswerLost => "answer lost",
            Self::Late => "late",
            Self::Twice => "twice",
            Self::Slow => "slow",
            Self::Cut => "cut off",
        }
    }
}

/// How bad the ways of a simulation are.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Of each 1000 calls so many suffer each mishap, in the order of [`Mishap::DRAWN`].
    pub(super) per_mille: [u64; 6],
    /// What a call takes on each way when nothing befalls it, at most.
    pub(super) latency: Duration,
    /// How long a sender waits for an answer.
    pub(super) patience: Duration,
    /// How late a request may arrive.
    pub(super) late_max: Duration,
}

/// Whether the way is open; shared by its clones.
#[derive(Clone, Debug)]
pub(super) struct Way(Arc<Flags>);

#[derive(Debug)]
struct Flags {
    /// Nothing befalls any call of the whole simulation any more.
    calm: Arc<AtomicBool>,
    cut: AtomicBool,
    dead: AtomicBool,
}

impl Way {
    pub(super) fn new(calm: &Arc<AtomicBool>) -> Self {
        let (cut, dead) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Flags { calm: Arc::clone(calm), cut, dead }))
    }

    /// No call gets through any more, and no answer.
    pub(super) fn end(&self) {
        self.0.dead.store(true, SeqCst);
    }

    /// No call gets through, or all do again.
    pub(super) fn cut(&self, cut: bool) {
        self.0.cut.store(cut, SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.0.cut.load(SeqCst) || self.0.dead.load(SeqCst)
    }
}

/// A worker's or client's way to the store.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) store: Arc<Witness>,
    pub(super) weather: Weather,
    pub(super) way: Way,
    pub(super) rng: Mutex<Rng>,
}

impl Wire {
    fn who(&self) -> &str {
        &self.store.who
    }

    fn draw(&self, method: Method) -> (Option<Mishap>, Duration, Duration, Duration) {
        let mut rng = super::lock(&self.rng);
        let Weather { latency, late_max, .. } = self.weather;
        let (there, back, late) = (rng.time(latency), rng.time(latency), rng.time(late_max));
        let mut drawn = rng.below(1000);
        if self.way.is_cut() {
            return (Some(Mishap::Cut), there, back, late);
        }
        if self.way.0.calm.load(SeqCst) {
            return (None, there, back, late);
        }
        for (mishap, share) in Mishap::DRAWN.into_iter().zip(self.weather.per_mille) {
            if drawn < share {
                let harmless = method == Method::Wait && mishap != Mishap::Refused;
                return ((!harmless).then_some(mishap), there, back, late);
            }
            drawn -= share;
        }
        (None, there, back, late)
    }

    async fn call<T: Send + 'static>(
        &self,
        method: Method,
        request: impl Fn() -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let (mishap, there, back, late) = self.draw(method);
        let patience = self.weather.patience;
        let Some(mishap) = mishap else {
            pause(there).await;
            let answer = request().await;
            pause(back).await;
            // Who crashed meanwhile learns nothing.
            return if self.way.is_cut() { Err(unanswered(method)) } else { answer };
        };
        self.store.book.befell(mishap);
        self.store.book.trace.note(self.who(), format_args!("{method} is {}", mishap.name()));
        match mishap {
            Mishap::Refused => {
                Err(Error::new(ErrorKind::Unavailable, format!("a refused {method}")))
            }
            Mishap::Lost | Mishap::Cut => {
                pause(patience).await;
                Err(unanswered(method))
            }
            Mishap::AnswerLost => {
                drop(send(there, request()));
                pause(patience).await;
                Err(unanswered(method))
            }
            Mishap::Late => {
                drop(send(patience + late, request()));
                pause(patience).await;
                Err(unanswered(method))
            }
            Mishap::Twice => {
                let second = late.min(patience * 2);
                let answer = send(there, request());
                let again = send(there + second, request());
                let answer = if second < patience / 2 { again } else { answer };
                self.patiently(method, answer).await
            }
            Mishap::Slow => self.patiently(method, send(patience * 7 / 8, request())).await,
        }
    }

    async fn patiently<T>(
        &self,
        method: Method,
        answer: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        tokio::select! { biased;
            Ok(answer) = answer, if !self.way.is_cut() => answer,
            () = sleep(self.weather.patience) => Err(unanswered(method)),
        }
    }

    fn learns(&self, method: Method, what: std::fmt::Arguments<'_>) {
        self.store.book.trace.note(self.who(), format_args!("{method} = {what}"));
    }

    fn holds(&self, run: &RunId, ticket: Ticket) {
        let mut state = self.store.book.state();
        let given = state.runs.get(run).and_then(|book| book.given.get(&ticket)).copied();
        // A lease that nobody gave is older than everything: the witness has objected.
        state.ledger.holds(self.who(), run, ticket, given.unwrap_or_default());
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// A request on its way, which arrives whatever becomes of its sender.
fn send<T: Send + 'static>(
    there: Duration,
    request: BoxFuture<'static, Result<T>>,
) -> oneshot::Receiver<Result<T>> {
    let (sender, answer) = oneshot::channel();
    tokio::spawn(async move {
        pause(there).await;
        let _ = sender.send(request.await); // nobody may listen any more
    });
    answer
}

fn unanswered(method: Method) -> Error {
    Error::new(method.unanswered(), format!("no answer to a {method}"))
}

#[async_trait]
impl World for Wire {
    fn info(&self) -> WorldInfo {
        self.store.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let sent = Arc::new((Arc::clone(&self.store), log.clone(), append.clone()));
        let request = || -> BoxFuture<'static, _> {
            let sent = Arc::clone(&sent);
            Box::pin(async move { sent.0.append(&sent.1, &sent.2).await })
        };
        let answer = self.call(Method::Append, request).await;
        let words = append_words(log, append);
        self.learns(Method::Append, format_args!("{} for {words}", Answer(&answer)));
        if let LogId::Run(run) = log {
            match (&append.by, &answer) {
                (By::Creator(new), Ok(Appended::Committed { .. })) => {
                    if let Some((ticket, _)) = new.lease {
                        self.holds(run, ticket);
                    }
                }
                (
                    By::Owner { ticket, rest: Some(_), .. },
                    Ok(Appended::Committed { .. } | Appended::Fenced | Appended::NotOpen),
                )
                | (By::Owner { ticket, .. }, Ok(Appended::Fenced | Appended::NotOpen)) => {
                    self.store.book.state().ledger.lost(self.who(), run, *ticket);
                }
                _ => {}
            }
        }
        answer
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let request = || -> BoxFuture<'static, _> {
            let (store, log) = (Arc::clone(&self.store), log.clone());
            Box::pin(async move { store.read(&log, after, limit).await })
        };
        self.call(Method::Read, request).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let request = || -> BoxFuture<'static, _> {
            let (store, claim) = (Arc::clone(&self.store), claim.clone());
            Box::pin(async move { store.claim(&claim).await })
        };
        let answer = self.call(Method::Claim, request).await;
        if let Ok(leases) = &answer {
            let ticket = bytes_hash(claim.ticket.as_bytes());
            self.learns(Method::Claim, format_args!("{ticket:x} {}", Answer(&answer)));
            leases.iter().for_each(|lease| self.holds(&lease.run, lease.ticket));
        }
        answer
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let request = || -> BoxFuture<'static, _> {
            let (store, lease) = (Arc::clone(&self.store), lease.clone());
            Box::pin(async move { store.renew(&lease, until).await })
        };
        let answer = self.call(Method::Renew, request).await;
        self.learns(Method::Renew, format_args!("{} {}", lease.run, Answer(&answer)));
        answer
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let request = || -> BoxFuture<'static, _> {
            let (store, list) = (Arc::clone(&self.store), list.clone());
            Box::pin(async move { store.list(&list).await })
        };
        self.call(Method::List, request).await
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let request = || -> BoxFuture<'static, _> {
            let (store, log) = (Arc::clone(&self.store), log.clone());
            Box::pin(async move { store.delete(&log, head).await })
        };
        let answer = self.call(Method::Delete, request).await;
        self.learns(Method::Delete, format_args!("{log} {}", Answer(&answer)));
        answer
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        let request = || -> BoxFuture<'static, _> {
            let (store, wait) = (Arc::clone(&self.store), wait.clone());
            Box::pin(async move { store.wait(&wait).await })
        };
        self.call(Method::Wait, request).await
    }
}
