//! Where a World is kept, and how a script gets there.
//!
//! The library's own client for a Cluster sends again what may have been done already, and does
//! not say which server answered. A claim must not be sent twice, and an owner must know when
//! another server answers than before; so here each node is a [`One`], and redirections are
//! followed by what a server says it has *not* done.

mod check;
mod cluster;
mod confirm;
mod link;
mod one;

use std::{sync::Arc, time::Duration};

use redis::{Client, Cmd, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::{Instant, sleep};
use world_core::Result;

use crate::{
    error::{Stage, explain, nonsense, uncertain},
    keys::Key,
    listeners::Listeners,
    options::Options,
    script::Call,
    url::Place,
};

use cluster::Cluster;
pub(crate) use link::{Link, Source};
use one::Maker;
pub(crate) use one::One;

/// Redirections that one command follows.
const REDIRECTIONS_MAX: u32 = 8;
/// The first pause before a command that came in the middle of a slot's move is sent again.
const AGAIN_MIN: Duration = Duration::from_millis(5);
/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_millis(200);

/// One server, or a Cluster of them.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    options: Options,
}

#[derive(Debug)]
enum Kind {
    One(Arc<One>),
    Cluster(Box<Cluster>),
}

/// What a command is sent to: where, and whether it was sent there by another.
struct Target {
    one: Arc<One>,
    is_asked: bool,
}

impl Server {
    /// Connects, and checks that the store can keep the contract.
    pub(crate) async fn connect(
        place: Place,
        options: Options,
        listeners: &Arc<Listeners>,
    ) -> Result<Self> {
        let maker = Maker::new(options.clone(), Arc::clone(listeners));
        let kind = match place {
            Place::Server(info) => {
                let client = Client::open(*info).map_err(|error| explain(Stage::Connect, error))?;
                let one = maker.one(client, false)?;
                one.first_link().await?;
                Kind::One(Arc::new(one))
            }
            Place::Cluster(nodes) => Kind::Cluster(Box::new(Cluster::connect(maker, nodes).await?)),
        };
        Ok(Self { kind, options })
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster(_))
    }

    /// Runs a script that changes nothing.
    pub(crate) async fn read<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        self.run(Stage::Read, call, |_| Ok(())).await.map(|(answer, _)| answer)
    }

    /// Runs a script that changes something.
    pub(crate) async fn write<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        self.run(Stage::Write, call, |_| Ok(())).await.map(|(answer, _)| answer)
    }

    /// Runs a script on a connection that `may` allow; gives that connection, too.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        stage: Stage,
        call: &Call,
        may: impl Fn(&Link) -> Result<()>,
    ) -> Result<(T, Link)> {
        let key = call.key.as_slice();
        let deadline = Instant::now() + self.options.response_timeout;
        let (mut target, mut redirections, mut pause) = (self.target(key).await?, 0, AGAIN_MIN);
        loop {
            let mut link = match target.one.link().await {
                Ok(link) => link,
                Err(error) => return Err(self.failed(&target, error)),
            };
            may(&link)?;
            let answer =
                if target.is_asked { link.asked(call).await } else { link.call(call).await };
            let Err(error) = &answer else { return self.conclude(&target, stage, &link, answer) };
            match error.kind() {
                // None of these has happened.
                redis::ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask)
                    if redirections < REDIRECTIONS_MAX
                        && let Some(other) = self.redirected(&target, error)? =>
                {
                    redirections += 1;
                    target = other;
                }
                redis::ErrorKind::Server(ServerErrorKind::TryAgain)
                    if Instant::now() + pause < deadline =>
                {
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_MAX);
                    target = self.target(key).await?;
                }
                _ => return self.conclude(&target, stage, &link, answer),
            }
        }
    }

    /// Sends a command of a key's server that may be sent twice.
    pub(crate) async fn send<T: FromRedisValue>(
        &self,
        stage: Stage,
        key: &[u8],
        command: &Cmd,
    ) -> Result<T> {
        let target = self.target(key).await?;
        let mut link = match target.one.link().await {
            Ok(link) => link,
            Err(error) => return Err(self.failed(&target, error)),
        };
        let answer = link.send(command).await;
        self.conclude(&target, stage, &link, answer).map(|(answer, _)| answer)
    }

    /// Waits until as many replicas as were asked for have all that this connection's server has
    /// written so far; a key of that server is written for it.
    pub(crate) async fn confirm(&self, link: &Link, key: impl FnOnce() -> Vec<u8>) -> Result<()> {
        if self.options.wait_replicas == 0 {
            return Ok(());
        }
        let confirmed = link.confirmed(key(), &self.options).await;
        uncertain(confirmed, self.options.wait_replicas)
    }

    /// Subscribes to channels, on a connection to the server of a key that does nothing else: what
    /// is published anywhere in a Cluster is heard everywhere.
    pub(crate) async fn subscribe(
        &self,
        key: &[u8],
        listeners: &Listeners,
        channels: &[Key],
    ) -> Result<()> {
        let target = self.target(key).await?;
        let subscribed = listeners.subscribe(target.one.ear(), channels).await;
        subscribed.map_err(|error| self.failed(&target, error))
    }

    /// The connection that there is to the server of a key, if there is one.
    pub(crate) fn known_link(&self, key: &[u8]) -> Option<Link> {
        match &self.kind {
            Kind::One(one) => one.current(),
            Kind::Cluster(cluster) => cluster.known(key)?.current(),
        }
    }

    /// The server of a key, as far as one knows.
    async fn target(&self, key: &[u8]) -> Result<Target> {
        let one = match &self.kind {
            Kind::One(one) => Arc::clone(one),
            Kind::Cluster(cluster) => cluster.owner(key).await?,
        };
        Ok(Target { one, is_asked: false })
    }

    /// Where a server says that the slot has moved, or is moving.
    fn redirected(&self, by: &Target, error: &RedisError) -> Result<Option<Target>> {
        let (Kind::Cluster(cluster), Some((address, slot))) = (&self.kind, error.redirect_node())
        else {
            return Ok(None);
        };
        let is_asked = error.kind() == redis::ErrorKind::Server(ServerErrorKind::Ask);
        let one = cluster.redirected(&by.one, address, (!is_asked).then_some(slot))?;
        Ok(one.map(|one| Target { one, is_asked }))
    }

    /// What came of a command; a connection that is of no more use is given up.
    fn conclude<T: FromRedisValue>(
        &self,
        target: &Target,
        stage: Stage,
        link: &Link,
        answer: RedisResult<Value>,
    ) -> Result<(T, Link)> {
        match answer {
            // The words of an error here would repeat the answer.
            Ok(value) => match T::from_redis_value(value) {
                Ok(answer) => Ok((answer, link.clone())),
                Err(_) => Err(nonsense()),
            },
            Err(error) if is_broken(&error) => {
                target.one.give_up(link);
                Err(self.failed(target, explain(stage, error)))
            }
            Err(error) => Err(explain(stage, error)),
        }
    }

    /// Another node may have a slot by now, if this one cannot be reached.
    fn failed(&self, target: &Target, error: world_core::Error) -> world_core::Error {
        if let Kind::Cluster(cluster) = &self.kind {
            cluster.suspect(&target.one);
        }
        error
    }
}

/// Whether another connection might do better.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    use ServerErrorKind::{ClusterDown, MasterDown, ReadOnly};
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || matches!(error.kind(), redis::ErrorKind::Server(ReadOnly | ClusterDown | MasterDown))
}
