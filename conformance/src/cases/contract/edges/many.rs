//! Rules L2, R4, A4 and A6: many runs, many queues, large numbers, and tags in every append.

use std::collections::BTreeSet;

use futures::future::join_all;
use world_core::{Append, By, Claim, Due, List, Queue, Release, RunMeta, Sealed, Tag};

use crate::{
    case::{Case, case},
    claimer::CLAIMS_MAX,
    failure::{Verdict, ensure, ensure_eq},
    kit::*,
    listing::listed,
    look::{self, Handle, put},
    rule::Rule,
    subject::Subject,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(Contract [A4] every_append_of_an_owner_may_set_tags),
        case!(Contract [A6] a_large_batch_again_is_the_same_append),
        case!(Contract [L2] a_claim_of_any_limit_is_answered),
        case!(Contract [L2] a_claim_looks_into_each_of_many_queues),
        case!(Limits [L2] a_long_queue_loses_nobody),
        case!(Limits [R4] a_long_listing_goes_on_to_its_end),
    ]
}

async fn every_append_of_an_owner_may_set_tags(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = run("run");
    put(Rule::A4, &world, &log, &create_leased(1, FAR, 1)).await?;
    let mut head = 1;
    let steps = [
        (vec![1, 2], 1, false, None),
        (vec![], 1, false, None),
        (vec![3], 0, false, None),
        (vec![], 0, false, None),
        (vec![4], 1, true, None),
        (vec![5, 6], 0, false, None),
        (vec![7], 0, false, Some(Due::Never)),
    ];
    for (numbers, records, close, rest) in steps {
        let tags: Vec<_> = numbers.iter().map(|number| Tag::from_bytes([*number; 16])).collect();
        let what = format!("{records} records, close {close}, rest {rest:?} and tags {numbers:?}");
        let by = By::Owner {
            ticket: ticket(1),
            close,
            rest: rest.map(Release::driven),
            tags: Some(tags.clone()),
        };
        let bodies = ["work"];
        put(Rule::A4, &world, &log, &append(head, &bodies[..records], 2, by)).await?;
        head += records as u64;
        let is_wanted = |meta: &RunMeta| meta.tags == tags;
        let seen = look::listed(&other, &log, is_wanted).await?.map(|meta| meta.tags);
        ensure_eq!(A4, seen, Some(tags), "the tags after an append of {what}");
    }
    Ok(())
}

async fn a_large_batch_again_is_the_same_append(subject: Subject) -> Verdict {
    let (world, other) = (subject.open().await?, subject.open().await?);
    let log = token("token");
    let batch = |last: u8| {
        let mut batch = append(0, &["a", "b", "c", "d"], 1, By::Outsider);
        let mut bodies = (1..=4).map(|number| vec![number; 255 << 10]).collect::<Vec<_>>();
        bodies.iter_mut().rev().take(1).for_each(|body| body.push(last));
        for (record, body) in batch.records.iter_mut().zip(bodies) {
            record.body = Sealed::from_stored(body);
        }
        batch
    };
    put(Rule::A6, &world, &log, &batch(1)).await?;
    let answer = other.append(&log, &batch(1)).await?;
    ensure_eq!(A6, answer, committed(4), "a batch of 1 MiB, sent again");
    let answer = other.append(&log, &batch(2)).await?;
    ensure_eq!(A6, answer, conflict(4), "a batch of 1 MiB whose last byte is another");
    Ok(())
}

/// Claims until all of these runs were given.
async fn all_come(world: &Handle, claim: &Claim, runs: &[String], what: &str) -> Verdict {
    let mut missing: BTreeSet<_> = runs.iter().map(String::as_str).collect();
    let mut fruitless = 0;
    while !missing.is_empty() && fruitless < CLAIMS_MAX {
        let before = missing.len();
        for lease in world.claim(claim).await? {
            missing.remove(lease.run.as_str());
        }
        fruitless = if missing.len() < before { 0 } else { fruitless + 1 };
    }
    let (left, all) = (missing.len(), runs.len());
    let one = missing.first();
    ensure!(L2, left == 0, "{what}: of {all} due runs {left} were never given, {one:?} among them");
    Ok(())
}

async fn a_claim_of_any_limit_is_answered(subject: Subject) -> Verdict {
    for limit in [1, 1 << 16, i32::MAX as u32, 1 << 31, u32::MAX] {
        let elsewhere = subject.elsewhere()?;
        let world = elsewhere.open().await?;
        let names: Vec<_> = (0..3).map(|number| format!("run {number}")).collect();
        for name in &names {
            put(Rule::L2, &world, &run(name), &create(Due::Now, 1)).await?;
        }
        let claim = claim(&["queue"], 1, 10, 900, limit);
        all_come(&world, &claim, &names, &format!("claims of at most {limit}")).await?;
    }
    Ok(())
}

/// Queues that one worker may look into.
const QUEUES: usize = 100;

async fn a_claim_looks_into_each_of_many_queues(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let names: Vec<_> = (0..QUEUES).map(|number| format!("name {number}")).collect();
    let created = names.iter().map(|name| create_in(name, Due::Now, 1)).collect::<Vec<_>>();
    created_at_once(Rule::L2, &world, &names, &created).await?;
    let queues: Vec<Queue> = names.iter().map(|name| queue(name)).collect();
    let claim = Claim { queues, ..claim(&[], 1, 10, 900, 16) };
    all_come(&world, &claim, &names, &format!("claims of {QUEUES} queues")).await
}

/// Creates many runs, some of them at a time.
pub(super) async fn created_at_once(
    rule: Rule,
    world: &Handle,
    names: &[String],
    appends: &[Append],
) -> Verdict {
    let all: Vec<_> = names.iter().zip(appends).collect();
    for some in all.chunks(128) {
        let puts = some.iter().map(async |(name, append)| {
            let log = run(name);
            put(rule, world, &log, append).await
        });
        join_all(puts).await.into_iter().collect::<Verdict<Vec<()>>>()?;
    }
    Ok(())
}

async fn a_long_queue_loses_nobody(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let names: Vec<_> = (0..600).map(|number| format!("run {number}")).collect();
    let created: Vec<_> = (1..=600).map(|millis| create(Due::Now, millis)).collect();
    created_at_once(Rule::L2, &world, &names, &created).await?;
    let claim = claim(&["queue"], 1, 10, 900, 32);
    all_come(&world, &claim, &names, "claims of at most 32").await
}

async fn a_long_listing_goes_on_to_its_end(subject: Subject) -> Verdict {
    let world = subject.open().await?;
    let mut names: Vec<_> = (0..1_100).map(|number| format!("run {number}")).collect();
    let created: Vec<_> = (0..1_100).map(|number| create(Due::Never, number / 4)).collect();
    created_at_once(Rule::R4, &world, &names, &created).await?;
    names.sort();
    for limit in [u32::MAX, 100] {
        let listed = listed(&*world, &List::all(count(limit))).await?;
        let (seen, all) = (listed.len(), names.len());
        ensure!(R4, listed == names, "a listing shows {seen} of {all} runs, {limit} a page");
    }
    Ok(())
}
