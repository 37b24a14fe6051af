//! A client of a test's server.

use std::env;

use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Builder, Credentials, Region, SharedHttpClient},
};
use aws_smithy_http_client::{
    Builder as Http,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// A client of the server at this endpoint.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    Client::from_conf(builder(endpoint).build())
}

/// How that client is set up, for a test that changes something of it. The region and the
/// credentials are those of the environment, or else any: a server of ours asks for none.
#[must_use]
pub fn builder(endpoint: &str) -> Builder {
    let variable = |name: &str, other: &str| env::var(name).unwrap_or_else(|_| other.to_owned());
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID", "test"),
        variable("AWS_SECRET_ACCESS_KEY", "test"),
        env::var("AWS_SESSION_TOKEN").ok(),
        None,
        "tests",
    );
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_REGION", "eu-west-1")))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .http_client(http())
}

/// The HTTP client of that client.
#[must_use]
pub fn http() -> SharedHttpClient {
    Http::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
