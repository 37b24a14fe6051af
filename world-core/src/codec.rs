//! Events and payloads to bytes and back: MessagePack with field names.
//!
//! An event's kind stands outside its bytes, clear in the record. A field that this version does
//! not know is stepped over, so that a newer writer may add one; an event that it does not know
//! is `Unsupported`. `docs/events.md` lists every field, and golden files hold the bytes.

mod scan;
mod some;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod value;
mod wire;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    event::Event,
    ids::Timestamp,
    record::Kind,
    replay::Key,
    seal::{Buffer, Plain},
};

pub use tree::same_tree;
pub use value::{DEPTH_MAX, decode_value, encode_value};
pub(crate) use value::{
    EncodeAnew, Undecodable, decode_again, encode_anew, encode_guarded, encode_lasting, read_value,
    same_value,
};

/// Encodes an event; its kind is [`Event::kind`].
///
/// # Errors
/// [`ErrorKind::TooLarge`] when a field is longer than MessagePack can say (4 GiB).
///
/// ```
/// # use world_core::{codec, event::Event};
/// let event = Event::CancelRequested { reason: "sold out".into() };
/// let plain = codec::encode(&event)?;
/// assert_eq!(codec::decode(event.kind(), &plain)?, event);
/// # Ok::<(), world_core::Error>(())
/// ```
pub fn encode(event: &Event) -> Result<Plain> {
    let mut buffer = Buffer::with_capacity(size_hint(event));
    encode_into(event, &mut buffer)?;
    Ok(buffer.into_plain())
}

/// Decodes an event of this kind.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a kind that this version does not read, [`ErrorKind::Corrupt`]
/// for bytes that are not an event of this kind.
///
/// ```
/// # use world_core::{ErrorKind, Kind, codec, seal::Plain};
/// let error = codec::decode(Kind(999), &Plain::default()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unsupported);
/// ```
pub fn decode(kind: Kind, plain: &Plain) -> Result<Event> {
    decode_slice(kind, plain.as_bytes())
}

/// At least as many bytes as an event takes.
pub(crate) fn size_hint(event: &Event) -> usize {
    /// Field names and the lengths before the fields.
    const FRAME_BYTES: usize = 96;
    let failure = |failure: &crate::event::Failure| {
        failure.causes.iter().fold(failure.message.len(), |sum, cause| sum + cause.len() + 5)
    };
    FRAME_BYTES
        + event.key().map_or(0, |key| key.as_str().len())
        + match event {
            Event::RunCreated { workflow, input, parent, .. } => {
                workflow.as_str().len()
                    + input.as_bytes().len()
                    + parent.as_ref().map_or(0, |run| run.as_str().len())
                    + 32
            }
            Event::StepCompleted { result, .. } => result.as_bytes().len(),
            Event::RunCompleted { output } => output.as_bytes().len(),
            Event::StepFailed { failure: why, .. }
            | Event::StepRetrying { failure: why, .. }
            | Event::RunFailed { failure: why } => failure(why),
            Event::CancelRequested { reason } | Event::RunCancelled { reason } => reason.len(),
            Event::RunBlocked { why } => why.len(),
            Event::TimerFired { .. }
            | Event::TimerSet { .. }
            | Event::StepStarted { .. }
            | Event::StepAbandoned { .. }
            | Event::StepDeadline { .. }
            | Event::RunIsolated { .. } => 0,
        }
}

/// Encodes an event behind what the buffer holds already.
pub(crate) fn encode_into(event: &Event, buffer: &mut Buffer) -> Result<()> {
    match event {
        Event::RunCreated { workflow, version, input, seed, parent } => write(
            &wire::RunCreated {
                workflow: workflow.as_str(),
                version: *version,
                input: input.as_bytes(),
                seed: &seed.0,
                parent: parent.as_ref().map(crate::RunId::as_str),
            },
            buffer,
        ),
        Event::StepCompleted { key, result, attempts, seen } => write(
            &wire::StepCompleted {
                key: key.as_str(),
                result: result.as_bytes(),
                attempts: *attempts,
                after: seen.after.get(),
                open: seen.open,
            },
            buffer,
        ),
        Event::StepFailed { key, failure, attempts, seen } => write(
            &wire::StepFailed {
                key: key.as_str(),
                failure: failure.into(),
                attempts: *attempts,
                after: seen.after.get(),
                open: seen.open,
            },
            buffer,
        ),
        Event::TimerFired { key, seen } => write(
            &wire::TimerFired { key: key.as_str(), after: seen.after.get(), open: seen.open },
            buffer,
        ),
        Event::TimerSet { key, at } | Event::StepDeadline { key, at } => {
            write(&wire::KeyAndTime { key: key.as_str(), at: at.as_millis() }, buffer)
        }
        Event::CancelRequested { reason } | Event::RunCancelled { reason } => {
            write(&wire::Reason { reason }, buffer)
        }
        Event::RunCompleted { output } => {
            write(&wire::RunCompleted { output: output.as_bytes() }, buffer)
        }
        Event::RunFailed { failure } => write(&wire::RunFailed { failure: failure.into() }, buffer),
        Event::StepStarted { key } | Event::StepAbandoned { key } => {
            write(&wire::Step { key: key.as_str() }, buffer)
        }
        Event::StepRetrying { key, failure, attempt, retry_at } => write(
            &wire::StepRetrying {
                key: key.as_str(),
                failure: failure.into(),
                attempt: *attempt,
                retry_at: retry_at.as_millis(),
            },
            buffer,
        ),
        Event::RunBlocked { why } => write(&wire::RunBlocked { why }, buffer),
        Event::RunIsolated { deaths, round, alone } => {
            let (deaths, round, alone) = (*deaths, *round, *alone);
            write(&wire::RunIsolated { deaths, round, alone }, buffer)
        }
    }
}

/// Decodes an event from bytes that the caller wipes.
pub(crate) fn decode_slice(kind: Kind, bytes: &[u8]) -> Result<Event> {
    Ok(match kind {
        Kind::RUN_CREATED => read::<wire::RunCreated<'_>>(kind, bytes)?.into_event(kind)?,
        Kind::STEP_COMPLETED => read::<wire::StepCompleted<'_>>(kind, bytes)?.into_event(),
        Kind::STEP_FAILED => read::<wire::StepFailed<'_>>(kind, bytes)?.into_event()?,
        Kind::TIMER_FIRED => read::<wire::TimerFired<'_>>(kind, bytes)?.into_event(),
        Kind::CANCEL_REQUESTED => Event::CancelRequested {
            reason: read::<wire::Reason<'_>>(kind, bytes)?.reason.to_owned(),
        },
        Kind::TIMER_SET => {
            let wire = read::<wire::KeyAndTime<'_>>(kind, bytes)?;
            Event::TimerSet { key: Key::new(wire.key), at: Timestamp::from_millis(wire.at) }
        }
        Kind::STEP_DEADLINE => {
            let wire = read::<wire::KeyAndTime<'_>>(kind, bytes)?;
            Event::StepDeadline { key: Key::new(wire.key), at: Timestamp::from_millis(wire.at) }
        }
        Kind::RUN_COMPLETED => Event::RunCompleted {
            output: Plain::new(read::<wire::RunCompleted<'_>>(kind, bytes)?.output.to_vec()),
        },
        Kind::RUN_FAILED => Event::RunFailed {
            failure: read::<wire::RunFailed<'_>>(kind, bytes)?.failure.into_failure()?,
        },
        Kind::RUN_CANCELLED => {
            Event::RunCancelled { reason: read::<wire::Reason<'_>>(kind, bytes)?.reason.to_owned() }
        }
        Kind::STEP_STARTED => {
            Event::StepStarted { key: Key::new(read::<wire::Step<'_>>(kind, bytes)?.key) }
        }
        Kind::STEP_RETRYING => read::<wire::StepRetrying<'_>>(kind, bytes)?.into_event()?,
        Kind::STEP_ABANDONED => {
            Event::StepAbandoned { key: Key::new(read::<wire::Step<'_>>(kind, bytes)?.key) }
        }
        Kind::RUN_BLOCKED => {
            Event::RunBlocked { why: read::<wire::RunBlocked<'_>>(kind, bytes)?.why.to_owned() }
        }
        Kind::RUN_ISOLATED => {
            let wire::RunIsolated { deaths, round, alone } = read(kind, bytes)?;
            Event::RunIsolated { deaths, round, alone }
        }
        _ => return Err(unsupported(kind)),
    })
}

fn write<T: Serialize>(wire: &T, buffer: &mut Buffer) -> Result<()> {
    let mut out = rmp_serde::Serializer::new(buffer).with_struct_map();
    wire.serialize(&mut out)
        .map_err(|_| Error::new(ErrorKind::TooLarge, "an event with a field of more than 4 GiB"))
}

fn read<'a, T: Deserialize<'a>>(kind: Kind, bytes: &'a [u8]) -> Result<T> {
    scan::one_value(bytes).map_err(|why| corrupt(kind, why))?;
    rmp_serde::from_slice(bytes).map_err(|error| corrupt(kind, &value::reason(&error)))
}

#[cold]
fn corrupt(kind: Kind, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a {kind} event that does not decode: {why}"))
        .help("it opened, so its writer wrote it so: compare the versions of the workers")
}

#[cold]
fn unsupported(kind: Kind) -> Error {
    let what = match kind.name() {
        Some(name) => format!("a {name} event (kind {}), which this version cannot read", kind.0),
        None => format!("an event of the unknown kind {}", kind.0),
    };
    Error::new(ErrorKind::Unsupported, what)
        .help("it was written by a newer version: update this worker")
}
