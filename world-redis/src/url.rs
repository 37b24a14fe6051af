//! `redis:` URLs.

use redis::{ConnectionInfo, IntoConnectionInfo};
use world_core::{Error, ErrorKind, Result};

use crate::options::Options;

/// Where a World is kept.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// One server.
    Server(Box<ConnectionInfo>),
    /// Some nodes of a Cluster, of which the others are learnt.
    Cluster(Vec<ConnectionInfo>),
}

/// What a URL of a unix socket says after its `?` of the connection, and not of the World.
const OF_SOCKET: [&str; 3] = ["db", "user", "pass"];

/// Reads a URL: `redis://`, `rediss://`, `redis+unix://`, `redis-cluster://`, `rediss-cluster://`.
pub(crate) fn parse(url: &str) -> Result<(Place, Options)> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let Some((scheme, rest)) = place.split_once("://") else {
        return Err(refuse("not a redis: URL"));
    };
    if scheme.starts_with("rediss") {
        tls()?;
    }
    match scheme {
        "redis" | "rediss" => {
            if rest.is_empty() || rest.starts_with('/') {
                return Err(refuse("a URL without a host"));
            }
            let options = Options::parse(query)?; // first: it knows of a ? in a password
            Ok((Place::Server(Box::new(info(place)?)), options))
        }
        "redis+unix" => {
            let (socket, ours): (Vec<_>, Vec<_>) = query.split('&').partition(|pair| {
                OF_SOCKET.iter().any(|name| pair.split('=').next() == Some(*name))
            });
            let url = format!("{place}?{}", socket.join("&"));
            Ok((Place::Server(Box::new(info(&url)?)), Options::parse(&ours.join("&"))?))
        }
        "redis-cluster" | "rediss-cluster" => {
            let options = Options::parse(query)?;
            let (user, hosts) = match rest.rsplit_once('@') {
                Some((user, hosts)) => (format!("{user}@"), hosts),
                None => (String::new(), rest),
            };
            let scheme = scheme.trim_end_matches("-cluster");
            let hosts = hosts.trim_end_matches('/');
            if hosts.contains('/') {
                return Err(refuse("a Cluster has no numbered databases"));
            }
            let nodes = hosts.split(',').map(|host| {
                if host.is_empty() {
                    return Err(refuse("a URL without a host"));
                }
                info(&format!("{scheme}://{user}{host}"))
            });
            Ok((Place::Cluster(nodes.collect::<Result<_>>()?), options))
        }
        _ => Err(refuse("not a redis: URL")),
    }
}

/// Sees to it that TLS has its cryptography: what the program has installed, otherwise ring's.
#[cfg(feature = "tls")]
fn tls() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default(); // an error: there is one
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn tls() -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, "this build has no TLS")
        .help("switch on the feature tls of world-redis (redis-tls of world)"))
}

/// The library's errors about a URL repeat nothing of it.
fn info(url: &str) -> Result<ConnectionInfo> {
    let info = url.into_connection_info();
    let info = info.map_err(|error| refuse("a URL that cannot be read").source(error))?;
    if info.redis_settings().db() < 0 {
        return Err(refuse("a database whose number is below 0"));
    }
    Ok(info)
}

fn refuse(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, what).help(
        "write redis://user:password@host:6379/0, rediss:// for TLS, redis+unix:///run/redis.sock, \
         or redis-cluster://host:6379,host:6380 (rediss-cluster:// for TLS); options follow a ?",
    )
}
