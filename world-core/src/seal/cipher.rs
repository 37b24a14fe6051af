//! The ciphers, and the key of each log.

use std::fmt;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{
    envelope::{NONCE_BYTES, Parts, TAG_BYTES},
    key::Key,
};
use crate::ids::LogId;

/// How bodies are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cipher {
    /// Not at all: a body is readable by whoever reads the store. A checksum finds damage, and no
    /// attacker.
    None,
    /// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
    Aes256Gcm,
}

impl Cipher {
    /// No encryption, asked for by name.
    #[must_use]
    pub const fn none() -> Self {
        Self::None
    }

    /// The number it has in an envelope; never reused.
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Aes256Gcm => 1,
        }
    }

    pub(super) const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Aes256Gcm => "AES-256-GCM",
        })
    }
}

/// A cipher with the key of one log.
pub(super) enum Keyed {
    None,
    // The round keys take 240 bytes and more, and are wiped on drop.
    Aes256Gcm(Box<Aes256Gcm>),
}

/// The tag does not fit, or the text is longer than the cipher takes.
pub(super) struct Refused;

impl Keyed {
    /// The cipher of a log: HKDF-SHA-256 (RFC 5869) of the master key, bound to the log's name.
    pub(super) fn aes_256_gcm(master: &Key, realm: &str, log: &LogId) -> Self {
        Self::with_key(&log_key(master.bytes(), realm, log))
    }

    pub(super) fn with_key(key: &[u8; 32]) -> Self {
        Self::Aes256Gcm(Box::new(Aes256Gcm::new(key.into())))
    }

    pub(super) const fn cipher(&self) -> Cipher {
        match self {
            Self::None => Cipher::None,
            Self::Aes256Gcm(_) => Cipher::Aes256Gcm,
        }
    }

    /// Encrypts `text` where it stands, and gives its tag.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Refused> {
        match self {
            Self::None => Ok(checksum(nonce, aad, text)),
            Self::Aes256Gcm(aes) => aes
                .encrypt_inout_detached(&Nonce::from(*nonce), aad, text.into())
                .map(Into::into)
                .map_err(|_| Refused),
        }
    }

    /// Decrypts `text` where it stands, if the tag is right; otherwise leaves it as it is.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Refused> {
        match self {
            Self::None if checksum(nonce, aad, text) == *tag => Ok(()),
            Self::None => Err(Refused),
            Self::Aes256Gcm(aes) => aes
                .decrypt_inout_detached(&Nonce::from(*nonce), aad, text.into(), &Tag::from(*tag))
                .map_err(|_| Refused),
        }
    }
}

/// Salt of every key of this version.
const SALT: &[u8] = b"world/v1";

/// The key of one log.
pub(super) fn log_key(master: &[u8; 32], realm: &str, log: &LogId) -> Zeroizing<[u8; 32]> {
    let mut info = Parts::with_capacity(64 + realm.len());
    info.part(b"log");
    info.part(&[Cipher::Aes256Gcm.id()]);
    info.part(&[Parts::tag_of(log)]);
    info.part(realm.as_bytes());
    info.names_of(log);
    let mut key = Zeroizing::new([0; 32]);
    derive(SALT, master, info.as_bytes(), &mut *key);
    key
}

/// The id of a master key that has been given none: 64 bits that tell nothing of the key.
pub(super) fn fingerprint(master: &[u8; 32]) -> u64 {
    let mut info = Parts::with_capacity(16);
    info.part(b"key id");
    let mut id = [0; 8];
    derive(SALT, master, info.as_bytes(), &mut id);
    u64::from_be_bytes(id)
}

/// HKDF-SHA-256 (RFC 5869).
pub(super) fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) {
    let (mut prk, hkdf) = Hkdf::<Sha256>::extract(Some(salt), secret);
    prk.as_mut_slice().zeroize();
    // It refuses only more than 255 · 32 bytes.
    let done = hkdf.expand(info, out);
    debug_assert!(done.is_ok());
}

/// What stands for a tag where nothing is encrypted: it finds damage and misplaced records.
fn checksum(nonce: &[u8; NONCE_BYTES], aad: &[u8], text: &[u8]) -> [u8; TAG_BYTES] {
    let digest = Sha256::new()
        .chain_update((aad.len() as u64).to_be_bytes())
        .chain_update(aad)
        .chain_update(nonce)
        .chain_update(text)
        .finalize();
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&digest[..TAG_BYTES]);
    tag
}
