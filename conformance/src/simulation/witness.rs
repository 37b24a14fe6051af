//! Sees each call that reaches the store, and holds the answer against what was answered before.

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;
use world_core::{
    Append, Appended, By, Claim, Deleted, Lease, List, LogId, Page, Position, Renewed, Result,
    RunId, RunPage, Timestamp, Wait, World, WorldInfo, layer::Method,
};

use super::{
    book::{Book, RunBook, State},
    words::{Answer, append_words, bytes_hash},
};

/// A World as one worker or client reaches it, with a witness at the door.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) who: String,
    pub(super) world: Arc<dyn World>,
    pub(super) book: Arc<Book>,
}

impl Witness {
    fn saw(&self, method: Method, what: std::fmt::Arguments<'_>) {
        self.book.called(method);
        self.book.trace.note(&self.who, format_args!("  store: {method} {what}"));
    }

    fn objects(&self, objection: Option<String>) {
        if let Some(what) = objection {
            self.book.objects(format!("the store, to {}: {what}", self.who));
        }
    }
}

#[async_trait]
impl World for Witness {
    fn info(&self) -> WorldInfo {
        self.world.info()
    }

    async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let answer = self.world.append(log, append).await;
        self.saw(
            Method::Append,
            format_args!("{} = {}", append_words(log, append), Answer(&answer)),
        );
        if let (Ok(answer), LogId::Run(run)) = (&answer, log) {
            let objection = appended(&mut self.book.state(), run, append, *answer);
            self.objects(objection);
        }
        answer
    }

    async fn read(&self, log: &LogId, after: Position, limit: NonZeroU32) -> Result<Page> {
        let answer = self.world.read(log, after, limit).await;
        if let (Ok(page), LogId::Run(run)) = (&answer, log) {
            let words = format_args!("{log} > {after} = {} of {}", page.records.len(), page.head);
            self.saw(Method::Read, words);
            let objection = read(&self.book.state(), run, after, page);
            self.objects(objection);
        }
        answer
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>> {
        let answer = self.world.claim(claim).await;
        let ticket = bytes_hash(claim.ticket.as_bytes());
        self.saw(Method::Claim, format_args!("{ticket:x} = {}", Answer(&answer)));
        if let Ok(leases) = &answer {
            for lease in leases {
                let objection = leased(&mut self.book.state(), claim, lease);
                self.objects(objection);
            }
        }
        answer
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        let answer = self.world.renew(lease, until).await;
        let ticket = bytes_hash(lease.ticket.as_bytes());
        self.saw(
            Method::Renew,
            format_args!("{} {ticket:x} {until:?} = {}", lease.run, Answer(&answer)),
        );
        if let Ok(answer) = &answer {
            let objection = renewed(&mut self.book.state(), lease, until, *answer);
            self.objects(objection);
        }
        answer
    }

    async fn list(&self, list: &List) -> Result<RunPage> {
        let answer = self.world.list(list).await;
        self.saw(Method::List, format_args!("= {}", Answer(&answer)));
        answer
    }

    async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let answer = self.world.delete(log, head).await;
        self.saw(Method::Delete, format_args!("{log} at {head} = {}", Answer(&answer)));
        if let (Ok(Deleted::Done), LogId::Run(run)) = (&answer, log) {
            let objection = match self.book.state().runs.get_mut(run) {
                Some(book) if book.deleted => None,
                Some(book) if !book.closed => Some(format!("{run} is deleted, and is open (D1)")),
                Some(book) => {
                    book.deleted = true;
                    None
                }
                None => Some(format!("{run} is deleted, and never was (D1)")),
            };
            self.objects(objection);
        }
        answer
    }

    async fn wait(&self, wait: &Wait) -> Result<()> {
        self.book.called(Method::Wait);
        self.world.wait(wait).await
    }
}

fn appended(state: &mut State, run: &RunId, append: &Append, answer: Appended) -> Option<String> {
    let moment = state.moment();
    let Appended::Committed { head } = answer else {
        return refused(state, run, append, answer);
    };
    let Some(book) = state.runs.get_mut(run) else {
        let By::Creator(new) = &append.by else {
            return Some(format!("{run} takes a record, and does not exist (A5)"));
        };
        let given = new.lease.map(|(ticket, _)| (ticket, moment)).into_iter().collect();
        let book = RunBook {
            new: new.clone(),
            created: append.at,
            records: append.records.iter().map(|record| (record.clone(), moment)).collect(),
            lease: new.lease,
            given,
            closed: false,
            deleted: false,
        };
        let is_right = head == book.head() && append.expected == Position::START;
        state.runs.insert(run.clone(), book);
        return (!is_right).then(|| format!("{run} is created at head {head} (A2)"));
    };
    if book.deleted {
        return Some(format!("{run} was deleted, and takes an append (D2)"));
    }
    // The same bytes again are the same append (A6).
    let from = append.expected.get() as usize;
    let known = book.records.iter().skip(from).map(|(record, _)| record);
    if !append.records.is_empty()
        && append.head_after() <= book.head()
        && append.records.iter().eq(known.take(append.records.len()))
    {
        return (head != book.head()).then(|| format!("{run} says its head is {head} (A6)"));
    }
    if append.expected != book.head() {
        let (expected, head) = (append.expected, book.head());
        return Some(format!("{run} takes an append at {expected}, and its head is {head} (A2)"));
    }
    if let By::Owner { ticket, close, rest, .. } = &append.by {
        if book.lease.map(|(current, _)| current) != Some(*ticket) {
            return Some(format!("{run} takes an append of one who lost the lease (L3)"));
        }
        if book.closed && !append.records.is_empty() {
            return Some(format!("{run} takes a record after its end (A5)"));
        }
        book.closed |= close;
        if rest.is_some() {
            book.lease = None;
        }
    } else if book.closed {
        return Some(format!("{run} takes a record after its end (A5)"));
    }
    if let By::Creator(_) = &append.by {
        return Some(format!("{run} is created twice"));
    }
    book.records.extend(append.records.iter().map(|record| (record.clone(), moment)));
    (head != book.head()).then(|| format!("{run} says its head is {head} (A3)"))
}

/// A refusal must have a reason.
fn refused(state: &State, run: &RunId, append: &Append, answer: Appended) -> Option<String> {
    let book = state.runs.get(run);
    let open =
        book.is_some_and(|book| !book.deleted && (!book.closed || append.records.is_empty()));
    let current = book.and_then(|book| book.lease).map(|(ticket, _)| ticket);
    let fits = match answer {
        Appended::Committed { .. } => true,
        Appended::Conflict { head } => {
            book.is_some_and(|book| book.head() == head) && append.expected != head
        }
        Appended::Fenced => {
            open && matches!(append.by, By::Owner { ticket, .. } if current != Some(ticket))
        }
        Appended::NotOpen => !open,
    };
    (!fits).then(|| format!("{run} refuses an append without reason: {answer:?}"))
}

fn read(state: &State, run: &RunId, after: Position, page: &Page) -> Option<String> {
    let book = state.runs.get(run).filter(|book| !book.deleted);
    let Some(book) = book else {
        return (!page.records.is_empty()).then(|| format!("{run} has records, and is not (R3)"));
    };
    if page.head != book.head() {
        let head = book.head();
        return Some(format!(
            "{run} says its head is {}, and {head} was committed (R1)",
            page.head
        ));
    }
    let known = book.records.iter().skip(after.get() as usize).map(|(record, _)| record);
    if !page.records.iter().eq(known.take(page.records.len())) {
        return Some(format!("{run} reads otherwise than it was written (R2)"));
    }
    (page.records.is_empty() && after < book.head())
        .then(|| format!("{run} reads as empty below its head (R3)"))
}

fn leased(state: &mut State, claim: &Claim, lease: &Lease) -> Option<String> {
    let moment = state.moment();
    let run = &lease.run;
    let Some(book) = state.runs.get_mut(run).filter(|book| !book.deleted) else {
        return Some(format!("{run} is claimed, and is not (L1)"));
    };
    let before = book.lease.replace((claim.ticket, claim.until));
    book.given.insert(claim.ticket, moment);
    if lease.ticket != claim.ticket || lease.head != book.head() || lease.closed != book.closed {
        return Some(format!("{run} is leased as something else than it is (L1)"));
    }
    match before {
        Some((_, until)) if claim.now < until => {
            Some(format!("{run} is leased to two at once (L1)"))
        }
        _ => None,
    }
}

fn renewed(state: &mut State, lease: &Lease, until: Timestamp, answer: Renewed) -> Option<String> {
    let run = &lease.run;
    let book = state.runs.get_mut(run).filter(|book| !book.deleted);
    let current = book.as_ref().and_then(|book| book.lease).map(|(ticket, _)| ticket);
    match (answer, book) {
        (Renewed::Held { head }, Some(book)) if current == Some(lease.ticket) => {
            book.lease = Some((lease.ticket, until));
            (head != book.head()).then(|| format!("{run} renews at head {head} (R1)"))
        }
        (Renewed::Held { .. }, _) => Some(format!("{run} renews for one who lost it (L3)")),
        (Renewed::Lost, _) if current == Some(lease.ticket) => {
            Some(format!("{run} does not renew for its owner (L3)"))
        }
        (Renewed::Lost, _) => None,
    }
}
