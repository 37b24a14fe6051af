//! What is set up wrongly, refused or damaged: each a typed error that says what to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

#[path = "../kit/mod.rs"]
mod kit;

#[cfg(feature = "url")]
mod credentials;
mod refusals;
mod stored;
mod tables;
#[cfg(feature = "url")]
mod urls;

use std::error::Error as _;

use world_core::{Error, ErrorKind};

/// The error is of this kind, and says this, of itself or of what it came from.
fn said(error: &Error, kind: ErrorKind, words: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let said = format!("{error} {}", error.source().map(ToString::to_string).unwrap_or_default());
    assert!(said.contains(words), "{words:?} is not in {said:?}");
    assert!(error.to_string().contains(';'), "it does not say what to do: {error}");
}
