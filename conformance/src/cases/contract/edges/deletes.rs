//! Rules D1, D2 and R4: namesakes, tombstones among tombstones and days later, tags of now.

use world_core::{Append, Appended, By, Deleted, Due, List, LogId, NewRun, Tag};

use crate::{
    case::{Case, case},
    failure::{Failure, Verdict, ensure_eq},
    kit::*,
    listing::listed,
    look::{Handle, log_is, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [D1] a_deletion_spares_logs_of_the_same_name),
        case!(Contract [D2] each_of_many_deleted_ids_stays_spent),
        case!(Contract [D2] a_deleted_id_is_spent_for_days),
        case!(Contract [R4] a_filter_goes_by_the_tags_of_now),
    ]
}

/// Creates a run and closes it.
async fn closed(rule: Rule, world: &Handle, log: &LogId) -> Verdict {
    put(rule, world, log, &create_leased(1, FAR, 1)).await?;
    put(rule, world, log, &append(1, &["end"], 2, close(1, Some(Due::Never)))).await
}

async fn deleted(rule: Rule, world: &Handle, log: &LogId, head: u64) -> Verdict {
    let answer = world.delete(log, pos(head)).await?;
    let what = format!("a deletion of {log} at its head: {answer:?}, not Done");
    if answer == Deleted::Done { Ok(()) } else { Err(Failure::broken(rule, what)) }
}

async fn a_deletion_spares_logs_of_the_same_name(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    // A run and a token of one name, and another run with a stream of that name.
    for name in ["first the run", "first the token"] {
        let holder = format!("{name}'s holder");
        let chunk = append(0, &["chunk"], 2, owner(1));
        let claim = append(0, &["claim"], 2, By::Outsider);
        put(Rule::D1, &world, &run(&holder), &create_leased(1, FAR, 1)).await?;
        put(Rule::D1, &world, &stream(&holder, name), &chunk).await?;
        put(Rule::D1, &world, &token(name), &claim).await?;
        closed(Rule::D1, &world, &run(name)).await?;
        if name == "first the run" {
            deleted(Rule::D1, &world, &run(name), 2).await?;
            let what = "of whose name a run was deleted";
            log_is(Rule::D1, &other, &token(name), &claim.records, what).await?;
            put(Rule::D1, &other, &token(name), &append(1, &["next"], 3, By::Outsider)).await?;
        } else {
            deleted(Rule::D1, &world, &token(name), 1).await?;
            let page = other.read(&run(name), pos(0), count(9)).await?;
            ensure_eq!(
                D1,
                page.head,
                pos(2),
                "the head of a run of whose name a token was deleted"
            );
        }
        let what = "of whose name a run or token was deleted";
        log_is(Rule::D1, &other, &stream(&holder, name), &chunk.records, what).await?;
    }
    Ok(())
}

async fn each_of_many_deleted_ids_stays_spent(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let names: Vec<_> = (0..8).map(|number| format!("name {number}")).collect();
    for name in &names {
        closed(Rule::D2, &world, &run(name)).await?;
        put(Rule::D2, &world, &token(name), &append(0, &["claim"], 1, By::Outsider)).await?;
    }
    for name in &names {
        deleted(Rule::D2, &world, &run(name), 2).await?;
        deleted(Rule::D2, &world, &token(name), 1).await?;
    }
    for name in &names {
        let answer = other.append(&run(name), &create_leased(1, FAR, 1)).await?;
        let spent = Appended::NotOpen;
        ensure_eq!(D2, answer, spent, "the creator of {name}, one of 8 deleted runs, again");
        let answer = other.append(&token(name), &append(0, &["claim"], 1, By::Outsider)).await?;
        ensure_eq!(D2, answer, conflict(1), "the claim of {name}, one of 8 deleted tokens, again");
    }
    Ok(())
}

/// Six days, in milliseconds; an id is spent for seven.
const DAYS: u64 = 6 * 24 * 3_600_000;

/// The append as it would be made at another time.
fn made_at(mut append: Append, millis: u64) -> Append {
    append.at = at(millis);
    append.records.iter_mut().for_each(|record| record.at = at(millis));
    append
}

async fn a_deleted_id_is_spent_for_days(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    closed(Rule::D2, &world, &run("run")).await?;
    put(Rule::D2, &world, &token("token"), &append(0, &["claim"], 2, By::Outsider)).await?;
    deleted(Rule::D2, &world, &run("run"), 2).await?;
    deleted(Rule::D2, &world, &token("token"), 1).await?;
    // Days later by the writers' clocks, which no World goes by.
    for millis in [3_600_000, 24 * 3_600_000, DAYS] {
        let creator = made_at(create_leased(2, FAR, 1), 3 + millis);
        let answer = other.append(&run("run"), &creator).await?;
        let hours = millis / 3_600_000;
        ensure_eq!(D2, answer, Appended::NotOpen, "a creator {hours} hours after the deletion");
        let claim = made_at(append(0, &["again"], 1, By::Outsider), 3 + millis);
        let answer = other.append(&token("token"), &claim).await?;
        ensure_eq!(D2, answer, conflict(1), "an append at 0 {hours} hours after the deletion");
    }
    Ok(())
}

async fn a_filter_goes_by_the_tags_of_now(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let tag = |number: u8| Tag::from_bytes([number; 16]);
    let new =
        NewRun { tags: vec![tag(1), tag(2)], lease: Some((ticket(1), FAR)), ..new_run(Due::Now) };
    put(Rule::R4, &world, &run("run"), &append(0, &["created"], 1, By::Creator(new))).await?;
    let tags = Some(vec![tag(2), tag(3)]);
    let by = By::Owner { ticket: ticket(1), close: false, rest: None, tags };
    put(Rule::R4, &world, &run("run"), &append(1, &["tagged"], 2, by)).await?;
    for (tags, found) in
        [(vec![1], 0), (vec![2], 1), (vec![3], 1), (vec![3, 2], 1), (vec![1, 2], 0)]
    {
        let filter = tags.iter().copied().map(tag).collect();
        let list = List { tags: filter, ..List::all(count(9)) };
        let runs = listed(&*other, &list).await?.len();
        ensure_eq!(R4, runs, found, "runs with the tags {tags:?}, where one had 1, 2 and has 2, 3");
    }
    Ok(())
}
