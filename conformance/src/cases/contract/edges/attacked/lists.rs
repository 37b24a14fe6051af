//! Rule R4: what a filter finds far behind, and by many tags.

use world_core::{By, Due, List, NewRun, Tag};

use super::super::many::created_at_once;
use crate::{
    case::{Case, case},
    failure::{Verdict, ensure_eq},
    kit::*,
    listing::listed,
    look::put,
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Limits [R4] a_filter_finds_one_run_behind_2100_others),
        case!(Contract [R4] a_filter_looks_at_each_of_its_tags),
    ]
}

async fn a_filter_finds_one_run_behind_2100_others(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let names: Vec<_> = (0..2_100).map(|number| format!("run {number}")).collect();
    let created: Vec<_> = (0..2_100).map(|number| create(Due::Never, number)).collect();
    created_at_once(Rule::R4, &world, &names, &created).await?;
    let tags = vec![Tag::from_bytes([7; 16])];
    let new = NewRun { queue: queue("rare"), tags: tags.clone(), ..new_run(Due::Never) };
    let last = append(0, &["created"], 9_999, By::Creator(new));
    put(Rule::R4, &world, &run("the last"), &last).await?;
    for limit in [10, 1_000] {
        let all = List::all(count(limit));
        let by_queue = List { queue: Some(queue("rare")), ..all.clone() };
        let by_tag = List { tags: tags.clone(), ..all };
        for list in [by_queue, by_tag] {
            let found = listed(&*world, &list).await?;
            let what = "the run that matches, behind 2100 that do not";
            ensure_eq!(R4, found, vec!["the last".to_owned()], "{what}, {limit} a page");
        }
    }
    Ok(())
}

async fn a_filter_looks_at_each_of_its_tags(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let tag = |number: u8| Tag::from_bytes([number; 16]);
    let new = NewRun { tags: (1..=6).map(tag).collect(), ..new_run(Due::Never) };
    put(Rule::R4, &world, &run("run"), &append(0, &["created"], 1, By::Creator(new))).await?;
    for missing in 0..=6 {
        let tags = (1..=6).map(|number| tag(if number == missing { 99 } else { number })).collect();
        let list = List { tags, ..List::all(count(9)) };
        let found = listed(&*other, &list).await?.len();
        let what = "runs found by six tags, where the one it lacks is number";
        ensure_eq!(R4, found, usize::from(missing == 0), "{what} {missing}");
    }
    Ok(())
}
