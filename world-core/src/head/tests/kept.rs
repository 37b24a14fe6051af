//! The smallest store there is: two maps. It never removes the records of a deleted log, as a
//! store that hides first and removes later would not yet have.

use std::collections::BTreeMap;

use crate::{
    Append, Appended, By, Claim, Deleted, Due, KeyId, Kind, Lease, Limits, LogId, NewRun, Position,
    Queue, Record, Release, Renewed, Result, RunId, Sealed, StreamName, Ticket, Timestamp, Token,
    WorkflowName,
    head::{self, Head, Place, Run, Snapshot, Stored, Transaction, Turn},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept {
    pub(crate) heads: BTreeMap<LogId, Head>,
    pub(crate) records: BTreeMap<(LogId, Position), Record>,
}

impl Stored for Kept {
    fn head(&mut self, log: &LogId) -> Result<Option<Head>> {
        Ok(self.heads.get(log).cloned())
    }

    fn record(&mut self, log: &LogId, position: Position) -> Result<Option<Record>> {
        Ok(self.records.get(&(log.clone(), position)).cloned())
    }
}

impl Snapshot for Kept {
    fn records(
        &mut self,
        log: &LogId,
        after: Position,
    ) -> Result<impl Iterator<Item = Result<Record>>> {
        let rest = (log.clone(), after.next())..=(log.clone(), Position::new(u64::MAX));
        Ok(self.records.range(rest).map(|(_, record)| Ok(record.clone())))
    }

    fn runs(
        &mut self,
        after: Option<&RunId>,
    ) -> Result<impl Iterator<Item = Result<(RunId, Head)>>> {
        let runs = self.heads.iter().filter_map(|(log, head)| match log {
            LogId::Run(run) => Some(Ok((run.clone(), head.clone()))),
            LogId::Stream(..) | LogId::Token(_) => None,
        });
        Ok(runs.filter(move |run: &Result<(RunId, _)>| {
            run.as_ref().is_ok_and(|(run, _)| Some(run) > after)
        }))
    }

    fn oldest(
        &mut self,
        queue: &Queue,
        last: Place,
        most: usize,
    ) -> Result<Vec<(Timestamp, RunId)>> {
        let place = |(log, head): (&LogId, &Head)| {
            let (at, time) = head.turn()?.place()?;
            let is_of = head.run.as_ref()?.new.queue == *queue && at == last.0 && time <= last.1;
            is_of.then(|| Some((time, log.run()?.clone())))?
        };
        let mut due: Vec<_> = self.heads.iter().filter_map(place).collect();
        due.sort();
        due.truncate(most);
        Ok(due)
    }
}

impl Transaction for Kept {
    fn store(&mut self, log: &LogId, head: &Head, records: &[Record]) -> Result<()> {
        self.heads.insert(log.clone(), head.clone());
        let places = records.iter().map(|record| ((log.clone(), record.position), record.clone()));
        self.records.extend(places);
        Ok(())
    }

    fn remove(&mut self, _log: &LogId) -> Result<()> {
        Ok(())
    }
}

impl Kept {
    /// A store with one run, which its creator drives under this ticket until 100.
    pub(crate) fn with_run(name: &str, ticket: u8) -> Self {
        let mut kept = Self::default();
        assert_eq!(kept.append(&run(name), &create(Some(ticket))), committed(1));
        kept
    }

    pub(crate) fn append(&mut self, log: &LogId, append: &Append) -> Appended {
        append.check(log, &Limits::LEAST).unwrap();
        Transaction::append(self, log, append).unwrap()
    }

    pub(crate) fn claim(&mut self, name: &str, ticket: u8, now: u64, until: u64) -> Option<Lease> {
        self.claim_as(name, &ask(ticket, now, until))
    }

    pub(crate) fn claim_as(&mut self, name: &str, claim: &Claim) -> Option<Lease> {
        let head = self.heads.get(&run(name))?;
        let (head, lease) = head::claim(&id(name), head, claim)?;
        self.heads.insert(run(name), head);
        Some(lease)
    }

    pub(crate) fn renew(&mut self, lease: &Lease, until: u64) -> Renewed {
        Transaction::renew(self, lease, at(until)).unwrap()
    }

    pub(crate) fn delete(&mut self, log: &LogId, head: u64) -> Deleted {
        Transaction::delete(self, log, pos(head)).unwrap()
    }

    pub(crate) fn run(&self, name: &str) -> &Run {
        self.heads[&run(name)].run.as_ref().unwrap()
    }

    pub(crate) fn turn(&self, name: &str) -> Turn {
        self.run(name).turn
    }
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn pos(number: u64) -> Position {
    Position::new(number)
}

pub(crate) fn ticket(number: u8) -> Ticket {
    Ticket::from_bytes([number; 16])
}

pub(crate) fn id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub(crate) fn run(name: &str) -> LogId {
    LogId::Run(id(name))
}

pub(crate) fn stream(run: &str, name: &str) -> LogId {
    LogId::Stream(id(run), StreamName::new(name).unwrap())
}

pub(crate) fn token(name: &str) -> LogId {
    LogId::Token(Token::new(name).unwrap())
}

pub(crate) fn committed(head: u64) -> Appended {
    Appended::Committed { head: pos(head) }
}

pub(crate) fn append(expected: u64, bodies: &[&str], by: By) -> Append {
    let record = |(position, body): (usize, &&str)| Record {
        position: pos(expected.saturating_add(1 + position as u64)),
        kind: Kind(1),
        at: at(0),
        body: Sealed::from_stored(body.as_bytes().to_vec()),
    };
    let records = bodies.iter().enumerate().map(record).collect();
    Append { expected: pos(expected), records, at: at(0), by }
}

/// Makes a ready run, or one that its creator drives until 100.
pub(crate) fn new(lease: Option<u8>) -> By {
    By::Creator(NewRun {
        queue: Queue::new("queue").unwrap(),
        workflow: WorkflowName::new("workflow").unwrap(),
        due: Due::Now,
        parent: None,
        tags: Vec::new(),
        key: KeyId::new("key").unwrap(),
        lease: lease.map(|number| (ticket(number), at(100))),
    })
}

pub(crate) fn create(lease: Option<u8>) -> Append {
    let body = format!("created {lease:?}");
    append(0, &[&body], new(lease))
}

pub(crate) fn owner(number: u8) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: None, tags: None }
}

pub(crate) fn rest(number: u8, due: Due) -> By {
    By::Owner { ticket: ticket(number), close: false, rest: Some(Release::driven(due)), tags: None }
}

pub(crate) fn rest_undriven(number: u8, due: Due) -> By {
    By::Owner {
        ticket: ticket(number),
        close: false,
        rest: Some(Release::undriven(due)),
        tags: None,
    }
}

pub(crate) fn close(number: u8) -> By {
    By::Owner { ticket: ticket(number), close: true, rest: None, tags: None }
}

pub(crate) fn step(expected: u64, body: &str, ticket: u8) -> Append {
    append(expected, &[body], owner(ticket))
}

pub(crate) fn ask(number: u8, now: u64, until: u64) -> Claim {
    Claim {
        queues: vec![Queue::new("queue").unwrap()],
        ticket: ticket(number),
        now: at(now),
        until: at(until),
        limit: std::num::NonZeroU32::MIN,
        except: Vec::new(),
    }
}
