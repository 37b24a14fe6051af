//! Where the runs of one measurement are kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dynamodb_servers::Metered;
use world_core::{Engine, EngineBuilder, Kind, LogId, MemoryWorld, RunId, World, WorldExt};
use world_redis::RedisWorld;
use world_sqlite::{Options, SqliteWorld, Synchronous};

use crate::{
    args::{CaseArgs, Sync, WorldName},
    dynamo::Place,
    redis,
};

/// The store of one measurement.
pub(crate) enum Store {
    Memory(MemoryWorld),
    File(PathBuf, Options),
    Redis(String),
    Dynamo(Place),
}

/// How many bytes the store was given: what the limit writes too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes {
    /// Of the results, run by run.
    pub(crate) runs: Vec<Vec<usize>>,
}

impl Store {
    pub(crate) fn new(case: &CaseArgs, dir: &Path) -> Result<Self> {
        Ok(match case.world {
            WorldName::Memory => Self::Memory(MemoryWorld::new()),
            WorldName::Sqlite => {
                let synchronous = match case.sync {
                    Sync::Full => Synchronous::Full,
                    Sync::Normal => Synchronous::Normal,
                };
                Self::File(dir.join("world.db"), Options::new().synchronous(synchronous))
            }
            WorldName::Redis => Self::Redis(case.redis.clone().context("no Redis server")?),
            WorldName::Dynamo => {
                let endpoint = case.dynamo.as_deref().context("no DynamoDB server")?;
                Self::Dynamo(Place::new(endpoint, case.table.clone()).away(case.away()))
            }
        })
    }

    /// The same, with what its requests cost counted, where the store says it.
    pub(crate) fn metered(self) -> Self {
        match self {
            Self::Dynamo(place) => Self::Dynamo(place.metered()),
            other => other,
        }
    }

    /// What the requests have cost since the last time, if it is counted.
    pub(crate) fn cost(&self) -> Option<Metered> {
        match self {
            Self::Dynamo(place) => place.cost(),
            _ => None,
        }
    }

    /// Makes what is not made by opening it: a Redis database is emptied, and a table made.
    pub(crate) async fn make(&self) -> Result<()> {
        match self {
            Self::Redis(url) => redis::empty(url),
            Self::Dynamo(place) => place.make().await,
            Self::Memory(_) | Self::File(..) => Ok(()),
        }
    }

    /// Removes what does not go with the directory of the measurement.
    pub(crate) async fn remove(&self) -> Result<()> {
        match self {
            Self::Dynamo(place) => place.remove().await,
            _ => Ok(()),
        }
    }

    /// The flags of another process on the same store.
    pub(crate) fn shared(&self, case: &CaseArgs, dir: &Path) -> CaseArgs {
        let table = match self {
            Self::Dynamo(place) => Some(place.table.clone()),
            _ => None,
        };
        CaseArgs { dir: dir.to_owned(), table, ..case.clone() }
    }

    pub(crate) async fn builder(&self) -> Result<EngineBuilder> {
        Ok(match self {
            Self::Memory(world) => Engine::builder(world.clone()),
            Self::File(path, options) => Engine::builder(SqliteWorld::open(path, *options)?),
            Self::Redis(url) => Engine::builder(RedisWorld::connect(url).await?),
            Self::Dynamo(place) => Engine::builder(place.world().await?),
        })
    }

    /// A handle of its own, to look at what was written.
    pub(crate) async fn world(&self) -> Result<Box<dyn World>> {
        Ok(match self {
            Self::Memory(world) => Box::new(world.clone()),
            Self::File(path, options) => Box::new(SqliteWorld::open(path, *options)?),
            Self::Redis(url) => Box::new(RedisWorld::connect(url).await?),
            Self::Dynamo(place) => Box::new(place.world().await?),
        })
    }

    /// The bytes of every result of these runs.
    pub(crate) async fn sizes_of(&self, runs: impl IntoIterator<Item = String>) -> Result<Sizes> {
        let world = self.world().await?;
        let mut sizes = Sizes::default();
        for run in runs {
            let log = world.read_all(&LogId::Run(RunId::new(run)?)).await?;
            let results = log.records.iter().filter(|record| record.kind == Kind::STEP_COMPLETED);
            sizes.runs.push(results.map(|record| record.body.as_bytes().len()).collect());
        }
        Ok(sizes)
    }
}
