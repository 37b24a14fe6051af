//! Worlds that hang, panic, lie or answer nonsense: the suite says which case, rule and call, and
//! goes on.
#![allow(clippy::panic, clippy::print_stdout, reason = "a failure here fails the test")]

mod bad;

use std::time::{Duration, Instant};

use bad::{Bad, How, Method};
use conformance::{Case, Cause, Entry, Group, Report, Rule, Settings, Site, Suite, cases};
use world_core::{Appended, Limits, MemoryWorld, Position};

/// Short bounds: what hangs is to be seen soon.
fn settings() -> Settings {
    Settings {
        bound: Duration::from_secs(60),
        call_bound: Duration::from_millis(400),
        ..Settings::default()
    }
}

fn suite(how: How) -> Suite {
    Suite::new(
        format!("{how:?}"),
        move |site: Site| async move { Ok::<_, String>(Bad::at(&site, how)) },
    )
}

/// Runs the suite, a case at a time, until one fails as told.
fn first(suite: &Suite, is_it: impl Fn(&Entry) -> bool) -> Entry {
    for case in cases() {
        let mut report = suite.run(settings(), |other| other.name() == case.name());
        if report.entries.first().is_some_and(&is_it) {
            return report.entries.remove(0);
        }
    }
    panic!("{}: no case has seen it", suite.name())
}

/// A failure names its case, and the rules it rests on or the one that was broken.
fn says_all(entry: &Entry) {
    let text = entry.to_string();
    assert!(text.contains(&entry.case), "{text}");
    assert!(!text.contains("assertion"), "{text}");
    assert!(text.len() < 20_000, "{} bytes: {}", text.len(), &text[..2_000]);
    let rule = entry.failure().and_then(conformance::Failure::rule);
    for rule in rule.iter().chain(entry.rules.iter().filter(|_| rule.is_none())) {
        assert!(text.contains(rule.id()) && text.contains(rule.text()), "{text}");
    }
}

fn has(entry: &Entry, cause: Cause, text: &str) -> bool {
    let failure = entry.failure();
    failure.is_some_and(|failure| failure.cause == cause && failure.what.contains(text))
}

#[test]
fn a_call_that_hangs_is_named_with_how_long_whether_it_pends_or_blocks() {
    for method in Method::ALL {
        for how in [How::Hangs(method), How::Blocks(method)] {
            if matches!(how, How::Hangs(Method::Info)) {
                continue; // it gives no future
            }
            let entry = first(&suite(how), |entry| has(entry, Cause::Hung, &method.name()));
            let text = entry.to_string();
            assert!(text.contains("has not answered for "), "{how:?}: {text}");
            says_all(&entry);
        }
    }
}

#[test]
fn a_panic_names_the_call_also_one_in_a_task() {
    for method in Method::ALL {
        for how in [How::Panics(method), How::PanicsInATask(method)] {
            if matches!(how, How::PanicsInATask(Method::Info)) {
                continue;
            }
            let entry = first(&suite(how), |entry| has(entry, Cause::Panicked, &method.name()));
            assert!(has(&entry, Cause::Panicked, &format!("{method:?} is broken")), "{entry}");
            says_all(&entry);
        }
    }
}

/// The cases of one rule, and some that use the engine.
fn some(case: &Case) -> bool {
    case.rules() == [Rule::A3] || case.group() == Group::Secrecy
}

#[test]
fn a_factory_that_fails_panics_or_hangs_fails_every_case_and_says_so() {
    let fails = Suite::new("fails", |_| async { Err::<MemoryWorld, _>("no such server") });
    let panics = Suite::new("panics", |_| async {
        if true {
            panic!("no server");
        }
        Ok::<_, String>(MemoryWorld::new())
    });
    let panics_now = Suite::new("panics before it gives a future", |site: Site| {
        assert!(site.name().is_empty(), "no server");
        async { Ok::<_, String>(MemoryWorld::new()) }
    });
    let hangs = Suite::new("hangs", |_| async {
        std::future::pending::<()>().await;
        Ok::<_, String>(MemoryWorld::new())
    });
    for (suite, cause, text) in [
        (fails, Cause::Failed, "the factory gave no World: no such server"),
        (panics, Cause::Panicked, "the factory: no server"),
        (panics_now, Cause::Panicked, "the factory: no server"),
        (hangs, Cause::Hung, "the factory has not answered for "),
    ] {
        let report = suite.run(settings(), some);
        assert!(report.entries.len() > 1);
        for entry in &report.entries {
            assert!(has(entry, cause, text), "{}: {entry}", suite.name());
            says_all(entry);
        }
        assert!(report.proven().is_empty());
    }
}

#[test]
fn a_factory_that_mixes_up_its_sites_is_told_so() {
    let one = MemoryWorld::new();
    let shares = Suite::new("shares", move |_| {
        let world = one.clone();
        async { Ok::<_, String>(world) }
    });
    let forgets = Suite::new("forgets", |_| async { Ok::<_, String>(MemoryWorld::new()) });
    for (suite, text) in [(shares, "one site's data for another"), (forgets, "the same site")] {
        let probe = |case: &Case| case.name().contains("the_factory_gives_each_site");
        let report = suite.run(settings(), probe);
        assert_eq!(report.entries.len(), 1);
        assert!(has(&report.entries[0], Cause::Failed, text), "{}", report.entries[0]);
    }
}

/// All that needs no second process, when the tests are to take their time.
fn is_tried(case: &Case) -> bool {
    match case.group() {
        Group::Contract | Group::Limits | Group::Model => true,
        Group::Durability => false,
        _ => std::env::var_os(Settings::EFFORT).is_some(),
    }
}

/// The suite comes to its end, and every failure says what it is.
fn comes_to_an_end(suite: &Suite) -> Report {
    let began = Instant::now();
    let patient = Settings { call_bound: Duration::from_secs(30), ..settings() };
    let report = suite.run(patient, is_tried);
    for (entry, failure) in report.failed() {
        says_all(entry);
        // The engine may follow nonsense for ever, but not the suite: that counts the calls.
        let is_hung = failure.cause == Cause::Hung && !failure.what.contains("and goes on");
        assert!(failure.cause != Cause::Panicked && !is_hung, "{}: {entry}", suite.name());
    }
    let slow = report.entries.iter().filter(|entry| entry.outcome.took > Duration::from_secs(1));
    for entry in slow {
        println!("{} took {:?}", entry.case, entry.outcome.took);
    }
    println!("{}: {:?}, {} failed", suite.name(), began.elapsed(), report.failed().count());
    report
}

#[test]
fn a_world_that_fails_always_fails_every_case_with_its_error() {
    let report = comes_to_an_end(&suite(How::Fails));
    assert!(report.proven().is_empty());
    let told = report.failed().filter(|(_, failure)| failure.what.contains("the disk is on fire"));
    assert!(told.count() > report.entries.len() / 2, "{report}");
}

#[test]
fn nonsense_is_neither_believed_nor_followed_for_ever() {
    for how in [
        How::HugeHeads,
        How::WrongPositions,
        How::SamePage,
        How::EmptyPages,
        How::EndlessLog,
        How::StrangeLease,
        How::ManyLeases,
        How::EndlessListing,
        How::EndlessRuns,
        How::Answers(Appended::Fenced),
        How::Answers(Appended::NotOpen),
        How::Answers(Appended::Committed { head: Position::START }),
        How::Answers(Appended::Conflict { head: Position::START }),
    ] {
        let report = comes_to_an_end(&suite(how));
        assert!(report.failed().count() > 0, "{how:?}: {report}");
    }
}

#[test]
fn limits_that_are_not_true_are_seen() {
    let least = Limits::LEAST;
    for limits in [
        Limits { records_max: 0, record_bytes_max: 0, append_bytes_max: 0 },
        Limits { records_max: least.records_max - 1, ..least },
        Limits { record_bytes_max: least.record_bytes_max - 1, ..least },
        Limits { append_bytes_max: least.append_bytes_max - 1, ..least },
        Limits {
            records_max: usize::MAX,
            record_bytes_max: usize::MAX,
            append_bytes_max: usize::MAX,
        },
    ] {
        let report = comes_to_an_end(&suite(How::Says(limits)));
        assert!(report.failed().count() > 0, "{limits:?}: {report}");
    }
}
