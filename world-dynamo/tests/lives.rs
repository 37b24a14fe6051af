//! Batch items that arrive late, twice, or after the end of their log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "the seed is shown")]

mod kit;

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use dynamodb_servers::aws_sdk_dynamodb::types::AttributeValue;
use kit::{
    wire::Fault::{AnswerLost, Late, Lost},
    *,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use world_core::*;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

type Item = HashMap<String, AttributeValue>;

/// The items of a partition key: the head item, and the others.
async fn items(scene: &Scene, partition: &str) -> (Option<Item>, Vec<Item>) {
    let query = scene.client.query().table_name(&scene.table).key_condition_expression("pk = :pk");
    let found = query.expression_attribute_values(":pk", text(partition)).send().await.unwrap();
    let is_head = |item: &Item| item["sk"] == text("head");
    let (head, others): (Vec<_>, Vec<_>) = found.items.unwrap().into_iter().partition(is_head);
    (head.into_iter().next(), others)
}

async fn put(scene: &Scene, item: &Item) {
    let put = scene.client.put_item().table_name(&scene.table);
    put.set_item(Some(item.clone())).send().await.unwrap();
}

/// What the service does with a tombstone once its time has come.
async fn expire(scene: &Scene, partition: &str) {
    let delete = scene.client.delete_item().table_name(&scene.table);
    delete.key("pk", text(partition)).key("sk", text("head")).send().await.unwrap();
}

#[tokio::test]
async fn d2_what_arrives_after_a_run_is_deleted_is_never_of_a_later_one() {
    let scene = Scene::new().await;
    let (log, chunks, world) = (run("r"), stream("r", "out"), &scene.world);
    world.append(&log, &append(0, &long('a'), held())).await.unwrap();
    world.append(&chunks, &append(0, &long('x'), owner(1, None))).await.unwrap();
    world.append(&log, &append(1, &long('b'), closer())).await.unwrap();
    let (_, late) = items(&scene, "run/r").await;
    assert_eq!(late.len(), 4, "three batches and the head of the stream");
    assert_eq!(world.delete(&log, Position::new(2)).await.unwrap(), Deleted::Done);
    let (tombstone, left) = items(&scene, "run/r").await;
    assert!(left.is_empty() && tombstone.unwrap().contains_key("expires"));
    for item in &late {
        put(&scene, item).await;
    }
    for world in [world, &scene.quiet] {
        assert_eq!(world.append(&log, &append(0, "a", held())).await.unwrap(), Appended::NotOpen);
        assert_eq!(letters_from(world, &chunks, 0).await, "");
    }
    expire(&scene, "run/r").await;
    // One that is new has nothing of the old one, neither below its tail nor in its streams.
    assert_eq!(world.append(&log, &append(0, &long('c'), held())).await.unwrap(), committed(1));
    assert_eq!(world.append(&log, &append(1, "d", owner(1, None))).await.unwrap(), committed(2));
    assert_eq!(letters(&scene.quiet, &log).await, "cd");
    assert_eq!(letters(&scene.quiet, &chunks).await, "");
    let first = append(0, "y", owner(1, None));
    assert_eq!(world.append(&chunks, &first).await.unwrap(), committed(1));
    assert_eq!(letters(&scene.quiet, &chunks).await, "y");
}

async fn letters_from(world: &world_dynamo::DynamoWorld, log: &LogId, after: u64) -> String {
    let page = world.read(log, Position::new(after), NonZeroU32::MAX).await.unwrap();
    page.records.iter().map(|record| char::from(record.body.as_bytes()[0])).collect()
}

#[tokio::test]
async fn d2_a_deleted_token_goes_on_from_its_head_with_nothing_of_before() {
    let scene = Scene::new().await;
    let (log, world) = (token("t"), &scene.world);
    world.append(&log, &append(0, &long('a'), By::Outsider)).await.unwrap();
    let (_, late) = items(&scene, "token/t").await;
    assert_eq!(late.len(), 1);
    assert_eq!(world.delete(&log, Position::new(1)).await.unwrap(), Deleted::Done);
    let again = append(0, &long('a'), By::Outsider);
    let conflict = Appended::Conflict { head: Position::new(1) };
    assert_eq!(world.append(&log, &again).await.unwrap(), conflict, "a late resend");
    assert_eq!(world.append(&log, &append(1, "b", By::Outsider)).await.unwrap(), committed(2));
    put(&scene, &late[0]).await;
    assert_eq!(letters_from(&scene.quiet, &log, 0).await, "b");
    let (head, _) = items(&scene, "token/t").await;
    assert!(!head.unwrap().contains_key("expires"), "it lives, and is not to run out");
    // What is left of its earlier life is not in the way of its end.
    assert_eq!(world.delete(&log, Position::new(2)).await.unwrap(), Deleted::Done);
    assert_eq!(letters_from(&scene.quiet, &log, 0).await, "");
}

/// A removal that is repeated, and so late that the id has another life.
#[tokio::test]
async fn d1_a_late_removal_takes_nothing_of_a_later_life() {
    let scene = Scene::new().await;
    let (log, chunks, world) = (run("r"), stream("r", "out"), &scene.world);
    world.append(&log, &append(0, &long('a'), held())).await.unwrap();
    world.append(&log, &append(1, "b", closer())).await.unwrap();
    assert_eq!(world.delete(&log, Position::new(2)).await.unwrap(), Deleted::Done);
    scene.wire.always("Query", Late(Duration::from_millis(300)));
    let again = async { world.delete(&log, Position::new(2)).await.unwrap() };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(100)).await; // its first look is behind it
        expire(&scene, "run/r").await;
        scene.quiet.append(&log, &append(0, &long('c'), held())).await.unwrap();
        scene.quiet.append(&chunks, &append(0, &long('x'), owner(1, None))).await.unwrap();
    };
    let (again, ()) = tokio::join!(again, meanwhile);
    assert_eq!(again, Deleted::Done);
    scene.wire.clear();
    assert_eq!(letters(&scene.quiet, &log).await, "c");
    assert_eq!(letters(&scene.quiet, &chunks).await, "x");
}

/// Tags that are set while a copy is under way let another begin when nothing is left to copy.
#[tokio::test]
async fn a_copy_of_nothing_takes_no_other_ones_place() {
    let scene = Scene::new().await;
    for round in 0..20 {
        let (log, world) = (run(&format!("r{round}")), &scene.world);
        world.append(&log, &append(0, &"a".repeat(500), held())).await.unwrap();
        for _ in 0..4 {
            let tags = Some(vec![Tag::from_bytes([round; 16])]);
            let by = By::Owner { ticket: ticket(1), close: false, rest: None, tags };
            let tag = Append { records: Vec::new(), ..append(1, "", by) };
            assert_eq!(world.append(&log, &tag).await.unwrap(), committed(1));
        }
        for number in 1..4 {
            world.append(&log, &append(number, "b", owner(1, None))).await.unwrap();
        }
        assert_eq!(letters(&scene.quiet, &log).await, "abbb");
    }
}

/// A deletion that was cut short hides everything, and is completed by the next one.
#[tokio::test]
async fn d1_a_deletion_that_was_cut_short_is_completed() {
    let scene = Scene::within(Duration::from_millis(600)).await;
    let (log, world) = (run("r"), &scene.world);
    world.append(&log, &append(0, &long('a'), held())).await.unwrap();
    world.append(&log, &append(1, "b", closer())).await.unwrap();
    scene.wire.always("BatchWriteItem", Lost);
    let error = world.delete(&log, Position::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    scene.wire.clear();
    let (tombstone, left) = items(&scene, "run/r").await;
    assert_eq!(left.len(), 1);
    assert!(!tombstone.unwrap().contains_key("expires"), "it is not to run out before the rest");
    assert_eq!(letters_from(&scene.quiet, &log, 0).await, "");
    assert_eq!(world.delete(&log, Position::new(2)).await.unwrap(), Deleted::Done);
    let (tombstone, left) = items(&scene, "run/r").await;
    assert!(left.is_empty() && tombstone.unwrap().contains_key("expires"));
}

/// Two owners in turn, each with a memory of its own, and an outsider: copies that are late by any
/// time, lost, or not answered never hide a record that was acknowledged, nor double one.
#[tokio::test]
async fn a2_copies_that_are_late_lose_and_double_nothing() {
    let seed = std::env::var("WORLD_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("WORLD_SEED={seed}");
    let scene = Scene::new().await;
    let quick = Duration::from_secs(5);
    let hands = [scene.another(quick).await, scene.another(quick).await];
    for seed in seed..seed + 12 {
        let mut random = StdRng::seed_from_u64(seed);
        let log = run(&format!("r{seed}"));
        let (mut wanted, mut holder) = (vec![("0".to_owned(), 1)], 0);
        hands[0].1.append(&log, &append(0, "0", held())).await.unwrap();
        let mut number = 1_u8;
        for step in 1..=120_u64 {
            let (wire, world) = &hands[holder];
            wire.clear();
            let fault = match random.random_range(0..8) {
                0 => Lost,
                1 => AnswerLost,
                _ => Late(Duration::from_millis(random.random_range(0..40))),
            };
            wire.always("PutItem b/", fault);
            let bytes = [1, 100, 200, 1500, 3000][random.random_range(0..5)];
            let body = format!("{step}/{}", "x".repeat(bytes));
            let by =
                if random.random_range(0..10) == 0 { By::Outsider } else { owner(number, None) };
            let next = append(step, &body, by);
            assert_eq!(world.append(&log, &next).await.unwrap(), committed(step + 1), "{seed}");
            wanted.push((body, step + 1));
            if random.random_range(0..20) == 0 {
                // The other takes over: at the time at which the lease runs out.
                holder = 1 - holder;
                number += 1;
                let claim = Claim { now: at(u64::from(number) * 1000), ..claim(number, 1) };
                let claim = Claim { until: at(u64::from(number) * 1000 + 1000), ..claim };
                let leases = hands[holder].1.claim(&claim).await.unwrap();
                assert_eq!(leases.len(), 1, "{seed}");
            }
            if random.random_range(0..10) == 0 {
                let page = scene.quiet.read_all(&log).await.unwrap();
                let found = page.records.iter().map(said).collect::<Vec<_>>();
                assert!(found == wanted, "seed {seed}, step {step}: {} records", found.len());
            }
        }
        let rest = owner(number, Some(Due::Never));
        hands[holder].1.append(&log, &append(121, "end", rest)).await.unwrap();
        wanted.push(("end".to_owned(), 122));
        for _ in 0..2 {
            let page = scene.quiet.read_all(&log).await.unwrap();
            assert!(page.records.iter().map(said).collect::<Vec<_>>() == wanted, "seed {seed}");
            tokio::time::sleep(Duration::from_millis(50)).await; // what is late has arrived now
        }
    }
}

fn said(record: &Record) -> (String, u64) {
    (String::from_utf8_lossy(record.body.as_bytes()).into_owned(), record.position.get())
}
