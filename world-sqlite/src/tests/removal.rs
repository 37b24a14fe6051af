//! What a deletion hides at once, and what it leaves.

use world_core::*;

use super::{append, committed, creator, file, read};
use crate::{SqliteWorld, delete::DeleteLog};

const TICKET: Ticket = Ticket::from_bytes([1; 16]);

fn run() -> RunId {
    RunId::new("r").unwrap()
}

fn stream(name: &str) -> LogId {
    LogId::Stream(run(), StreamName::new(name).unwrap())
}

fn owner(close: bool, tags: Option<Vec<Tag>>) -> By {
    By::Owner { ticket: TICKET, close, rest: None, tags }
}

fn tags(numbers: &[u8]) -> Vec<Tag> {
    numbers.iter().map(|number| Tag::from_bytes([*number; 16])).collect()
}

/// A closed run at head 2, with three tags and two streams of 600 records.
async fn closed_run(world: &SqliteWorld) {
    let By::Creator(new) = creator(Due::Now) else { unreachable!() };
    let new = NewRun { lease: Some((TICKET, Timestamp::MAX)), tags: tags(&[1, 2, 2]), ..new };
    let first = Append { by: By::Creator(new), ..append(0, b"x") };
    assert_eq!(world.append(&LogId::Run(run()), &first).await.unwrap(), committed(1));
    for name in ["s", "t"] {
        for n in 0..600 {
            let chunk = Append { by: owner(false, None), ..append(n, b"x") };
            assert_eq!(world.append(&stream(name), &chunk).await.unwrap(), committed(n + 1));
        }
    }
    let close = Append { by: owner(true, Some(tags(&[3, 2, 4]))), ..append(1, b"x") };
    assert_eq!(world.append(&LogId::Run(run()), &close).await.unwrap(), committed(2));
}

fn count(world: &SqliteWorld, table: &str) -> i64 {
    let mut store = world.writer.store();
    let sql = format!("SELECT count(*) FROM {table}");
    store.conn().unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn d1_a_deletion_hides_the_streams_before_it_has_removed_them() {
    let (world, _dir) = file();
    closed_run(&world).await;
    let delete = DeleteLog { log: LogId::Run(run()), head: Position::new(2) };
    let progress = world.writer.submit(None, delete).await.unwrap();
    assert_eq!((progress.deleted, progress.is_more), (Deleted::Done, true));
    assert!(count(&world, "records") > 600);
    for name in ["s", "t"] {
        let page = read(&world, &stream(name)).await.unwrap();
        assert_eq!((page.records.len(), page.head), (0, Position::START));
    }
    // As after a crash: it is repeated, and goes on.
    let deleted = world.delete(&LogId::Run(run()), Position::new(2)).await.unwrap();
    assert_eq!(deleted, Deleted::Done);
    assert_eq!(count(&world, "records"), 0);
}

#[tokio::test]
async fn d2_a_deletion_leaves_the_tombstone_and_nothing_else() {
    let (world, _dir) = file();
    closed_run(&world).await;
    assert_eq!(count(&world, "tags"), 3);
    world.delete(&LogId::Run(run()), Position::new(2)).await.unwrap();
    let left = ["logs", "runs", "tags", "records"].map(|table| count(&world, table));
    assert_eq!(left, [1, 0, 0, 0]);
}
