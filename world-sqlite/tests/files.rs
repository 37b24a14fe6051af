//! Files that cannot be a World, each with its own kind of error.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::fs;

use rusqlite::Connection;
use support::*;
use world_core::*;
use world_sqlite::{Options, SqliteWorld};

fn refused(path: &std::path::Path) -> Error {
    let error = SqliteWorld::open(path, fast().busy_timeout(std::time::Duration::from_millis(10)));
    let error = error.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("; "), "no help: {error}");
    error
}

#[test]
fn a_path_that_can_name_no_file_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for path in ["", "missing/w.db", "file/w.db", "."] {
        let path = if path.is_empty() { path.into() } else { dir.path().join(path) };
        assert_eq!(refused(&path).kind(), ErrorKind::Invalid, "{path:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_is_unsuitable() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    drop(SqliteWorld::open(&path, fast()).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // Permissions do not bind this user; a directory in the place of the log does.
        fs::create_dir(dir.path().join("w.db-wal")).unwrap();
    }
    assert_eq!(refused(&path).kind(), ErrorKind::Unsuitable);
}

#[test]
fn a_file_that_is_no_database_is_unsupported_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    for content in ["no database at all, but long enough to have a header".repeat(90), "x".into()] {
        fs::write(&path, &content).unwrap();
        assert_eq!(refused(&path).kind(), ErrorKind::Unsupported);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn another_programs_database_is_unsupported_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (n, sql) in [
        "CREATE TABLE logs (x)",
        "PRAGMA application_id = 7; PRAGMA user_version = 1",
        "PRAGMA user_version = 1",
    ]
    .iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{n}.db"));
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(refused(&path).kind(), ErrorKind::Unsupported, "{sql}");
        assert_eq!(fs::read(&path).unwrap(), before, "{sql}");
    }
}

#[test]
fn a_newer_schema_is_unsupported_and_says_which_versions() {
    let (world, dir) = file();
    drop(world);
    let path = dir.path().join("w.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let error = refused(&path);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2") && error.to_string().contains("up to 1"));
}

#[tokio::test]
async fn a_damaged_file_is_a_typed_error_and_never_a_panic() {
    let (world, dir) = file();
    for n in 0..300 {
        let log = token(&format!("t{}", n % 7));
        do_append(&world, &log, &append(n / 7, &["x".repeat(200).as_str()], By::Outsider)).await;
    }
    drop(world);
    let path = dir.path().join("w.db");
    let whole = fs::read(&path).unwrap();
    assert!(!dir.path().join("w.db-wal").exists(), "closing leaves one file");
    let mut kinds = std::collections::HashSet::new();
    for damage in 0..40_usize {
        let mut bytes = whole.clone();
        match damage % 2 {
            0 => bytes.truncate(whole.len() * (damage + 1) / 41),
            _ => {
                let from = whole.len() * damage / 40;
                let until = (from + 3000).min(bytes.len());
                bytes[from..until].fill(0xA5);
            }
        }
        fs::write(&path, bytes).unwrap();
        let world = match SqliteWorld::open(&path, fast()) {
            Ok(world) => world,
            Err(error) => {
                kinds.insert(error.kind());
                continue;
            }
        };
        for n in 0..7 {
            let log = token(&format!("t{n}"));
            kinds.extend(world.read_all(&log).await.err().map(|error| error.kind()));
            let next = append(300 / 7 + 1, &["y"], By::Outsider);
            kinds.extend(world.append(&log, &next).await.err().map(|error| error.kind()));
        }
        let all = List::all(std::num::NonZeroU32::MIN);
        kinds.extend(world.list(&all).await.err().map(|error| error.kind()));
    }
    assert!(kinds.contains(&ErrorKind::Corrupt), "{kinds:?}");
    let typed = [ErrorKind::Corrupt, ErrorKind::Unsupported];
    assert!(kinds.iter().all(|kind| typed.contains(kind)), "{kinds:?}");
}

#[tokio::test]
async fn a_dropped_world_is_opened_again_with_all_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a%20b.db", dir.path().display());
    for n in 0..5 {
        let world = SqliteWorld::connect(&url).unwrap();
        assert!(world.info().durable);
        assert_eq!(
            do_append(&world, &token("t"), &append(n, &["x"], By::Outsider)).await,
            committed(n + 1)
        );
    }
    assert!(dir.path().join("a b.db").is_file());
    let error = SqliteWorld::connect(&format!("{url}?sync=full")).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn what_was_asked_for_is_what_sqlite_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    let _world = SqliteWorld::open(&path, Options::new()).unwrap();
    let other = Connection::open(&path).unwrap();
    let read = |name: &str| {
        other
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
    };
    assert_eq!(read("journal_mode").unwrap(), "wal".to_owned().into());
    assert_eq!(read("application_id").unwrap(), 0x5752_4C44_i64.into());
    assert_eq!(read("user_version").unwrap(), 1_i64.into());
}

#[test]
fn many_threads_may_make_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    std::thread::scope(|scope| {
        let opened: Vec<_> =
            (0..8).map(|_| scope.spawn(|| SqliteWorld::open(&path, fast()).map(drop))).collect();
        for opened in opened {
            opened.join().unwrap().unwrap();
        }
    });
}
