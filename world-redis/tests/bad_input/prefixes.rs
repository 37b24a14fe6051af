//! Several Worlds, and other programs, on one server.

use redis_servers::Private;
use world_core::*;
use world_redis::RedisWorld;

use crate::kit::{claim, command, creator, list, one, run};

#[tokio::test]
async fn worlds_whose_prefixes_begin_alike_share_nothing() {
    let server = Private::start(&[]).unwrap();
    let mut worlds = Vec::new();
    for prefix in ["a", "a.1", "a-1", "a.", "A", "a_1", "aa", "1"] {
        let url = format!("redis://{}?prefix={prefix}&shards=2&clock_check=off", server.address());
        worlds.push((prefix, RedisWorld::connect(&url).await.unwrap()));
    }
    for (prefix, world) in &worlds {
        let append = one(0, creator(false));
        world.append(&run("same"), &append).await.unwrap();
        world.append(&run(prefix), &append).await.unwrap();
    }
    for (prefix, world) in &worlds {
        let mut runs: Vec<_> = world.list(&list()).await.unwrap().runs;
        runs.sort_by_key(|meta| meta.run.as_str() == "same");
        let runs: Vec<_> = runs.iter().map(|meta| meta.run.as_str()).collect();
        assert_eq!(runs, [*prefix, "same"]);
        assert_eq!(world.claim(&claim()).await.unwrap().len(), 2, "{prefix}");
    }
}

#[tokio::test]
async fn keys_of_another_program_beside_a_world_do_no_harm_and_are_left_alone() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let theirs = ["runs", "a", "{a}", "{a:0}", "{a:0}:", "{a:0}:log", "{a:1}:runs", "a:0:runs"];
    for key in theirs {
        command(address, &["SET", key, "theirs"]);
    }
    let world =
        RedisWorld::connect(&format!("redis://{address}?prefix=a&clock_check=off")).await.unwrap();
    world.append(&run("one"), &one(0, creator(false))).await.unwrap();
    assert_eq!(world.claim(&claim()).await.unwrap().len(), 1);
    assert_eq!(world.list(&list()).await.unwrap().runs.len(), 1);
    for key in theirs {
        assert_eq!(command(address, &["GET", key]).text(), Some("theirs"), "{key}");
    }
}
