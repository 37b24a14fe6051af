//! The World in memory keeps the contract: what is appended, read, listed and deleted.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

mod support;

use std::collections::BTreeSet;

use support::*;
use world_core::{
    Append, Appended, By, Cursor, Deleted, Due, ErrorKind, KeyId, Kind, Limits, List, MemoryWorld,
    NAME_BYTES_MAX, NewRun, PhaseKind, Position, Record, Renewed, Sealed, Tag, Timestamp, World,
    WorldExt,
};

#[tokio::test]
async fn info_says_what_it_is_and_takes_at_least_the_least() {
    let info = MemoryWorld::new().info();
    assert_eq!((info.name, info.durable), ("memory", false));
    let (limits, least) = (info.limits, Limits::LEAST);
    assert!(limits.records_max >= least.records_max);
    assert!(limits.record_bytes_max >= least.record_bytes_max);
    assert!(limits.append_bytes_max >= least.append_bytes_max);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a3_positions_have_no_gaps_whatever_the_number_of_writers() {
    let world = MemoryWorld::new();
    let writers = (0..16).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            let (log, mut expected) = (token("t"), 0);
            for number in 0..32 {
                let body = format!("{writer} {number}");
                loop {
                    let append = append(expected, &[&body], 0, By::Outsider);
                    match world.append(&log, &append).await.unwrap() {
                        Appended::Committed { head } => break expected = head.get(),
                        Appended::Conflict { head } => expected = head.get(),
                        other => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    let page = world.read_all(&token("t")).await.unwrap();
    assert!(page.records.iter().map(|record| record.position.get()).eq(1..=512));
    let bodies: BTreeSet<_> = page.records.iter().map(|record| record.body.as_bytes()).collect();
    assert_eq!(bodies.len(), 512);
}

#[tokio::test]
async fn a2_and_l3_a_refused_append_changes_nothing_that_can_be_seen() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create_leased(1, FAR, 0)).await.unwrap();
    let before = (
        world.read_all(&run("a")).await.unwrap(),
        world.list(&List::all(count(9))).await.unwrap().runs,
    );
    let end = append(9, &["end"], 1, close(1, Some(Due::Now)));
    assert_eq!(world.append(&run("a"), &end).await.unwrap(), conflict(1));
    let end = append(1, &["end"], 1, close(2, Some(Due::Now)));
    assert_eq!(world.append(&run("a"), &end).await.unwrap(), Appended::Fenced);
    let too_large = append(1, &["x"; 1025], 1, owner(1));
    let error = world.append(&run("a"), &too_large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let after = (
        world.read_all(&run("a")).await.unwrap(),
        world.list(&List::all(count(9))).await.unwrap().runs,
    );
    assert_eq!(after, before);
}

#[tokio::test]
async fn r1_a_committed_append_is_visible_from_any_handle() {
    let world = MemoryWorld::new();
    let other = world.clone();
    world.append(&token("t"), &append(0, &["one"], 0, By::Outsider)).await.unwrap();
    assert_eq!(other.read_all(&token("t")).await.unwrap().head, pos(1));
}

#[tokio::test]
async fn r3_paging_loses_and_repeats_nothing_whatever_the_limit() {
    let world = MemoryWorld::new();
    let all = append(0, &["1", "2", "3", "4", "5", "6", "7"], 0, By::Outsider);
    world.append(&token("t"), &all).await.unwrap();
    for limit in 1..=8 {
        let (mut read, mut after) = (Vec::new(), Position::START);
        loop {
            let page = world.read(&token("t"), after, count(limit)).await.unwrap();
            assert_eq!(page.head, pos(7));
            assert!(page.records.len() <= limit as usize);
            let Some(last) = page.records.last() else { break };
            after = last.position;
            read.extend(page.records);
        }
        assert_eq!(read, all.records);
    }
}

#[tokio::test]
async fn r3_a_page_ends_at_about_a_mebibyte_and_still_says_the_head() {
    let world = MemoryWorld::new();
    let body = "x".repeat(400 << 10);
    world.append(&token("t"), &append(0, &[body.as_str(); 5], 0, By::Outsider)).await.unwrap();
    let page = world.read(&token("t"), Position::START, count(u32::MAX)).await.unwrap();
    assert_eq!((page.records.len(), page.head), (2, pos(5)));
    let whole = "x".repeat(1 << 20);
    world.append(&token("t"), &append(5, &[&whole], 0, By::Outsider)).await.unwrap();
    let page = world.read(&token("t"), pos(5), count(9)).await.unwrap();
    assert_eq!(page.records.len(), 1, "one record is never too much for a page");
    assert_eq!(world.read_all(&token("t")).await.unwrap().records.len(), 6);
}

#[tokio::test]
async fn r3_what_is_absent_deleted_or_beyond_the_head_reads_as_empty() {
    let world = MemoryWorld::new();
    world.append(&token("t"), &append(0, &["one", "two"], 0, By::Outsider)).await.unwrap();
    for (log, after, head) in [
        (token("t"), 2, 2),
        (token("t"), 3, 2),
        (token("t"), u64::MAX, 2),
        (token("absent"), 0, 0),
        (run("absent"), 7, 0),
        (stream("absent", "s"), 0, 0),
    ] {
        let page = world.read(&log, pos(after), count(9)).await.unwrap();
        assert_eq!((page.records.len(), page.head), (0, pos(head)), "{log} after {after}");
    }
    world.delete(&token("t"), pos(2)).await.unwrap();
    let page = world.read(&token("t"), pos(0), count(9)).await.unwrap();
    assert_eq!((page.records.len(), page.head), (0, pos(2)));
}

#[tokio::test]
async fn t1_a_stream_lives_and_dies_with_its_run() {
    let world = MemoryWorld::new();
    let (log, chunk) = (stream("a", "s"), append(0, &["chunk"], 0, owner(1)));
    assert_eq!(world.append(&log, &chunk).await.unwrap(), Appended::NotOpen);
    world.append(&run("a"), &create_leased(1, FAR, 0)).await.unwrap();
    assert_eq!(world.append(&log, &chunk).await.unwrap(), committed(1));
    assert_eq!(world.read_all(&run("a")).await.unwrap().head, pos(1), "its own positions");
    let end = append(1, &["end"], 1, close(1, None));
    world.append(&run("a"), &end).await.unwrap();
    let more = append(1, &["more"], 1, owner(1));
    assert_eq!(world.append(&log, &more).await.unwrap(), Appended::NotOpen);
    assert_eq!(world.read_all(&log).await.unwrap().records, chunk.records);
    world.delete(&run("a"), pos(2)).await.unwrap();
    assert_eq!(world.read_all(&log).await.unwrap().records, []);
    assert_eq!(world.append(&log, &chunk).await.unwrap(), Appended::NotOpen);
    let error = world.delete(&log, pos(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn d2_a_deleted_run_is_neither_listed_nor_claimed_and_stays_spent() {
    let world = MemoryWorld::new();
    world.append(&run("a"), &create_leased(1, at(10), 0)).await.unwrap();
    assert_eq!(world.delete(&run("a"), pos(1)).await.unwrap(), Deleted::Open);
    let end = append(1, &["end"], 1, close(1, Some(Due::Now)));
    world.append(&run("a"), &end).await.unwrap();
    let lease = world.claim(&claim(&["queue"], 2, 0, 50, 1)).await.unwrap().remove(0);
    assert!(lease.closed);
    for _ in 0..2 {
        assert_eq!(world.delete(&run("a"), pos(2)).await.unwrap(), Deleted::Done);
    }
    assert_eq!(world.renew(&lease, at(90)).await.unwrap(), Renewed::Lost);
    assert_eq!(world.list(&List::all(count(9))).await.unwrap().runs, []);
    assert_eq!(world.claim(&claim(&["queue"], 3, 999, 1000, 9)).await.unwrap(), []);
    for append in [create_leased(1, at(10), 0), create(Due::Now, 5), end] {
        assert_eq!(world.append(&run("a"), &append).await.unwrap(), Appended::NotOpen);
    }
    assert_eq!(world.delete(&run("absent"), pos(0)).await.unwrap(), Deleted::Absent);
}

#[tokio::test]
async fn d2_a_deleted_token_log_goes_on_and_reads_only_what_is_new() {
    let world = MemoryWorld::new();
    let first = append(0, &["one", "two"], 0, By::Outsider);
    world.append(&token("t"), &first).await.unwrap();
    assert_eq!(world.delete(&token("t"), pos(1)).await.unwrap(), Deleted::Open);
    assert_eq!(world.delete(&token("t"), pos(2)).await.unwrap(), Deleted::Done);
    assert_eq!(world.append(&token("t"), &first).await.unwrap(), conflict(2));
    let next = append(2, &["three"], 0, By::Outsider);
    assert_eq!(world.append(&token("t"), &next).await.unwrap(), committed(3));
    assert_eq!(world.append(&token("t"), &next).await.unwrap(), committed(3));
    assert_eq!(world.append(&token("t"), &first).await.unwrap(), conflict(3));
    for after in 0..=2 {
        let page = world.read(&token("t"), pos(after), count(9)).await.unwrap();
        assert_eq!((&page.records, page.head), (&next.records, pos(3)), "after {after}");
    }
    assert_eq!(world.read(&token("t"), pos(3), count(9)).await.unwrap().records, []);
}

#[tokio::test]
async fn i1_names_and_bodies_are_kept_exactly() {
    let world = MemoryWorld::new();
    let long = "x".repeat(NAME_BYTES_MAX);
    let names = ["a", "a\0", "\0", "👩‍🚀", "👩", "' OR 1=1 --", "{a}:b", " ", long.as_str()];
    for (number, name) in names.iter().enumerate() {
        let body = vec![0, 255, 0xF0, number as u8];
        let record = Record {
            position: pos(1),
            kind: Kind(u16::MAX),
            at: Timestamp::MAX,
            body: Sealed::from_stored(body),
        };
        let new = NewRun { queue: queue(name), ..new_run(Due::Never) };
        let create = Append {
            expected: pos(0),
            records: vec![record],
            at: at(number as u64),
            by: By::Creator(new),
        };
        assert_eq!(world.append(&run(name), &create).await.unwrap(), committed(1), "{name:?}");
        assert_eq!(world.read_all(&run(name)).await.unwrap().records, create.records);
    }
    let empty = append(0, &[""], 0, By::Outsider);
    world.append(&token("empty body"), &empty).await.unwrap();
    assert_eq!(world.read_all(&token("empty body")).await.unwrap().records, empty.records);
    let listed = list_all(&world, &List::all(count(2))).await;
    assert_eq!(listed, names);
}

async fn list_all(world: &MemoryWorld, list: &List) -> Vec<String> {
    let (mut names, mut list) = (Vec::new(), list.clone());
    loop {
        let page = world.list(&list).await.unwrap();
        names.extend(page.runs.iter().map(|run| run.run.as_str().to_owned()));
        match page.next {
            Some(next) => list.after = Some(next),
            None => return names,
        }
    }
}

#[tokio::test]
async fn r4_a_listing_shows_each_run_once_while_everything_changes() {
    let world = MemoryWorld::new();
    for number in 0..20 {
        // Two by two at the same time, in an order that is not that of their names.
        let name = format!("run {:02}", 19 - number);
        world.append(&run(&name), &create(Due::Now, number / 2)).await.unwrap();
    }
    let mut list = List::all(count(3));
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = world.list(&list).await.unwrap();
        seen.extend(page.runs.iter().map(|run| run.run.as_str().to_owned()));
        // Between pages, runs are taken, closed and created, and one already seen is deleted.
        world.claim(&claim(&["queue"], 1, 0, 9_999, 2)).await.unwrap();
        let new = format!("new {pages}");
        world.append(&run(&new), &create(Due::Never, 5)).await.unwrap();
        if pages == 2 {
            let end = append(1, &["end"], 9, close(1, None));
            assert_eq!(world.append(&run(&seen[0]), &end).await.unwrap(), committed(2));
            assert_eq!(world.delete(&run(&seen[0]), pos(2)).await.unwrap(), Deleted::Done);
        }
        pages += 1;
        match page.next {
            Some(next) => list.after = Some(next),
            None => break,
        }
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "one appears twice in {seen:?}");
    for number in 0..20 {
        assert!(unique.contains(&format!("run {number:02}")), "run {number} is not in {seen:?}");
    }
}

#[tokio::test]
async fn r4_filters_apply_together_and_an_empty_page_may_have_more_behind_it() {
    let world = MemoryWorld::new();
    let tag = |number| Tag::from_bytes([number; 16]);
    for number in 0..40u8 {
        let new = NewRun {
            queue: queue(if number % 2 == 0 { "even" } else { "odd" }),
            tags: vec![tag(number % 3), tag(100 + number % 5)],
            key: KeyId::new("key 7").unwrap(),
            ..new_run(if number < 20 { Due::Now } else { Due::At(at(77)) })
        };
        let create = append(0, &["created"], number.into(), By::Creator(new));
        world.append(&run(&format!("{number:02}")), &create).await.unwrap();
    }
    let found = |list: List| {
        let world = world.clone();
        async move { list_all(&world, &list).await }
    };
    let all = List::all(count(3));
    assert_eq!(found(List { queue: Some(queue("even")), ..all.clone() }).await.len(), 20);
    assert_eq!(found(List { phase: Some(PhaseKind::Waiting), ..all.clone() }).await.len(), 20);
    assert_eq!(found(List { last: Some(Kind(2)), ..all.clone() }).await.len(), 0);
    assert_eq!(found(List { created: Some(at(5)..at(7)), ..all.clone() }).await, ["05", "06"]);
    let tags = vec![tag(1), tag(104)];
    assert_eq!(found(List { tags, ..all.clone() }).await, ["04", "19", "34"]);
    let meta = world.list(&all).await.unwrap().runs.remove(0);
    assert_eq!((meta.key.as_str(), meta.created, meta.head), ("key 7", at(0), pos(1)));
}

#[tokio::test]
async fn r4_a_page_looks_at_a_bounded_number_of_runs() {
    let world = MemoryWorld::new();
    for number in 0..5000 {
        let create = create_in(if number == 4999 { "last" } else { "queue" }, Due::Never, number);
        world.append(&run(&format!("{number}")), &create).await.unwrap();
    }
    let whole = world.list(&List::all(count(4096))).await.unwrap();
    let rest = world.list(&List { after: whole.next, ..List::all(count(904)) }).await.unwrap();
    assert_eq!((whole.runs.len(), rest.runs.len(), rest.next), (4096, 904, None));
    let list = List { queue: Some(queue("last")), ..List::all(count(9)) };
    let first = world.list(&list).await.unwrap();
    assert!(first.runs.is_empty() && first.next.is_some());
    assert_eq!(list_all(&world, &list).await, ["4999"]);
}

#[tokio::test]
async fn r4_a_cursor_of_another_world_is_refused() {
    let world = MemoryWorld::new();
    for bytes in [&b""[..], b"short", &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 0, 0xFF]] {
        let after = Some(Cursor::from_bytes(bytes));
        let error = world.list(&List { after, ..List::all(count(1)) }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
