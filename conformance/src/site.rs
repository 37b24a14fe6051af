//! Where a World keeps its data.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

/// Where a World keeps its data: the same site is the same data, and sites share nothing.
///
/// A World of files takes [`dir`](Site::dir); one of a server takes [`name`](Site::name), as a
/// prefix of its keys or the name of its table.
#[derive(Clone, Debug)]
pub struct Site {
    name: Arc<str>,
    dir: Arc<Dir>,
}

#[derive(Debug)]
enum Dir {
    /// Removed with the last clone of the site.
    Own(TempDir),
    /// Another process's.
    Other(PathBuf),
}

impl Site {
    /// The variable that, when it is set, keeps the directories of sites.
    pub(crate) const KEEP: &'static str = "CONFORMANCE_KEEP";

    /// A site that nobody has used.
    pub(crate) fn fresh() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("w{:x}_{:x}_{number}", std::process::id(), since.as_micros());
        let mut dir = tempfile::Builder::new().prefix(&format!("conformance-{name}-")).tempdir()?;
        dir.disable_cleanup(std::env::var_os(Self::KEEP).is_some());
        Ok(Self { name: name.into(), dir: Arc::new(Dir::Own(dir)) })
    }

    /// The site of another process.
    pub(crate) fn of(name: &str, dir: PathBuf) -> Self {
        Self { name: name.into(), dir: Arc::new(Dir::Other(dir)) }
    }

    /// A name that no other site has, on this machine or on a server that several share: at most
    /// 64 bytes, of `a` to `z`, `0` to `9` and `_`, a letter first.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory that exists and that no other site has. It is removed after the case.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match &*self.dir {
            Dir::Own(dir) => dir.path(),
            Dir::Other(dir) => dir,
        }
    }
}
