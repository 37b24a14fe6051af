//! What is wrong with a URL, a user, a server or what is stored is said with a kind, the place and
//! what to do; nothing is half-written, and the World works again when the cause is gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod address;
mod cluster;
mod keys;
mod kit;
mod prefixes;
mod replicas;
mod server;
mod stored;
mod trouble;
mod urls;
mod users;
