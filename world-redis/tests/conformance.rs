//! The suite on one real server.

mod support;

use world_redis::RedisWorld;

conformance::suite!(
    |site| async move {
        let server = redis_servers::shared().map_err(|error| error.to_string())?;
        let url = format!("redis://{server}/0?prefix={}&clock_check=off", site.name());
        RedisWorld::connect(&url).await.map_err(|error| error.to_string())
    },
    dump = |site| async move { support::everything_of(site.name(), &[redis_servers::shared()?]) },
    needs = || redis_servers::shared().map(drop),
);
