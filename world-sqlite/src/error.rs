//! What SQLite says, as this project's errors: what was wrong, whether it happened, what to do.

use std::borrow::Cow;

use rusqlite::{ErrorCode, ffi};
use world_core::{Error, ErrorKind, LogId, Position, Result};

/// What was under way, which decides whether it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Opening the file.
    Open,
    /// Anything before `COMMIT`, and reading: undone when it fails.
    Work,
    /// `COMMIT`.
    Commit,
}

/// A failure that several callers can be told of, each in an [`Error`] of its own.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    what: Cow<'static, str>,
    help: &'static str,
    code: Option<(ffi::Error, Option<String>)>,
}

impl Fault {
    pub(crate) fn new(
        kind: ErrorKind,
        what: impl Into<Cow<'static, str>>,
        help: &'static str,
    ) -> Self {
        Self { kind, what: what.into(), help, code: None }
    }

    /// What `error` means at this stage.
    pub(crate) fn of(stage: Stage, error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(code, message) = error else {
            return Self::new(
                ErrorKind::Corrupt,
                "a stored value has a type or size that is never written",
                "check the file (PRAGMA integrity_check), or restore it from a copy",
            );
        };
        let (kind, what, help) = meaning(stage, code);
        Self { kind, what: what.into(), help, code: Some((code, message)) }
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(&self.code, Some((code, _)) if is_busy(*code))
    }

    pub(crate) fn error(&self) -> Error {
        let error = Error::new(self.kind, self.what.clone()).help(self.help);
        match &self.code {
            Some((code, message)) => {
                error.source(rusqlite::Error::SqliteFailure(*code, message.clone()))
            }
            None => error,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error()
    }
}

fn is_busy(code: ffi::Error) -> bool {
    matches!(code.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
}

fn meaning(stage: Stage, code: ffi::Error) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{Corrupt, TooLarge, Unavailable, Unknown, Unsuitable, Unsupported};
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            Unavailable,
            "another connection has held the database's lock for too long",
            "try again; end long transactions of other programs, or raise busy_timeout_ms",
        ),
        ErrorCode::DiskFull => (
            Unavailable,
            "the disk or the database is full; the write was undone",
            "free space, then try again",
        ),
        ErrorCode::NotADatabase if stage == Stage::Open => (
            Unsupported,
            "the file is not a SQLite database, or its start is damaged",
            "name another file, or restore it from a copy",
        ),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => (
            Corrupt,
            "the database file is damaged",
            "stop, keep the file as it is, and restore it from a copy (or try sqlite3's .recover)",
        ),
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => (
            Corrupt,
            "the log holds rows that its head does not account for; the write was undone",
            "check the file (PRAGMA integrity_check), or restore it from a copy",
        ),
        ErrorCode::TooBig => {
            (TooLarge, "more than SQLite takes in one value", "append less at a time")
        }
        ErrorCode::ReadOnly => (
            Unsuitable,
            "the database cannot be written, or the file was moved or deleted while it was open",
            "let this user write the file and its directory, and open it anew",
        ),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => (
            Unsuitable,
            "this user may not use the file",
            "let this user write the file and its directory",
        ),
        ErrorCode::CannotOpen if stage == Stage::Open => (
            Unsuitable,
            "the file cannot be opened or made",
            "name a file in a directory that exists and that this user may write",
        ),
        _ if stage == Stage::Commit => (
            Unknown,
            "the commit failed, and may still have reached the disk",
            "send the same bytes again; if it keeps failing, look at the disk",
        ),
        ErrorCode::SystemIoFailure => (
            Unavailable,
            "the disk failed to read or write; the write was undone",
            "try again; if it keeps failing, look at the disk and the space on it",
        ),
        _ => (Unavailable, "SQLite could not do it; the write was undone", "try again"),
    }
}

/// Turns rusqlite's results into this project's.
pub(crate) trait Explain<T> {
    /// Says what the error means at a stage other than `COMMIT`.
    fn explain(self) -> Result<T>;
    /// The same, and which log it was about.
    fn about(self, log: &LogId) -> Result<T>;
}

impl<T> Explain<T> for rusqlite::Result<T> {
    fn explain(self) -> Result<T> {
        self.map_err(|error| Fault::of(Stage::Work, error).error())
    }

    fn about(self, log: &LogId) -> Result<T> {
        self.map_err(|error| Fault::of(Stage::Work, error).error().log(log.clone()))
    }
}

/// A row of a log's own that cannot have been written by this crate.
pub(crate) fn corrupt(log: &LogId, position: Option<Position>, what: &'static str) -> Error {
    let error = Error::new(ErrorKind::Corrupt, what)
        .log(log.clone())
        .help("check the file (PRAGMA integrity_check), or restore it from a copy");
    match position {
        Some(position) => error.position(position),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stage: Stage, code: i32) -> ErrorKind {
        let fault = Fault::of(stage, rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        let error = fault.error();
        assert!(
            error.to_string().contains("; ") && std::error::Error::source(&error).is_some(),
            "{error}"
        );
        error.kind()
    }

    #[test]
    fn only_a_failed_commit_is_unknown() {
        for code in
            [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_NOMEM, ffi::SQLITE_PROTOCOL]
        {
            assert_eq!(kind(Stage::Commit, code), ErrorKind::Unknown);
            assert_eq!(kind(Stage::Work, code), ErrorKind::Unavailable);
        }
        for stage in [Stage::Work, Stage::Commit] {
            assert_eq!(kind(stage, ffi::SQLITE_FULL), ErrorKind::Unavailable);
            assert_eq!(kind(stage, ffi::SQLITE_BUSY), ErrorKind::Unavailable);
            assert_eq!(kind(stage, ffi::SQLITE_CORRUPT_VTAB), ErrorKind::Corrupt);
            assert_eq!(kind(stage, ffi::SQLITE_READONLY_DBMOVED), ErrorKind::Unsuitable);
            assert_eq!(kind(stage, ffi::SQLITE_CONSTRAINT_PRIMARYKEY), ErrorKind::Corrupt);
        }
        assert_eq!(kind(Stage::Open, ffi::SQLITE_NOTADB), ErrorKind::Unsupported);
        assert_eq!(kind(Stage::Work, ffi::SQLITE_NOTADB), ErrorKind::Corrupt);
        assert_eq!(kind(Stage::Open, ffi::SQLITE_CANTOPEN), ErrorKind::Unsuitable);
    }
}
