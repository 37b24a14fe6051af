//! What is stored of runs and records, as bytes; `lua/state.lua` is its other half.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use world_core::{
    Due, Kind, LogId, NewRun, Phase, Position, Record, Result, RunId, RunMeta, Sealed, Tag, Ticket,
    Timestamp,
};

use crate::error::corrupt;

/// The bytes before a record's body: its kind and its time.
const RECORD_HEAD: usize = 2 + 8;

/// The digits of a time, so that texts are in the order of times.
const TIME_DIGITS: usize = 15;

/// A record as it is stored; its position is its place in the list.
pub(crate) fn record_bytes(record: &Record) -> Vec<u8> {
    let body = record.body.as_bytes();
    let mut bytes = Vec::with_capacity(RECORD_HEAD + body.len());
    bytes.extend_from_slice(&record.kind.0.to_be_bytes());
    bytes.extend_from_slice(&record.at.as_millis().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A record from what was stored at a position.
pub(crate) fn record(log: &LogId, position: Position, bytes: Bytes) -> Result<Record> {
    let cut = || corrupt(log, Some(position), "a record that was cut short");
    let (kind, rest) = bytes.split_first_chunk::<2>().ok_or_else(cut)?;
    let at = rest.first_chunk::<8>().ok_or_else(cut)?;
    let at = Timestamp::try_from(u64::from_be_bytes(*at))
        .map_err(|error| corrupt(log, Some(position), "a record of no time").source(error))?;
    let kind = Kind(u16::from_be_bytes(*kind));
    Ok(Record { position, kind, at, body: Sealed::from_stored(bytes.slice(RECORD_HEAD..)) })
}

/// A time as scripts compare it: its milliseconds, 15 digits.
pub(crate) fn time(time: Timestamp) -> String {
    millis(time.as_millis())
}

/// The same, of milliseconds.
pub(crate) fn millis(millis: u64) -> String {
    format!("{millis:0TIME_DIGITS$}")
}

/// A ticket as scripts compare it.
pub(crate) fn ticket(ticket: &Ticket) -> String {
    format!("{:032x}", u128::from_be_bytes(*ticket.as_bytes()))
}

/// What a rest makes of a run's turn: its name and its time.
pub(crate) fn rest(due: Due, at: Timestamp) -> (&'static str, String) {
    match due {
        Due::Now => ("ready", time(at)),
        Due::At(due) => ("waiting", time(due)),
        Due::Never => ("parked", time(Timestamp::ZERO)),
    }
}

/// The state of a run that is made now.
pub(crate) fn new_state(new: &NewRun, at: Timestamp, head: Position, last: Kind) -> String {
    let (attempt, turn, time, ticket) = match &new.lease {
        Some((holder, until)) => (1, "leased", time(*until), ticket(holder)),
        None => {
            let (turn, time) = rest(new.due, at);
            (0, turn, time, "-".to_owned())
        }
    };
    format!("{head} {} open {attempt} {turn} {time} {ticket} {}", last.0, new.queue.as_str())
}

/// The state of a run whose owner has made progress, up to its turn.
pub(crate) fn progress(head: Position, last: Kind) -> String {
    format!("{head} {} open 1 ", last.0)
}

/// What of a state a listing shows.
struct State {
    head: Position,
    last: Kind,
    phase: Phase,
}

fn state(text: &[u8]) -> Option<State> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.splitn(8, ' ');
    let head = Position::new(words.next()?.parse().ok()?);
    let last = Kind(words.next()?.parse().ok()?);
    let phase = words.next()?;
    let _attempt: u32 = words.next()?.parse().ok()?;
    let turn = words.next()?;
    let time = words.next().filter(|time| time.len() == TIME_DIGITS)?;
    let time = Timestamp::try_from(time.parse::<u64>().ok()?).ok()?;
    let _ticket = words.next()?;
    let _queue = words.next().filter(|queue| !queue.is_empty())?;
    let phase = match (phase, turn) {
        ("closed", _) => Phase::Closed,
        ("open", "leased") => Phase::Leased,
        ("open", "ready") => Phase::Ready,
        ("open", "waiting") => Phase::Waiting(time),
        ("open", "parked") => Phase::Parked,
        _ => return None,
    };
    Some(State { head, last, phase })
}

/// What never changes of a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    created: Timestamp,
    new: NewRun,
}

/// Tags as they are stored: how many, and each.
pub(crate) fn tags_bytes(tags: &[Tag]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(tags.len()).unwrap_or(u8::MAX)];
    bytes.extend(tags.iter().flat_map(|tag| tag.as_bytes()));
    bytes
}

/// What is stored beside a run's state: its tags, and what never changes.
pub(crate) fn about_bytes(new: &NewRun, created: Timestamp) -> Result<Vec<u8>> {
    let mut bytes = tags_bytes(&new.tags);
    let new = NewRun { tags: Vec::new(), lease: None, ..new.clone() };
    rmp_serde::encode::write_named(&mut bytes, &About { created, new })
        .map_err(|error| world_core::ErrorKind::TooLarge.because(error))?;
    Ok(bytes)
}

/// What a listing shows of a run.
pub(crate) fn meta(run: RunId, state_text: &[u8], about: &[u8]) -> Result<RunMeta> {
    let log = LogId::Run(run.clone());
    let bad = || corrupt(&log, None, "a run whose state cannot be read");
    let state = state(state_text).ok_or_else(bad)?;
    let (count, rest) = about.split_first().ok_or_else(bad)?;
    let (tags, rest) = rest.split_at_checked(16 * usize::from(*count)).ok_or_else(bad)?;
    let (tags, _) = tags.as_chunks::<16>();
    let About { created, new } =
        rmp_serde::from_slice(rest).map_err(|error| bad().source(error))?;
    Ok(RunMeta {
        run,
        workflow: new.workflow,
        queue: new.queue,
        parent: new.parent,
        tags: tags.iter().copied().map(Tag::from_bytes).collect(),
        created,
        head: state.head,
        last: state.last,
        key: new.key,
        phase: state.phase,
    })
}
