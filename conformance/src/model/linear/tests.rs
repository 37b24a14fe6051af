//! Histories that are known to be linearizable or not.

use world_core::{Append, Appended, By, Due, Lease, LogId, NewRun, Page, Record, RunId};

use super::*;
use crate::kit::*;

/// A history, written down in the order of calls and answers.
#[derive(Default)]
struct Written {
    events: Vec<Event>,
    now: u64,
}

impl Written {
    fn call(&mut self, op: Op) -> usize {
        self.now += 1;
        let (writer, called) = (self.events.len(), self.now);
        self.events.push(Event { writer, op, answer: Answer::Unknown, called, answered: None });
        writer
    }

    fn answer(&mut self, call: usize, answer: Answer) {
        self.now += 1;
        let event = &mut self.events[call];
        (event.answer, event.answered) = (answer, Some(self.now));
    }

    fn done(&mut self, op: Op, answer: Answer) {
        let call = self.call(op);
        self.answer(call, answer);
    }

    fn is_linearizable(&self) -> bool {
        let runs = ["a", "b"].map(id).into_iter().collect();
        by_object(&self.events, &runs).values().all(|events| match check(events) {
            Found::Linearizable(order) => is_an_order(events, &order),
            Found::NotLinearizable => false,
            Found::NotDecided => panic!("not decided"),
        })
    }
}

/// Whether every answered operation is in it once, none before one that had ended before it began,
/// and each answer is allowed.
fn is_an_order(events: &[Event], order: &Order) -> bool {
    let mut state = State::default();
    for (place, index) in order.events.iter().enumerate() {
        let event = &events[*index];
        let later = order.events[place + 1..].iter().map(|index| &events[*index]);
        assert!(later.into_iter().all(|later| later.answered.is_none_or(|end| event.called < end)));
        state = state.step(&event.op, &event.answer).unwrap();
    }
    let placed: BTreeSet<_> = order.events.iter().copied().collect();
    assert_eq!(placed.len(), order.events.len());
    assert_eq!(state, order.state);
    events.iter().enumerate().all(|(n, event)| event.answered.is_none() || placed.contains(&n))
}

fn outsider(log: &LogId, expected: u64, body: &str) -> Op {
    Op::Append(log.clone(), append(expected, &[body], 1, By::Outsider))
}

fn created(due: Due) -> Op {
    Op::Append(run("a"), create(due, 1))
}

fn appended(answer: Appended) -> Answer {
    Answer::Appended(answer)
}

fn read(log: &LogId) -> Op {
    Op::Read(log.clone(), pos(0), count(9))
}

/// A page with one record for each body.
fn page(bodies: &[&str]) -> Answer {
    let records: Vec<Record> = append(0, bodies, 1, By::Outsider).records;
    let head = pos(bodies.len() as u64);
    Answer::Page(Page { records, head })
}

fn claimed(number: u8, until: u64) -> Op {
    Op::Claim(claim(&["queue"], number, 0, until, 1))
}

fn leases(number: u8, attempt: u32, until: u64) -> Answer {
    let (run, ticket, until): (RunId, _, _) = (id("a"), ticket(number), at(until));
    Answer::Leases(vec![Lease { run, ticket, attempt, until, head: pos(1), closed: false }])
}

#[test]
fn one_after_the_other_is_a_history_of_one_writer() {
    let (mut written, log) = (Written::default(), token("t"));
    written.done(outsider(&log, 0, "x"), appended(committed(1)));
    written.done(outsider(&log, 0, "y"), appended(conflict(1)));
    written.done(read(&log), page(&["x"]));
    assert!(written.is_linearizable());
}

#[test]
fn a_page_after_an_append_shows_it() {
    let (mut written, log) = (Written::default(), token("t"));
    written.done(outsider(&log, 0, "x"), appended(committed(1)));
    written.done(read(&log), page(&[]));
    assert!(!written.is_linearizable());
}

#[test]
fn a_page_during_an_append_may_show_it_or_not_but_not_take_it_back() {
    for (first, second, holds) in [
        (&[][..], &["x"][..], true),
        (&["x"], &["x"], true),
        (&[], &[], true),
        (&["x"], &[], false),
    ] {
        let (mut written, log) = (Written::default(), token("t"));
        let call = written.call(outsider(&log, 0, "x"));
        written.done(read(&log), page(first));
        written.done(read(&log), page(second));
        written.answer(call, appended(committed(1)));
        assert_eq!(written.is_linearizable(), holds, "{first:?} then {second:?}");
    }
}

#[test]
fn one_of_two_at_one_head_commits() {
    for (second, holds) in [(committed(1), false), (conflict(1), true), (committed(2), false)] {
        let (mut written, log) = (Written::default(), token("t"));
        let x = written.call(outsider(&log, 0, "x"));
        let y = written.call(outsider(&log, 0, "y"));
        written.answer(x, appended(committed(1)));
        written.answer(y, appended(second));
        assert_eq!(written.is_linearizable(), holds, "{second:?}");
    }
}

#[test]
fn both_cannot_conflict_where_nobody_commits() {
    let (mut written, log) = (Written::default(), token("t"));
    let x = written.call(outsider(&log, 0, "x"));
    let y = written.call(outsider(&log, 0, "y"));
    written.answer(x, appended(conflict(1)));
    written.answer(y, appended(conflict(1)));
    assert!(!written.is_linearizable());
}

#[test]
fn an_append_without_an_answer_takes_effect_at_any_time_or_never() {
    for (first, second, holds) in [
        (&[][..], &[][..], true),
        (&[], &["x"], true),
        (&["x"], &["x"], true),
        (&["x"], &[], false),
        (&["z"], &["z"], false),
    ] {
        let (mut written, log) = (Written::default(), token("t"));
        written.call(outsider(&log, 0, "x"));
        written.done(read(&log), page(first));
        written.done(read(&log), page(second));
        assert_eq!(written.is_linearizable(), holds, "{first:?} then {second:?}");
    }
}

#[test]
fn an_append_without_an_answer_does_not_take_effect_before_it_is_called() {
    let (mut written, log) = (Written::default(), token("t"));
    written.done(read(&log), page(&["x"]));
    written.call(outsider(&log, 0, "x"));
    assert!(!written.is_linearizable());
}

#[test]
fn the_same_bytes_again_after_a_lost_answer_are_there_once() {
    for (shown, holds) in [(&["x"][..], true), (&["x", "x"], false), (&[], false)] {
        let (mut written, log) = (Written::default(), token("t"));
        written.call(outsider(&log, 0, "x"));
        written.done(outsider(&log, 0, "x"), appended(committed(1)));
        written.done(read(&log), page(shown));
        assert_eq!(written.is_linearizable(), holds, "{shown:?}");
    }
}

#[test]
fn one_of_two_claimers_gets_a_run() {
    for (second, holds) in [(leases(2, 1, 9), false), (Answer::Leases(vec![]), true)] {
        let mut written = Written::default();
        written.done(created(Due::Now), appended(committed(1)));
        let (first, other) = (written.call(claimed(1, 9)), written.call(claimed(2, 9)));
        written.answer(first, leases(1, 1, 9));
        written.answer(other, second);
        assert_eq!(written.is_linearizable(), holds);
    }
}

#[test]
fn a_claim_without_an_answer_may_have_taken_any_run() {
    // Its lease has run out at once, so the next claim counts it.
    for (attempt, holds) in [(1, true), (2, true), (3, false)] {
        let mut written = Written::default();
        written.done(created(Due::Now), appended(committed(1)));
        written.call(claimed(1, 0));
        written.done(claimed(2, 9), leases(2, attempt, 9));
        assert_eq!(written.is_linearizable(), holds, "attempt {attempt}");
    }
}

#[test]
fn a_listing_may_see_each_run_at_another_instant() {
    let meta = |name: &str, due| {
        let new = By::Creator(NewRun { ..new_run(due) });
        let log = run(name);
        let create = Op::Append(log, append(0, &["created"], 1, new));
        let state = State::default().step(&create, &appended(committed(1))).unwrap();
        let look = Op::Look(id(name), world_core::List::all(count(9)));
        let Answer::Seen(Some(meta)) = state.wanted(&look).answer else { panic!() };
        (create, meta)
    };
    let ((a, _), (b, shown)) = (meta("a", Due::Now), meta("b", Due::Never));
    for (runs, holds) in [(vec![shown.clone()], true), (vec![], true), (vec![shown], true)] {
        // `a` is created before `b`, both while the listing is under way; it shows `b` alone.
        let mut written = Written::default();
        let list = written.call(Op::List(world_core::List::all(count(9))));
        written.done(a.clone(), appended(committed(1)));
        written.done(b.clone(), appended(committed(1)));
        written.answer(list, Answer::Runs(runs));
        assert_eq!(written.is_linearizable(), holds);
    }
    let mut written = Written::default();
    written.done(a, appended(committed(1)));
    written.done(Op::List(world_core::List::all(count(9))), Answer::Runs(vec![]));
    assert!(!written.is_linearizable());
}

#[test]
fn streams_go_with_their_run() {
    let (mut written, log) = (Written::default(), stream("a", "s"));
    written.done(Op::Append(run("a"), create_leased(1, FAR, 1)), appended(committed(1)));
    let chunk = Op::Append(log, append(0, &["chunk"], 1, owner(1)));
    let (end, chunk) = (
        written.call(Op::Append(run("a"), append(1, &["end"], 1, close(1, None)))),
        written.call(chunk),
    );
    written.answer(end, appended(committed(2)));
    written.answer(chunk, appended(Appended::NotOpen));
    assert!(written.is_linearizable());
    let late = Append {
        records: append(0, &["late"], 1, owner(1)).records,
        ..append(0, &[], 1, owner(1))
    };
    written.done(Op::Append(stream("a", "t"), late), appended(committed(1)));
    assert!(!written.is_linearizable());
}

#[test]
fn what_is_too_long_is_not_decided() {
    let (mut written, log) = (Written::default(), token("t"));
    for _ in 0..=EVENTS_MAX {
        written.done(read(&log), page(&[]));
    }
    assert!(matches!(check(&written.events), Found::NotDecided));
}
