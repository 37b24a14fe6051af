//! A page of a log, from the records that a store holds.

use std::num::NonZeroU32;

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{LogId, Position},
    record::{Page, Record},
};

use super::Head;

/// Bytes after which a page ends, though a first record goes in whatever its size (rule R3).
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that a record counts for beside its body.
const RECORD_BYTES: usize = 32;

/// Makes the page that answers a read (rule R3): at most `limit` records after `after`, about
/// 1 MiB, never below the log's base nor beyond its head, and empty where there is no log.
///
/// `stored` gives the records that the store holds after `after`, in order. No more of them are
/// taken than the page needs; head and records must be of one moment.
///
/// # Errors
/// Those of `stored`, and `Corrupt` with log and position where a record is missing.
///
/// ```
/// # use std::num::NonZeroU32;
/// # use world_core::{*, head::{self, Head}};
/// # let log = LogId::Token(Token::new("order-7")?);
/// # let record = |number| Record {
/// #     position: Position::new(number), kind: Kind(1), at: Timestamp::ZERO,
/// #     body: Sealed::from_stored(&b"opaque"[..]),
/// # };
/// let head = Head { head: Position::new(3), base: Position::START, deleted: false, run: None };
/// let (after, most) = (Position::new(1), NonZeroU32::new(100).unwrap());
///
/// let stored = [record(2), record(3)].map(Ok);
/// let page = head::page(&log, Some(&head), after, most, stored)?;
/// assert_eq!((page.records.len(), page.head), (2, Position::new(3)));
///
/// let hole = head::page(&log, Some(&head), after, most, [record(3)].map(Ok)).unwrap_err();
/// assert_eq!((hole.kind(), hole.at_position()), (ErrorKind::Corrupt, Some(Position::new(2))));
/// # Ok::<(), Error>(())
/// ```
pub fn page(
    log: &LogId,
    head: Option<&Head>,
    after: Position,
    limit: NonZeroU32,
    stored: impl IntoIterator<Item = Result<Record>>,
) -> Result<Page> {
    let mut records = Vec::new();
    let Some(of) = head else { return Ok(Page { records, head: Position::START }) };
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    let mut stored = stored.into_iter();
    let mut last = after.max(of.base);
    let mut bytes = 0;
    while last < of.head && records.len() < limit {
        let missing = || {
            Error::new(ErrorKind::Corrupt, "a record is missing")
                .log(log.clone())
                .position(last.next())
                .help("restore the store from a copy")
        };
        let record = stored.next().ok_or_else(missing)??;
        if record.position <= last {
            continue;
        }
        if record.position != last.next() {
            return Err(missing());
        }
        bytes += RECORD_BYTES + record.body.as_bytes().len();
        if bytes > PAGE_BYTES_MAX && !records.is_empty() {
            break;
        }
        last = record.position;
        records.push(record);
    }
    Ok(Page { records, head: of.head })
}
