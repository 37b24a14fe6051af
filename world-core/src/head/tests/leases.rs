//! Who has a run, and who gets it next: rules L1 to L6.

use super::kept::*;
use crate::{
    Appended, By, Claim, Due, ErrorKind, Queue, Renewed,
    head::{self, Turn},
};

#[test]
fn l1_a_lease_that_has_not_run_out_is_not_given_again() {
    let mut kept = Kept::with_run("a", 1);
    assert!(kept.claim("a", 2, 99, 200).is_none());
    let lease = kept.claim("a", 2, 100, 200).unwrap();
    assert_eq!((lease.ticket, lease.until, lease.head), (ticket(2), at(200), pos(1)));
    assert!(kept.claim("a", 3, 199, 300).is_none());
}

#[test]
fn l1_a_run_of_another_queue_a_tombstone_and_another_log_are_not_claimed() {
    let mut kept = Kept::with_run("a", 1);
    let ask = Claim { queues: vec![Queue::new("else").unwrap()], ..ask(2, 999, 1000) };
    let head = kept.heads[&run("a")].clone();
    assert!(head::claim(&id("a"), &head, &ask).is_none());
    kept.append(&run("a"), &append(1, &["end"], close(1)));
    kept.delete(&run("a"), 2);
    assert!(kept.claim("a", 2, 999, 1000).is_none());
    kept.append(&token("t"), &append(0, &["claimed"], By::Outsider));
    assert_eq!(kept.heads[&token("t")].turn(), None);
}

#[test]
fn l2_a_turn_is_due_from_its_time_on_and_a_ready_one_whatever_the_clock() {
    for (turn, due, not_due) in [
        (Turn::Ready { since: at(500) }, Some(0), None),
        (Turn::Waiting(at(500)), Some(500), Some(499)),
        (Turn::Leased { ticket: ticket(1), until: at(500) }, Some(500), Some(499)),
        (Turn::Parked, None, Some(u64::MAX)),
    ] {
        assert!(due.is_none_or(|now| turn.is_due(at(now))), "{turn:?}");
        assert!(not_due.is_none_or(|now| !turn.is_due(at(now))), "{turn:?}");
    }
}

#[test]
fn l2_a_ready_run_keeps_its_age_however_often_it_is_woken() {
    let mut kept = Kept::default();
    kept.append(&run("a"), &create(None));
    let since = kept.turn("a");
    let mut signal = append(1, &["signal"], By::Outsider);
    signal.at = at(999);
    assert_eq!(kept.append(&run("a"), &signal), committed(2));
    assert_eq!(kept.turn("a"), since);
}

#[test]
fn l3_a_replaced_ticket_changes_nothing() {
    let mut kept = Kept::with_run("a", 1);
    let old = kept.claim("a", 2, 100, 200).unwrap();
    kept.claim("a", 3, 200, 300).unwrap();
    let before = kept.clone();
    assert_eq!(kept.append(&run("a"), &step(1, "late", 2)), Appended::Fenced);
    assert_eq!(kept.append(&run("a"), &append(1, &[], rest(2, Due::Now))), Appended::Fenced);
    assert_eq!(kept.append(&stream("a", "s"), &append(0, &["x"], owner(2))), Appended::Fenced);
    assert_eq!(kept.renew(&old, 999), Renewed::Lost);
    assert_eq!(kept, before);
}

#[test]
fn l3_the_ticket_is_asked_before_the_head() {
    let mut kept = Kept::with_run("a", 1);
    assert_eq!(kept.append(&run("a"), &step(9, "x", 2)), Appended::Fenced);
    assert_eq!(kept.append(&run("a"), &step(9, "x", 1)), Appended::Conflict { head: pos(1) });
}

#[test]
fn l3_an_expired_ticket_that_nobody_replaced_is_current() {
    let mut kept = Kept::with_run("a", 1);
    let mut late = step(1, "late", 1);
    late.at = at(100_000);
    assert_eq!(kept.append(&run("a"), &late), committed(2));
    let lease = kept.claim("a", 2, 100, 200).unwrap();
    assert_eq!(kept.renew(&lease, 100_000), Renewed::Held { head: pos(2) });
    assert!(kept.claim("a", 3, 99_999, 200_000).is_none());
}

#[test]
fn l3_a_lease_that_was_given_back_is_lost() {
    let mut kept = Kept::with_run("a", 1);
    let lease = kept.claim("a", 2, 100, 200).unwrap();
    kept.append(&run("a"), &append(1, &[], rest(2, Due::Never)));
    assert_eq!(kept.renew(&lease, 999), Renewed::Lost);
    assert_eq!(kept.append(&run("a"), &step(1, "x", 2)), Appended::Fenced);
    assert_eq!(kept.turn("a"), Turn::Parked);
}

#[test]
fn l4_an_outsider_makes_an_unleased_run_due_and_never_moves_a_lease() {
    for due in [Due::Never, Due::At(at(900))] {
        let mut kept = Kept::with_run("a", 1);
        kept.append(&run("a"), &append(1, &[], rest(1, due)));
        kept.append(&run("a"), &append(1, &["signal"], By::Outsider));
        assert_eq!(kept.turn("a"), Turn::Ready { since: at(0) });
    }
    let mut kept = Kept::with_run("a", 1);
    let leased = kept.turn("a");
    let mut late = append(1, &["signal"], By::Outsider);
    late.at = at(100_000);
    assert_eq!(kept.append(&run("a"), &late), committed(2));
    assert_eq!(kept.turn("a"), leased, "not even one that has run out");
}

#[test]
fn l5_a_claim_raises_the_attempt_and_progress_or_a_rest_resets_it() {
    let mut kept = Kept::with_run("a", 1);
    assert_eq!(kept.run("a").attempt, 1, "the creator's lease is the first attempt");
    assert_eq!(kept.claim("a", 2, 100, 200).unwrap().attempt, 2);
    assert_eq!(kept.claim("a", 3, 200, 300).unwrap().attempt, 3);
    kept.append(&run("a"), &append(1, &["signal"], By::Outsider));
    let tags = By::Owner { ticket: ticket(3), close: false, rest: None, tags: Some(vec![]) };
    assert_eq!(kept.append(&run("a"), &append(2, &[], tags)), committed(2));
    assert_eq!(kept.run("a").attempt, 3, "neither an outsider nor tags are progress");
    kept.append(&run("a"), &step(2, "step", 3));
    assert_eq!(kept.run("a").attempt, 1, "the claim under way");
    assert_eq!(kept.claim("a", 4, 300, 400).unwrap().attempt, 2, "its worker died after all");
    kept.append(&run("a"), &append(3, &[], rest(4, Due::Now)));
    assert_eq!(kept.run("a").attempt, 0);
}

#[test]
fn l5_a_rest_of_a_run_that_was_not_driven_takes_its_claim_back() {
    for (records, by) in
        [(&[][..], rest_undriven(3, Due::Never)), (&["note"], rest_undriven(3, Due::Now))]
    {
        let mut kept = Kept::with_run("a", 1);
        assert_eq!(kept.claim("a", 2, 100, 200).unwrap().attempt, 2, "its creator died");
        assert_eq!(kept.claim("a", 3, 200, 300).unwrap().attempt, 3, "and another worker");
        let head = 1 + records.len() as u64;
        assert_eq!(kept.append(&run("a"), &append(1, records, by)), committed(head));
        assert_eq!(kept.run("a").attempt, 2, "with {records:?}");
        assert!(!matches!(kept.turn("a"), Turn::Leased { .. }));
    }
}

#[test]
fn l5_a_claim_that_is_taken_back_after_progress_leaves_none() {
    let mut kept = Kept::with_run("a", 1);
    assert_eq!(kept.claim("a", 2, 100, 200).unwrap().attempt, 2);
    kept.append(&run("a"), &step(1, "step", 2));
    kept.append(&run("a"), &append(2, &[], rest_undriven(2, Due::At(at(5)))));
    assert_eq!(kept.run("a").attempt, 0);
    kept.heads.get_mut(&run("a")).unwrap().run.as_mut().unwrap().turn =
        Turn::Leased { ticket: ticket(3), until: at(9) };
    kept.append(&run("a"), &append(2, &[], rest_undriven(3, Due::Now)));
    assert_eq!(kept.run("a").attempt, 0, "never below 0, whatever was stored");
}

#[test]
fn l5_a_closed_run_is_given_back_undriven_without_records() {
    let mut kept = Kept::with_run("a", 1);
    kept.append(&run("a"), &append(1, &["end"], close(1)));
    assert_eq!(kept.claim("a", 2, 100, 200).unwrap().attempt, 2);
    assert_eq!(
        kept.append(&run("a"), &append(2, &[], rest_undriven(2, Due::At(at(300))))),
        committed(2)
    );
    assert_eq!((kept.run("a").attempt, kept.turn("a")), (1, Turn::Waiting(at(300))));
}

#[test]
fn l6_a_timed_run_that_is_excepted_is_passed_over_and_a_ready_one_is_not() {
    let except = |number| Claim { except: vec![id("b"), id("a")], ..ask(number, 500, 900) };
    let mut kept = Kept::with_run("a", 1);
    assert!(kept.claim_as("a", &except(2)).is_none(), "its lease ran out");
    kept.append(&run("a"), &append(1, &[], rest(1, Due::At(at(500)))));
    assert!(kept.claim_as("a", &except(2)).is_none(), "its time has come");
    kept.append(&run("a"), &append(1, &["signal"], By::Outsider));
    assert!(kept.claim_as("a", &except(2)).is_some(), "an outsider has made it ready");
}

#[test]
fn l6_a_claim_that_excepts_too_many_runs_is_invalid() {
    let of = |runs: usize| Claim { except: vec![id("a"); runs], ..ask(1, 0, 1) };
    assert!(of(Claim::EXCEPT_MAX).check().is_ok());
    let error = of(Claim::EXCEPT_MAX + 1).check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn l5_the_attempt_stops_at_the_largest_number() {
    let mut kept = Kept::with_run("a", 1);
    kept.heads.get_mut(&run("a")).unwrap().run.as_mut().unwrap().attempt = u32::MAX;
    assert_eq!(kept.claim("a", 2, 100, 200).unwrap().attempt, u32::MAX);
}
