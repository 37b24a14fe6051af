//! A master key, and how it is read and written.

use std::{
    env, fmt,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
};

use zeroize::Zeroizing;

use super::cipher::fingerprint;
use crate::{
    entropy,
    error::{Error, ErrorKind, Result},
    ids::KeyId,
};

/// The longest key file or variable, in bytes.
const KEY_TEXT_BYTES_MAX: usize = 1024;

/// A master key: 256 secret bits and a name. It is never shown, and wiped when dropped.
///
/// As text it is 64 hexadecimal digits, with an id and a colon before them if it shall have an
/// id of its choosing: `2026-key:00f1…`. Without one the id comes from the key, so that different
/// keys have different ids.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    bytes: Zeroizing<[u8; 32]>,
}

impl Key {
    /// The key with these 256 bits, which must be random: a password is not a key.
    #[must_use]
    pub fn from_bytes(id: KeyId, bytes: [u8; 32]) -> Self {
        Self { id, bytes: Zeroizing::new(bytes) }
    }

    /// Makes a key from the thread's cryptographic random source, with an id of its own.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy::fill(&mut *bytes);
        Self { id: default_id(&bytes), bytes }
    }

    /// Reads a key from its text.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when the text is not a key; the text is not repeated.
    ///
    /// ```
    /// # use world_core::seal::Key;
    /// let key = Key::from_text(&format!("2026:{}", "5a".repeat(32)))?;
    /// assert_eq!(key.id().as_str(), "2026");
    /// # Ok::<(), world_core::Error>(())
    /// ```
    pub fn from_text(text: &str) -> Result<Self> {
        let malformed = |what: &'static str| {
            Error::new(ErrorKind::Key, what)
                .help("a key is 64 hexadecimal digits (openssl rand -hex 32), or an id, a colon and these")
        };
        let text = text.trim();
        let (id, digits) = match text.rsplit_once(':') {
            Some((id, digits)) => (Some(id), digits),
            None => (None, text),
        };
        let mut bytes = Zeroizing::new([0; 32]);
        let digits = digits.as_bytes();
        if digits.len() != 2 * bytes.len() {
            return Err(malformed("a key of another length"));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                return Err(malformed("a key with something else than hexadecimal digits"));
            };
            *byte = (high << 4 | low) as u8;
        }
        let id = match id {
            Some(id) => {
                KeyId::new(id).map_err(|_| malformed("a key whose id is empty or too long"))?
            }
            None => default_id(&bytes),
        };
        Ok(Self { id, bytes })
    }

    /// Reads a key from an environment variable.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when the variable is not set, or is not a key.
    ///
    /// ```
    /// # use world_core::{ErrorKind, seal::Key};
    /// let error = Key::from_env("NOBODY_SETS_THIS").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Key);
    /// ```
    pub fn from_env(variable: &str) -> Result<Self> {
        let text = match env::var(variable) {
            Ok(text) => Zeroizing::new(text),
            Err(env::VarError::NotPresent) => {
                let what = format!("the variable {variable} is not set");
                return Err(Error::new(ErrorKind::Key, what)
                    .help(format!("export {variable}=$(openssl rand -hex 32), and keep it safe")));
            }
            // The error itself holds the value.
            Err(env::VarError::NotUnicode(_)) => {
                let what = format!("the variable {variable} is not text");
                return Err(Error::new(ErrorKind::Key, what));
            }
        };
        Self::from_text(&text)
            .map_err(|error| wrap(format!("the variable {variable} holds no key"), error))
    }

    /// Reads a key from a file that only its owner may open.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when the file cannot be read, is open to others (on Unix), or is not a key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let shown = path.display();
        let unread = |error: std::io::Error| {
            Error::new(ErrorKind::Key, format!("the key file {shown} cannot be read")).source(error)
        };
        let file = File::open(path).map_err(unread)?;
        refuse_open_to_others(&file, path)?;
        let mut text = Zeroizing::new(Vec::with_capacity(KEY_TEXT_BYTES_MAX + 1));
        file.take(KEY_TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(unread)?;
        let what = || format!("the file {shown} holds no key");
        if text.len() > KEY_TEXT_BYTES_MAX {
            return Err(Error::new(ErrorKind::Key, what()).help("it is longer than a key can be"));
        }
        let text = std::str::from_utf8(&text)
            .map_err(|_| Error::new(ErrorKind::Key, what()).help("it is not text"))?;
        Self::from_text(text).map_err(|error| wrap(what(), error))
    }

    /// Makes a key and keeps it in a new file that only its owner may open.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when the file is there already, or cannot be written.
    ///
    /// ```
    /// # use world_core::seal::Key;
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("world.key");
    /// let made = Key::create_file(&path)?;
    /// assert_eq!(Key::from_file(&path)?, made);
    /// assert!(Key::create_file(&path).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let key = Self::generate();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let write = || -> std::io::Result<()> {
            let mut file = options.open(path)?;
            file.write_all(key.to_text().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(|error| {
            let what = format!("the key file {} cannot be made", path.display());
            Error::new(ErrorKind::Key, what).source(error)
        })?;
        Ok(key)
    }

    /// The key's id, which is not secret.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.id.as_str().len() + 65));
        text.push_str(self.id.as_str());
        text.push(':');
        for byte in self.bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }
}

/// Whether id and bits are the same, in a time that tells nothing of the bits.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let difference =
            self.bytes.iter().zip(other.bytes.iter()).fold(0, |all, (a, b)| all | (a ^ b));
        self.id == other.id && difference == 0
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

fn default_id(bytes: &[u8; 32]) -> KeyId {
    KeyId::made(format!("k-{:016x}", fingerprint(bytes)))
}

fn wrap(what: String, error: Error) -> Error {
    let help = "a key is 64 hexadecimal digits (openssl rand -hex 32), or an id, a colon and these";
    Error::new(ErrorKind::Key, what).help(help).source(error)
}

#[cfg(unix)]
fn refuse_open_to_others(file: &File, path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let mode = file
        .metadata()
        .map_err(|error| {
            Error::new(ErrorKind::Key, format!("the key file {shown} cannot be read")).source(error)
        })?
        .mode();
    if mode & 0o077 != 0 {
        let what = format!("the key file {shown} is open to others (mode {:03o})", mode & 0o777);
        return Err(Error::new(ErrorKind::Key, what).help(format!("chmod 600 {shown}")));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_open_to_others(_: &File, _: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
