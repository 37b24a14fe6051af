//! The door itself: seals and opens the records of one log.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    Buffer, Plain,
    cipher::{Cipher, Keyed},
    compress::{COMPRESS_BYTES_MIN, PLAIN_BYTES_MAX, compress, decompress},
    envelope::{Compression, Envelope, Frame, NONCE_BYTES, TAG_BYTES},
};
use crate::{
    codec, entropy,
    error::{Error, ErrorKind, Result},
    event::{Event, Logged},
    ids::{KeyId, LogId, Position, Timestamp},
    record::{Kind, Record, Sealed},
};

/// Seals and opens the records of one log, with the log's own key. Clones share it.
///
/// ```
/// # use world_core::{*, seal::{Key, Keyring, Plain, Seal}};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let seal = Seal::new("default", Keyring::new(Key::generate()));
/// let run = RunId::new("order-7")?;
/// let log = seal.fresh(LogId::Run(run.clone())).await?;
///
/// // A stream of the run, under the run's master key.
/// let stream = LogId::Stream(run, StreamName::new("progress")?);
/// let stream = seal.under(stream, log.key_id()).await?;
/// let chunk = Plain::new(b"half done".to_vec());
/// let record =
///     stream.seal_plain(Position::new(1), Kind::STREAM_CHUNK, Timestamp::ZERO, &chunk)?;
/// assert_eq!(stream.open_plain(&record)?, chunk);
/// assert_eq!(log.open_plain(&record).unwrap_err().kind(), ErrorKind::Corrupt);
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct LogSeal(Arc<Inner>);

struct Inner {
    log: LogId,
    key_id: KeyId,
    keyed: Keyed,
    frame: Frame,
    realm: Arc<str>,
    /// Whether a record has opened, so that key and realm are known to be the log's.
    has_opened: AtomicBool,
}

impl LogSeal {
    pub(super) fn new(log: LogId, realm: &Arc<str>, key_id: KeyId, keyed: Keyed) -> Self {
        let frame = Frame::new(keyed.cipher(), &key_id, realm, &log);
        let (realm, has_opened) = (Arc::clone(realm), AtomicBool::new(false));
        Self(Arc::new(Inner { log, key_id, keyed, frame, realm, has_opened }))
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &LogId {
        &self.0.log
    }

    /// The master key that this log's key comes from.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.0.key_id
    }

    /// Seals an event as the record at a place of this log.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] for an event of more than [`PLAIN_BYTES_MAX`].
    pub fn seal(&self, position: Position, at: Timestamp, event: &Event) -> Result<Record> {
        let expected = codec::size_hint(event);
        if expected >= COMPRESS_BYTES_MIN {
            return self.seal_plain(position, event.kind(), at, &codec::encode(event)?);
        }
        let mut body = self.begin(&nonce(), expected);
        codec::encode_into(event, &mut body)?;
        self.finish(body, Compression::None, position, event.kind(), at)
    }

    /// Opens a record of this log.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the record is not what was written at this place of this log, or
    /// its key is not the one it was sealed with; [`ErrorKind::Key`] when it names another key or
    /// cipher than the log's; [`ErrorKind::Unsupported`] when it is newer than this version.
    ///
    /// ```
    /// # use world_core::*;
    /// # use world_core::{event::Event, seal::{Key, Keyring, Seal}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let seal = Seal::new("default", Keyring::new(Key::generate()));
    /// let log = seal.fresh(LogId::Run(RunId::new("order-7")?)).await?;
    /// let event = Event::RunCancelled { reason: "sold out".into() };
    /// let record = log.seal(Position::new(3), Timestamp::ZERO, &event)?;
    /// assert_eq!(log.open(&record)?.event, event);
    ///
    /// let moved = Record { position: Position::new(4), ..record };
    /// assert_eq!(log.open(&moved).unwrap_err().kind(), ErrorKind::Corrupt);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(&self, record: &Record) -> Result<Logged> {
        let text = self.open_buffer(record)?;
        let event = codec::decode_slice(record.kind, text.as_bytes())
            .map_err(|error| self.place(error, record.position))?;
        Ok(Logged { position: record.position, at: record.at, event })
    }

    /// Seals a payload that is not an event: a chunk of a stream.
    ///
    /// # Errors
    /// As [`LogSeal::seal`].
    pub fn seal_plain(
        &self,
        position: Position,
        kind: Kind,
        at: Timestamp,
        plain: &Plain,
    ) -> Result<Record> {
        self.seal_with(&nonce(), position, kind, at, plain.as_bytes())
    }

    /// Opens a payload that is not an event.
    ///
    /// # Errors
    /// As [`LogSeal::open`].
    pub fn open_plain(&self, record: &Record) -> Result<Plain> {
        Ok(self.open_buffer(record)?.into_plain())
    }

    pub(crate) fn seal_with(
        &self,
        nonce: &[u8; NONCE_BYTES],
        position: Position,
        kind: Kind,
        at: Timestamp,
        plain: &[u8],
    ) -> Result<Record> {
        if plain.len() > PLAIN_BYTES_MAX {
            let what = format!("a payload of {} bytes", plain.len());
            return Err(self.place(Error::new(ErrorKind::TooLarge, what), position).help(
                "at most 16 MiB: store large data elsewhere and keep a reference to it in the log",
            ));
        }
        let mut body = self.begin(nonce, plain.len());
        let compression = if compress(plain, &mut body) {
            Compression::Zstd
        } else {
            body.push(plain);
            Compression::None
        };
        self.finish(body, compression, position, kind, at)
    }

    fn begin(&self, nonce: &[u8; NONCE_BYTES], text_bytes: usize) -> Buffer {
        let frame = &self.0.frame;
        let mut body = Buffer::with_capacity(frame.text_at() + text_bytes + TAG_BYTES);
        body.push(frame.header());
        body.push(nonce);
        body
    }

    fn finish(
        &self,
        mut body: Buffer,
        compression: Compression,
        position: Position,
        kind: Kind,
        at: Timestamp,
    ) -> Result<Record> {
        let Inner { frame, keyed, .. } = &*self.0;
        Frame::set_compression(body.as_mut_bytes(), compression);
        let (head, text) = body.as_mut_bytes().split_at_mut(frame.text_at());
        let sealed = match head.last_chunk() {
            Some(nonce) => frame
                .with_aad(compression, position, kind, at, |aad| keyed.encrypt(nonce, aad, text)),
            None => Err(super::cipher::Refused),
        };
        let Ok(tag) = sealed else {
            let error = Error::new(ErrorKind::TooLarge, "a payload that its cipher does not take");
            return Err(self.place(error, position));
        };
        body.push(&tag);
        Ok(Record { position, kind, at, body: Sealed::from_stored(body.into_sealed_bytes()) })
    }

    fn open_buffer(&self, record: &Record) -> Result<Buffer> {
        let Inner { frame, keyed, key_id, .. } = &*self.0;
        let Record { position, kind, at, ref body } = *record;
        let envelope =
            Envelope::parse(body.as_bytes()).map_err(|error| self.place(error, position))?;
        check_cipher(keyed.cipher(), &envelope).map_err(|error| self.place(error, position))?;
        if envelope.key_id != key_id.as_str() {
            return Err(self.other_key(&envelope, position));
        }
        let mut text = Buffer::with_capacity(envelope.text.len());
        text.push(envelope.text);
        let opened = frame.with_aad(envelope.compression, position, kind, at, |aad| {
            keyed.decrypt(envelope.nonce, aad, text.as_mut_bytes(), envelope.tag)
        });
        if opened.is_err() {
            return Err(self.does_not_open(record));
        }
        self.0.has_opened.store(true, Relaxed);
        match envelope.compression {
            Compression::None => Ok(text),
            Compression::Zstd => decompress(text.as_bytes()).map_err(|why| {
                let what = format!("a record that opened, but {why}");
                self.place(Error::new(ErrorKind::Corrupt, what), position)
            }),
        }
    }

    #[cold]
    fn place(&self, error: Error, position: Position) -> Error {
        error.log(self.0.log.clone()).position(position)
    }

    #[cold]
    fn other_key(&self, envelope: &Envelope<'_>, position: Position) -> Error {
        let what = format!(
            "a record sealed under the key {}, in a log whose key is {}",
            envelope.key_id.escape_debug(),
            self.0.key_id
        );
        self.place(Error::new(ErrorKind::Key, what), position)
            .help("a log keeps the key of its first record for life: restore it from a copy")
    }

    #[cold]
    fn does_not_open(&self, record: &Record) -> Error {
        // A wrong realm, a wrong key and a changed record all look alike: what has opened before
        // tells which of them is likely.
        let Inner { keyed, key_id, realm, has_opened, .. } = &*self.0;
        let what = match keyed.cipher() {
            Cipher::None => {
                format!("a {} record whose checksum is wrong in the realm {realm:?}", record.kind)
            }
            Cipher::Aes256Gcm => format!(
                "a {} record that does not open with the key {key_id} in the realm {realm:?}",
                record.kind
            ),
        };
        let help = match (has_opened.load(Relaxed), keyed.cipher()) {
            (true, _) => {
                "other records of this log have opened, so key and realm are right, and this one was \
                 changed or moved: restore the log from a copy"
            }
            (false, Cipher::None) => {
                "most likely the run was started in another realm: compare EngineBuilder::realm with \
                 that of the engine that started it; if they are the same, the record was changed or \
                 moved: restore the log from a copy"
            }
            (false, Cipher::Aes256Gcm) => {
                "most likely the run was started in another realm, or under another key of this id: \
                 compare EngineBuilder::realm and the key with those of the engine that started it; if \
                 both are the same, the record was changed or moved: restore the log from a copy"
            }
        };
        self.place(Error::new(ErrorKind::Corrupt, what), record.position).help(help)
    }
}

/// Refuses a body whose cipher is not the engine's: neither may what is sealed be replaced by
/// something in clear, nor is anything written in clear beside it.
pub(super) fn check_cipher(cipher: Cipher, envelope: &Envelope<'_>) -> Result<()> {
    if envelope.cipher == cipher {
        return Ok(());
    }
    let error = match cipher {
        Cipher::None => {
            let id = envelope.key_id.escape_debug();
            Error::new(
                ErrorKind::Key,
                format!("a record sealed under the key {id}, and no key set"),
            )
            .help("give the engine its keys")
        }
        Cipher::Aes256Gcm => Error::new(ErrorKind::Key, "a record in clear, where all are sealed")
            .help(
                "it was put there by someone else, or by an engine without a key: do not trust it",
            ),
    };
    Err(error)
}

/// 96 random bits. A call of the operating system for each would take as long as the sealing.
fn nonce() -> [u8; NONCE_BYTES] {
    entropy::bytes()
}

impl fmt::Debug for LogSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSeal")
            .field("log", &self.0.log)
            .field("cipher", &self.0.keyed.cipher())
            .field("key", &self.0.key_id)
            .finish_non_exhaustive()
    }
}
