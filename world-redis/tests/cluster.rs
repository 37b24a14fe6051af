//! The suite on a real Redis Cluster of three masters, in shards that lie on all of them.

mod support;

use world_redis::RedisWorld;

conformance::suite!(
    |site| async move {
        let nodes = redis_servers::cluster().map_err(|error| error.to_string())?;
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        let url =
            format!("redis-cluster://{}?prefix={}&clock_check=off", nodes.join(","), site.name());
        RedisWorld::connect(&url).await.map_err(|error| error.to_string())
    },
    dump = |site| async move { support::everything_of(site.name(), &redis_servers::cluster()?) },
    needs = || redis_servers::cluster().map(drop),
);
