//! What an append does: rules A1 to A6.

use super::kept::*;
use crate::{
    Appended, By, Deleted, Due, ErrorKind, Kind, Limits, Record, Release, Renewed, Sealed, Tag,
    head::{self, Ruling, Turn},
};

#[test]
fn a1_a_refused_append_leaves_everything_as_it_was() {
    let mut kept = Kept::with_run("a", 1);
    let before = kept.clone();
    for (refused, answer) in [
        (step(7, "gap", 1), Appended::Conflict { head: pos(1) }),
        (step(1, "not mine", 2), Appended::Fenced),
        (create(None), Appended::Conflict { head: pos(1) }),
    ] {
        assert_eq!(kept.append(&run("a"), &refused), answer);
        assert_eq!(kept, before);
    }
}

#[test]
fn a2_a_conflict_changes_nothing_and_reports_the_head() {
    let mut kept = Kept::with_run("a", 1);
    kept.append(&run("a"), &append(1, &["two", "three"], owner(1)));
    let before = kept.clone();
    for expected in [0, 1, 2, 4, 5, u64::from(u32::MAX), u64::MAX - 1] {
        for by in [owner(1), By::Outsider] {
            let answer = kept.append(&run("a"), &append(expected, &["new"], by));
            assert_eq!(answer, Appended::Conflict { head: pos(3) }, "at {expected}");
            assert_eq!(kept, before);
        }
    }
    assert_eq!(kept.append(&run("a"), &step(3, "new", 1)), committed(4));
}

#[test]
fn a2_a_rest_without_records_needs_the_true_head() {
    let mut kept = Kept::with_run("a", 1);
    kept.append(&run("a"), &append(1, &["signal"], By::Outsider));
    let at_old = append(1, &[], rest(1, Due::Never));
    assert_eq!(kept.append(&run("a"), &at_old), Appended::Conflict { head: pos(2) });
    let at_true = append(2, &[], rest(1, Due::Never));
    assert_eq!(kept.append(&run("a"), &at_true), committed(2));
}

#[test]
fn a3_positions_that_do_not_follow_are_refused_before_anything() {
    let mut gap = append(0, &["one", "two"], By::Outsider);
    gap.records[1].position = pos(3);
    let mut twice = append(0, &["one", "two"], By::Outsider);
    twice.records[1].position = pos(1);
    for wrong in [gap, twice] {
        let error = wrong.check(&token("t"), &Limits::LEAST).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a4_one_ruling_carries_records_lease_due_closing_and_tags() {
    let mut kept = Kept::with_run("a", 1);
    let tags = vec![Tag::from_bytes([3; 16])];
    let by = By::Owner {
        ticket: ticket(1),
        close: true,
        rest: Some(Release::driven(Due::At(at(90)))),
        tags: Some(tags.clone()),
    };
    let end = append(1, &["end"], by);
    let Ruling::Write(head) = head::append(&run("a"), &end, &mut kept).unwrap() else {
        panic!("an append at the head, by the owner");
    };
    let run = head.run.unwrap();
    assert_eq!((head.head, run.closed, run.turn), (pos(2), true, Turn::Waiting(at(90))));
    assert_eq!((&run.new.tags, run.last, run.attempt), (&tags, Kind(1), 0));
}

#[test]
fn a4_the_kind_of_the_last_record_is_known_whoever_wrote_it() {
    let mut kept = Kept::with_run("a", 1);
    for (expected, by) in [(1, By::Outsider), (3, owner(1)), (5, close(1))] {
        let mut two = append(expected, &["x", "y"], by);
        two.records[1].kind = Kind(100 + expected as u16);
        kept.append(&run("a"), &two);
        assert_eq!(kept.run("a").last, two.records[1].kind);
    }
    kept.append(&run("a"), &append(7, &[], rest(1, Due::Now)));
    assert_eq!(kept.run("a").last, Kind(105), "a rest has none");
}

#[test]
fn a5_an_absent_closed_or_deleted_run_takes_no_record() {
    let mut kept = Kept::with_run("closed", 1);
    kept.append(&run("closed"), &append(1, &["end"], close(1)));
    kept.append(&run("deleted"), &create(Some(1)));
    kept.append(&run("deleted"), &append(1, &["end"], close(1)));
    assert_eq!(kept.delete(&run("deleted"), 2), Deleted::Done);
    for name in ["absent", "closed", "deleted"] {
        for (log, by) in
            [(run(name), owner(1)), (run(name), By::Outsider), (stream(name, "s"), owner(1))]
        {
            for expected in [0, 2] {
                let append = append(expected, &["late"], by.clone());
                assert_eq!(kept.append(&log, &append), Appended::NotOpen, "{log} {by:?}");
            }
        }
    }
    for name in ["closed", "deleted"] {
        assert_eq!(kept.append(&run(name), &append(0, &["again"], new(None))), Appended::NotOpen);
    }
}

#[test]
fn a5_open_is_asked_before_the_ticket() {
    let mut kept = Kept::with_run("a", 1);
    kept.append(&run("a"), &append(1, &["end"], close(1)));
    assert_eq!(kept.append(&run("a"), &step(2, "late", 9)), Appended::NotOpen);
    assert_eq!(kept.append(&run("a"), &append(2, &[], rest(9, Due::Now))), Appended::Fenced);
}

#[test]
fn a5_a_closed_runs_lease_is_claimed_renewed_and_given_back() {
    let mut kept = Kept::with_run("a", 1);
    kept.append(&run("a"), &append(1, &["end"], close(1)));
    assert!(kept.claim("a", 2, 99, 200).is_none(), "the closing append kept the lease");
    let lease = kept.claim("a", 2, 100, 200).unwrap();
    assert!(lease.closed);
    assert_eq!(kept.renew(&lease, 300), Renewed::Held { head: pos(2) });
    assert_eq!(kept.append(&run("a"), &append(2, &[], rest(2, Due::At(at(900))))), committed(2));
    assert_eq!(kept.turn("a"), Turn::Waiting(at(900)));
    assert!(kept.run("a").closed);
}

#[test]
fn a6_the_same_bytes_again_change_nothing_and_carry_the_true_head() {
    let mut kept = Kept::with_run("a", 1);
    let earlier = append(1, &["two", "three"], owner(1));
    kept.append(&run("a"), &earlier);
    kept.append(&run("a"), &append(3, &["four"], By::Outsider));
    let before = kept.clone();
    assert_eq!(kept.append(&run("a"), &earlier), committed(4));
    assert_eq!(kept.append(&run("a"), &append(1, &["two"], owner(1))), committed(4));
    assert_eq!(kept.append(&run("a"), &create(Some(1))), committed(4));
    assert_eq!(kept, before);
}

#[test]
fn a6_is_asked_before_open_and_before_the_ticket() {
    let mut kept = Kept::with_run("a", 1);
    let earlier = step(1, "two", 1);
    kept.append(&run("a"), &earlier);
    kept.append(&stream("a", "s"), &append(0, &["chunk"], owner(1)));
    kept.claim("a", 2, 100, 200).unwrap();
    assert_eq!(kept.append(&run("a"), &earlier), committed(2));
    kept.append(&run("a"), &append(2, &["end"], close(2)));
    assert_eq!(kept.append(&run("a"), &earlier), committed(3));
    assert_eq!(kept.append(&stream("a", "s"), &append(0, &["chunk"], owner(1))), committed(1));
}

#[test]
fn a6_any_difference_in_position_kind_time_or_body_is_another_append() {
    let mut kept = Kept::with_run("a", 1);
    let earlier = append(1, &["two", "three"], owner(1));
    kept.append(&run("a"), &earlier);
    let before = kept.clone();
    let changes: [fn(&mut Record); 3] = [
        |record| record.kind = Kind(2),
        |record| record.at = at(1),
        |record| record.body = Sealed::from_stored(&b"other"[..]),
    ];
    for change in changes {
        for index in 0..2 {
            let mut other = earlier.clone();
            change(&mut other.records[index]);
            assert_eq!(kept.append(&run("a"), &other), Appended::Conflict { head: pos(3) });
        }
    }
    let longer = append(1, &["two", "three", "four"], owner(1));
    assert_eq!(kept.append(&run("a"), &longer), Appended::Conflict { head: pos(3) });
    let shifted = append(2, &["two", "three"], owner(1));
    assert_eq!(kept.append(&run("a"), &shifted), Appended::Conflict { head: pos(3) });
    assert_eq!(kept, before);
}

#[test]
fn a6_does_not_cover_an_append_without_records() {
    let mut kept = Kept::with_run("a", 1);
    let rest = append(1, &[], rest(1, Due::Now));
    assert_eq!(kept.append(&run("a"), &rest), committed(1));
    let before = kept.clone();
    assert_eq!(kept.append(&run("a"), &rest), Appended::Fenced);
    assert_eq!(kept, before);
}
