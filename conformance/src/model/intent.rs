//! What a writer sets out to do, and how it becomes an operation when the time has come.
//!
//! Heads, tickets and leases are what this writer has learnt by then, so that an intent makes
//! sense after any others, and a history stays one when some of its intents are left out.

use std::num::NonZeroU32;

use world_core::{
    Append, By, Claim, Kind, List, LogId, NewRun, Position, Queue, Record, Release, RunId, Sealed,
    Tag, Ticket, Timestamp,
};

use crate::kit;

use super::{known::Known, op::Op};

/// Something that a writer sets out to do.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// Its own number: of its bodies and tickets, which no other has.
    pub(crate) number: u64,
    /// Which of the handles on the site it takes.
    pub(crate) handle: usize,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Create {
        run: RunId,
        new: NewRun,
        leased_until: Option<Timestamp>,
        records: Records,
    },
    Outside {
        log: LogId,
        stated: Stated,
        records: Records,
    },
    Own {
        of: Of,
        stated: Stated,
        ticket: Whose,
        records: Records,
        change: Change,
    },
    Again {
        pick: u64,
        byte: Option<u64>,
    },
    Misfit {
        log: LogId,
        by: By,
    },
    Claim {
        queues: Vec<Queue>,
        now: Timestamp,
        until: Timestamp,
        limit: NonZeroU32,
        except: Vec<RunId>,
    },
    Renew {
        pick: u64,
        until: Timestamp,
    },
    Read {
        log: LogId,
        after: Position,
        limit: NonZeroU32,
    },
    List(List),
    Delete {
        log: LogId,
        stated: Stated,
    },
    /// What an intent was when it was done.
    Exactly(Box<Op>),
    /// Claims until nothing that is due is left; for one writer alone.
    ClaimAll {
        now: Timestamp,
        except: Vec<RunId>,
    },
    /// Opens the site again, in place of its handle; for one writer alone.
    Reopen,
}

/// How many records, of which kind and size, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records {
    pub(crate) count: u64,
    pub(crate) kind: Kind,
    pub(crate) bytes: usize,
    pub(crate) at: Timestamp,
}

/// What an owner changes beside its records.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) close: bool,
    pub(crate) rest: Option<Release>,
    pub(crate) tags: Option<Vec<Tag>>,
}

/// Which log an owner appends to.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    /// That of the run of its newest lease.
    Held,
    /// This one.
    Log(LogId),
}

/// Which head a writer states.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stated {
    /// The one it knows.
    Known,
    /// One so far behind: stale, or inside a batch.
    Behind(u64),
    /// One so far ahead.
    Ahead(u64),
}

/// Whose ticket an owner shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// The newest it has of this run.
    Newest,
    /// Any it ever had, of any run.
    Any(u64),
    /// One that nobody has.
    Nobody,
}

impl Intent {
    /// What this intent is, for a writer that knows this much; `None` when it is none.
    pub(crate) fn op(&self, known: &Known) -> Option<Op> {
        Some(match &self.what {
            What::Create { run, new, leased_until, records } => {
                let lease = leased_until.map(|until| (self.ticket(), until));
                let by = By::Creator(NewRun { lease, ..new.clone() });
                Op::Append(LogId::Run(run.clone()), self.append(Position::START, *records, by))
            }
            What::Outside { log, stated, records } => {
                let append = self.append(known.head(log, *stated), *records, By::Outsider);
                Op::Append(log.clone(), append)
            }
            What::Own { of, stated, ticket, records, change } => {
                let log = match of {
                    Of::Held => LogId::Run(known.newest()?.run.clone()),
                    Of::Log(log) => log.clone(),
                };
                let ticket = known.ticket(&log, *ticket).unwrap_or(self.ticket());
                let Change { close, rest, tags } = change.clone();
                let by = By::Owner { ticket, close, rest, tags };
                Op::Append(log.clone(), self.append(known.head(&log, *stated), *records, by))
            }
            What::Again { pick, byte } => {
                let (log, append) = known.sent(*pick)?;
                Op::Append(log.clone(), byte.map_or(append.clone(), |byte| changed(append, byte)))
            }
            What::Misfit { log, by } => {
                let records = Records { count: 1, kind: Kind(1), bytes: 8, at: Timestamp::ZERO };
                Op::Append(
                    log.clone(),
                    self.append(known.head(log, Stated::Known), records, by.clone()),
                )
            }
            What::Claim { queues, now, until, limit, except } => Op::Claim(Claim {
                queues: queues.clone(),
                ticket: self.ticket(),
                now: *now,
                until: *until,
                limit: *limit,
                except: except.clone(),
            }),
            What::Renew { pick, until } => Op::Renew(known.lease(*pick)?.clone(), *until),
            What::Read { log, after, limit } => Op::Read(log.clone(), *after, *limit),
            What::List(list) => Op::List(list.clone()),
            What::Delete { log, stated } => Op::Delete(log.clone(), known.head(log, *stated)),
            What::Exactly(op) => (**op).clone(),
            What::ClaimAll { .. } | What::Reopen => return None,
        })
    }

    fn ticket(&self) -> Ticket {
        Ticket::from_bytes(u128::from(self.number).to_be_bytes())
    }

    fn append(&self, expected: Position, records: Records, by: By) -> Append {
        let record = |nth: u64| Record {
            position: expected.plus(nth),
            kind: records.kind,
            at: records.at,
            body: self.body(nth, records.bytes),
        };
        let all = (1..=records.count).map(record).collect();
        Append { expected, records: all, at: records.at, by }
    }

    /// Bytes that no other intent writes, as sealed ones are (rule A6).
    fn body(&self, nth: u64, bytes: usize) -> Sealed {
        let mut body = self.number.to_be_bytes().to_vec();
        body.extend(nth.to_be_bytes());
        body.resize(bytes.max(body.len()), 0x2A);
        Sealed::from_stored(body)
    }
}

/// The same append but for one byte: of a body, a time or a kind.
fn changed(append: &Append, byte: u64) -> Append {
    let mut append = append.clone();
    let index = byte.checked_rem(append.records.len() as u64).unwrap_or(0);
    let index = usize::try_from(index).unwrap_or(0);
    if let Some(record) = append.records.get_mut(index) {
        match byte >> 8 & 3 {
            0 => record.kind = Kind(record.kind.0 ^ 1),
            1 => record.at = kit::at(millis_beside(record.at)),
            _ => {
                let mut body = record.body.as_bytes().to_vec();
                if let Some(last) = body.last_mut() {
                    *last ^= 1;
                }
                record.body = Sealed::from_stored(body);
            }
        }
    }
    append
}

const fn millis_beside(time: Timestamp) -> u64 {
    time.as_millis() ^ 1
}
