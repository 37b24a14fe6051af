//! How the suite comes by a World, and by what its store holds.

use std::{error::Error as StdError, fmt, fs, future::Future, io, path::Path, sync::Arc};

use futures::future::BoxFuture;
use world_core::World;

use crate::{
    failure::{Failure, Verdict, error_text},
    needs::Needs,
    part::Parts,
    settings::Settings,
    site::Site,
};

type Open = dyn Fn(Site) -> BoxFuture<'static, Result<Arc<dyn World>, String>> + Send + Sync;
type Dump = dyn Fn(Site) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync;

/// How the suite comes by a World.
#[derive(Clone)]
pub(crate) struct Factory {
    open: Arc<Open>,
    dump: Option<Arc<Dump>>,
    needs: Option<Needs>,
    parts: Option<Parts>,
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory")
            .field("dumps", &self.dump.is_some())
            .field("needs", &self.needs)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

fn text_of<E: Into<Box<dyn StdError + Send + Sync>>>(error: E) -> String {
    error_text(&*error.into())
}

impl Factory {
    pub(crate) fn new<F, Fut, W, E>(open: F) -> Self
    where
        F: Fn(Site) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<W, E>> + Send + 'static,
        W: World,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let open = move |site| -> BoxFuture<'static, _> {
            let opening = open(site);
            Box::pin(async move {
                opening.await.map(|world| Arc::new(world) as Arc<dyn World>).map_err(text_of)
            })
        };
        Self { open: Arc::new(open), dump: None, needs: None, parts: None }
    }

    pub(crate) fn dumped_by<F, Fut, E>(mut self, dump: F) -> Self
    where
        F: Fn(Site) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.dump = Some(Arc::new(move |site| {
            let dumping = dump(site);
            Box::pin(async move { dumping.await.map_err(text_of) })
        }));
        self
    }

    pub(crate) fn needing<F, E>(mut self, check: F) -> Self
    where
        F: Fn() -> Result<(), E> + Send + Sync + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.needs = Some(Needs::new(check));
        self
    }

    /// Says how this program is started again to play a part.
    pub(crate) fn played_by(mut self, parts: Parts) -> Self {
        self.parts = Some(parts);
        self
    }

    /// How this program is started again to play a part, if it can be.
    pub(crate) const fn parts(&self) -> Option<&Parts> {
        self.parts.as_ref()
    }

    /// Fails when what the World needs is missing.
    pub(crate) fn needs_met(&self, settings: &Settings) -> Verdict {
        self.needs.as_ref().map_or(Ok(()), |needs| needs.met(settings))
    }

    pub(crate) async fn open(&self, site: Site) -> Result<Arc<dyn World>, String> {
        (self.open)(site).await
    }

    /// What the hook gives; without one, the bytes of every file of the site.
    pub(crate) async fn dump(&self, site: Site) -> Verdict<Vec<u8>> {
        if let Some(dump) = &self.dump {
            return dump(site).await.map_err(|error| Failure::failed(format!("the dump: {error}")));
        }
        let mut bytes = Vec::new();
        read_files(site.dir(), &mut bytes)
            .map_err(|error| Failure::failed(format!("the files of the site: {error}")))?;
        if bytes.is_empty() {
            return Err(Failure::not_proven(
                "the World keeps no files in site.dir() and the suite was given no `dump`",
            ));
        }
        Ok(bytes)
    }
}

fn read_files(dir: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            read_files(&path, bytes)?;
        } else {
            bytes.extend(fs::read(&path)?);
        }
    }
    Ok(())
}
