//! The bytes of a sealed body, and what is authenticated with them.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | cipher: 0 none, 1 AES-256-GCM |
//! | 1 | codec: 1 MessagePack with field names |
//! | 1 | compression: 0 none, 1 zstd |
//! | 2 | length of the key id, big-endian |
//! | 1–512 | key id, UTF-8 |
//! | 12 | nonce |
//! | … | ciphertext |
//! | 16 | tag |

use super::cipher::Cipher;
use crate::{
    error::{Error, ErrorKind, Result},
    ids::{KeyId, LogId, NAME_BYTES_MAX, Position, Timestamp},
    record::Kind,
};

pub(super) const VERSION: u8 = 1;
pub(super) const CODEC_MESSAGEPACK: u8 = 1;
pub(super) const NONCE_BYTES: usize = 12;
pub(super) const TAG_BYTES: usize = 16;

/// What stands before the key id.
const FIXED_BYTES: usize = 6;
/// Where the compression stands in a header.
const COMPRESSION_AT: usize = 3;

/// How a payload was made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
        }
    }
}

/// A sealed body in its parts.
pub(super) struct Envelope<'a> {
    pub cipher: Cipher,
    pub compression: Compression,
    pub key_id: &'a str,
    pub nonce: &'a [u8; NONCE_BYTES],
    pub text: &'a [u8],
    pub tag: &'a [u8; TAG_BYTES],
}

impl<'a> Envelope<'a> {
    /// Takes a body apart. The errors name no log: the caller knows it.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self> {
        let (fixed, rest) = body.split_first_chunk::<FIXED_BYTES>().ok_or_else(short)?;
        let [version, cipher, codec, compression, length @ ..] = *fixed;
        if version != VERSION {
            return Err(unsupported("envelope version", version));
        }
        let cipher = Cipher::from_id(cipher).ok_or_else(|| unsupported("cipher", cipher))?;
        if codec != CODEC_MESSAGEPACK {
            return Err(unsupported("codec", codec));
        }
        let compression = match compression {
            0 => Compression::None,
            1 => Compression::Zstd,
            other => return Err(unsupported("compression", other)),
        };
        let (key_id, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(length))).ok_or_else(short)?;
        let key_id = match std::str::from_utf8(key_id) {
            Ok(id) if (1..=NAME_BYTES_MAX).contains(&id.len()) => id,
            _ => return Err(Error::new(ErrorKind::Corrupt, "a sealed body without a key id")),
        };
        let (nonce, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (text, tag) = rest.split_last_chunk().ok_or_else(short)?;
        Ok(Self { cipher, compression, key_id, nonce, text, tag })
    }
}

#[cold]
fn short() -> Error {
    Error::new(ErrorKind::Corrupt, "a sealed body that is cut short")
}

#[cold]
fn unsupported(what: &str, number: u8) -> Error {
    Error::new(ErrorKind::Unsupported, format!("a sealed body of the unknown {what} {number}"))
        .help("it was written by a newer version: update this worker")
}

/// What all envelopes of a log have in common, made once.
pub(super) struct Frame {
    /// The header, up to the nonce.
    header: Box<[u8]>,
    /// What is authenticated, up to the record's own part.
    aad: Box<[u8]>,
}

impl Frame {
    pub(super) fn new(cipher: Cipher, key_id: &KeyId, realm: &str, log: &LogId) -> Self {
        let id = key_id.as_str().as_bytes();
        let mut header = vec![VERSION, cipher.id(), CODEC_MESSAGEPACK, Compression::None.id()];
        // A name has at most 512 bytes.
        header.extend_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes());
        header.extend_from_slice(id);

        let mut aad = Parts::with_capacity(128 + id.len() + realm.len());
        aad.part(&[VERSION]);
        aad.part(&[cipher.id()]);
        aad.part(&[CODEC_MESSAGEPACK]);
        aad.part(&[Compression::None.id()]);
        aad.part(id);
        aad.part(realm.as_bytes());
        aad.part(&[Parts::tag_of(log)]);
        aad.names_of(log);
        Self { header: header.into(), aad: aad.0.into() }
    }

    /// The bytes before the ciphertext; the compression is set when it is known.
    pub(super) const fn header(&self) -> &[u8] {
        &self.header
    }

    /// Where the ciphertext begins.
    pub(super) const fn text_at(&self) -> usize {
        self.header.len() + NONCE_BYTES
    }

    /// Notes the compression in a body that begins with this header.
    pub(super) fn set_compression(body: &mut [u8], compression: Compression) {
        if let Some(byte) = body.get_mut(COMPRESSION_AT) {
            *byte = compression.id();
        }
    }

    /// Makes what is authenticated with a record, and lends it.
    pub(super) fn with_aad<T>(
        &self,
        compression: Compression,
        position: Position,
        kind: Kind,
        at: Timestamp,
        then: impl FnOnce(&[u8]) -> T,
    ) -> T {
        let mut own = [0; OWN_BYTES];
        own[3] = 8;
        own[4..12].copy_from_slice(&position.get().to_be_bytes());
        own[15] = 2;
        own[16..18].copy_from_slice(&kind.0.to_be_bytes());
        own[21] = 8;
        own[22..].copy_from_slice(&at.as_millis().to_be_bytes());

        let split = self.aad.len();
        let mut stack = [0; AAD_STACK_BYTES];
        let mut heap = Vec::new();
        let aad = match stack.get_mut(..split + OWN_BYTES) {
            Some(aad) => aad,
            None => {
                heap.resize(split + OWN_BYTES, 0);
                &mut heap
            }
        };
        aad[..split].copy_from_slice(&self.aad);
        aad[split..].copy_from_slice(&own);
        aad[AAD_COMPRESSION_AT] = compression.id();
        then(aad)
    }
}

/// A record's own part: position, kind and time, each with its length before it.
const OWN_BYTES: usize = 4 + 8 + 4 + 2 + 4 + 8;
/// What is authenticated takes no allocation up to here; names beyond it take one.
const AAD_STACK_BYTES: usize = 256;
/// Where the compression stands in what is authenticated: the fourth part of one byte.
const AAD_COMPRESSION_AT: usize = 3 * (4 + 1) + 4;

/// Bytes in parts, each with its length before it, so that no two lists of parts look alike.
pub(super) struct Parts(Vec<u8>);

impl Parts {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn part(&mut self, part: &[u8]) {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
    }

    /// Which variant of log it is; never reused.
    pub(super) const fn tag_of(log: &LogId) -> u8 {
        match log {
            LogId::Run(_) => 1,
            LogId::Stream(..) => 2,
            LogId::Token(_) => 3,
        }
    }

    pub(super) fn names_of(&mut self, log: &LogId) {
        match log {
            LogId::Run(run) => self.part(run.as_str().as_bytes()),
            LogId::Stream(run, stream) => {
                self.part(run.as_str().as_bytes());
                self.part(stream.as_str().as_bytes());
            }
            LogId::Token(token) => self.part(token.as_str().as_bytes()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
