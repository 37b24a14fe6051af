//! What the tests of several files share.
#![allow(dead_code)] // each uses a part

use std::{io, time::Duration};

use dynamodb_servers::aws_sdk_dynamodb::{Client, types::AttributeValue};
use world_core::Result;
use world_dynamo::{DynamoWorld, Options};

/// A World in a table of this name, which is made if it is not there.
pub(crate) async fn world(client: &Client, table: &str) -> Result<DynamoWorld> {
    let options = Options::new().poll(Duration::from_millis(20)).timeout(Duration::from_secs(30));
    match DynamoWorld::from_client(client, table, options.clone()).await {
        Err(error) if error.kind() == world_core::ErrorKind::NotFound => {
            DynamoWorld::create_table(client, table, options.clone()).await?;
            DynamoWorld::from_client(client, table, options).await
        }
        other => other,
    }
}

/// All that a table holds: the names of its items' attributes, and what is in them.
pub(crate) async fn everything_in(client: &Client, table: &str) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut from = None;
    loop {
        let scan = client.scan().table_name(table).consistent_read(true);
        let page = scan.set_exclusive_start_key(from).send().await.map_err(io::Error::other)?;
        for (name, value) in page.items().iter().flatten() {
            all.extend_from_slice(name.as_bytes());
            match value {
                AttributeValue::B(bytes) => all.extend_from_slice(bytes.as_ref()),
                AttributeValue::S(text) | AttributeValue::N(text) => {
                    all.extend_from_slice(text.as_bytes())
                }
                AttributeValue::Bool(flag) => all.push(u8::from(*flag)),
                other => return Err(io::Error::other(format!("an attribute {other:?}"))),
            }
            all.push(b'\n');
        }
        from = page.last_evaluated_key;
        if from.as_ref().is_none_or(|key| key.is_empty()) {
            return Ok(all);
        }
    }
}
