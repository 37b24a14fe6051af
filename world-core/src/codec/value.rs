//! Payloads: what a user's types become.

use std::any::type_name;

use serde::{Serialize, de::DeserializeOwned};

use super::scan::one_value;
use crate::{
    error::{Error, ErrorKind, Result},
    seal::{Buffer, Plain},
};

/// The deepest nesting of arrays, maps and enums in a payload, so that no payload can exhaust
/// the stack of the worker that decodes it.
pub const DEPTH_MAX: usize = 128;

/// What a payload's buffer takes before it grows, in bytes.
const VALUE_BYTES_EXPECTED: usize = 128;

/// Encodes a value as a payload: MessagePack with field names.
///
/// MessagePack writes `Some(x)` as `x`, so `Some(None)` and `Some(())` come back as `None`.
///
/// # Errors
/// [`ErrorKind::Invalid`] when the value's own `Serialize` refuses, or when it is nested deeper
/// than [`DEPTH_MAX`]. What `Serialize` said is not repeated, as it may hold the value.
///
/// ```
/// # use world_core::codec::{decode_value, encode_value};
/// let plain = encode_value(&("order-7", 3))?;
/// assert_eq!(decode_value::<(String, u8)>(&plain)?, ("order-7".to_owned(), 3));
/// # Ok::<(), world_core::Error>(())
/// ```
pub fn encode_value<T: Serialize + ?Sized>(value: &T) -> Result<Plain> {
    let invalid = |why: &str| {
        Error::new(
            ErrorKind::Invalid,
            format!("a value of type {} that does not encode: {why}", type_name::<T>()),
        )
    };
    let mut buffer = Buffer::with_capacity(VALUE_BYTES_EXPECTED);
    value
        .serialize(&mut rmp_serde::Serializer::new(&mut buffer).with_struct_map())
        .map_err(|_| invalid("its Serialize refuses"))?;
    one_value(buffer.as_bytes()).map_err(invalid)?;
    Ok(buffer.into_plain())
}

/// Decodes a payload as a value.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the payload is not one whole MessagePack value, or nested deeper
/// than [`DEPTH_MAX`]; [`ErrorKind::Invalid`] when it is not a `T`. The message names the type and what was
/// expected, never what was found, as that is the payload.
///
/// ```
/// # use world_core::codec::{decode_value, encode_value};
/// let plain = encode_value("secret")?;
/// let error = decode_value::<char>(&plain).unwrap_err();
/// assert!(error.to_string().contains("as char: expected a character"));
/// # Ok::<(), world_core::Error>(())
/// ```
pub fn decode_value<T: DeserializeOwned>(plain: &Plain) -> Result<T> {
    let refused = |kind: ErrorKind, why: &str| {
        let what = format!("a payload that does not decode as {}: {why}", type_name::<T>());
        Error::new(kind, what)
    };
    one_value(plain.as_bytes()).map_err(|why| refused(ErrorKind::Corrupt, why))?;
    rmp_serde::from_slice(plain.as_bytes()).map_err(|error| {
        refused(ErrorKind::Invalid, &reason(&error)).help(
            "keep the type as it was when the payload was written, or give new fields a default",
        )
    })
}

/// What a decoding error says, without what it found.
pub(super) fn reason(error: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error as E;
    let text = match error {
        E::Syntax(text) => text.as_str(),
        E::Uncategorized(_) => "it is malformed",
        E::InvalidMarkerRead(_) | E::InvalidDataRead(_) => "it is cut short",
        E::TypeMismatch(_) => "a field of another type",
        E::OutOfRange => "a number out of range",
        E::LengthMismatch(_) => "an array of another length",
        E::Utf8Error(_) => "a text that is not UTF-8",
        E::DepthLimitExceeded => "it is nested too deep",
    };
    if !matches!(error, E::Syntax(_)) {
        return text.to_owned();
    }
    // serde's own messages name what was found first, and last what was expected; the former may
    // be the payload, the latter comes from the type.
    const FOUND: [&str; 6] = [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant `",
        "unknown field `",
        "invalid length: ",
    ];
    if FOUND.iter().any(|found| text.starts_with(found))
        && let Some((_, expected)) = text.rsplit_once(", expected ")
    {
        return format!("expected {expected}");
    }
    if let Some(field) = text.strip_prefix("missing field `").and_then(|t| t.strip_suffix('`'))
        && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return format!("the field {field} is missing");
    }
    "its Deserialize refuses".to_owned()
}
