//! One server, and the one connection to it.

use std::sync::{Arc, Mutex, PoisonError};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, io::tcp::TcpSettings,
};
use world_core::Result;

use crate::{
    error::{Stage, explain},
    listeners::Listeners,
    options::Options,
};

use super::{Link, Wire, check};

/// One server, and how to connect to it again.
pub(super) struct One {
    client: Client,
    config: AsyncConnectionConfig,
    current: Mutex<Option<Link>>,
    /// Held while a connection is made, so that it is made once; and what is known of the last.
    last: tokio::sync::Mutex<Last>,
}

#[derive(Default)]
struct Last {
    number: u64,
    lineage: u64,
    identity: Option<check::Identity>,
}

/// Each command is sent at once: by default the library lets the system wait for more to send.
pub(super) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

impl One {
    pub(super) fn new(
        info: &ConnectionInfo,
        options: &Options,
        listeners: &Arc<Listeners>,
    ) -> Result<Self> {
        // What is published arrives on the same connection, which RESP3 is for.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.clone().set_redis_settings(settings).set_tcp_settings(tcp_settings());
        let client = Client::open(info).map_err(|error| explain(Stage::Connect, error))?;
        let listeners = Arc::clone(listeners);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout))
            .set_push_sender(move |push: PushInfo| {
                listeners.hear(&push);
                Ok::<(), std::convert::Infallible>(())
            });
        Ok(Self { client, config, current: Mutex::default(), last: tokio::sync::Mutex::default() })
    }

    /// The connection there is, or a new one.
    pub(super) async fn link(&self) -> Result<Link> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let mut last = self.last.lock().await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await
            .map_err(|error| explain(Stage::Connect, error))?;
        let identity = check::server(&mut connection, last.identity.is_some()).await?;
        last.number += 1;
        if last.identity.replace(identity.clone()).is_some_and(|before| before != identity) {
            // It was started anew, or another has taken its place.
            last.lineage += 1;
            tracing::warn!("another Redis server answers: what it does not know was lost");
        }
        let link = Link { wire: Wire::One(connection), number: last.number, lineage: last.lineage };
        *self.lock() = Some(link.clone());
        Ok(link)
    }

    /// Gives a connection up, if it is still the one there is.
    pub(super) fn give_up(&self, number: u64) {
        self.lock().take_if(|link| link.number == number);
    }

    fn current(&self) -> Option<Link> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
