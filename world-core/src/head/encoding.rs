//! A head and a record as bytes, for a store that keeps bytes: MessagePack with field names.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{LogId, Position},
    record::Record,
};

use super::Head;

impl Head {
    /// The bytes to store: MessagePack with field names, which stay as they are.
    ///
    /// # Errors
    /// `TooLarge`, which no head is in practice.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        encode(self)
    }

    /// A head from its bytes; `log` is whose it is.
    ///
    /// # Errors
    /// `Corrupt`, with the log, for anything that [`Head::to_bytes`] cannot have given.
    pub fn from_bytes(log: &LogId, bytes: &[u8]) -> Result<Self> {
        decode(bytes, "a head that cannot be read").map_err(|error| error.log(log.clone()))
    }
}

impl Record {
    /// The bytes to store: MessagePack with field names, which stay as they are.
    ///
    /// # Errors
    /// `TooLarge`, which no record within a World's limits is.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        encode(self)
    }

    /// A record from its bytes; `log` and `position` are where it was found.
    ///
    /// # Errors
    /// `Corrupt`, with log and position, for anything that [`Record::to_bytes`] cannot have given,
    /// and for a record of another position.
    pub fn from_bytes(log: &LogId, position: Position, bytes: &[u8]) -> Result<Self> {
        decode(bytes, "a record that cannot be read")
            .and_then(|record: Self| {
                if record.position == position {
                    return Ok(record);
                }
                Err(Error::new(ErrorKind::Corrupt, "a record that stands at the wrong place"))
            })
            .map_err(|error| error.log(log.clone()).position(position))
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(|error| {
        Error::new(ErrorKind::TooLarge, "more than MessagePack can say").source(error)
    })
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T> {
    let corrupt = || {
        Error::new(ErrorKind::Corrupt, what)
            .help("restore the store from a copy; a newer program may have written it, too")
    };
    let mut rest = bytes;
    let mut from = rmp_serde::Deserializer::new(&mut rest);
    let value = T::deserialize(&mut from).map_err(|error| corrupt().source(error))?;
    if rest.is_empty() { Ok(value) } else { Err(corrupt()) }
}
