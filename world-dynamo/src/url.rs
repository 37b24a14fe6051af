//! `dynamodb:` URLs, and the client that one names.

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use world_core::{Error, ErrorKind, Result};

use crate::{error::NO_CREDENTIALS, options::Options};

/// Reads a URL: the table, and the options after a `?`.
pub(crate) fn parse(url: &str) -> Result<(String, Options)> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let table = place.strip_prefix("dynamodb://").ok_or_else(|| refuse("not a dynamodb: URL"))?;
    // As the service takes them: see CreateTable in its API reference.
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(3..=255).contains(&table.len()) || !table.bytes().all(is_good) {
        return Err(refuse("a URL without the name of a table"));
    }
    Ok((table.to_owned(), Options::parse(query)?))
}

/// A client by the standard chain: environment, profile, single sign-on, container, instance.
pub(crate) async fn client(options: &Options) -> Result<Client> {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = &options.region {
        chain = chain.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        chain = chain.endpoint_url(endpoint);
    }
    let config = chain.load().await;
    if config.region().is_none() {
        return Err(Error::new(ErrorKind::Invalid, "there is no region")
            .help("write dynamodb://table?region=eu-west-1, or set AWS_REGION"));
    }
    let (kind, what, help) = NO_CREDENTIALS;
    let none = || Error::new(kind, what).help(help);
    let credentials = config.credentials_provider().ok_or_else(none)?;
    credentials.provide_credentials().await.map_err(|error| none().source(error))?;
    Ok(Client::new(&config))
}

fn refuse(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, what).help(
        "write dynamodb://table?region=eu-west-1; a table's name has 3 to 255 letters, digits, - _ .",
    )
}
