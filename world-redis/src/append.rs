//! Appending: which script, with what.

use redis::{FromRedisValue, ParsingError, Value};
use world_core::{
    Append, Appended, By, Kind, LogId, NewRun, Position, Release, Result, RunId, Ticket,
};

use crate::{
    clock::ClockCheck,
    error::{Stage, corrupt, nonsense},
    keys::{Keys, Shard},
    script::{APPEND, APPEND_OWN, APPEND_STREAM, APPEND_TOKEN, CREATE, Call},
    server::Link,
    state,
    store::Store,
};

/// A script's answer: a word, and what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) word: String,
    rest: Vec<Value>,
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut rest = Vec::from_redis_value(value)?;
        if rest.is_empty() {
            return Err(ParsingError::from("an answer without a word"));
        }
        let word = String::from_redis_value(rest.remove(0))?;
        Ok(Self { word, rest })
    }
}

impl Answer {
    /// What follows the word.
    pub(crate) fn value<T: FromRedisValue>(self) -> Result<T> {
        let value = self.rest.into_iter().next().ok_or_else(nonsense)?;
        T::from_redis_value(value).map_err(|error| nonsense().source(error))
    }

    /// The head that follows the word.
    pub(crate) fn head(self) -> Result<Position> {
        self.value().map(Position::new)
    }

    /// The answer to an append.
    pub(crate) fn appended(self, log: &LogId) -> Result<Appended> {
        Ok(match self.word.as_str() {
            "committed" => Appended::Committed { head: self.head()? },
            "conflict" => Appended::Conflict { head: self.head()? },
            "fenced" => Appended::Fenced,
            "not open" => Appended::NotOpen,
            "corrupt" => return Err(corrupt(log, None, "a log that does not fit its head")),
            _ => return Err(nonsense()),
        })
    }
}

impl Store {
    /// Makes an append that has passed [`Append::check`].
    pub(crate) async fn append(&self, log: &LogId, append: &Append) -> Result<Appended> {
        let (shard, right) = (self.keys.shard(log), Right::of(append));
        let may = |link: &Link| match right {
            Right::Lease(ticket) => self.lineage.check(shard, link, ticket),
            Right::FirstLease(_) | Right::None => Ok(()),
        };
        if let Some(call) = own_call(&self.keys, log, append) {
            let (made, link): (Option<u8>, _) = self.server.run(Stage::Write, &call, may).await?;
            if made.is_some() {
                self.server.confirm(&link, || self.keys.confirm(shard)).await?;
                return Ok(Appended::Committed { head: append.head_after() });
            }
        }
        let clock = self.first_lease_clock(append);
        let call = call(&self.keys, log, append, clock)?;
        let (answer, link): (Answer, _) = self.server.run(Stage::Write, &call, may).await?;
        if let ("ahead", Some(clock)) = (answer.word.as_str(), clock) {
            return Err(clock.refuse(answer.value()?, &link.address));
        }
        let appended = answer.appended(log)?;
        if let Appended::Committed { .. } = appended {
            if let Right::FirstLease(ticket) = right {
                self.lineage.note(shard, &link, ticket);
            }
            self.server.confirm(&link, || self.keys.confirm(shard)).await?;
        }
        Ok(appended)
    }

    /// The comparison of a creator's clock, if it takes the first lease.
    fn first_lease_clock(&self, append: &Append) -> Option<ClockCheck> {
        let By::Creator(NewRun { lease: Some((_, until)), .. }) = &append.by else { return None };
        self.options.clock_check.then(|| ClockCheck::begin(append.at, *until))
    }
}

/// The call that makes an owner's append if nothing is in its way, where the owner keeps its turn;
/// with its answer the append is made, and without one [`call`] has to decide.
fn own_call(keys: &Keys, log: &LogId, append: &Append) -> Option<Call> {
    let (LogId::Run(run), By::Owner { ticket, close: false, rest: None, tags: None }) =
        (log, &append.by)
    else {
        return None;
    };
    let last = append.records.last()?.kind;
    let shard = keys.shard(log);
    let call = Call::new(&APPEND_OWN, [keys.runs(shard), keys.log(shard, run)])
        .arg(run.as_str())
        .arg(append.expected.to_string())
        .arg(state::ticket(ticket))
        .arg(state::progress(append.head_after(), last));
    Some(call.args(append.records.iter().map(state::record_bytes)))
}

/// The call that makes an append, which has passed [`Append::check`].
fn call(keys: &Keys, log: &LogId, append: &Append, clock: Option<ClockCheck>) -> Result<Call> {
    let shard = keys.shard(log);
    let call = match (log, &append.by) {
        (LogId::Run(run), By::Creator(new)) => create(keys, shard, run, append, new, clock)?,
        (LogId::Run(run), _) => {
            let owner = Owner::of(append);
            Call::new(
                &APPEND,
                [keys.runs(shard), keys.due(shard), keys.about(shard), keys.log(shard, run)],
            )
            .arg(run.as_str())
            .arg(owner.ticket)
            .arg(append.expected.to_string())
            .arg(append.head_after().to_string())
            .arg(last(append).0.to_string())
            .arg(owner.closes)
            .arg(owner.turn)
            .arg(owner.time)
            .arg(owner.driven)
            .arg(owner.tags)
            .arg(keys.ready(None))
        }
        (LogId::Stream(run, stream), by) => {
            let ticket = match by {
                By::Owner { ticket, .. } => state::ticket(ticket),
                By::Creator(_) | By::Outsider => String::new(),
            };
            Call::new(
                &APPEND_STREAM,
                [keys.runs(shard), keys.stream(shard, run, stream), keys.streams(shard, run)],
            )
            .arg(run.as_str())
            .arg(ticket)
            .arg(append.expected.to_string())
            .arg(append.head_after().to_string())
            .arg(stream.as_str())
        }
        (LogId::Token(token), _) => {
            Call::new(&APPEND_TOKEN, [keys.token(shard, token), keys.base(shard, token)])
                .arg(append.expected.to_string())
                .arg(append.head_after().to_string())
        }
    };
    Ok(call.args(append.records.iter().map(state::record_bytes)))
}

fn create(
    keys: &Keys,
    shard: Shard,
    run: &RunId,
    append: &Append,
    new: &NewRun,
    clock: Option<ClockCheck>,
) -> Result<Call> {
    let keys_of_it = [
        keys.runs(shard),
        keys.due(shard),
        keys.about(shard),
        keys.ids(shard),
        keys.log(shard, run),
        keys.spent(shard, run),
        keys.streams(shard, run),
    ];
    Ok(Call::new(&CREATE, keys_of_it)
        .arg(run.as_str())
        .arg(state::new_state(new, append.at, append.head_after(), last(append)))
        .arg(state::about_bytes(new, append.at)?)
        .arg(keys.ready(None))
        .arg(clock.map_or_else(String::new, ClockCheck::least)))
}

/// What an owner's append says beside its records; an outsider's says nothing.
struct Owner {
    ticket: String,
    closes: &'static str,
    turn: &'static str,
    time: String,
    driven: &'static str,
    tags: Vec<u8>,
}

impl Owner {
    fn of(append: &Append) -> Self {
        // An outsider's run becomes ready, and is so since the append.
        let mut owner = Self {
            ticket: String::new(),
            closes: flag(false),
            turn: "",
            time: state::time(append.at),
            driven: flag(true),
            tags: b"-".to_vec(),
        };
        if let By::Owner { ticket, close, rest, tags } = &append.by {
            owner.ticket = state::ticket(ticket);
            owner.closes = flag(*close);
            if let Some(Release { due, driven }) = rest {
                (owner.turn, owner.time) = state::rest(*due, append.at);
                owner.driven = flag(*driven);
            }
            if let Some(tags) = tags {
                owner.tags = state::tags_bytes(tags);
            }
        }
        owner
    }
}

/// By what right an append is made.
#[derive(Clone, Copy, Debug)]
enum Right {
    /// A lease, proven by its ticket.
    Lease(Ticket),
    /// None is needed, and it makes the first lease.
    FirstLease(Ticket),
    /// None is needed.
    None,
}

impl Right {
    fn of(append: &Append) -> Self {
        match &append.by {
            By::Owner { ticket, .. } => Self::Lease(*ticket),
            By::Creator(NewRun { lease: Some((ticket, _)), .. }) => Self::FirstLease(*ticket),
            By::Creator(_) | By::Outsider => Self::None,
        }
    }
}

fn last(append: &Append) -> Kind {
    append.records.last().map_or(Kind(0), |record| record.kind)
}

/// A yes or no as scripts compare it.
pub(crate) fn flag(is: bool) -> &'static str {
    if is { "1" } else { "0" }
}
