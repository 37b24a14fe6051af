//! Where master keys come from when a run needs one.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::key::Key;
use crate::{
    error::{Error, ErrorKind, Result},
    ids::KeyId,
};

/// Gives master keys: the environment, a file, a key management service.
///
/// It is asked once for a log, not for a record, so it may take its time; a slow one should keep
/// what it has fetched.
///
/// ```
/// # use world_core::*;
/// # use std::sync::Arc;
/// use world_core::seal::{Key, KeyProvider};
///
/// /// Asks a service for keys, by their ids.
/// #[derive(Debug)]
/// struct Service { active: KeyId }
///
/// #[async_trait::async_trait]
/// impl KeyProvider for Service {
///     async fn active(&self) -> Result<Arc<Key>> {
///         self.key(&self.active).await
///     }
///     async fn key(&self, id: &KeyId) -> Result<Arc<Key>> {
///         let bits = [7; 32]; // fetched, and kept for a while
///         Ok(Arc::new(Key::from_bytes(id.clone(), bits)))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let keys = Service { active: KeyId::new("2026")? };
/// let engine = Engine::builder(MemoryWorld::new()).keys(keys).build()?;
/// # drop(engine);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// The key that seals new logs.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when there is none, [`ErrorKind::Unavailable`] when it may be there later.
    async fn active(&self) -> Result<Arc<Key>>;

    /// The key with this id, active or not.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when there is none, [`ErrorKind::Unavailable`] when it may be there later.
    async fn key(&self, id: &KeyId) -> Result<Arc<Key>>;
}

#[async_trait]
impl<P: KeyProvider + ?Sized> KeyProvider for Arc<P> {
    async fn active(&self) -> Result<Arc<Key>> {
        (**self).active().await
    }

    async fn key(&self, id: &KeyId) -> Result<Arc<Key>> {
        (**self).key(id).await
    }
}

/// Master keys in memory: one seals new logs, all open theirs.
///
/// ```
/// # use world_core::seal::{Key, Keyring};
/// let old = Key::generate();
/// let keys = Keyring::new(Key::generate()).with_old(old)?;
/// # Ok::<(), world_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Keyring {
    active: Arc<Key>,
    old: Vec<Arc<Key>>,
}

impl Keyring {
    /// A keyring with one key, which seals new logs.
    #[must_use]
    pub fn new(active: Key) -> Self {
        Self { active: Arc::new(active), old: Vec::new() }
    }

    /// Adds a key that opens the logs it has sealed, and seals what is appended to them.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when another key has the same id.
    pub fn with_old(mut self, key: Key) -> Result<Self> {
        match self.find(key.id()) {
            Some(there) if **there == key => {}
            Some(_) => {
                let what = format!("two different keys with the id {}", key.id());
                return Err(Error::new(ErrorKind::Key, what).help("give each key its own id"));
            }
            None => self.old.push(Arc::new(key)),
        }
        Ok(self)
    }

    fn find(&self, id: &KeyId) -> Option<&Arc<Key>> {
        std::iter::once(&self.active).chain(&self.old).find(|key| key.id() == id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old: Vec<_> = self.old.iter().map(|key| key.id()).collect();
        f.debug_struct("Keyring").field("active", self.active.id()).field("old", &old).finish()
    }
}

impl From<Key> for Keyring {
    fn from(key: Key) -> Self {
        Self::new(key)
    }
}

#[async_trait]
impl KeyProvider for Keyring {
    async fn active(&self) -> Result<Arc<Key>> {
        Ok(self.active.clone())
    }

    async fn key(&self, id: &KeyId) -> Result<Arc<Key>> {
        self.find(id).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Key, format!("the key {id} is not in the keyring"))
                .help("add it with Keyring::with_old: a run keeps the key of its first record")
        })
    }
}
