//! URLs and options.

use world_core::ErrorKind::Invalid;
use world_dynamo::{DynamoWorld, Options};

use crate::said;

async fn refused(url: &str, words: &str) {
    said(&DynamoWorld::connect(url).await.unwrap_err(), Invalid, words);
    said(&DynamoWorld::create_table_at(url).await.unwrap_err(), Invalid, words);
}

#[tokio::test]
async fn a_url_that_names_no_table_says_how_one_does() {
    for url in ["dynamodb:", "dynamodb://", "dynamodb://ab", "dynamo://runs", "dynamodb:runs"] {
        refused(url, "write dynamodb://table?region=eu-west-1").await;
    }
    for url in ["dynamodb://a b c", "dynamodb://key:secret@runs", "dynamodb://runs/more"] {
        refused(url, "write dynamodb://table?region=eu-west-1").await;
    }
    refused(&format!("dynamodb://{}", "a".repeat(256)), "3 to 255").await;
}

#[tokio::test]
async fn an_option_that_is_none_or_twice_or_wrong_lists_those_there_are() {
    for (query, words) in [
        ("prefix=app", "no option is called \"prefix\""),
        ("shards=2&shards=2", "\"shards\" is there twice"),
        ("shards=0", "shards with a value"),
        ("shards=257", "shards with a value"),
        ("shards", "shards with a value"),
        ("timeout_ms=0", "timeout_ms with a value"),
        ("timeout_ms=600001", "timeout_ms with a value"),
        ("poll_ms=1.5", "poll_ms with a value"),
        ("region=", "a region that is none"),
        ("region=EU WEST", "a region that is none"),
        ("endpoint=", "an endpoint that is no http: or https: URL"),
        ("endpoint=127.0.0.1:8000", "an endpoint that is no http: or https: URL"),
        ("endpoint=http://key:secret@host", "an endpoint that is no http: or https: URL"),
    ] {
        let error = Options::parse(query).unwrap_err();
        said(&error, Invalid, words);
        said(&error, Invalid, "the options are region, endpoint, shards=1..256");
        assert!(!error.to_string().contains("secret"), "{error}");
        refused(&format!("dynamodb://runs?{query}"), words).await;
    }
}
