//! The Redis World: durable execution for many machines, on Redis, Valkey and Redis Cluster.
//!
//! Each change is one script, which looks at everything before it writes anything. The page
//! `docs/layouts/redis.md` has every key, what it costs, and what a server that fails over may lose.

mod append;
mod claim;
mod delete;
mod error;
mod keys;
mod lineage;
mod list;
mod listeners;
mod options;
mod read;
mod script;
mod server;
mod state;
mod store;
mod url;
mod wait;
mod world;

use world_core::Limits;

pub use options::{
    Options, PREFIX_BYTES_MAX, RETENTION_MAX, SHARDS_MAX, TIMEOUT_MAX, WAIT_REPLICAS_MAX,
};
pub use world::RedisWorld;

/// What one append may hold here.
pub const LIMITS: Limits =
    Limits { records_max: 1024, record_bytes_max: 1 << 20, append_bytes_max: 8 << 20 };
