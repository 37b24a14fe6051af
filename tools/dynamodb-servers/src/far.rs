//! A server that is far away: each request takes longer to it, and nothing else changes.

use std::time::Duration;

use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::HttpRequest,
        runtime_components::RuntimeComponents,
    },
    shared::IntoShared,
};

/// An HTTP client whose requests take so much longer than another's.
#[derive(Clone, Debug)]
pub struct Far {
    near: SharedHttpClient,
    away: Duration,
}

impl Far {
    /// The same client, so much further away.
    #[must_use]
    pub const fn new(near: SharedHttpClient, away: Duration) -> Self {
        Self { near, away }
    }
}

impl HttpClient for Far {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let near = self.near.http_connector(settings, components);
        FarConnector { near, away: self.away }.into_shared()
    }
}

#[derive(Debug)]
struct FarConnector {
    near: SharedHttpConnector,
    away: Duration,
}

impl HttpConnector for FarConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (near, away) = (self.near.clone(), self.away);
        HttpConnectorFuture::new(async move {
            tokio::time::sleep(away).await;
            near.call(request).await
        })
    }
}
