//! The Redis World: durable execution for many machines, on Redis, Valkey and Redis Cluster.
//!
//! Each change is one script, which looks at everything before it writes anything. A connection that
//! breaks never makes a write happen twice: it is `Unknown`, and nothing is sent again by itself but
//! what a server says it has not done. An owner whose server has restarted or was replaced is told
//! by `Regressed`. The page `docs/layouts/redis.md` has every key, what it costs, what a server that
//! fails over may lose, and the rights that a user needs.

mod append;
mod claim;
mod clock;
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
