//! Rule L6: a claim passes over the timed runs that it excepts, and nothing else.

use std::sync::Arc;

use futures::future::try_join_all;
use world_core::{Append, By, Claim, Due, ErrorKind, World};

use crate::{
    case::{Case, case},
    claimer::{Claimer, commits, names, rest_undriven_by, with_run},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look,
    rule::Rule::{L2, L6},
    subject::Subject,
};

use super::fairness::{Arriving, come, ran_out, ready, timed};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [L6] an_excepted_run_whose_time_has_come_is_passed_over),
        case!(Contract [L6] an_excepted_run_whose_lease_ran_out_is_passed_over),
        case!(Contract [L6] a_run_that_was_given_back_undriven_goes_to_another_worker),
        case!(Contract [L6] an_excepted_run_that_an_outsider_made_ready_is_given),
        case!(Contract [L6] an_excepted_run_that_is_new_is_given),
        case!(Contract [L6] what_one_claim_excepts_is_due_to_every_other),
        case!(Contract [L6] only_the_named_runs_are_passed_over),
        case!(Contract [L6] what_is_excepted_and_not_due_changes_nothing),
        case!(Contract [L6] excepted_runs_in_front_keep_no_other_from_being_claimed),
        case!(Contract [L6] excepted_runs_between_others_keep_none_from_being_claimed),
        case!(Contract [L6] excepted_runs_of_several_queues_keep_no_other_from_being_claimed),
        case!(Contract [L2, L6] a_claimer_that_excepts_runs_starves_no_other_run),
        case!(Contract [L6] a_claim_excepts_256_runs_and_not_one_more),
    ]
}

/// What makes a run that is timed and due at 500.
fn ways() -> [(&'static str, Append); 2] {
    [("sleeps until 500", timed(500)), ("was leased until 500", ran_out(500))]
}

async fn passed_over(subject: Subject, (what, create): (&str, Append)) -> Verdict {
    let (world, mut other) = with_run(&subject, create).await?;
    let mut claimer = Claimer::new(&world).excepting(["a"]);
    for now in [500, 501, u64::MAX / 2] {
        claimer.leaves(L6, "a", now, format!("it {what}, and the claim excepts it")).await?;
    }
    let why = format!("it {what}, and this claim does not except it");
    let lease = other.takes(L2, "a", (500, 600), why).await?;
    let attempts = if what.starts_with("was") { 2 } else { 1 };
    ensure_eq!(L6, lease.attempt, attempts, "the attempt after claims that excepted the run");
    claimer.leaves(L6, "a", 600, "that lease ran out, and the claim excepts it").await?;
    other.takes(L2, "a", (600, 700), "that lease ran out").await?;
    Ok(())
}

async fn an_excepted_run_whose_time_has_come_is_passed_over(subject: Subject) -> Verdict {
    let [way, _] = ways();
    passed_over(subject, way).await
}

async fn an_excepted_run_whose_lease_ran_out_is_passed_over(subject: Subject) -> Verdict {
    let [_, way] = ways();
    passed_over(subject, way).await
}

async fn a_run_that_was_given_back_undriven_goes_to_another_worker(subject: Subject) -> Verdict {
    let (world, mut unable) = with_run(&subject, ready(1)).await?;
    let lease = unable.takes(L2, "a", (10, 900), "it is ready").await?;
    let due = Due::At(at(20));
    let gives_back = append(1, &["cannot"], 20, rest_undriven_by(lease.ticket, due));
    commits(&world, &run("a"), &gives_back).await?;
    let mut unable = unable.excepting(["a"]);
    unable.leaves(L6, "a", 20, "it has just stood back from it").await?;
    let mut able = Claimer::new(&subject.open().await?);
    let lease = able.takes(L2, "a", (20, 900), "its time has come").await?;
    ensure_eq!(L5, lease.attempt, 1, "the attempt after a worker that stood back");
    Ok(())
}

async fn an_excepted_run_that_an_outsider_made_ready_is_given(subject: Subject) -> Verdict {
    for due in [Due::Never, Due::At(at(500)), Due::At(at(u64::MAX / 2))] {
        let subject = subject.elsewhere()?;
        let (world, mut other) = with_run(&subject, create(due, 1)).await?;
        let mut claimer = Claimer::new(&world).excepting(["b", "a"]);
        claimer.leaves(L6, "a", 500, format!("it is {due:?}, and excepted")).await?;
        let cancel = append(1, &["cancel"], 501, By::Outsider);
        commits(&subject.open().await?, &run("a"), &cancel).await?;
        let why = format!("it was {due:?} and excepted, and an outsider has made it ready");
        let lease = claimer.takes(L6, "a", (502, 600), why).await?;
        // An outsider leaves a lease alone (rule L4), and this one is to run out.
        commits(&world, &run("a"), &append(2, &["cancel"], 503, By::Outsider)).await?;
        claimer.leaves(L6, "a", 600, "its lease ran out, and it is excepted").await?;
        ensure_eq!(L6, lease.attempt, 1, "the attempt of an excepted run that was made ready");
        other.takes(L2, "a", (600, 700), "its lease ran out").await?;
    }
    Ok(())
}

async fn an_excepted_run_that_is_new_is_given(subject: Subject) -> Verdict {
    let (world, _) = with_run(&subject, ready(1)).await?;
    let mut claimer = Claimer::new(&world).excepting(["a"]);
    let lease = claimer.takes(L6, "a", (10, 20), "it is ready, and excepted").await?;
    let gives_back = append(1, &[], 11, rest_undriven_by(lease.ticket, Due::Now));
    commits(&world, &run("a"), &gives_back).await?;
    claimer.takes(L6, "a", (12, 20), "it was given back as due now, and is excepted").await?;
    Ok(())
}

async fn what_one_claim_excepts_is_due_to_every_other(subject: Subject) -> Verdict {
    for (what, create) in ways() {
        for is_one_handle in [true, false] {
            let subject = subject.elsewhere()?;
            let (world, other) = with_run(&subject, create.clone()).await?;
            let mut claimer = Claimer::new(&world).excepting(["a"]);
            claimer.leaves(L6, "a", 500, format!("it {what}, and is excepted")).await?;
            let mut other = if is_one_handle { Claimer::new(&world) } else { other };
            let why = format!("it {what}, and only the claim before excepted it");
            other.takes(L6, "a", (500, 600), why).await?;
        }
    }
    Ok(())
}

async fn only_the_named_runs_are_passed_over(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let excepted = ["m", "run 2", "%", "é"];
    let others = ["ma", "n", "M", "run 1", "run 20", "un 2", " m", "m ", "e\u{301}", "_"];
    for name in excepted.iter().chain(&others) {
        for (prefix, create) in [("", timed(5)), ("l", ran_out(5))] {
            commits(&world, &run(&format!("{prefix}{name}")), &create).await?;
        }
    }
    let all = |names: &[&str]| -> Vec<String> {
        names.iter().flat_map(|name| [(*name).to_owned(), format!("l{name}")]).collect()
    };
    let mut claimer = Claimer::new(&world).excepting(all(&excepted));
    let mut wanted = all(&others);
    wanted.sort_unstable();
    let given = claimer.collects(wanted.len(), (10, 900), 7).await?;
    ensure_eq!(L6, names(&given), wanted, "the runs that a claimer gets beside those it excepts");
    for name in ["m", "lm"] {
        claimer.leaves(L6, name, 10, "it is excepted, and all others are leased").await?;
    }
    Ok(())
}

async fn what_is_excepted_and_not_due_changes_nothing(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    commits(&world, &run("later"), &timed(900)).await?;
    commits(&world, &run("parked"), &create(Due::Never, 1)).await?;
    commits(&world, &run("other"), &create_in("elsewhere", Due::At(at(1)), 1)).await?;
    commits(&world, &run("due"), &timed(5)).await?;
    let except = ["later", "parked", "other", "absent", "absent", "due"];
    let mut claimer = Claimer::new(&world).excepting(except);
    claimer.leaves(L6, "due", 500, "it is excepted twice over").await?;
    let mut claimer = Claimer::new(&world).excepting(&except[..5]);
    claimer.takes(L6, "due", (500, 990), "it is not excepted, others are").await?;
    for (name, why) in [("later", "it sleeps until 900"), ("parked", "it is parked")] {
        claimer.leaves(L2, name, 899, why).await?;
    }
    let mut elsewhere = Claimer::of(&world, &["elsewhere"]);
    elsewhere.takes(L2, "other", (500, 990), "its time has come").await?;
    Ok(())
}

/// Makes many runs, at most so many at the same time.
async fn make(world: &Arc<dyn World>, runs: &[(String, Append)]) -> Verdict {
    for some in runs.chunks(32) {
        let making = some
            .iter()
            .map(|(name, create)| async move { commits(world, &run(name), create).await });
        try_join_all(making).await?;
    }
    Ok(())
}

/// Checks that a claimer gets the others, though it excepts the rest of them.
async fn gets(claimer: &mut Claimer, others: &[&str], limit: u32, what: &str) -> Verdict {
    let given = claimer.collects(others.len(), (10_000, u64::MAX), limit).await?;
    let what = format!("the runs that claims of {limit} give: {what}");
    ensure_eq!(L6, names(&given), others, "{what}");
    Ok(())
}

async fn excepted_runs_in_front_keep_no_other_from_being_claimed(subject: Subject) -> Verdict {
    for limit in [1, 300] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let except: Vec<_> = (0..Claim::EXCEPT_MAX).map(|number| format!("m {number}")).collect();
        let create =
            |number: usize| if number.is_multiple_of(2) { timed(100) } else { ran_out(100) };
        let runs: Vec<_> = except
            .iter()
            .enumerate()
            .map(|(number, name)| (name.clone(), create(number)))
            .collect();
        make(&world, &runs).await?;
        for (name, create) in [("a", timed(200)), ("n", ran_out(201)), ("z", timed(202))] {
            commits(&world, &run(name), &create).await?;
        }
        let mut claimer = Claimer::new(&world).excepting(&except);
        gets(&mut claimer, &["a", "n", "z"], limit, "256 older ones are excepted").await?;
        claimer.leaves(L6, "m 0", 10_000, "it is excepted, and all others are leased").await?;
    }
    Ok(())
}

async fn excepted_runs_between_others_keep_none_from_being_claimed(subject: Subject) -> Verdict {
    for limit in [1, 4] {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let name = |number: u64| format!("m {number:02}");
        let runs: Vec<_> = (0..24).map(|number| (name(number), timed(100 + number))).collect();
        make(&world, &runs).await?;
        let (except, others): (Vec<_>, Vec<_>) = (0..24).partition(|number| number % 3 != 1);
        let others: Vec<_> = others.into_iter().map(name).collect();
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        let mut claimer = Claimer::new(&world).excepting(except.into_iter().map(name));
        gets(&mut claimer, &others, limit, "two of each three are excepted").await?;
    }
    Ok(())
}

async fn excepted_runs_of_several_queues_keep_no_other_from_being_claimed(
    subject: Subject,
) -> Verdict {
    let world = subject.open().await?;
    let mut runs = Vec::new();
    for (queue, count) in [("one", 40), ("two", 20), ("three", 1)] {
        let create = |time| create_in(queue, Due::At(at(time)), 0);
        runs.extend((0..count).map(|number| (format!("{queue} {number}"), create(100))));
    }
    make(&world, &runs).await?;
    let except: Vec<_> = runs.into_iter().map(|(name, _)| name).collect();
    for (name, queue) in [("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")] {
        commits(&world, &run(name), &create_in(queue, Due::At(at(200)), 0)).await?;
    }
    let queues = &["three", "one", "four", "two"];
    let mut claimer = Claimer::of(&world, queues).excepting(&except);
    gets(&mut claimer, &["a", "b", "c", "d"], 2, "61 older ones of 3 queues are excepted").await
}

/// How a run is made that is due, or ready, since a time.
type Make = fn(u64) -> Append;

/// With excepted runs in front of each kind: the ready and the timed still take their turns.
async fn a_claimer_that_excepts_runs_starves_no_other_run(subject: Subject) -> Verdict {
    let ways: [(Make, Make, &str); 3] = [
        (timed, ready, "8 timed runs behind 8 excepted ones, and three ready ones for each claim"),
        (ready, timed, "8 ready runs beside 8 excepted ones, and three timed ones for each claim"),
        (timed, timed, "8 timed runs behind 8 excepted ones, and three later ones for each claim"),
    ];
    for (old, new, what) in ways {
        let subject = subject.elsewhere()?;
        let world = subject.open().await?;
        let old_names: Vec<_> = (1..=8).map(|number| format!("m {number}")).collect();
        let except: Vec<_> = (1..=8).map(|number| format!("l {number}")).collect();
        for (number, name) in (10..).zip(&old_names) {
            commits(&world, &run(name), &old(number)).await?;
        }
        for (number, name) in (1..).zip(&except) {
            commits(&world, &run(name), &timed(number)).await?;
        }
        let claimers = &mut [Claimer::new(&world).excepting(&except)];
        come(&world, &old_names, &mut Arriving::of(new), claimers, (L2, what)).await?;
    }
    Ok(())
}

async fn a_claim_excepts_256_runs_and_not_one_more(subject: Subject) -> Verdict {
    let (world, mut claimer) = with_run(&subject, ready(1)).await?;
    let name = |number: usize| id(&format!("{number:0>512}"));
    let except: Vec<_> = (0..Claim::EXCEPT_MAX).map(name).collect();
    let of = |except| Claim { except, ..claim(&["queue"], 1, 10, 900, 16) };
    let too_many = [
        except.iter().cloned().chain([id("more")]).collect(),
        vec![id("a"); Claim::EXCEPT_MAX + 1],
        (0..=1000).map(name).collect(),
    ];
    for except in too_many {
        let many = except.len();
        let answer = world.claim(&of(except)).await;
        let kind = answer.map_err(|error| error.kind());
        ensure!(
            L6,
            matches!(kind, Err(ErrorKind::Invalid)),
            "a claim that excepts {many} runs: {kind:?}, not Invalid"
        );
    }
    let most = Claim { queues: vec![queue("nobody's")], ..of(except.clone()) };
    let answer = world.claim(&most).await;
    let given = look::answered(L6, answer, "a claim that excepts 256 runs of 512 bytes")?;
    ensure!(L6, given.is_empty(), "a claim of a queue without runs gave {given:?}");
    let lease = claimer.takes(L6, "a", (10, 20), "no claim that was refused has it").await?;
    ensure_eq!(L6, lease.attempt, 1, "the attempt after claims that were refused");
    commits(&world, &run("b"), &ready(2)).await?;
    let mut claimer = claimer.excepting(except.iter().map(|run| run.as_str().to_owned()));
    let why = "256 others of 512 bytes are excepted";
    claimer.takes(L6, "b", (10, 900), why).await?;
    claimer.takes(L6, "a", (20, 900), why).await?;
    Ok(())
}
