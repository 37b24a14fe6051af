//! What Redis says, as this project's errors: what was wrong, whether it happened, what to do.

use redis::RedisError;
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
    /// The same, where an earlier try, or what is now asked about, may have happened already.
    Unsure,
}

/// What a server's refusals mean, by the word that they begin with. Each that is `Unavailable` comes
/// before a script's first write: nothing has happened.
const REFUSALS: [(&str, ErrorKind, &str, &str); 24] = {
    use ErrorKind::{Corrupt, Invalid, Unavailable, Unsuitable, Unsupported};
    const FORBIDDEN: &str = "this user may not do what a World does";
    const GRANT: &str = "give it the commands, keys and channels that docs/layouts/redis.md lists";
    const UNKNOWN: &str = "the server does not know a command that a World needs";
    const UPDATE: &str = "use Redis 6.2 or newer, or Valkey, with all of its commands";
    [
        ("unknown command", Unsupported, UNKNOWN, UPDATE),
        ("command called from", Unsupported, UNKNOWN, UPDATE), // an unknown one in a script
        ("NOPERM", Unsuitable, FORBIDDEN, GRANT),
        ("ACL failure in script", Unsuitable, FORBIDDEN, GRANT), // from Redis 7.2 on
        ("The user executing the script", Unsuitable, FORBIDDEN, GRANT), // before
        (
            "WRONGTYPE",
            Corrupt,
            "a key of this World holds something else",
            "another program writes keys with this prefix: find it, and restore the key from a copy",
        ),
        ("OOM", Unavailable, "the server's memory is full", "raise maxmemory, or delete runs"),
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
            "cluster support disabled",
            Unsuitable,
            "the server is not a node of a Redis Cluster",
            "write redis://host:6379",
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
            Unsupported,
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
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let coded = REFUSALS.iter().find(|(word, ..)| *word == code);
    // Before Redis 7 an error in a script has another error's words around it.
    let refusal = coded.or_else(|| REFUSALS.iter().find(|(word, ..)| says(detail, word)));
    let (kind, what, help) = match refusal {
        Some((_, kind, what, help)) => (*kind, *what, *help),
        None => other(stage, &error),
    };
    let is_unsure = stage == Stage::Unsure && kind == ErrorKind::Unavailable;
    let kind = if is_unsure { ErrorKind::Unknown } else { kind };
    match detail.split_once(", with args beginning") {
        // What follows is what was sent: a password, or a record.
        Some((said, _)) => Error::new(kind, what).help(help).source(said.to_owned()),
        None => Error::new(kind, what).help(help).source(error),
    }
}

/// Whether a text says a word that is not a part of another.
fn says(text: &str, word: &str) -> bool {
    let is_outside = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    text.match_indices(word).any(|(at, _)| {
        let (before, rest) = text.as_bytes().split_at(at);
        is_outside(before.last()) && is_outside(rest.get(word.len()))
    })
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
        Stage::Connect if error.kind() == redis::ErrorKind::Parse => (
            ErrorKind::Invalid,
            "what answers there is not a Redis server",
            "look at the address and the port, and whether the server wants TLS (rediss:)",
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
        Stage::Write | Stage::Unsure if is_lost => (
            ErrorKind::Unknown,
            "the connection broke, or the answer came too late",
            "send the same bytes again; if answers are slow, raise response_timeout_ms",
        ),
        Stage::Read => (ErrorKind::Unavailable, "the server could not do it", "look at its log"),
        Stage::Write | Stage::Unsure => (
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
pub(crate) fn uncertain(confirmed: Result<u64>, wanted: u8) -> Result<()> {
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

const STRANGER: &str =
    "another program may write keys with this prefix; restore the keys from a copy";

/// A World of which it is not known how it was made.
pub(crate) fn unreadable() -> Error {
    Error::new(ErrorKind::Corrupt, "what says how the World was made cannot be read").help(STRANGER)
}

/// Something stored that this crate cannot have written.
pub(crate) fn corrupt(log: &LogId, position: Option<Position>, what: &'static str) -> Error {
    let error = Error::new(ErrorKind::Corrupt, what).log(log.clone()).help(STRANGER);
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
