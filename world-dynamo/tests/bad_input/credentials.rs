//! What a URL opens, and where a region or credentials are missing: as a program of its own meets it, since
//! they come from its environment.

use std::{env, process::Command};

use dynamodb_servers::shared;
use world_core::ErrorKind;
use world_dynamo::DynamoWorld;

use crate::kit::fresh_table;

const URL: &str = "WORLD_TEST_URL";

/// The part of these tests that runs in a process of its own: it says what opening has come to.
#[tokio::test]
#[ignore = "a part of the other tests here"]
#[allow(clippy::print_stdout, reason = "the other tests read it")]
async fn opens() {
    let url = env::var(URL).unwrap();
    match DynamoWorld::connect(&url).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("{error:?}");
            DynamoWorld::create_table_at(&url).await.unwrap();
            let world = DynamoWorld::connect(&url).await.unwrap();
            println!("opened: {world:?}");
        }
        other => println!("{:?}", other.unwrap_err()),
    }
}

/// What a process with no more than this in its environment says when it opens a World.
fn said_by(url: &str, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "credentials::opens", "--ignored", "--nocapture"]);
    child.env_clear().env(URL, url).env("HOME", "/nonexistent");
    // What asks the machine for its role: nothing outside this one is to be asked.
    child.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    let done = child.output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{out}");
    out
}

/// The client of a URL speaks to a server with and without TLS; here it is one without.
#[test]
fn a_url_makes_a_table_and_opens_it() {
    let (endpoint, table) = (shared().unwrap(), fresh_table());
    let url = format!("dynamodb://{table}?region=eu-west-1&endpoint={endpoint}&shards=2");
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let out = said_by(&url, &keys);
    assert!(out.contains("not found: there is no such table in this region"), "{out}");
    assert!(out.contains("opened: DynamoWorld(Store { table:"), "{out}");
    assert!(out.contains("shards: 2") && !out.contains("hunter2"), "{out}");
}

#[test]
fn without_a_region_it_says_where_one_is_written() {
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let out = said_by("dynamodb://runs", &keys);
    assert!(out.contains("invalid: there is no region; write dynamodb://table?region="), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn without_credentials_it_says_where_they_are_looked_for() {
    let out = said_by("dynamodb://runs?region=eu-west-1&endpoint=http://127.0.0.1:9", &[]);
    assert!(out.contains("invalid: there are no credentials; set AWS_ACCESS_KEY_ID"), "{out}");
}

#[test]
fn where_nothing_answers_it_says_so() {
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let url = "dynamodb://runs?region=eu-west-1&endpoint=http://127.0.0.1:9&timeout_ms=200";
    let out = said_by(url, &keys);
    assert!(out.contains("unavailable: the service cannot be reached"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
}
