//! What Redis says, as this project's errors: what was wrong, whether it happened, what to do.

use redis::{RedisError, RedisResult};
use world_core::{Error, ErrorKind, LogId, Position, Result};

/// What was under way, which decides whether it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Connecting, and checking the server.
    Connect,
    /// A script or command that changes nothing.
    Read,
    /// A script that changes something.
    Write,
}

/// What a server's refusals mean, by the word that they begin with. Each comes before a script's
/// first write: nothing has happened.
const REFUSALS: [(&str, ErrorKind, &str, &str); 19] = {
    use ErrorKind::{Corrupt, Invalid, Unavailable, Unsuitable};
    [
        (
            "WRONGTYPE",
            Corrupt,
            "a key of this World holds something else",
            "another program writes keys with this prefix: find it, and restore the key from a copy",
        ),
        (
            "OOM",
            Unavailable,
            "the server's memory is full",
            "raise maxmemory, or delete runs; nothing was written",
        ),
        (
            "READONLY",
            Unavailable,
            "the server is a replica, which takes no writes",
            "it is tried again; if it stays so, name the master",
        ),
        ("LOADING", Unavailable, "the server is loading its data", "try again when it has"),
        (
            "BUSY",
            Unavailable,
            "the server is busy with another's script",
            "find it (SLOWLOG), or end it (SCRIPT KILL)",
        ),
        (
            "MISCONF",
            Unavailable,
            "the server cannot save to its disk, and so takes no writes",
            "look at its log and its disk",
        ),
        (
            "NOREPLICAS",
            Unavailable,
            "fewer replicas are connected than the server wants (min-replicas-to-write)",
            "bring them back, or ask for fewer",
        ),
        ("MASTERDOWN", Unavailable, "the master is away", "wait until it is back or replaced"),
        ("CLUSTERDOWN", Unavailable, "the Cluster is not whole", "look at CLUSTER INFO"),
        ("TRYAGAIN", Unavailable, "the slot is being moved to another node", "try again"),
        ("MOVED", Unavailable, "the slot has moved to another node", "try again"),
        ("ASK", Unavailable, "the slot is being moved to another node", "try again"),
        (
            "CROSSSLOT",
            Unsuitable,
            "the server or a proxy holds keys of one hash tag to be of several slots",
            "connect without the proxy",
        ),
        ("NOSCRIPT", Unavailable, "the server forgets scripts at once", "try again"),
        (
            "NOPERM",
            Unsuitable,
            "this user may not do what a World does",
            "give it the commands, keys and channels that docs/layouts/redis.md lists",
        ),
        (
            "WRONGPASS",
            Invalid,
            "the server refuses the user's name or password",
            "look at the URL; in it, write reserved characters as %XX",
        ),
        (
            "NOAUTH",
            Invalid,
            "the server wants a password",
            "write redis://user:password@host, or redis://:password@host",
        ),
        (
            "NOPROTO",
            ErrorKind::Unsupported,
            "the server does not speak RESP3",
            "use Redis 6.2 or newer, or Valkey",
        ),
        (
            "DB index is out of range",
            Invalid,
            "the server has no database of this number",
            "use one below the server's setting databases, 16 by default",
        ),
    ]
};

/// What an error of the client's means at a stage.
pub(crate) fn explain(stage: Stage, error: RedisError) -> Error {
    // Before Redis 7 an error in a script has another error's words around it.
    let words =
        format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let refusal = REFUSALS.iter().find(|(word, ..)| {
        words.match_indices(word).any(|(at, _)| {
            let end = words.as_bytes().get(at + word.len());
            end.is_none_or(|byte| !byte.is_ascii_alphanumeric())
                && (at == 0 || !words.as_bytes()[at - 1].is_ascii_alphanumeric())
        })
    });
    let (kind, what, help) = match refusal {
        Some((_, kind, what, help)) => (*kind, *what, *help),
        None => other(stage, &error),
    };
    Error::new(kind, what).help(help).source(error)
}

fn other(stage: Stage, error: &RedisError) -> (ErrorKind, &'static str, &'static str) {
    let is_lost = error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error();
    match stage {
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => (
            ErrorKind::Invalid,
            "the server refuses the user's name or password",
            "look at the URL; in it, write reserved characters as %XX",
        ),
        _ if error.kind() == redis::ErrorKind::InvalidClientConfig => {
            (ErrorKind::Invalid, "the connection is set up wrongly", "look at the URL")
        }
        _ if error.kind() == redis::ErrorKind::RESP3NotSupported => (
            ErrorKind::Unsupported,
            "the server does not speak RESP3",
            "use Redis 6.2 or newer, or Valkey",
        ),
        Stage::Connect => (
            ErrorKind::Unavailable,
            "the server cannot be reached",
            "look at the address, and whether the server runs there",
        ),
        Stage::Read if is_lost => (
            ErrorKind::Unavailable,
            "the connection broke, or the answer came too late",
            "try again; if answers are slow, raise response_timeout_ms",
        ),
        Stage::Write if is_lost => (
            ErrorKind::Unknown,
            "the connection broke, or the answer came too late",
            "send the same bytes again; if answers are slow, raise response_timeout_ms",
        ),
        Stage::Read => (ErrorKind::Unavailable, "the server could not do it", "look at its log"),
        Stage::Write => (
            ErrorKind::Unknown,
            "the server could not do it, or not all of it",
            "look at its log; send the same bytes again",
        ),
    }
}

/// A connection that was not made in time.
pub(crate) fn no_answer() -> Error {
    Error::new(ErrorKind::Unavailable, "the server does not answer")
        .help("look at the address, and whether the server runs there")
}

/// A write of which one does not know whether enough replicas have it.
pub(crate) fn uncertain(confirmed: RedisResult<u64>, wanted: u8) -> Result<()> {
    let help = "send the same bytes again; bring replicas back, or lower wait_replicas";
    match confirmed {
        Ok(confirmed) if confirmed >= u64::from(wanted) => Ok(()),
        Ok(confirmed) => Err(Error::new(
            ErrorKind::Unknown,
            format!("written, but confirmed by {confirmed} replicas, where {wanted} are asked for"),
        )
        .help(help)),
        Err(error) => Err(Error::new(ErrorKind::Unknown, "written, but no replica's answer came")
            .help(help)
            .source(error)),
    }
}

/// Something stored that this crate cannot have written.
pub(crate) fn corrupt(log: &LogId, position: Option<Position>, what: &'static str) -> Error {
    let error = Error::new(ErrorKind::Corrupt, what)
        .log(log.clone())
        .help("another program may write keys with this prefix; restore the keys from a copy");
    match position {
        Some(position) => error.position(position),
        None => error,
    }
}

/// An answer of a script that no script gives.
pub(crate) fn nonsense() -> Error {
    Error::new(ErrorKind::Unsupported, "the server answers what no script of ours says")
        .help("look for a proxy that changes answers, or another program's script")
}
