//! Redis servers for tests, on Unix: real ones, started on free ports.
//!
//! | | lives as long as | for |
//! |---|---|---|
//! | [`shared`] | the test run | nearly every test |
//! | [`cluster`] | the test run | tests of a Redis Cluster of three masters |
//! | [`Private`] | the value | a test that kills, stops, restarts or configures its server |
//! | [`PrivateCluster`] | the value | a test that moves slots, or fails over |
//!
//! They are gone after the run, with their directories, also when it is killed. The program is
//! [`server_program`]'s. [`Connection`] speaks to a server without a client library:
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! let mut server = redis_servers::Private::start(&[("appendfsync", "always")])?;
//! server.address().connect()?.command(&["SET", "key", "value"])?;
//! server.kill()?;
//! server.restart()?;
//! let value = server.address().connect()?.command(&["GET", "key"])?;
//! assert_eq!(value.text(), Some("value"));
//! # Ok(())
//! # }
//! ```
#![cfg(unix)]

mod cluster;
mod config;
mod ports;
mod private;
mod private_cluster;
mod program;
mod resp;
mod shared;
mod wait;

pub use cluster::cluster;
pub use config::Address;
pub use private::Private;
pub use private_cluster::PrivateCluster;
pub use program::server_program;
pub use resp::{Connection, Reply};
pub use shared::shared;
