//! DynamoDB servers for tests: real ones, started on free ports of this machine.
//!
//! | | lives as long as | for |
//! |---|---|---|
//! | [`shared`] | the test run | nearly every test |
//! | [`Private`] | the value | a test that kills its server and starts it again on its file |
//!
//! They are gone after the run, also when it is killed. The program is built from `tools/dynamodb`
//! by `tools/dynamodb-server`. With `WORLD_TEST_DYNAMODB=<endpoint>` the tests that share a server
//! use that one instead, with the region and the credentials of the environment.
#![cfg(unix)]

pub use aws_sdk_dynamodb;

mod client;
mod far;
mod meter;
mod private;
mod program;
mod shared;

pub use client::{builder, client, http};
pub use far::Far;
pub use meter::{Meter, Metered};
pub use private::Private;
pub use program::server_program;
pub use shared::shared;
