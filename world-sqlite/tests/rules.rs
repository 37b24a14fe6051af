//! Every rule of the contract, at its edge, against a file.

mod support;

use std::num::NonZeroU32;

use support::*;
use world_core::*;

#[tokio::test]
async fn a1_a4_an_append_commits_its_records_lease_due_time_and_closing_together() {
    let (world, _dir) = file();
    do_append(&world, &run("r"), &append(0, &["a"], holder("q", 1, 10))).await;
    let close = By::Owner {
        ticket: ticket(1),
        close: true,
        rest: Some(Release::driven(Due::At(at(50)))),
        tags: Some(vec![Tag::from_bytes([3; 16])]),
    };
    assert_eq!(do_append(&world, &run("r"), &append(1, &["b", "c"], close)).await, committed(3));
    let meta = world.list(&List::all(NonZeroU32::MIN)).await.unwrap().runs.remove(0);
    assert_eq!((meta.head, meta.phase, meta.tags.len()), (position(3), Phase::Closed, 1));
    assert!(world.claim(&claim_of(&["q"], 2, 49, 1)).await.unwrap().is_empty());
    let lease = world.claim(&claim_of(&["q"], 2, 50, 1)).await.unwrap().remove(0);
    assert!(lease.closed && lease.attempt == 1 && lease.head == position(3));
}

#[tokio::test]
async fn a2_a_conflict_changes_nothing_and_reports_the_head_at_every_expected_value() {
    let (world, _dir) = file();
    let log = token("t");
    do_append(&world, &log, &append(0, &["a", "b"], By::Outsider)).await;
    let shape = |expected| {
        let mut other = append(expected, &["x"], By::Outsider);
        other.records[0].at = at(99);
        other
    };
    for expected in [0, 1, 3, 64, u64::from(u32::MAX), i64::MAX as u64, u64::MAX - 2] {
        assert_eq!(do_append(&world, &log, &shape(expected)).await, conflict(2), "{expected}");
    }
    assert_eq!(bodies(&world, &log).await, ["a", "b"]);
    assert_eq!(do_append(&world, &log, &shape(2)).await, committed(3));
    assert_eq!(do_append(&world, &token("none"), &shape(1)).await, conflict(0));
}

#[tokio::test]
async fn a5_an_absent_a_closed_and_a_deleted_run_take_no_record() {
    let (world, _dir) = file();
    let log = run("r");
    for by in [By::Outsider, owner(1)] {
        assert_eq!(do_append(&world, &log, &append(0, &["a"], by)).await, Appended::NotOpen);
    }
    do_append(&world, &log, &append(0, &["a"], holder("q", 1, 10))).await;
    assert_eq!(
        do_append(&world, &stream("r", "s"), &append(0, &["s"], owner(1))).await,
        committed(1)
    );
    do_append(&world, &log, &append(1, &["end"], closer(1))).await;
    for by in [By::Outsider, owner(1), owner(2), holder("q", 1, 10)] {
        let expected = if matches!(by, By::Creator(_)) { 0 } else { 2 };
        assert_eq!(do_append(&world, &log, &append(expected, &["x"], by)).await, Appended::NotOpen);
    }
    let late = append(1, &["t"], owner(1));
    assert_eq!(do_append(&world, &stream("r", "s"), &late).await, Appended::NotOpen);
    // It stays readable, and its lease is claimed, renewed and given back.
    assert_eq!(bodies(&world, &log).await, ["a", "end"]);
    let lease = world.claim(&claim_of(&["q"], 2, 10, 1)).await.unwrap().remove(0);
    assert_eq!(world.renew(&lease, at(99)).await.unwrap(), Renewed::Held { head: position(2) });
    assert_eq!(do_append(&world, &log, &append(2, &[], rester(2, Due::Never))).await, committed(2));
    assert_eq!(world.delete(&log, position(2)).await.unwrap(), Deleted::Done);
    for by in [By::Outsider, owner(2), creator("q", Due::Now)] {
        assert_eq!(do_append(&world, &log, &append(0, &["a"], by)).await, Appended::NotOpen);
    }
}

#[tokio::test]
async fn a6_the_same_bytes_again_commit_nothing_more_and_a_difference_conflicts() {
    let (world, _dir) = file();
    let log = run("r");
    let first = append(0, &["a", "b"], holder("q", 1, 10));
    do_append(&world, &log, &first).await;
    let second = append(2, &["c"], closer(1));
    do_append(&world, &log, &second).await;
    // Asked before open, ticket and head: the run is closed, and the answer is the true head.
    assert_eq!(do_append(&world, &log, &first).await, committed(3));
    let mut other_writer = second.clone();
    other_writer.by = owner(9);
    assert_eq!(do_append(&world, &log, &other_writer).await, committed(3));
    let (kind, time, body, shorter) = (first.clone(), first.clone(), first.clone(), first.clone());
    for (n, mut other) in [kind, time, body, shorter].into_iter().enumerate() {
        let record = &mut other.records[1];
        match n {
            0 => record.kind = Kind(8),
            1 => record.at = at(77),
            2 => record.body = Sealed::from_stored(&b"B"[..]),
            _ => drop(other.records.pop()),
        }
        let expected = if n == 3 { committed(3) } else { Appended::NotOpen };
        assert_eq!(do_append(&world, &log, &other).await, expected, "difference {n}");
    }
    assert_eq!(bodies(&world, &log).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a6_a_rest_sent_again_is_fenced() {
    let (world, _dir) = file();
    do_append(&world, &run("r"), &append(0, &["a"], holder("q", 1, 10))).await;
    let rest = append(1, &[], rester(1, Due::Never));
    assert_eq!(do_append(&world, &run("r"), &rest).await, committed(1));
    assert_eq!(do_append(&world, &run("r"), &rest).await, Appended::Fenced);
}

#[tokio::test]
async fn r1_r2_what_is_committed_is_read_at_once_from_any_handle() {
    let (world, dir) = file();
    let other = open(&dir);
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (&world, &other) } else { (&other, &world) };
        do_append(writer, &token("t"), &append(n, &["x"], By::Outsider)).await;
        assert_eq!(bodies(reader, &token("t")).await.len() as u64, n + 1);
    }
}

#[tokio::test]
async fn r3_a_page_is_bounded_and_empty_only_at_the_head() {
    let (world, _dir) = file();
    let log = token("t");
    let big = "x".repeat(400 << 10);
    for n in 0..6 {
        do_append(&world, &log, &append(n, &[&big], By::Outsider)).await;
    }
    let limit = NonZeroU32::new(100).unwrap();
    let page = world.read(&log, Position::START, limit).await.unwrap();
    assert_eq!((page.records.len(), page.head), (3, position(6)));
    let two = world.read(&log, position(1), NonZeroU32::new(2).unwrap()).await.unwrap();
    assert_eq!(two.records.iter().map(|r| r.position.get()).collect::<Vec<_>>(), [2, 3]);
    for after in [6, 7, i64::MAX as u64, u64::MAX] {
        let page = world.read(&log, position(after), limit).await.unwrap();
        assert_eq!((page.records.len(), page.head), (0, position(6)), "{after}");
    }
    let none = world.read(&run("none"), Position::START, limit).await.unwrap();
    assert_eq!((none.records.len(), none.head), (0, Position::START));
    assert_eq!(world.read_all(&log).await.unwrap().records.len(), 6);
}

#[tokio::test]
async fn r4_a_listing_shows_every_matching_run_once_while_others_come_and_go() {
    let (world, _dir) = file();
    for n in 0..25 {
        let log = run(&format!("r{n:02}"));
        do_append(&world, &log, &append(0, &["a"], holder("q", 1, 10))).await;
        if n % 5 == 0 {
            do_append(&world, &log, &append(1, &["b"], closer(1))).await;
        }
    }
    let mut list = List::all(NonZeroU32::new(4).unwrap());
    let mut seen = Vec::new();
    loop {
        let page = world.list(&list).await.unwrap();
        seen.extend(page.runs.into_iter().map(|run| run.run.as_str().to_owned()));
        if let Some(gone) = seen.iter().rfind(|run| run.ends_with(['0', '5'])) {
            world.delete(&run(gone), position(2)).await.unwrap();
        }
        let new = run(&format!("later{}", seen.len()));
        if seen.len() < 20 {
            do_append(&world, &new, &append(0, &["a"], creator("q", Due::Now))).await;
        }
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    let (later, first): (Vec<String>, _) = seen.into_iter().partition(|id| id.starts_with('l'));
    let all: Vec<String> = (0..25).map(|n| format!("r{n:02}")).collect();
    assert_eq!(first, all);
    assert!(later.len() <= 5);
}

#[tokio::test]
async fn r4_a_listing_filters_by_everything_it_may() {
    let (world, _dir) = file();
    let tags: Vec<Tag> = (0..3).map(|n| Tag::from_bytes([n; 16])).collect();
    let new = |q: &str, tags: &[Tag]| {
        let By::Creator(new) = holder(q, 1, 10) else { unreachable!() };
        By::Creator(NewRun { tags: tags.to_vec(), parent: Some(run_id("p\0")), ..new })
    };
    do_append(&world, &run("a"), &append(0, &["1"], new("q", &tags[..2]))).await;
    do_append(&world, &run("b"), &append(0, &["1"], new("p", &[tags[2], tags[2], tags[0]]))).await;
    let retag =
        By::Owner { ticket: ticket(1), close: false, rest: None, tags: Some(vec![tags[2]]) };
    do_append(&world, &run("a"), &append(1, &[], retag)).await;
    let all = List::all(NonZeroU32::new(10).unwrap());
    let found = async |list: List| {
        let page = world.list(&list).await.unwrap();
        assert!(page.next.is_none());
        page.runs.iter().map(|run| run.run.as_str().to_owned()).collect::<Vec<_>>().concat()
    };
    for (list, runs) in [
        (List { tags: vec![tags[0]], ..all.clone() }, "b"),
        (List { tags: vec![tags[1]], ..all.clone() }, ""),
        (List { tags: vec![tags[2]], ..all.clone() }, "ab"),
        (List { tags: vec![tags[2], tags[0]], ..all.clone() }, "b"),
        (List { queue: Some(queue("p")), ..all.clone() }, "b"),
        (List { workflow: Some(WorkflowName::new("else").unwrap()), ..all.clone() }, ""),
        (List { last: Some(Kind(7)), phase: Some(PhaseKind::Leased), ..all.clone() }, "ab"),
        (List { created: Some(at(0)..at(1)), ..all.clone() }, "ab"),
        (List { created: Some(at(1)..at(2)), ..all.clone() }, ""),
    ] {
        assert_eq!(found(list.clone()).await, runs, "{list:?}");
    }
    let meta = world.list(&all).await.unwrap().runs.pop().unwrap();
    assert_eq!(meta.tags, [tags[2], tags[2], tags[0]]);
    assert_eq!(meta.parent, Some(run_id("p\0")));
    for bad in [&[][..], &[1], &[2; 9], &[1, 255, 0, 0, 0, 0, 0, 0, 0], &[1; 10]] {
        let list = List { after: Some(Cursor::from_bytes(bad)), ..all.clone() };
        assert_eq!(world.list(&list).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn d1_only_a_closed_run_at_its_head_is_deleted_and_its_streams_go_with_it() {
    let (world, _dir) = file();
    let log = run("r");
    assert_eq!(world.delete(&log, Position::START).await.unwrap(), Deleted::Absent);
    do_append(&world, &log, &append(0, &["a"], holder("q", 1, 10))).await;
    for name in ["s", "t"] {
        for n in 0..700 {
            do_append(&world, &stream("r", name), &append(n, &["chunk"], owner(1))).await;
        }
    }
    assert_eq!(world.delete(&log, position(1)).await.unwrap(), Deleted::Open);
    do_append(&world, &log, &append(1, &["b"], closer(1))).await;
    assert_eq!(world.delete(&log, position(1)).await.unwrap(), Deleted::Open);
    for _ in 0..2 {
        assert_eq!(world.delete(&log, position(2)).await.unwrap(), Deleted::Done);
        for log in [&stream("r", "s"), &stream("r", "t")] {
            assert_eq!(world.read_all(log).await.unwrap().head, Position::START);
            assert!(bodies(&world, log).await.is_empty());
        }
        let page = world.read_all(&log).await.unwrap();
        assert_eq!((page.records.len(), page.head), (0, position(2)));
    }
    let error = world.delete(&stream("r", "s"), position(700)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(world.list(&List::all(NonZeroU32::MIN)).await.unwrap().runs.is_empty());
    assert!(world.claim(&claim_of(&["q"], 2, 9999, 9)).await.unwrap().is_empty());
}

#[tokio::test]
async fn d2_a_tombstone_outlives_the_handle_and_a_deleted_token_goes_on_from_its_head() {
    let (world, dir) = file();
    do_append(&world, &run("r"), &append(0, &["a"], holder("q", 1, 10))).await;
    do_append(&world, &run("r"), &append(1, &["b"], closer(1))).await;
    world.delete(&run("r"), position(2)).await.unwrap();
    let first = append(0, &["one", "two"], By::Outsider);
    do_append(&world, &token("t"), &first).await;
    assert_eq!(world.delete(&token("t"), position(1)).await.unwrap(), Deleted::Open);
    assert_eq!(world.delete(&token("t"), position(2)).await.unwrap(), Deleted::Done);
    drop(world);
    let world = open(&dir);
    let again = append(0, &["a"], creator("q", Due::Now));
    assert_eq!(do_append(&world, &run("r"), &again).await, Appended::NotOpen);
    assert_eq!(do_append(&world, &token("t"), &first).await, conflict(2));
    assert_eq!(
        do_append(&world, &token("t"), &append(2, &["three"], By::Outsider)).await,
        committed(3)
    );
    assert_eq!(do_append(&world, &token("t"), &first).await, conflict(3));
    assert_eq!(bodies(&world, &token("t")).await, ["three"]);
    let page = world.read(&token("t"), position(1), NonZeroU32::MIN).await.unwrap();
    assert_eq!(page.records[0].position, position(3));
}

#[tokio::test]
async fn b1_more_than_the_limits_is_too_large_and_the_limits_themselves_are_taken() {
    let (world, _dir) = file();
    let limits = world.info().limits;
    let full: Vec<String> = (0..8).map(|_| "x".repeat(limits.record_bytes_max)).collect();
    let mut bodies: Vec<&str> = full.iter().map(String::as_str).collect();
    assert_eq!(
        do_append(&world, &token("t"), &append(0, &bodies, By::Outsider)).await,
        committed(8)
    );
    bodies.push("1");
    for too_large in [
        append(8, &bodies, By::Outsider),
        append(8, &[&"x".repeat(limits.record_bytes_max + 1)], By::Outsider),
        append(8, &vec!["x"; limits.records_max + 1], By::Outsider),
    ] {
        let error = world.append(&token("t"), &too_large).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    let many = append(8, &vec!["x"; limits.records_max], By::Outsider);
    assert_eq!(do_append(&world, &token("t"), &many).await, committed(8 + 1024));
}

#[tokio::test]
async fn i1_ids_and_payloads_are_kept_exactly() {
    let (world, dir) = file();
    let long = "x".repeat(NAME_BYTES_MAX);
    let names =
        ["a", "A", "a\0", "a\0b", "\0", "👩‍🚀", "é", "e\u{301}", " a", "a ", "%", "'; --", &long];
    for (n, name) in names.iter().enumerate() {
        let n = u8::try_from(n).unwrap();
        let body = [name.as_bytes(), &[0, 255, n]].concat();
        let mut first = append(0, &["", ""], holder(name, n, 10));
        first.records[1].body = Sealed::from_stored(body.clone());
        first.records[1].kind = Kind(u16::MAX);
        first.records[1].at = Timestamp::MAX;
        do_append(&world, &run(name), &first).await;
        do_append(&world, &token(name), &append(0, &[name], By::Outsider)).await;
        for part in names {
            let chunk = append(0, &[&format!("{name}/{part}")], owner(n));
            do_append(&world, &stream(name, part), &chunk).await;
        }
    }
    drop(world);
    let world = open(&dir);
    for (n, name) in names.iter().enumerate() {
        let page = world.read_all(&run(name)).await.unwrap();
        let body = [name.as_bytes(), &[0, 255, u8::try_from(n).unwrap()]].concat();
        assert_eq!(page.records[1].body.as_bytes(), body);
        assert_eq!((page.records[1].kind, page.records[1].at), (Kind(u16::MAX), Timestamp::MAX));
        assert_eq!(bodies(&world, &token(name)).await, [*name]);
        for part in names {
            assert_eq!(bodies(&world, &stream(name, part)).await, [format!("{name}/{part}")]);
        }
        let lease = world.claim(&claim_of(&[name], 99, 10, 99)).await.unwrap();
        assert_eq!(lease.iter().map(|lease| lease.run.as_str()).collect::<Vec<_>>(), [*name]);
    }
    let page = world.list(&List::all(NonZeroU32::new(99).unwrap())).await.unwrap();
    assert_eq!(page.runs.iter().map(|run| run.run.as_str()).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn t1_a_wrong_pairing_of_writer_and_log_is_invalid() {
    let (world, _dir) = file();
    do_append(&world, &run("r"), &append(0, &["a"], holder("q", 1, 10))).await;
    for (log, by) in [
        (token("t"), owner(1)),
        (token("t"), creator("q", Due::Now)),
        (stream("r", "s"), By::Outsider),
        (stream("r", "s"), closer(1)),
        (stream("r", "s"), rester(1, Due::Now)),
        (stream("r", "s"), creator("q", Due::Now)),
    ] {
        let error = world.append(&log, &append(0, &["x"], by)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let fenced = append(0, &["x"], owner(2));
    assert_eq!(do_append(&world, &stream("r", "s"), &fenced).await, Appended::Fenced);
    assert_eq!(
        do_append(&world, &stream("r", "s"), &append(1, &["x"], owner(1))).await,
        conflict(0)
    );
}
