//! Waiting for replicas, many writes at once.
//!
//! `WAIT` holds up its connection, and speaks of what that connection has written. So it has one
//! of its own, which first writes a key: whatever the server wrote before that, it sends before it.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use tokio::sync::Mutex;
use world_core::{Error, ErrorKind, Result};

use crate::{
    error::{Stage, explain},
    options::Options,
};

use super::{
    check,
    check::{Identity, When},
};

/// The connection that waits, and up to which of those who wait it has waited.
pub(super) struct Confirming {
    client: Client,
    config: AsyncConnectionConfig,
    is_node: bool,
    came: AtomicU64,
    waited: Mutex<Waited>,
}

#[derive(Default)]
struct Waited {
    connection: Option<MultiplexedConnection>,
    /// The server at the end of the connection.
    server: Option<Identity>,
    up_to: u64,
    confirmed: u64,
}

impl Waited {
    /// Whether another has waited for this one, too: after it came, and on the server that wrote.
    fn is_for(&self, number: u64, server: &Identity) -> bool {
        self.up_to >= number && self.server.as_ref() == Some(server)
    }
}

impl Confirming {
    pub(super) fn new(client: Client, is_node: bool, options: &Options) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.wait_timeout + options.response_timeout));
        Self { client, config, is_node, came: AtomicU64::new(0), waited: Mutex::default() }
    }

    /// How many replicas have what this server had written when this began. An error says that one
    /// does not know.
    pub(super) async fn confirmed(
        &self,
        key: Vec<u8>,
        server: &Identity,
        options: &Options,
    ) -> Result<u64> {
        let number = self.came.fetch_add(1, Ordering::AcqRel) + 1;
        let mut waited = self.waited.lock().await;
        if waited.is_for(number, server) {
            return Ok(waited.confirmed);
        }
        let up_to = self.came.load(Ordering::Acquire);
        let kept = waited.connection.take().zip(waited.server.take());
        let (mut connection, at_its_end) = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        if at_its_end != *server {
            return Err(Error::new(ErrorKind::Unknown, "another server answers by now"));
        }
        let millis = u64::try_from(options.wait_timeout.as_millis()).unwrap_or(u64::MAX);
        let mut wait = redis::pipe();
        wait.cmd("SET").arg(key).arg("").arg("EX").arg(60).ignore();
        wait.cmd("WAIT").arg(options.wait_replicas).arg(millis);
        let answer: RedisResult<(u64,)> = wait.query_async(&mut connection).await;
        let (confirmed,) = answer.map_err(|error| explain(Stage::Unsure, error))?;
        let (connection, server) = (Some(connection), Some(at_its_end));
        *waited = Waited { connection, server, up_to, confirmed };
        Ok(confirmed)
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, Identity)> {
        let connecting = self.client.get_multiplexed_async_connection_with_config(&self.config);
        let mut connection = connecting.await.map_err(|error| explain(Stage::Connect, error))?;
        let identity = check::server(&mut connection, self.is_node, When::Reconnecting).await?;
        Ok((connection, identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_server_wrote_is_not_confirmed_by_another() {
        let [one, other] = ["one", "other"].map(Identity::of_run);
        let waited = Waited { connection: None, server: Some(one.clone()), up_to: 7, confirmed: 1 };
        assert!(waited.is_for(7, &one) && !waited.is_for(8, &one));
        assert!(!waited.is_for(7, &other));
        assert!(!Waited::default().is_for(0, &one));
    }
}
