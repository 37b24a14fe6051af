//! Which logs there are, what they hold and how they end: rules T1, D1, D2, B1 and I1.

use super::kept::*;
use crate::{
    Appended, By, Deleted, Due, ErrorKind, Limits,
    head::{self},
};

#[test]
fn t1_each_log_takes_only_its_own_writers() {
    let tags = By::Owner { ticket: ticket(1), close: false, rest: None, tags: Some(vec![]) };
    let rest = rest(1, Due::Now);
    for (log, wrong) in [
        (run("a"), vec![append(0, &[], new(None)), append(1, &["x"], new(None))]),
        (run("a"), vec![append(1, &[], owner(1)), append(1, &[], close(1))]),
        (run("a"), vec![append(1, &[], By::Outsider)]),
        (stream("a", "s"), vec![create(None), append(0, &["x"], By::Outsider)]),
        (stream("a", "s"), vec![append(0, &["x"], close(1)), append(0, &["x"], rest)]),
        (stream("a", "s"), vec![append(0, &["x"], tags), append(0, &[], owner(1))]),
        (token("t"), vec![create(None), step(0, "x", 1), append(0, &[], By::Outsider)]),
    ] {
        for append in wrong {
            let error = append.check(&log, &Limits::LEAST).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{log} {append:?}");
        }
    }
}

#[test]
fn t1_a_stream_starts_at_0_and_takes_only_the_current_ticket() {
    let mut kept = Kept::with_run("a", 1);
    let log = stream("a", "s");
    let answer = kept.append(&log, &append(1, &["x"], owner(1)));
    assert_eq!(answer, Appended::Conflict { head: pos(0) });
    assert_eq!(kept.append(&log, &append(0, &["x"], owner(2))), Appended::Fenced);
    assert_eq!(kept.append(&log, &append(0, &["x"], owner(1))), committed(1));
    assert_eq!(kept.heads[&log].run, None);
    assert_eq!(kept.append(&stream("a", "other"), &append(0, &["x"], owner(1))), committed(1));
}

#[test]
fn t1_a_token_log_exists_from_its_first_append_and_is_never_due() {
    let mut kept = Kept::default();
    assert_eq!(kept.append(&token("t"), &append(0, &["claimed"], By::Outsider)), committed(1));
    assert_eq!(kept.append(&token("t"), &append(1, &["freed"], By::Outsider)), committed(2));
    assert_eq!(kept.heads[&token("t")].run, None);
}

#[test]
fn d1_only_a_closed_run_and_only_at_its_head_is_deleted() {
    let mut kept = Kept::with_run("a", 1);
    let open = kept.clone();
    assert_eq!(kept.delete(&run("a"), 1), Deleted::Open);
    assert_eq!(kept, open);
    kept.append(&run("a"), &append(1, &["end"], close(1)));
    assert_eq!(kept.delete(&run("a"), 1), Deleted::Open);
    assert_eq!(kept.delete(&run("a"), 2), Deleted::Done);
    assert_eq!(kept.delete(&run("a"), 2), Deleted::Done, "it may be repeated");
    assert_eq!(kept.delete(&run("absent"), 0), Deleted::Absent);
    let error = head::delete(&stream("a", "s"), None, pos(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn d1_a_token_log_is_deleted_at_its_stated_head_only() {
    let mut kept = Kept::default();
    kept.append(&token("t"), &append(0, &["claimed", "freed"], By::Outsider));
    assert_eq!(kept.delete(&token("t"), 1), Deleted::Open);
    assert_eq!(kept.delete(&token("t"), 3), Deleted::Open);
    assert_eq!(kept.delete(&token("t"), 2), Deleted::Done);
}

#[test]
fn d2_a_deleted_run_and_its_streams_stay_spent_though_their_records_are_not_yet_removed() {
    let mut kept = Kept::with_run("a", 1);
    let chunk = append(0, &["chunk"], owner(1));
    kept.append(&stream("a", "s"), &chunk);
    kept.append(&run("a"), &append(1, &["end"], close(1)));
    kept.delete(&run("a"), 2);
    for append in [create(Some(1)), create(None), append(1, &["end"], close(1))] {
        assert_eq!(kept.append(&run("a"), &append), Appended::NotOpen);
    }
    assert_eq!(kept.append(&stream("a", "s"), &chunk), Appended::NotOpen);
    assert!(kept.records.contains_key(&(stream("a", "s"), pos(1))), "it was there to compare with");
}

#[test]
fn d2_a_deleted_token_log_goes_on_from_its_head_and_a_late_resend_conflicts() {
    let mut kept = Kept::default();
    let first = append(0, &["claimed", "freed"], By::Outsider);
    kept.append(&token("t"), &first);
    kept.delete(&token("t"), 2);
    assert_eq!(kept.append(&token("t"), &first), Appended::Conflict { head: pos(2) });
    let fresh = append(0, &["fresh"], By::Outsider);
    assert_eq!(kept.append(&token("t"), &fresh), Appended::Conflict { head: pos(2) });
    assert_eq!(kept.append(&token("t"), &append(2, &["fresh"], By::Outsider)), committed(3));
    // The old records may still be in the store: they are below the base, and no answer.
    assert!(kept.records.contains_key(&(token("t"), pos(1))));
    assert_eq!(kept.append(&token("t"), &first), Appended::Conflict { head: pos(3) });
    let across = append(1, &["freed", "fresh"], By::Outsider);
    assert_eq!(kept.append(&token("t"), &across), Appended::Conflict { head: pos(3) });
    assert_eq!(kept.delete(&token("t"), 2), Deleted::Open, "a late resend of the deletion");
    assert_eq!(kept.delete(&token("t"), 3), Deleted::Done);
    assert_eq!(kept.heads[&token("t")].base, pos(3));
}

#[test]
fn b1_what_is_at_the_limits_passes_and_one_more_does_not() {
    let limits = Limits { records_max: 3, record_bytes_max: 4, append_bytes_max: 9 };
    let check = |bodies: &[&str]| append(0, bodies, By::Outsider).check(&token("t"), &limits);
    for fits in [&["1234"][..], &["1", "2", "3"], &["1234", "1234", "1"], &["", ""]] {
        check(fits).unwrap();
    }
    for too_large in [&["12345"][..], &["1", "2", "3", "4"], &["1234", "1234", "12"]] {
        assert_eq!(check(too_large).unwrap_err().kind(), ErrorKind::TooLarge, "{too_large:?}");
    }
}

#[test]
fn i1_names_that_differ_only_in_odd_bytes_are_different_logs() {
    let mut kept = Kept::default();
    for name in ["a", "a\0", "a\0\0", "👩‍🚀", "👩", &"x".repeat(512)] {
        assert_eq!(kept.append(&run(name), &create(None)), committed(1), "{name:?}");
    }
}
