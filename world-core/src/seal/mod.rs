//! The only door between what the engine says (in clear) and what a World keeps (sealed).
//!
//! A [`Seal`] belongs to the engine, a [`LogSeal`] to one log; every log has its own key, made
//! from a master [`Key`]. `docs/sealing.md` has the bytes, and what is not protected.
//!
//! ```
//! # use world_core::{*, event::Event, seal::{Key, Keyring, Seal}};
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let seal = Seal::new("default", Keyring::new(Key::generate()));
//! let log = seal.fresh(LogId::Run(RunId::new("order-7")?)).await?;
//!
//! let event = Event::CancelRequested { reason: "sold out".into() };
//! let record = log.seal(Position::new(1), Timestamp::from_millis(5), &event)?;
//! assert_eq!(log.open(&record)?.event, event);
//!
//! let moved = Record { position: Position::new(2), ..record };
//! assert_eq!(log.open(&moved).unwrap_err().kind(), ErrorKind::Corrupt);
//! # Ok::<(), Error>(()) }).unwrap();
//! ```

mod buffer;
mod cipher;
mod compress;
mod envelope;
mod key;
mod keyring;
mod log;
mod plain;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub(crate) use buffer::Buffer;
pub use cipher::Cipher;
pub use compress::PLAIN_BYTES_MAX;
pub use key::Key;
pub use keyring::{KeyProvider, Keyring};
pub use log::LogSeal;
pub use plain::Plain;

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{KeyId, LogId},
    record::Sealed,
};
use cipher::Keyed;
use envelope::Envelope;

/// The key id of logs that are not encrypted.
const UNKEYED: &str = "none";

/// How an engine seals: its realm, and where its master keys come from.
#[derive(Clone)]
pub struct Seal {
    realm: Arc<str>,
    /// Without one, nothing is encrypted.
    keys: Option<Arc<dyn KeyProvider>>,
}

impl Seal {
    /// Seals with AES-256-GCM under these keys. The realm keeps the logs of engines apart that
    /// share a key; a copy of a store keeps its realm.
    #[must_use]
    pub fn new(realm: &str, keys: impl KeyProvider) -> Self {
        Self { realm: realm.into(), keys: Some(Arc::new(keys)) }
    }

    /// Encrypts nothing ([`Cipher::none`]): whoever reads the store reads the payloads.
    #[must_use]
    pub fn none(realm: &str) -> Self {
        Self { realm: realm.into(), keys: None }
    }

    /// The cipher of every record.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        match self.keys {
            Some(_) => Cipher::Aes256Gcm,
            None => Cipher::none(),
        }
    }

    /// The seal of a new log, under the active key.
    ///
    /// # Errors
    /// What the [`KeyProvider`] says.
    pub async fn fresh(&self, log: LogId) -> Result<LogSeal> {
        match &self.keys {
            Some(keys) => match keys.active().await {
                Ok(key) => Ok(self.keyed(log, &key)),
                Err(error) => Err(error.log(log)),
            },
            None => Ok(self.unkeyed(log)),
        }
    }

    /// The seal of a log that is there, under the key that its first record names.
    ///
    /// # Errors
    /// As [`Seal::under`]; also [`ErrorKind::Corrupt`] and
    /// [`ErrorKind::Unsupported`] when the record cannot be read, and
    /// [`ErrorKind::Key`] when its cipher is not the engine's.
    ///
    /// ```
    /// # use world_core::{*, event::Event, seal::{Key, Keyring, Seal}};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (old, new) = (Key::generate(), Key::generate());
    /// let log = LogId::Run(RunId::new("order-7")?);
    /// let before = Seal::new("default", Keyring::new(old.clone())).fresh(log.clone()).await?;
    /// let event = Event::RunCancelled { reason: "sold out".into() };
    /// let first = before.seal(Position::new(1), Timestamp::ZERO, &event)?;
    ///
    /// let rotated = Seal::new("default", Keyring::new(new).with_old(old.clone())?);
    /// let after = rotated.of(log, &first.body).await?;
    /// assert_eq!(after.key_id(), old.id());
    /// assert_eq!(after.open(&first)?.event, event);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    pub async fn of(&self, log: LogId, first: &Sealed) -> Result<LogSeal> {
        let parsed = Envelope::parse(first.as_bytes()).and_then(|envelope| {
            log::check_cipher(self.cipher(), &envelope)?;
            KeyId::new(envelope.key_id)
        });
        match parsed {
            Ok(id) => self.under(log, &id).await,
            Err(error) => Err(error.log(log)),
        }
    }

    /// The seal of a log under the key with this id: a run's streams have the run's.
    ///
    /// # Errors
    /// [`ErrorKind::Key`], naming key and run, when there is no such key; what else the
    /// [`KeyProvider`] says.
    pub async fn under(&self, log: LogId, key: &KeyId) -> Result<LogSeal> {
        match &self.keys {
            Some(keys) => match keys.key(key).await {
                Ok(found) if found.id() == key => Ok(self.keyed(log, &found)),
                Ok(found) => {
                    let what = format!("asked for the key {key}, its provider gave {}", found.id());
                    Err(Error::new(ErrorKind::Key, what).log(log))
                }
                Err(error) => Err(error.log(log)),
            },
            None if key.as_str() == UNKEYED => Ok(self.unkeyed(log)),
            None => Err(Error::new(ErrorKind::Key, format!("no key set, and this needs {key}"))
                .log(log)
                .help("give the engine its keys")),
        }
    }

    fn keyed(&self, log: LogId, key: &Key) -> LogSeal {
        let keyed = Keyed::aes_256_gcm(key, &self.realm, &log);
        LogSeal::new(log, &self.realm, key.id().clone(), keyed)
    }

    fn unkeyed(&self, log: LogId) -> LogSeal {
        LogSeal::new(log, &self.realm, KeyId::made(UNKEYED.to_owned()), Keyed::None)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("realm", &self.realm)
            .field("cipher", &self.cipher())
            .field("keys", &self.keys)
            .finish()
    }
}
