//! Rows that this crate has never written, and the plans of the statements that run often.

use std::num::NonZeroU32;

use world_core::*;

use super::{append, creator, file, read, sql, token};

#[tokio::test]
async fn a_stored_row_that_cannot_be_a_record_is_corrupt_with_its_place() {
    for damage in [
        "UPDATE records SET position = -5 WHERE position = 2",
        "DELETE FROM records WHERE position = 2",
        "UPDATE records SET kind = 65536 WHERE position = 2",
        "UPDATE records SET kind = -1 WHERE position = 2",
        "UPDATE records SET at = -1 WHERE position = 2",
        "UPDATE records SET at = 253402300800000 WHERE position = 2",
        "UPDATE records SET body = zeroblob(1048577) WHERE position = 2",
    ] {
        let (world, _dir) = file();
        for n in 0..3 {
            world.append(&token("t"), &append(n, b"x")).await.unwrap();
        }
        sql(&world, damage);
        let error = read(&world, &token("t")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
        let text = error.to_string();
        assert!(text.contains("token t") && text.contains("position 2"), "{damage}: {text}");
        // The rest of the log is read as before.
        let one = world.read(&token("t"), Position::new(2), NonZeroU32::MIN).await.unwrap();
        assert_eq!(one.records.len(), 1);
    }
}

#[tokio::test]
async fn a_lost_tail_is_corrupt_with_its_place() {
    let (world, _dir) = file();
    for n in 0..3 {
        world.append(&token("t"), &append(n, b"x")).await.unwrap();
    }
    sql(&world, "DELETE FROM records WHERE position > 1");
    let error = read(&world, &token("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("position 2"), "{error}");
}

#[tokio::test]
async fn a_row_that_cannot_be_a_logs_is_corrupt_and_stops_no_other_run() {
    let (world, _dir) = file();
    for name in ["bad", "good"] {
        let log = LogId::Run(RunId::new(name).unwrap());
        world.append(&log, &Append { by: creator(Due::Now), ..append(0, b"x") }).await.unwrap();
    }
    for damage in ["head = -1", "base = 9", "last = 65536", "attempt = -1", "ticket = x'00'"] {
        sql(&world, &format!("UPDATE logs SET {damage} WHERE name = 'bad'"));
        let bad = LogId::Run(RunId::new("bad").unwrap());
        let error = world.append(&bad, &append(1, b"y")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
        assert!(error.to_string().contains("run bad"), "{error}");
    }
    let claim = Claim {
        queues: vec![Queue::new("q").unwrap()],
        ticket: Ticket::from_bytes([1; 16]),
        now: Timestamp::ZERO,
        until: Timestamp::MAX,
        limit: NonZeroU32::MIN,
        except: Vec::new(),
    };
    let leases = world.claim(&claim).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.run.as_str()).collect::<Vec<_>>(), ["good"]);
}

/// The plans of the statements that run often.
#[tokio::test]
async fn no_hot_statement_scans_or_sorts() {
    let (world, _dir) = file();
    let mut store = world.writer.store();
    let conn = store.conn().unwrap();
    for sql in [
        crate::read::SQL,
        crate::claim::OLDEST,
        crate::row::LOAD,
        crate::claim::ANY_READY,
        crate::append::UPDATE_PLAIN,
    ] {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![rusqlite::types::Value::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let plan = plan.join(" | ");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN l"), "{sql}: {plan}");
    }
}

#[tokio::test]
async fn r4_a_listing_goes_on_over_numbers_that_hold_no_run() {
    let (world, _dir) = file();
    for name in ["a", "b"] {
        let log = LogId::Run(RunId::new(name).unwrap());
        world.append(&log, &Append { by: creator(Due::Now), ..append(0, b"x") }).await.unwrap();
    }
    for table in ["logs", "runs"] {
        sql(&world, &format!("UPDATE {table} SET log = log + 40000 WHERE log = 2"));
    }
    let mut list = List::all(NonZeroU32::new(9).unwrap());
    let mut listed = Vec::new();
    loop {
        let page = world.list(&list).await.unwrap();
        listed.extend(page.runs.iter().map(|run| run.run.as_str().to_owned()));
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["a", "b"]);
}
