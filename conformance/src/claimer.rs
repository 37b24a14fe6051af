//! A worker that claims as often as it takes, and checks what every claim must keep.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt::Display,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use world_core::{Append, Appended, By, Claim, Due, Lease, LogId, Release, RunId, Ticket, World};

use crate::{
    failure::{Failure, Verdict, ensure, ensure_eq},
    kit::{at, count, id, pos, queue, run},
    rule::Rule,
    subject::Subject,
};

/// The most claims before a due run must have come. A claim may give fewer runs than are due, but a
/// World of 1024 shards that looks into one at a time has looked into each of them thrice by then.
pub(crate) const CLAIMS_MAX: usize = 3 * 1024;

tokio::task_local! {
    /// The number of the last ticket that the case under way has used.
    static LAST_OF_CASE: Cell<u64>;
}

/// Runs a case with tickets of its own, counted from 1, so that what they look like does not
/// depend on the cases beside it.
pub(crate) async fn with_own_tickets<T>(case: impl Future<Output = T>) -> T {
    LAST_OF_CASE.scope(Cell::new(0), case).await
}

/// A ticket that nobody has used.
pub(crate) fn fresh_ticket() -> Ticket {
    /// Tickets of tasks that a case has spawned, and of parts in other processes.
    static LAST_OF_OTHERS: AtomicU64 = AtomicU64::new(0);
    let of_case = LAST_OF_CASE.try_with(|last| {
        last.set(last.get() + 1);
        last.get()
    });
    let (class, number) = match of_case {
        Ok(number) => (0xC1A1_u128, number),
        Err(_) => (0xC1A2, LAST_OF_OTHERS.fetch_add(1, Relaxed) + 1),
    };
    Ticket::from_bytes((class << 112 | u128::from(number)).to_be_bytes())
}

/// The owner under a ticket that a claim gave.
pub(crate) fn by(ticket: Ticket) -> By {
    By::Owner { ticket, close: false, rest: None, tags: None }
}

/// The owner under a ticket that a claim gave, who gives the run back.
pub(crate) fn rest_by(ticket: Ticket, due: Due) -> By {
    By::Owner { ticket, close: false, rest: Some(Release::driven(due)), tags: None }
}

/// The owner under a ticket that a claim gave, who gives the run back and has not driven it.
pub(crate) fn rest_undriven_by(ticket: Ticket, due: Due) -> By {
    By::Owner { ticket, close: false, rest: Some(Release::undriven(due)), tags: None }
}

/// The owner under a ticket that a claim gave, who closes the run.
pub(crate) fn close_by(ticket: Ticket, rest: Option<Due>) -> By {
    By::Owner { ticket, close: true, rest: rest.map(Release::driven), tags: None }
}

/// An append that is to commit, since nothing stands against it.
pub(crate) async fn commits(world: &dyn World, log: &LogId, append: &Append) -> Verdict {
    let committed = Appended::Committed { head: append.head_after() };
    let expected = append.expected;
    ensure_eq!(
        A2,
        world.append(log, append).await?,
        committed,
        "an append to {log} at its head, {expected}"
    );
    Ok(())
}

/// A World with the run "a", created so, and a worker on a handle of its own.
pub(crate) async fn with_run(
    subject: &Subject,
    create: Append,
) -> Verdict<(Arc<dyn World>, Claimer)> {
    let world = subject.open().await?;
    commits(&world, &run("a"), &create).await?;
    let claimer = Claimer::new(&subject.open().await?);
    Ok((world, claimer))
}

/// Claims runs of some queues, under a fresh ticket each time.
pub(crate) struct Claimer {
    world: Arc<dyn World>,
    queues: Vec<&'static str>,
    /// The runs that every claim excepts.
    except: Vec<RunId>,
    /// The most claims in a row that it took until a due run came: more than one where shards are
    /// taken in turn.
    patience: usize,
}

impl Claimer {
    pub(crate) fn new(world: &Arc<dyn World>) -> Self {
        Self::of(world, &["queue"])
    }

    pub(crate) fn of(world: &Arc<dyn World>, queues: &[&'static str]) -> Self {
        let (world, queues) = (Arc::clone(world), queues.to_vec());
        Self { world, queues, except: Vec::new(), patience: 1 }
    }

    /// The same, but it stands back from these runs.
    pub(crate) fn excepting(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let except = names.into_iter().map(|name| id(name.as_ref())).collect();
        Self { except, ..self }
    }

    /// One claim: at most `limit` leases, no run twice, each as the claim said.
    pub(crate) async fn claim(&self, now: u64, until: u64, limit: u32) -> Verdict<Vec<Lease>> {
        let claim = Claim {
            queues: self.queues.iter().map(|name| queue(name)).collect(),
            ticket: fresh_ticket(),
            now: at(now),
            until: at(until),
            limit: count(limit),
            except: self.except.clone(),
        };
        let leases = self.world.claim(&claim).await?;
        let given = leases.len();
        ensure!(L1, given <= limit as usize, "a claim of at most {limit} gave {given} leases");
        let mut runs = BTreeSet::new();
        for lease in &leases {
            let run = &lease.run;
            ensure!(L1, runs.insert(run), "one claim gave run {run} twice");
            ensure!(L1, lease.ticket == claim.ticket, "run {run} came under another ticket");
            ensure_eq!(L1, lease.until, claim.until, "the end of the lease on run {run}");
        }
        Ok(leases)
    }

    /// Claims until the run comes; that it does not, though it is due, breaks `rule`.
    pub(crate) async fn takes(
        &mut self,
        rule: Rule,
        name: &str,
        (now, until): (u64, u64),
        why: impl Display,
    ) -> Verdict<Lease> {
        let run = id(name);
        for claims in 1..=CLAIMS_MAX {
            let leases = self.claim(now, until, 16).await?;
            if let Some(lease) = leases.into_iter().find(|lease| lease.run == run) {
                self.patience = self.patience.max(claims);
                return Ok(lease);
            }
        }
        Err(Failure::broken(
            rule,
            format!("{CLAIMS_MAX} claims at {now} did not give run {run}, which is due: {why}"),
        ))
    }

    /// Claims without getting the run; that it comes, though it is not due, breaks `rule`.
    pub(crate) async fn leaves(
        &mut self,
        rule: Rule,
        name: &str,
        now: u64,
        why: impl Display,
    ) -> Verdict {
        let run = id(name);
        for _ in 0..self.patience.saturating_mul(2) {
            let leases = self.claim(now, u64::MAX, 16).await?;
            if leases.iter().any(|lease| lease.run == run) {
                return Err(Failure::broken(
                    rule,
                    format!("a claim at {now} gave run {run}, which is not due: {why}"),
                ));
            }
        }
        Ok(())
    }

    /// Claims until so many runs have come, or many claims in a row have given none; in the order
    /// in which they came.
    pub(crate) async fn collects(
        &mut self,
        runs: usize,
        (now, until): (u64, u64),
        limit: u32,
    ) -> Verdict<Vec<Lease>> {
        let mut collected = Vec::new();
        let mut fruitless = 0;
        while collected.len() < runs && fruitless < CLAIMS_MAX {
            let leases = self.claim(now, until, limit).await?;
            fruitless = if leases.is_empty() { fruitless + 1 } else { 0 };
            self.patience = self.patience.max(fruitless + 1);
            collected.extend(leases);
        }
        if fruitless == CLAIMS_MAX {
            self.patience = 1; // nothing was due, which says nothing of shards
        }
        Ok(collected)
    }
}

/// The names of the runs, sorted.
pub(crate) fn names(leases: &[Lease]) -> Vec<&str> {
    let mut names: Vec<_> = leases.iter().map(|lease| lease.run.as_str()).collect();
    names.sort_unstable();
    names
}

/// What a lease on a run is to be.
pub(crate) fn lease_on(run: RunId, ticket: Ticket, until: u64, head: u64) -> Lease {
    Lease { run, ticket, attempt: 1, until: at(until), head: pos(head), closed: false }
}
