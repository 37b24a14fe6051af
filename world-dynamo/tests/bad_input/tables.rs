//! Tables that are not there, or not as they have to be.

use dynamodb_servers::{
    aws_sdk_dynamodb::{
        Client,
        types::{
            AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex,
            KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
            TimeToLiveSpecification,
        },
    },
    builder, client, shared,
};
use world_core::ErrorKind::{Corrupt, NotFound, Unsuitable, Unsupported};
use world_dynamo::{DynamoWorld, Options};

use crate::{
    kit::{
        fresh_table,
        wire::{
            Fault::{Refused, Says},
            Wire,
        },
    },
    said,
};

fn keys(hash: &str, range: Option<&str>) -> Vec<KeySchemaElement> {
    let key = |name: &str, kind| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
    };
    let mut keys = vec![key(hash, KeyType::Hash)];
    keys.extend(range.map(|range| key(range, KeyType::Range)));
    keys
}

/// Makes a table with these keys, and with an index of this name and these keys.
async fn table(
    client: &Client,
    of_table: Vec<KeySchemaElement>,
    index: Option<(&str, Vec<KeySchemaElement>)>,
    kind: ScalarAttributeType,
) -> String {
    let name = fresh_table();
    let mut make = client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    let mut names: Vec<_> = of_table.iter().map(|key| key.attribute_name().to_owned()).collect();
    if let Some((name, of_index)) = index {
        names.extend(of_index.iter().map(|key| key.attribute_name().to_owned()));
        let index = GlobalSecondaryIndex::builder().index_name(name).set_key_schema(Some(of_index));
        let all = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        make = make.global_secondary_indexes(index.projection(all).build().unwrap());
    }
    names.sort();
    names.dedup();
    for name in names {
        let one = AttributeDefinition::builder().attribute_name(name).attribute_type(kind.clone());
        make = make.attribute_definitions(one.build().unwrap());
    }
    make.set_key_schema(Some(of_table)).send().await.unwrap();
    name
}

#[tokio::test]
async fn a_table_that_is_not_there_is_not_made_by_itself() {
    let client = client(&shared().unwrap());
    let name = fresh_table();
    for _ in 0..2 {
        let error = DynamoWorld::from_client(&client, &name, Options::new()).await.unwrap_err();
        said(&error, NotFound, "there is no such table in this region");
    }
}

/// What describes a table may not know yet of one that was just made.
#[tokio::test]
async fn a_table_that_is_made_and_not_found_yet_is_waited_for() {
    let (wire, endpoint, name) = (Wire::default(), shared().unwrap(), fresh_table());
    let client = Client::from_conf(builder(&endpoint).http_client(wire.clone()).build());
    let not_yet = || Refused(400, "ResourceNotFoundException", "not yet");
    wire.next("DescribeTable", [not_yet(), not_yet()]);
    DynamoWorld::create_table(&client, &name, Options::new()).await.unwrap();
    assert!(wire.is_done());
    // One whose time to live another has switched on at the same time.
    wire.next("DescribeTimeToLive", [Says(200, r#"{"TimeToLiveDescription":{}}"#.to_owned())]);
    wire.next("UpdateTimeToLive", [Refused(400, "ValidationException", "once an hour")]);
    DynamoWorld::create_table(&client, &name, Options::new()).await.unwrap();
    assert!(wire.is_done());
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused_with_the_difference() {
    let client = client(&shared().unwrap());
    let right = || keys("pk", Some("sk"));
    let due = || keys("queue", Some("due"));
    let s = || ScalarAttributeType::S;
    for (of_table, index, kind, words) in [
        (keys("id", None), None, s(), "its keys are id HASH, where they are pk HASH, sk RANGE"),
        (keys("sk", Some("pk")), None, s(), "its keys are sk HASH, pk RANGE, where"),
        (right(), None, s(), "it has no index \"due\", whose keys are queue HASH, due RANGE"),
        (right(), Some(("late", due())), s(), "it has no index \"due\""),
        (right(), Some(("due", keys("due", None))), s(), "its index \"due\" are due HASH, where"),
        (
            right(),
            Some(("due", due())),
            ScalarAttributeType::B,
            "\"pk\" is of type B, where it is S",
        ),
    ] {
        let name = table(&client, of_table, index, kind).await;
        let error = DynamoWorld::from_client(&client, &name, Options::new()).await.unwrap_err();
        said(&error, Unsuitable, words);
        // Made or not: it is left as it is, and refused.
        let error = DynamoWorld::create_table(&client, &name, Options::new()).await.unwrap_err();
        said(&error, Unsuitable, words);
        let items = client.scan().table_name(&name).send().await.unwrap();
        assert_eq!(items.count(), 0, "nothing is written to it");
    }
}

#[tokio::test]
async fn a_time_to_live_by_another_attribute_is_refused_and_none_is_not() {
    let client = client(&shared().unwrap());
    let index = Some(("due", keys("queue", Some("due"))));
    let name = table(&client, keys("pk", Some("sk")), index, ScalarAttributeType::S).await;
    DynamoWorld::from_client(&client, &name, Options::new()).await.unwrap();
    let other = TimeToLiveSpecification::builder().attribute_name("created").enabled(true);
    let other = other.build().unwrap();
    let set = client.update_time_to_live().table_name(&name).time_to_live_specification(other);
    set.send().await.unwrap();
    let error = DynamoWorld::from_client(&client, &name, Options::new()).await.unwrap_err();
    said(&error, Unsuitable, "its time to live is by \"created\", where it is by \"expires\"");
}

#[tokio::test]
async fn a_table_is_made_once_and_keeps_its_shards() {
    let client = client(&shared().unwrap());
    let name = fresh_table();
    for _ in 0..2 {
        DynamoWorld::create_table(&client, &name, Options::new()).await.unwrap();
    }
    DynamoWorld::from_client(&client, &name, Options::new().shards(7)).await.unwrap();
    DynamoWorld::from_client(&client, &name, Options::new()).await.unwrap();
    let error =
        DynamoWorld::from_client(&client, &name, Options::new().shards(8)).await.unwrap_err();
    said(&error, Unsuitable, "a World of 7 shards, where 8 are asked for");

    let meta = [("pk", "world"), ("sk", "head")];
    let edit = async |layout: &str, shards: Option<&str>| {
        let number = |digits: &str| AttributeValue::N(digits.to_owned());
        let mut item: std::collections::HashMap<_, _> = meta
            .iter()
            .map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())))
            .collect();
        item.insert("layout".to_owned(), number(layout));
        item.extend(shards.map(|shards| ("shards".to_owned(), number(shards))));
        client.put_item().table_name(&name).set_item(Some(item)).send().await.unwrap();
        DynamoWorld::from_client(&client, &name, Options::new()).await.unwrap_err()
    };
    said(
        &edit("2", Some("7")).await,
        Unsupported,
        "a World of layout 2, where this program knows 1",
    );
    said(&edit("1", Some("0")).await, Corrupt, "what says how the World was made cannot be read");
    said(&edit("1", Some("70000")).await, Corrupt, "what says how the World was made");
    said(&edit("1", None).await, Corrupt, "what says how the World was made cannot be read");
}
