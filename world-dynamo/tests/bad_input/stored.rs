//! Items that were edited by hand.

use std::{num::NonZeroU32, time::Duration};

use dynamodb_servers::aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use world_core::{ErrorKind::Corrupt, *};

use crate::{
    kit::{Scene, append, claim, committed, creator, held, letters, long, owner, run},
    said,
};

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(digits: &str) -> AttributeValue {
    AttributeValue::N(digits.to_owned())
}

fn bytes(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Sets an attribute of an item, or removes it.
async fn edit(scene: &Scene, sort: &str, name: &str, value: Option<AttributeValue>) {
    let edit = scene.client.update_item().table_name(&scene.table);
    let edit = edit.key("pk", text("run/r")).key("sk", text(sort));
    let edit = edit.expression_attribute_names("#name", name);
    let edit = match value {
        Some(value) => {
            edit.update_expression("SET #name = :x").expression_attribute_values(":x", value)
        }
        None => edit.update_expression("REMOVE #name"),
    };
    edit.send().await.unwrap();
}

async fn item(scene: &Scene, sort: &str) -> Option<String> {
    let get = scene.client.get_item().table_name(&scene.table);
    let found = get.key("pk", text("run/r")).key("sk", text(sort)).send().await.unwrap().item?;
    let sorted: std::collections::BTreeMap<_, _> = found.into_iter().collect();
    Some(format!("{sorted:?}"))
}

/// Each attribute of a head item, wrong in each way.
#[tokio::test]
async fn a_head_item_that_was_edited_is_corrupt_and_keeps_nobody_from_the_others() {
    let scene = Scene::new().await;
    let wrong: [(&str, Option<AttributeValue>); 31] = [
        ("stamp", None),
        ("stamp", Some(text("garbage"))),
        ("stamp", Some(bytes(b"short"))),
        ("life", None),
        ("life", Some(bytes(b"much too long"))),
        ("head", None),
        ("head", Some(text("1"))),
        ("head", Some(number("-1"))),
        ("head", Some(number("1.5"))),
        ("head", Some(number("99999999999999999999999999"))),
        ("base", Some(number("18446744073709551615"))),
        ("base", Some(text("x"))),
        ("tail", Some(bytes(b"\0\x07garbage"))),
        ("tail", Some(text("garbage"))),
        ("gone", Some(text("true"))),
        ("attempt", Some(text("x"))),
        ("attempt", None),
        ("last", None),
        ("last", Some(number("65536"))),
        ("closed", Some(number("1"))),
        ("workflow", None),
        ("workflow", Some(text(&"x".repeat(513)))),
        ("created", None),
        ("created", Some(number("253402300800000"))),
        ("key", None),
        ("parent", Some(number("7"))),
        ("tags", Some(bytes(b"not sixteen"))),
        ("tags", Some(text("x"))),
        ("ticket", Some(bytes(b"short"))),
        ("ticket", Some(text("x"))),
        ("ticket", Some(bytes(&[7; 16]))), // ready, and held
    ];
    let (bad, world) = (run("r"), &scene.world);
    for (name, value) in wrong {
        let _ = world.delete(&bad, Position::new(1)).await;
        let delete = scene.client.delete_item().table_name(&scene.table);
        delete.key("pk", text("run/r")).key("sk", text("head")).send().await.unwrap();
        world.append(&bad, &append(0, "a", creator(Due::Now, None))).await.unwrap();
        edit(&scene, "head", name, value.clone()).await;
        let before = item(&scene, "head").await;

        let shown = format!("{name}: {value:?}");
        let error = world.read(&bad, Position::START, NonZeroU32::MIN).await.unwrap_err();
        said(&error, Corrupt, "run r");
        let error = world.append(&bad, &append(1, "b", By::Outsider)).await.unwrap_err();
        said(&error, Corrupt, "run r");
        match world.list(&List::all(NonZeroU32::MAX)).await {
            Err(error) => said(&error, Corrupt, "run r"),
            // A listing has no use for the records, and leaves out what says that it is deleted.
            Ok(page) => assert_eq!(page.runs.len(), usize::from(name == "tail"), "{shown}"),
        }
        let error = world.delete(&bad, Position::new(1)).await.unwrap_err();
        said(&error, Corrupt, "run r");
        assert_eq!(item(&scene, "head").await, before, "{shown}: it is half-written");

        let other = run("other");
        world.append(&other, &append(0, "a", creator(Due::Now, None))).await.unwrap();
        // One that has not passed it over before.
        let (_, claimer) = scene.another(Duration::from_secs(20)).await;
        let mut claimed = Vec::new();
        for _ in 0..3 {
            claimed.extend(claimer.claim(&claim(9, 5)).await.unwrap());
        }
        let mut claimed: Vec<_> = claimed.iter().map(|lease| lease.run.as_str()).collect();
        claimed.sort_unstable();
        if ["stamp", "ticket"].contains(&name) || (name, &value) == ("attempt", &None) {
            // A claim writes these anew, and nothing else was wrong.
            assert_eq!(claimed, ["other", "r"], "{shown}");
            assert_eq!(letters(world, &bad).await, "a");
        } else {
            assert_eq!(claimed, ["other"], "{shown}");
        }
        let delete = scene.client.delete_item().table_name(&scene.table);
        delete.key("pk", text("run/other")).key("sk", text("head")).send().await.unwrap();
    }
}

/// Where a run stands in the index is a part of its head item.
#[tokio::test]
async fn a_run_that_stands_wrongly_in_the_index_is_corrupt_when_it_is_read() {
    let scene = Scene::new().await;
    let (bad, world) = (run("r"), &scene.world);
    world.append(&bad, &append(0, "a", creator(Due::Now, None))).await.unwrap();
    for (name, wrong) in [
        ("due", "x"),
        ("due", "r1"),
        ("due", "r99999999999999a"),
        ("due", "t999999999999999"),
        ("queue", "without a shard"),
        ("queue", "0/"),
    ] {
        edit(&scene, "head", "due", Some(text("r000000000000001"))).await;
        edit(&scene, "head", "queue", Some(text("0/q"))).await;
        edit(&scene, "head", name, Some(text(wrong))).await;
        let error = world.read(&bad, Position::START, NonZeroU32::MIN).await.unwrap_err();
        said(&error, Corrupt, name);
        assert_eq!(world.claim(&claim(9, 5)).await.unwrap(), [], "{name} = {wrong}");
    }
}

#[tokio::test]
async fn a_batch_item_that_was_edited_or_removed_is_corrupt_where_it_stands() {
    let scene = Scene::new().await;
    let (log, world) = (run("r"), &scene.world);
    world.append(&log, &append(0, &long('a'), held())).await.unwrap();
    world.append(&log, &append(1, &long('b'), owner(1, None))).await.unwrap();
    world.append(&log, &append(2, "c", owner(1, None))).await.unwrap();
    let all = scene.client.query().table_name(&scene.table).key_condition_expression("pk = :pk");
    let all = all.expression_attribute_values(":pk", text("run/r")).send().await.unwrap();
    let batches: Vec<_> = all.items().iter().filter(|item| item.contains_key("first")).collect();
    assert_eq!(batches.len(), 2);
    let second = batches[1]["sk"].as_s().unwrap();
    for (name, value) in [
        ("records", Some(bytes(b"garbage"))),
        ("records", Some(text("garbage"))),
        ("records", None),
        ("first", Some(number("1"))),
        ("first", Some(text("2"))),
        ("first", None),
    ] {
        edit(&scene, second, name, value).await;
        let error = world.read_all(&log).await.unwrap_err();
        said(&error, Corrupt, "(run r, position 2)");
        let put = scene.client.put_item().table_name(&scene.table);
        put.set_item(Some(batches[1].clone())).send().await.unwrap();
        assert_eq!(letters(world, &log).await, "abc");
    }
    let delete = scene.client.delete_item().table_name(&scene.table);
    delete.key("pk", text("run/r")).key("sk", text(second)).send().await.unwrap();
    let error = world.read_all(&log).await.unwrap_err();
    said(&error, Corrupt, "position 2");
    // It goes on where it is whole.
    assert_eq!(world.append(&log, &append(3, "d", owner(1, None))).await.unwrap(), committed(4));
    let page = world.read(&log, Position::new(2), NonZeroU32::MAX).await.unwrap();
    assert_eq!(page.records.len(), 2);
}
