//! Which schema a file has, and bringing it up to date.

use rusqlite::Connection;
use world_core::ErrorKind;

use crate::{error::Fault, open::open};

/// `WRLD`, in the file's header: this file is one of ours.
const APPLICATION_ID: i64 = 0x5752_4C44;

/// Script `n` brings version `n` to `n + 1`. One is never changed once it was released.
const MIGRATIONS: [&str; 1] = [include_str!("schema/1.sql")];

/// Refuses what another program or a newer version has made, before anything is changed.
pub(crate) fn recognise(conn: &Connection) -> Result<(), Fault> {
    version(conn).map(|_| ())
}

/// Brings the schema up to date, in one transaction.
pub(crate) fn migrate(conn: &Connection) -> Result<(), Fault> {
    if version(conn)? == MIGRATIONS.len() {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE").map_err(open)?;
    let outcome = upgrade(conn);
    if outcome.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK").map_err(open)?;
    }
    outcome
}

fn upgrade(conn: &Connection) -> Result<(), Fault> {
    // Asked again, as another process may have been first.
    for script in MIGRATIONS.iter().skip(version(conn)?) {
        conn.execute_batch(script).map_err(open)?;
    }
    conn.pragma_update(None, "application_id", APPLICATION_ID).map_err(open)?;
    conn.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(open)?;
    conn.execute_batch("COMMIT").map_err(open)
}

fn version(conn: &Connection) -> Result<usize, Fault> {
    let (application, version, tables): (i64, i64, i64) = conn
        .query_row(
            "SELECT (SELECT application_id FROM pragma_application_id),
                    (SELECT user_version FROM pragma_user_version),
                    (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(open)?;
    let refuse = |what: String, help| Err(Fault::new(ErrorKind::Unsupported, what, help));
    match (application, usize::try_from(version)) {
        (0, Ok(0)) if tables == 0 => Ok(0),
        (APPLICATION_ID, Ok(version @ 1..)) if version <= MIGRATIONS.len() => Ok(version),
        (APPLICATION_ID, _) => refuse(
            format!(
                "the file has schema version {version}; this program knows up to {}",
                MIGRATIONS.len()
            ),
            "use a program at least as new as the one that wrote it",
        ),
        _ => refuse(
            "the file is another program's database".to_owned(),
            "name another file; this one was left as it is",
        ),
    }
}
