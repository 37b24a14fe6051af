//! The suite on a real server.

use world_redis::RedisWorld;

conformance::suite!(|site| async move {
    let url = std::env::var("TEST_REDIS_URL").unwrap_or_default();
    RedisWorld::connect(&format!("{url}?prefix={}", site.name())).await
});
