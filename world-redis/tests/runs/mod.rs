//! Runs that workers drive on a server that is disturbed.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]

#[path = "../../../world-core/tests/runs/mod.rs"]
mod of_any_world;

use std::sync::Arc;

pub use of_any_world::*;
use world_core::World;
use world_redis::RedisWorld;

/// Opens the World that a URL names, for workers whose clock is another than the server's.
pub fn world_at(url: &str) -> Open {
    let url = format!("{url}{}clock_check=off", if url.contains('?') { '&' } else { '?' });
    Arc::new(move || {
        let url = url.clone();
        Box::pin(async move { Ok(Arc::new(RedisWorld::connect(&url).await?) as Arc<dyn World>) })
    })
}
