//! From a URL to a World.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use world_core::{Error, ErrorKind, MemoryWorld, Result, World};

/// The longest scheme that an error repeats, in bytes.
const SCHEME_SHOWN_MAX: usize = 32;

/// What a [`Connector`]'s function returns.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn World>>> + Send + 'a>>;

/// Opens the World that a URL names.
///
/// | URL | World | feature |
/// |---|---|---|
/// | `sqlite://runs.db` | a file, relative to the working directory | `sqlite` |
/// | `sqlite:///var/lib/runs.db` | a file, by its absolute path | `sqlite` |
/// | `sqlite::memory:` | SQLite in memory, on one connection | `sqlite` |
/// | `redis://user:password@host:6379/0` | a Redis or Valkey server | `redis` |
/// | `redis+unix:///run/redis.sock` | the same, by its socket | `redis` |
/// | `redis-cluster://host:6379,other:6379` | a Redis Cluster, by some of its nodes | `redis` |
/// | `rediss://host:6379`, `rediss-cluster://…` | the same over TLS | `redis-tls` |
/// | `dynamodb://table?region=eu-west-1` | a table of Amazon DynamoDB | `dynamo` |
/// | `memory:` | plain memory, a new World each time | |
///
/// Options follow a `?`: `sqlite://runs.db?synchronous=normal`, `redis://host?prefix=app`. For
/// schemes of your own, see [`Connectors`].
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a scheme that this build does not have: the error names the
/// feature to switch on, or lists the schemes there are. [`ErrorKind::Invalid`] for a URL without a
/// scheme, with an unknown option, or that names nothing; the error lists what may be written.
/// Otherwise, those of opening the World. No error repeats more of a URL than its scheme and the
/// name of an option.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> world::Result<()> {
/// let world = world::connect("memory:").await?;
/// assert_eq!(world.info().name, "memory");
///
/// let error = world::connect("etcd://10.0.0.7").await.unwrap_err();
/// assert_eq!(error.kind(), world::ErrorKind::Unsupported);
/// # Ok(()) }
/// ```
pub async fn connect(url: &str) -> Result<Arc<dyn World>> {
    Connectors::default().connect(url).await
}

/// A URL scheme, and how the World behind such a URL is opened.
///
/// A crate with a World offers one as a constant:
///
/// ```
/// use std::sync::Arc;
/// use world::{Connecting, Connector, Connectors, MemoryWorld, World};
///
/// pub const TOY: Connector = Connector::new("toy", connect);
///
/// fn connect(_url: &str) -> Connecting<'_> {
///     Box::pin(async { Ok(Arc::new(MemoryWorld::new()) as Arc<dyn World>) })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> world::Result<()> {
/// let world = Connectors::default().with(TOY).connect("toy://box").await?;
/// # drop(world);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Connector {
    scheme: &'static str,
    connect: for<'a> fn(&'a str) -> Connecting<'a>,
}

impl Connector {
    /// A connector for this scheme: a lower-case letter, then lower-case letters, digits, `+`, `-`
    /// and `.`. The function is given the whole URL.
    ///
    /// # Panics
    /// For another scheme; where the connector is a constant, that does not compile.
    ///
    /// ```compile_fail,E0080
    /// # fn connect(_url: &str) -> world::Connecting<'_> { unimplemented!() }
    /// const WRONG: world::Connector = world::Connector::new("toy://", connect);
    /// # let _ = WRONG;
    /// ```
    #[must_use]
    pub const fn new(scheme: &'static str, connect: for<'a> fn(&'a str) -> Connecting<'a>) -> Self {
        assert!(is_scheme(scheme), "a scheme is a lower-case letter, then these, digits, + - .");
        Self { scheme, connect }
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({}:)", self.scheme)
    }
}

/// Plain memory.
const MEMORY: Connector = Connector::new("memory", |url| Box::pin(async move { memory(url) }));

/// A file of SQLite's.
#[cfg(feature = "sqlite")]
const SQLITE: Connector = Connector::new("sqlite", |url| Box::pin(sqlite(url)));

/// Redis, in each way in which one reaches it.
#[cfg(feature = "redis")]
const REDIS: [Connector; 5] = {
    const fn reached_by(scheme: &'static str) -> Connector {
        Connector::new(scheme, |url| Box::pin(redis(url)))
    }
    [
        reached_by("redis"),
        reached_by("redis+unix"),
        reached_by("redis-cluster"),
        reached_by("rediss"),
        reached_by("rediss-cluster"),
    ]
};

/// A table of DynamoDB.
#[cfg(feature = "dynamo")]
const DYNAMO: Connector = Connector::new("dynamodb", |url| Box::pin(dynamo(url)));

/// The schemes of this project that are not in every build, and the feature that each one needs.
const OPTIONAL: [(&str, &str); 7] = [
    ("sqlite", "sqlite"),
    ("redis", "redis"),
    ("redis+unix", "redis"),
    ("redis-cluster", "redis"),
    ("rediss", "redis-tls"),
    ("rediss-cluster", "redis-tls"),
    ("dynamodb", "dynamo"),
];

/// The schemes that [`connect`](Connectors::connect) knows; by default, those compiled in.
///
/// ```
/// # use world::Connectors;
/// let schemes: Vec<_> = Connectors::default().schemes().collect();
/// assert!(schemes.contains(&"memory"));
/// ```
#[derive(Clone, Debug)]
pub struct Connectors {
    known: Vec<Connector>,
}

impl Default for Connectors {
    fn default() -> Self {
        let known = vec![
            MEMORY,
            #[cfg(feature = "sqlite")]
            SQLITE,
            #[cfg(feature = "dynamo")]
            DYNAMO,
        ];
        #[cfg(feature = "redis")]
        let known = [known, REDIS.to_vec()].concat();
        Self { known }
    }
}

impl Connectors {
    /// Adds a scheme; it takes the place of an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, connector: Connector) -> Self {
        self.known.retain(|known| known.scheme != connector.scheme);
        self.known.push(connector);
        self
    }

    /// The schemes, in the order in which they were added.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().map(Connector::scheme)
    }

    /// Opens the World that a URL names.
    ///
    /// # Errors
    /// Those of [`connect`](connect()), and those of the connector.
    pub async fn connect(&self, url: &str) -> Result<Arc<dyn World>> {
        let Some(scheme) = scheme(url) else {
            return Err(Error::new(ErrorKind::Invalid, "a URL without a scheme")
                .help(format!("{}, as in sqlite://runs.db", self.written())));
        };
        match self.known.iter().find(|known| known.scheme == scheme) {
            Some(connector) => (connector.connect)(url).await,
            None => Err(self.unknown(scheme)),
        }
    }

    fn unknown(&self, scheme: &str) -> Error {
        let unsupported = |what: String| Error::new(ErrorKind::Unsupported, what);
        match OPTIONAL.iter().find(|(name, _)| *name == scheme) {
            Some((_, feature)) => {
                unsupported(format!("{scheme}: URLs need the feature {feature}, which is off"))
                    .help(format!("add features = [\"{feature}\"] to the dependency on world"))
            }
            None => unsupported(format!("no World has the scheme {scheme}:")).help(self.written()),
        }
    }

    fn written(&self) -> String {
        let known: Vec<_> = self.schemes().map(|scheme| format!("{scheme}:")).collect();
        format!("this build knows {}", known.join(" and "))
    }
}

/// What stands before the first colon, if it is certainly a scheme and no user name or password.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    let is_clear = rest.starts_with("//") || !rest.contains('@');
    (is_scheme(scheme) && scheme.len() <= SCHEME_SHOWN_MAX && is_clear).then_some(scheme)
}

/// RFC 3986, section 3.1, in lower case.
const fn is_scheme(text: &str) -> bool {
    let mut rest = text.as_bytes();
    match rest {
        [b'a'..=b'z', ..] => {}
        _ => return false,
    }
    while let [first, others @ ..] = rest {
        if !matches!(first, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.') {
            return false;
        }
        rest = others;
    }
    true
}

fn memory(url: &str) -> Result<Arc<dyn World>> {
    let invalid =
        |what: String| Err(Error::new(ErrorKind::Invalid, what).help("write memory: alone"));
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    if place != "memory:" {
        return invalid("a memory: URL that names something".to_owned());
    }
    if query.is_empty() {
        return Ok(Arc::new(MemoryWorld::new()));
    }
    let option = query.split(['=', '&']).next().unwrap_or(query);
    invalid(format!("memory: has no options, and so no {option:?}"))
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Arc<dyn World>> {
    Ok(Arc::new(world_redis::RedisWorld::connect(url).await?))
}

#[cfg(feature = "dynamo")]
async fn dynamo(url: &str) -> Result<Arc<dyn World>> {
    Ok(Arc::new(world_dynamo::DynamoWorld::connect(url).await?))
}

/// Opens the file where it may block; outside a tokio runtime, here.
#[cfg(feature = "sqlite")]
async fn sqlite(url: &str) -> Result<Arc<dyn World>> {
    let owned = url.to_owned();
    let open = move || world_sqlite::SqliteWorld::connect(&owned);
    let world = match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(open).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "opening the database was cut short").source(error)
        })?,
        Err(_) => open(),
    };
    Ok(Arc::new(world?))
}

#[cfg(test)]
mod tests;
