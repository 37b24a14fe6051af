//! Rule T1: which writer a log takes, and in which shape; all else is `Invalid`.

use world_core::{Append, By, Due, ErrorKind, LogId, NewRun, Phase, TAGS_MAX, Tag};

use crate::{
    case::{Case, case},
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    look::{Handle, asked, listed, log_is, not_due, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [T1] a_run_refuses_appends_that_say_nothing),
        case!(Contract [T1] a_stream_refuses_all_but_its_owners_records),
        case!(Contract [T1] a_token_log_refuses_all_but_outsiders),
        case!(Contract [T1] at_most_sixteen_tags_are_taken),
    ]
}

fn sets(tags: Option<Vec<Tag>>) -> By {
    By::Owner { ticket: ticket(1), close: false, rest: None, tags }
}

fn creator(tags: Vec<Tag>) -> By {
    By::Creator(NewRun { tags, ..new_run(Due::Now) })
}

async fn is_invalid(world: &Handle, log: &LogId, append: &Append, what: &str) -> Verdict {
    let answer = world.append(log, append).await;
    let kind = answer.as_ref().map_err(world_core::Error::kind);
    ensure!(T1, kind == Err(ErrorKind::Invalid), "{what}, to {log}: {answer:?}, not Invalid");
    Ok(())
}

async fn a_run_refuses_appends_that_say_nothing(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = run("run");
    for expected in [0, 1] {
        let nothing = append(expected, &[], 1, creator(Vec::new()));
        is_invalid(&world, &log, &nothing, "a creation without a record").await?;
    }
    let later = append(1, &["created"], 1, creator(Vec::new()));
    is_invalid(&world, &log, &later, "a creation at 1").await?;
    log_is(Rule::T1, &world, &log, &[], "after creations that were refused").await?;

    let created = create_leased(1, at(100), 1);
    put(Rule::T1, &world, &log, &created).await?;
    for (what, by) in [
        ("a signal without a record", By::Outsider),
        ("an owner's append without anything", owner(1)),
        ("a close without a record", close(1, None)),
        ("a close and rest without a record", close(1, Some(Due::Never))),
        ("another creation at 1", creator(Vec::new())),
    ] {
        is_invalid(&world, &log, &append(1, &[], 2, by), what).await?;
    }
    is_invalid(&world, &log, &later, "a creation at 1, where the run is there").await?;
    log_is(Rule::T1, &world, &log, &created.records, "after appends that were refused").await?;
    let answer = asked(&world, &log, 1).await?;
    ensure_eq!(T1, answer, conflict(1), "the owner's next append, after those were refused");
    let early = not_due(&world, &log, &claim(&["queue"], 2, 99, 200, 8)).await?;
    ensure_eq!(T1, early, None, "a claim of the leased run, after those were refused");
    Ok(())
}

async fn a_stream_refuses_all_but_its_owners_records(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let (log, chunks) = (run("run"), stream("run", "stream"));
    let created = create_leased(1, at(100), 1);
    put(Rule::T1, &world, &log, &created).await?;
    let mut wanted = Vec::new();
    for expected in [0, 1] {
        for (what, bodies, by) in [
            ("an outsider's chunk", vec!["x"], By::Outsider),
            ("a creation", vec!["x"], creator(Vec::new())),
            ("a chunk that closes", vec!["x"], close(1, None)),
            ("a chunk that rests", vec!["x"], rest(1, Due::Now)),
            ("a chunk that closes and rests", vec!["x"], close(1, Some(Due::Now))),
            ("a chunk that sets tags", vec!["x"], sets(Some(Vec::new()))),
            ("an append without records", vec![], owner(1)),
            ("a rest without records", vec![], rest(1, Due::Now)),
        ] {
            is_invalid(&world, &chunks, &append(expected, &bodies, 2, by), what).await?;
        }
        let what = "after appends that were refused";
        log_is(Rule::T1, &world, &chunks, &wanted, what).await?;
        log_is(Rule::T1, &world, &log, &created.records, what).await?;
        let answer = asked(&world, &log, 1).await?;
        ensure_eq!(T1, answer, conflict(1), "an append of the run's owner, {what} by its stream");
        if wanted.is_empty() {
            let opened = append(0, &["opened"], 3, owner(1));
            put(Rule::T1, &world, &chunks, &opened).await?;
            wanted = opened.records;
        }
    }
    Ok(())
}

async fn a_token_log_refuses_all_but_outsiders(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let log = token("token");
    let mut wanted = Vec::new();
    for expected in [0, 1] {
        for (what, bodies, by) in [
            ("a creation", vec!["x"], creator(Vec::new())),
            ("an owner's append", vec!["x"], owner(1)),
            ("a close", vec!["x"], close(1, None)),
            ("a rest", vec!["x"], rest(1, Due::Now)),
            ("a rest without records", vec![], rest(1, Due::Now)),
            ("an append without records", vec![], By::Outsider),
        ] {
            is_invalid(&world, &log, &append(expected, &bodies, 2, by), what).await?;
        }
        log_is(Rule::T1, &world, &log, &wanted, "after appends that were refused").await?;
        if wanted.is_empty() {
            let first = append(0, &["first"], 3, By::Outsider);
            put(Rule::T1, &world, &log, &first).await?;
            wanted = first.records;
        }
    }
    Ok(())
}

async fn at_most_sixteen_tags_are_taken(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let tags = |count: usize| -> Vec<_> {
        (0..count).map(|number| Tag::from_bytes([number as u8; 16])).collect()
    };
    let log = run("run");
    let many = append(0, &["created"], 1, creator(tags(TAGS_MAX + 1)));
    is_invalid(&world, &log, &many, "a creation with 17 tags").await?;
    log_is(Rule::T1, &world, &log, &[], "after a creation with 17 tags was refused").await?;
    let mut new = NewRun { tags: tags(TAGS_MAX), ..new_run(Due::Now) };
    new.lease = Some((ticket(1), FAR));
    put(Rule::T1, &world, &log, &append(0, &["created"], 1, By::Creator(new))).await?;
    for bodies in [vec![], vec!["record"]] {
        let many = append(1, &bodies, 2, sets(Some(tags(TAGS_MAX + 1))));
        is_invalid(&world, &log, &many, "an append that sets 17 tags").await?;
    }
    let meta = listed(&world, &log, |meta| meta.tags.len() == TAGS_MAX).await?;
    let seen = meta.map(|meta| (meta.tags.len(), meta.phase, meta.head));
    ensure_eq!(T1, seen, Some((TAGS_MAX, Phase::Leased, pos(1))), "tags, phase and head of it");
    Ok(())
}
