//! The DynamoDB World: durable execution without servers to run.
//!
//! A log is one item, its *head item*, that holds all that a store must know of it and its last
//! records; the records before them lie in immutable *batch items*. Every change is one conditional
//! write of the head item, which replaces exactly the item that was seen, and what it is to become is
//! decided by [`world_core::head`]. The page `docs/layouts/dynamo.md` has every key, attribute and
//! index, what each call costs, and where the limits are.

mod append;
mod batch;
mod claim;
mod copy;
mod delete;
mod error;
mod item;
mod keys;
mod known;
mod list;
mod options;
mod read;
mod request;
mod store;
mod table;
mod turns;
#[cfg(feature = "url")]
mod url;
mod wait;
mod world;
mod write;

pub use aws_sdk_dynamodb;
use world_core::Limits;

pub use options::{Options, POLL_MAX, SHARDS_MAX, TIMEOUT_MAX};
pub use world::DynamoWorld;

/// What one append may hold here. A record goes into one item, of at most 400 KB.
pub const LIMITS: Limits =
    Limits { records_max: 1024, record_bytes_max: 384 << 10, append_bytes_max: 2 << 20 };
