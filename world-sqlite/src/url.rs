//! `sqlite:` URLs.

use std::path::PathBuf;

use world_core::{Error, ErrorKind, Result};

use crate::options::Options;

/// Where a World is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Memory,
}

/// Reads `sqlite://relative.db`, `sqlite:///absolute.db` or `sqlite::memory:`, each with options.
pub(crate) fn parse(url: &str) -> Result<(Place, Options)> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let options = Options::parse(query)?;
    if place == "sqlite::memory:" {
        return Ok((Place::Memory, options));
    }
    let Some(path) = place.strip_prefix("sqlite://") else {
        return Err(refuse("not a sqlite: URL"));
    };
    let path = decode(path)?;
    match path.as_str() {
        "" => Err(refuse("a URL without a path")),
        ":memory:" => Err(refuse("a memory World has no //")),
        path if path.contains('\0') => Err(refuse("a path with a NUL in it")),
        path => Ok((Place::File(path.into()), options)),
    }
}

fn decode(path: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => match (rest.next().and_then(hex), rest.next().and_then(hex)) {
                (Some(high), Some(low)) => bytes.push(high << 4 | low),
                _ => return Err(refuse("a % without two hexadecimal digits after it")),
            },
            b'#' => return Err(refuse("a # in the path; write %23")),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|error| refuse("a path that is not UTF-8").source(error))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn refuse(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, what)
        .help("write sqlite://relative.db, sqlite:///absolute.db or sqlite::memory:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Synchronous;

    #[test]
    fn a_url_names_a_file_or_memory() {
        let file = |path: &str| (Place::File(path.into()), Options::default());
        assert_eq!(parse("sqlite://runs.db").unwrap(), file("runs.db"));
        assert_eq!(parse("sqlite:///var/a%20b/%F0%9F%91%A9.db").unwrap(), file("/var/a b/👩.db"));
        assert_eq!(parse("sqlite://../x%3Fy%23z?").unwrap(), file("../x?y#z"));
        assert_eq!(
            parse("sqlite::memory:?synchronous=normal").unwrap(),
            (Place::Memory, Options::new().synchronous(Synchronous::Normal))
        );
    }

    #[test]
    fn an_absurd_url_is_invalid_and_says_what_to_write() {
        for url in [
            "",
            "sqlite",
            "sqlite:",
            "sqlite:x.db",
            "sqlite://",
            "sqlite://?synchronous=full",
            "redis://x",
            "SQLITE://x",
            "sqlite://:memory:",
            "sqlite:///a%",
            "sqlite:///a%4",
            "sqlite:///a%zz",
            "sqlite:///a%+1",
            "sqlite:///a%00b",
            "sqlite:///%ff",
            "sqlite://a#b",
            "sqlite::memory",
            "sqlite::memory:x",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(error.to_string().contains("; "), "{error}");
        }
    }
}
