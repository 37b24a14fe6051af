//! Payloads: what a user's types become.

use std::{any::type_name, borrow::Cow};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    scan::one_value,
    some::{LOST, Strict},
    tree::same_tree,
};
use crate::{
    error::{Error, ErrorKind, Result},
    replay::guarded,
    seal::{Buffer, Plain},
};

/// The deepest nesting of arrays, maps and enums in a payload, so that no payload can exhaust
/// the stack of the worker that decodes it.
pub const DEPTH_MAX: usize = 128;

/// What a payload's buffer takes before it grows, in bytes.
const VALUE_BYTES_EXPECTED: usize = 128;

/// Encodes a value as a payload: MessagePack with field names.
///
/// MessagePack writes `Some(x)` as `x`, so `Some(None)` and `Some(())` would come back as `None`: a
/// `Some` of something that is written as nil is refused.
///
/// # Errors
/// [`ErrorKind::Invalid`] when the value's own `Serialize` refuses, when it is nested deeper
/// than [`DEPTH_MAX`], or when a `Some` in it would come back as `None`. What `Serialize` said is
/// not repeated, as it may hold the value.
///
/// ```
/// # use world_core::codec::{decode_value, encode_value};
/// let plain = encode_value(&("order-7", 3))?;
/// assert_eq!(decode_value::<(String, u8)>(&plain)?, ("order-7".to_owned(), 3));
/// assert!(encode_value(&Some(())).is_err());
/// # Ok::<(), world_core::Error>(())
/// ```
pub fn encode_value<T: Serialize + ?Sized>(value: &T) -> Result<Plain> {
    let mut buffer = Buffer::with_capacity(VALUE_BYTES_EXPECTED);
    value
        .serialize(Strict::new(&mut rmp_serde::Serializer::new(&mut buffer).with_struct_map()))
        .map_err(|error| match error {
            rmp_serde::encode::Error::Syntax(text) if text == LOST => unencodable::<T>(LOST)
                .help("use an enum, which tells the two apart, or a bool for what holds nothing"),
            _ => unencodable::<T>("its Serialize refuses"),
        })?;
    one_value(buffer.as_bytes()).map_err(unencodable::<T>)?;
    Ok(buffer.into_plain())
}

#[cold]
fn unencodable<T: ?Sized>(why: &str) -> Error {
    let what = format!("a value of type {} that does not encode: {why}", type_name::<T>());
    Error::new(ErrorKind::Invalid, what)
}

/// Encodes a value as [`encode_value`] does; a panic of its `Serialize` is an error.
pub(crate) fn encode_guarded<T: Serialize + ?Sized>(value: &T) -> Result<Plain> {
    guarded(|| encode_value(value))
        .unwrap_or_else(|_| Err(unencodable::<T>("its Serialize panics")))
}

/// Decodes what [`encode_guarded`] has made of a value of the same type.
///
/// # Errors
/// [`ErrorKind::Invalid`], with what to change, when the type does not read what it writes; a
/// panic of its `Deserialize` is an error too.
pub(crate) fn decode_again<T: DeserializeOwned>(plain: &Plain) -> Result<T> {
    // Encoding has found it to be one value.
    let why = match guarded(|| rmp_serde::from_slice(plain.as_bytes())) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => reason(&error).into(),
        Err(_) => Cow::Borrowed("its Deserialize panics"),
    };
    let what = format!(
        "a value of type {} that does not decode again once it is encoded: {why}",
        type_name::<T>()
    );
    Err(Error::new(ErrorKind::Invalid, what).help(
        "make its Deserialize read what its Serialize writes: a field that may be skipped needs \
         #[serde(default)]; below the attributes tag, untagged and flatten, serde reads no u128, \
         IpAddr or SocketAddr from MessagePack, so keep them as text there",
    ))
}

/// Encodes a value that decodes again; panics of the user's code are errors.
pub(crate) fn encode_lasting<T: Serialize + DeserializeOwned>(value: &T) -> Result<Plain> {
    let plain = encode_guarded(value)?;
    decode_again::<T>(&plain)?;
    Ok(plain)
}

/// Decodes a payload as a type, and encodes it anew; none if either fails.
pub(crate) type EncodeAnew = fn(&Plain) -> Option<Plain>;

/// The [`EncodeAnew`] of a type.
pub(crate) fn encode_anew<T: Serialize + DeserializeOwned>(plain: &Plain) -> Option<Plain> {
    let value = guarded(|| read_value::<T>(plain)).ok()?.ok()?;
    encode_guarded(&value).ok()
}

/// Whether a payload that is stored says what a new one does: as the same tree, or as a value of
/// today's type. What was stored may lack fields that the type has gained since, or have others.
pub(crate) fn same_value(stored: &Plain, new: &Plain, encode_anew: EncodeAnew) -> bool {
    same_tree(stored, new) || encode_anew(stored).is_some_and(|stored| same_tree(&stored, new))
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
    read_value(plain).map_err(|Undecodable { kind, why }| {
        let what = format!("a payload that does not decode as {}: {why}", type_name::<T>());
        let error = Error::new(kind, what);
        if kind == ErrorKind::Corrupt {
            return error;
        }
        error.help(
            "keep the type as it was when the payload was written, or give new fields a default",
        )
    })
}

/// Why a payload does not decode, without anything of the payload.
#[derive(Debug)]
pub(crate) struct Undecodable {
    kind: ErrorKind,
    pub(crate) why: Cow<'static, str>,
}

/// Decodes a payload as [`decode_value`] does, with the bare reason if it does not decode.
pub(crate) fn read_value<T: DeserializeOwned>(plain: &Plain) -> Result<T, Undecodable> {
    one_value(plain.as_bytes())
        .map_err(|why| Undecodable { kind: ErrorKind::Corrupt, why: Cow::Borrowed(why) })?;
    rmp_serde::from_slice(plain.as_bytes())
        .map_err(|error| Undecodable { kind: ErrorKind::Invalid, why: reason(&error).into() })
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
    if let "i128 is not supported" | "u128 is not supported" = text {
        return text.to_owned();
    }
    // serde's other messages, each with a name of the type between these.
    const NAMED: [(&str, &str, &str, &str); 3] = [
        ("missing field `", "`", "the field ", " is missing"),
        ("duplicate field `", "`", "the field ", " stands there twice"),
        (
            "data did not match any variant of untagged enum ",
            "",
            "it is no variant of untagged enum ",
            "",
        ),
    ];
    for (before, after, says, end) in NAMED {
        if let Some(name) = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after))
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return format!("{says}{name}{end}");
        }
    }
    "its Deserialize refuses".to_owned()
}
