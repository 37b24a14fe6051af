//! Worlds that break one rule are caught, and by that rule.

mod broken;
mod variety;

use broken::{Broken, Flaw};

use crate::{Failure, Group, Rule, Settings, Site, Suite};

/// What the group says of a World with this flaw: of histories of one writer, and of many.
fn failures(flaw: Flaw) -> (Vec<Failure>, Vec<Failure>) {
    let open = move |site: Site| async move { Ok::<_, String>(Broken::at(site.name(), flaw)) };
    let suite = Suite::new("broken", open);
    let report = suite.run(Settings::from_env().unwrap(), |case| case.group() == Group::Model);
    let of = |writers: &str| {
        let entries = report.entries.iter().filter(|entry| entry.case.contains(writers));
        entries.filter_map(|entry| entry.failure().cloned()).collect()
    };
    (of("of_one_writer"), of("of_many_writers"))
}

fn rules(failures: &[Failure]) -> Vec<Option<Rule>> {
    failures.iter().map(Failure::rule).collect()
}

#[test]
fn a_world_without_a_flaw_passes() {
    assert_eq!(failures(Flaw::Nothing), (vec![], vec![]));
}

/// One writer alone meets the flaw, and every case that does names one of these rules.
fn one_writer_sees(flaw: Flaw, allowed: &[Rule]) {
    let (of_one, of_many) = failures(flaw);
    println!("{flaw:?}: {:?} {:?}", rules(&of_one), rules(&of_many));
    for failure in of_one.iter().chain(&of_many) {
        println!("{failure}\n");
    }
    assert!(!of_one.is_empty(), "{flaw:?} is not caught");
    for rule in rules(&of_one) {
        assert!(rule.is_some_and(|rule| allowed.contains(&rule)), "{rule:?}, not {allowed:?}");
    }
}

/// Only several writers meet the flaw.
fn many_writers_see(flaw: Flaw, allowed: &[Rule]) {
    let (of_one, of_many) = failures(flaw);
    println!("{flaw:?}: {:?} {:?}", rules(&of_one), rules(&of_many));
    for failure in &of_many {
        println!("{failure}\n");
    }
    assert_eq!(of_one, []);
    assert!(!of_many.is_empty(), "{flaw:?} is not caught");
    for rule in rules(&of_many) {
        assert!(rule.is_some_and(|rule| allowed.contains(&rule)), "{rule:?}, not {allowed:?}");
    }
}

macro_rules! caught {
    ($($see:ident: $test:ident, $flaw:ident by $($rule:ident),*;)*) => {$(
        #[test]
        fn $test() {
            $see(Flaw::$flaw, &[$(Rule::$rule),*]);
        }
    )*};
}

caught! {
    one_writer_sees: a1_half_a_batch, KeepsTheFirstOfABatch by A1;
    one_writer_sees: a2_a_commit_at_any_head, CommitsAtAnyHead by A2;
    one_writer_sees: a3_a_skipped_position, SkipsAPosition by A3;
    // Whether it was not closed or took a record all the same cannot be told from outside, nor
    // whether a closed run is said to be open when it is to be deleted.
    one_writer_sees: a4_a_forgotten_end, ForgetsToClose by A4, A5, D1;
    // Nor whether it did not rest or a rest left its count.
    one_writer_sees: a4_a_forgotten_rest, ForgetsToRest by A4, L5;
    one_writer_sees: a5_records_after_the_end, TakesRecordsAfterTheEnd by A5;
    one_writer_sees: a5_no_rest_after_the_end, RefusesARestAfterTheEnd by A5;
    one_writer_sees: a6_no_resends, KnowsNoResends by A6;
    one_writer_sees: a6_one_record_compared, ComparesTheFirstRecord by A6;
    one_writer_sees: a6_the_ticket_asked_first, AsksForTheTicketFirst by A6;
    // An old page shows what was deleted since.
    one_writer_sees: r1_an_old_page, ReadsAnOldPage by R1, R3, D1;
    one_writer_sees: r2_a_changed_record, ChangesARecord by R2;
    one_writer_sees: r3_a_hole, ShowsAHole by R3;
    one_writer_sees: r4_a_run_twice, ListsARunTwice by R4;
    one_writer_sees: r4_a_run_missing, ListsOneRunLess by R4;
    one_writer_sees: l1_a_lease_twice, GivesALeaseTwice by L1;
    one_writer_sees: l2_no_timed_runs, NeverGivesTimed by L2;
    one_writer_sees: l3_any_ticket, TakesAnyTicket by L3;
    one_writer_sees: l3_any_ticket_renews, RenewsAnyTicket by L3;
    one_writer_sees: l4_a_lease_ended_from_outside, EndsALeaseFromOutside by L4;
    one_writer_sees: l5_claims_not_counted, CountsNoClaims by L5;
    // Where an outsider woke the run since, it may have been that which changed the count.
    one_writer_sees: l5_an_undriven_rest_that_begins_anew, CountsUndriven by L5, L4;
    one_writer_sees: l6_excepted_runs_given, IgnoresExcept by L6;
    one_writer_sees: l6_nothing_given_beside_excepted_runs, StopsAtExcepted by L6;
    one_writer_sees: t1_misfits, TakesMisfits by T1;
    one_writer_sees: d1_what_is_open_is_said_to_be_gone, SaysOpenIsGone by D1;
    one_writer_sees: d2_no_tombstones, ForgetsTombstones by D2;
    // With some answers open, what was written and where can be explained in several ways.
    many_writers_see: a1_half_a_batch_is_seen, WritesInTwo by A1, A2, A3, A5, R1, R2, D1;
    many_writers_see: a2_two_commits_at_one_head, ChecksThenWrites by A1, A2, A3, A5, R1, R2;
    // It is given from whatever queue.
    many_writers_see: l1_a_lease_twice_at_once, ClaimsTwiceAtOnce by L1, L2;
}
