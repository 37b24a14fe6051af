//! Opening a file's connections, with their pragmas set and read back.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use world_core::ErrorKind;

use crate::{
    error::{Fault, Stage},
    options::{Options, Synchronous},
    schema,
};

/// Pages in the write-ahead log at which a commit copies them into the file.
const CHECKPOINT_PAGES: i64 = 1000;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_MAX: i64 = 64 << 20;
/// A connection's page cache, in KiB.
const CACHE_KIB: i64 = 8 << 10;
/// Statements a connection keeps prepared: more than there are.
const STATEMENTS_MAX: usize = 48;
/// The smallest page SQLite has, and so the smallest database.
const PAGE_BYTES_MIN: u64 = 512;
/// The pause between two tries for a lock while the file is opened.
const LOCK_TRY_EVERY: Duration = Duration::from_millis(2);

/// A database in a file, and how its connections are made.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
    pub(crate) options: Options,
}

impl File {
    /// The file at `path`, which later changes of the working directory do not move.
    pub(crate) fn at(path: &Path, options: Options) -> Result<Self, Fault> {
        let refuse = |what: &'static str| {
            Fault::new(ErrorKind::Invalid, what, "name a file in a directory that exists")
        };
        let path = std::path::absolute(path).map_err(|_| refuse("a path that names no file"))?;
        let parent = path.parent().ok_or_else(|| refuse("a path that names no file"))?;
        if path.is_dir() {
            return Err(refuse("the path names a directory"));
        }
        if !parent.is_dir() {
            return Err(refuse("the path's directory is not there, or is no directory"));
        }
        Ok(Self { path, options })
    }

    /// The connection that writes; makes or migrates what is not there yet.
    pub(crate) fn writer(&self) -> Result<Connection, Fault> {
        self.patiently(|| {
            self.check_size()?;
            let conn = self.connect()?;
            schema::recognise(&conn)?;
            wal(&conn)?;
            self.set_durability(&conn)?;
            schema::migrate(&conn)?;
            Ok(conn)
        })
    }

    /// A connection that only reads, of a file that a writer has opened before.
    pub(crate) fn reader(&self) -> Result<Connection, Fault> {
        self.patiently(|| {
            let conn = self.connect()?;
            set(&conn, "query_only", 1)?;
            Ok(conn)
        })
    }

    /// Tries for as long as another process's lock may be waited for.
    fn patiently<T>(&self, open: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
        let deadline = Instant::now() + self.options.busy_timeout;
        loop {
            match open() {
                Err(fault) if fault.is_busy() && Instant::now() < deadline => {
                    thread::sleep(LOCK_TRY_EVERY);
                }
                outcome => return outcome,
            }
        }
    }

    /// SQLite takes a file too short for a header as empty, and writes over it.
    fn check_size(&self) -> Result<(), Fault> {
        match std::fs::metadata(&self.path) {
            Ok(file) if (1..PAGE_BYTES_MIN).contains(&file.len()) => Err(Fault::new(
                ErrorKind::Unsupported,
                "the file is too short for a database",
                "name another file, or restore it from a copy; this one was left as it is",
            )),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags).map_err(open)?;
        if conn.is_readonly("main").map_err(open)? {
            return Err(Fault::new(
                ErrorKind::Unsuitable,
                "the file can be read but not written",
                "let this user write the file and its directory",
            ));
        }
        // Locks are waited for where no executor is held up; SQLite itself never waits.
        conn.busy_timeout(Duration::ZERO).map_err(open)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        set(&conn, "cache_size", -CACHE_KIB)?;
        Ok(conn)
    }

    fn set_durability(&self, conn: &Connection) -> Result<(), Fault> {
        let level = match self.options.synchronous {
            Synchronous::Full => 2,
            Synchronous::Normal => 1,
        };
        // The last two make macOS flush the drive's cache; elsewhere they do nothing.
        for (name, value) in [
            ("synchronous", level),
            ("wal_autocheckpoint", CHECKPOINT_PAGES),
            ("fullfsync", 1),
            ("checkpoint_fullfsync", 1),
        ] {
            set(conn, name, value)?;
            let kept: i64 = conn.pragma_query_value(None, name, |row| row.get(0)).map_err(open)?;
            if kept != value {
                return Err(Fault::new(
                    ErrorKind::Unsuitable,
                    format!("SQLite keeps {name} at {kept}, where {value} is needed"),
                    "use a SQLite that is built with its defaults",
                ));
            }
        }
        set(conn, "journal_size_limit", WAL_BYTES_MAX)
    }
}

/// A database in memory, which is its one connection.
pub(crate) fn memory() -> Result<Connection, Fault> {
    let conn = Connection::open_in_memory().map_err(open)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    schema::migrate(&conn)?;
    Ok(conn)
}

fn wal(conn: &Connection) -> Result<(), Fault> {
    let mode: String =
        conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(open)?;
    if mode == "wal" {
        return Ok(());
    }
    Err(Fault::new(
        ErrorKind::Unsuitable,
        format!("the database stays in journal mode {mode}, where WAL is needed"),
        "keep the file on a local file system with shared memory, not on a network share",
    ))
}

fn set(conn: &Connection, name: &str, value: i64) -> Result<(), Fault> {
    conn.pragma_update(None, name, value).map_err(open)
}

pub(crate) fn open(error: rusqlite::Error) -> Fault {
    Fault::of(Stage::Open, error)
}
