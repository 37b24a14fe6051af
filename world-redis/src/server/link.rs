//! A connection that several tasks use at once.

use std::sync::Arc;

use redis::{Cmd, RedisError, RedisResult, ServerErrorKind, Value, aio::MultiplexedConnection};

use world_core::Result;

use crate::{options::Options, script::Call};

use super::{check::Identity, confirm::Confirming};

/// A connection to a server.
#[derive(Clone)]
pub(crate) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) confirming: Arc<Confirming>,
    pub(super) identity: Arc<Identity>,
    /// The server's address.
    pub(crate) address: Arc<str>,
    /// Which connection: each has a number above those made before it.
    pub(crate) number: u64,
    /// Which store is at its other end.
    pub(crate) source: Source,
}

/// A store that answers: another one may know less than was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The address.
    pub(crate) node: u64,
    /// How often something else has come to answer there.
    pub(super) lineage: u64,
}

impl Link {
    /// Runs a script; one that the server does not know has not run, and is sent whole.
    pub(super) async fn call(&mut self, call: &Call) -> RedisResult<Value> {
        match self.send(&call.command).await {
            Err(error) if is_unknown_script(&error) => self.send(&call.whole()).await,
            answer => answer,
        }
    }

    /// Runs a script where the keys of a moving slot are to be.
    pub(super) async fn asked(&mut self, call: &Call) -> RedisResult<Value> {
        match self.send_asking(call.command.clone()).await {
            Err(error) if is_unknown_script(&error) => self.send_asking(call.whole()).await,
            answer => answer,
        }
    }

    async fn send_asking(&mut self, command: Cmd) -> RedisResult<Value> {
        let mut asking = redis::pipe();
        asking.cmd("ASKING").ignore().add_command(command);
        let (answer,) = asking.query_async(&mut self.connection).await?;
        Ok(answer)
    }

    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        command.query_async(&mut self.connection).await
    }

    /// How many replicas have what was written on this server so far.
    pub(super) async fn confirmed(&self, key: Vec<u8>, options: &Options) -> Result<u64> {
        self.confirming.confirmed(key, &self.identity, options).await
    }

    /// Asks to be told what is published on these channels.
    pub(crate) async fn subscribe(&mut self, channels: &[Vec<u8>]) -> RedisResult<()> {
        self.connection.subscribe(channels).await
    }

    /// Asks to be told no more.
    pub(crate) async fn unsubscribe(&mut self, channels: &[Vec<u8>]) -> RedisResult<()> {
        self.connection.unsubscribe(channels).await
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}
