//! A page of a listing in the order of run ids, from the heads that a store holds.

use crate::{
    error::{Error, ErrorKind, Result},
    ids::RunId,
    list::{Cursor, List, RunPage},
};

use super::Head;

/// Heads that one page looks at, so that no filter and no number of tombstones holds the store
/// for long.
const LOOKED_AT_MAX: usize = 4096;

/// What a cursor begins with; the run last looked at follows.
const CURSOR: &[u8] = b"run:";

/// Makes the page that answers a listing in the order of run ids, which no run ever changes (rule
/// R4). Its cursor is the last run that was looked at: [`after`] says which.
///
/// `stored` gives each run with its head, tombstones too, in the order of the bytes of their ids,
/// after [`after`]. No more of them are taken than the page needs; the page may end early, though
/// more match.
///
/// # Errors
/// Those of `stored`.
///
/// ```
/// # use world_core::{*, head::{self, Head}};
/// # let dead = Head { head: Position::new(3), base: Position::new(3), deleted: true, run: None };
/// let list = List::all(10.try_into()?);
/// assert_eq!(head::after(&list)?, None);
/// let page = head::list(&list, [Ok((RunId::new("order-7")?, dead))])?; // a tombstone
/// assert!(page.runs.is_empty() && page.next.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn list(
    list: &List,
    stored: impl IntoIterator<Item = Result<(RunId, Head)>>,
) -> Result<RunPage> {
    let limit = usize::try_from(list.limit.get()).unwrap_or(usize::MAX);
    let mut stored = stored.into_iter();
    let mut runs = Vec::new();
    let mut last = None;
    for found in stored.by_ref().take(LOOKED_AT_MAX) {
        let (id, head) = found?;
        let meta = head.run.as_ref().map(|run| run.meta(id.clone(), head.head));
        runs.extend(meta.filter(|meta| list.matches(meta)));
        last = Some(id);
        if runs.len() >= limit {
            break;
        }
    }
    let next = match stored.next().transpose()? {
        Some(_) => last.map(|run| Cursor::from_bytes([CURSOR, run.as_str().as_bytes()].concat())),
        None => None,
    };
    Ok(RunPage { runs, next })
}

/// The run after which a listing in the order of run ids goes on; `None` at its start.
///
/// # Errors
/// `Invalid` for a cursor that [`list`] has not given.
pub fn after(list: &List) -> Result<Option<RunId>> {
    let Some(cursor) = &list.after else { return Ok(None) };
    let run = cursor.as_bytes().strip_prefix(CURSOR);
    let run = run.and_then(|run| std::str::from_utf8(run).ok()).map(RunId::new);
    run.and_then(Result::ok).map(Some).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a cursor that is not of this World")
            .help("go on with the cursor of an earlier page, or list from the start")
    })
}
