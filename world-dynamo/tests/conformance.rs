//! The suite on a real server, in a table for each site.

mod support;

use dynamodb_servers::shared;

conformance::suite!(
    |site| async move {
        let endpoint = shared().map_err(|error| error.to_string())?;
        support::world(&dynamodb_servers::client(&endpoint), site.name())
            .await
            .map_err(|error| error.to_string())
    },
    dump = |site| async move {
        support::everything_in(&dynamodb_servers::client(&shared()?), site.name()).await
    },
    needs = || shared().map(drop),
);
