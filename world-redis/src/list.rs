//! Listing runs: shard by shard, each in the order of run ids, which never change (rule R4).

use bytes::Bytes;
use world_core::{Cursor, Error, ErrorKind, List, LogId, Result, RunId, RunPage};

use crate::{
    error::corrupt,
    keys::{Keys, Shard},
    script::{Call, LIST},
    server::Server,
    state,
    store::Store,
};

/// The most runs that one script shows, and the fewest that it is asked for.
const SHOWN_MAX: usize = 256;
const SHOWN_MIN: usize = 16;
/// Runs that one page looks at, whatever the filter lets pass.
const LOOKED_AT_MAX: usize = 4096;

/// A run as the script shows it: its id, its state, and what never changes.
type Shown = (Bytes, Option<Bytes>, Option<Bytes>);

impl Store {
    /// A page of runs.
    pub(crate) async fn list(&self, list: &List) -> Result<RunPage> {
        page(&self.server, &self.keys, list).await
    }
}

/// A page of runs; its cursor is the shard and the run last looked at.
async fn page(server: &Server, keys: &Keys, list: &List) -> Result<RunPage> {
    let limit = usize::try_from(list.limit.get()).unwrap_or(usize::MAX);
    let shown_max = limit.clamp(SHOWN_MIN, SHOWN_MAX);
    let (mut shard, mut after) = place(list, keys)?;
    let (mut runs, mut looked_at) = (Vec::new(), 0);
    while shard < keys.shards() {
        let call = Call::new(&LIST, [keys.ids(shard), keys.runs(shard), keys.about(shard)])
            .arg(&after)
            .arg(shown_max.to_string());
        let shown: Vec<Shown> = server.read(&call).await?;
        let is_last = shown.len() < shown_max;
        for (id, state, about) in shown {
            let run = run_of(&id)?;
            let (Some(state), Some(about)) = (state, about) else {
                return Err(corrupt(&LogId::Run(run), None, "a run without a state"));
            };
            let meta = state::meta(run, &state, &about)?;
            runs.extend(Some(meta).filter(|meta| list.matches(meta)));
            after = id;
            looked_at += 1;
            if runs.len() >= limit || looked_at >= LOOKED_AT_MAX {
                let next = Some(cursor(shard, &after));
                return Ok(RunPage { runs, next });
            }
        }
        if is_last {
            (shard, after) = (shard + 1, Bytes::new());
        }
    }
    Ok(RunPage { runs, next: None })
}

/// A run's id as it is stored.
pub(crate) fn run_of(id: &[u8]) -> Result<RunId> {
    let id = std::str::from_utf8(id).ok().and_then(|id| RunId::new(id).ok());
    id.ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "a run whose id is none")
            .help("another program may write keys with this prefix; restore the keys from a copy")
    })
}

fn cursor(shard: Shard, after: &[u8]) -> Cursor {
    let mut bytes = format!("{shard}:").into_bytes();
    bytes.extend_from_slice(after);
    Cursor::from_bytes(bytes)
}

/// Where a listing goes on.
fn place(list: &List, keys: &Keys) -> Result<(Shard, Bytes)> {
    let Some(cursor) = &list.after else { return Ok((0, Bytes::new())) };
    let place = std::str::from_utf8(cursor.as_bytes()).ok().and_then(|text| {
        let (shard, run) = text.split_once(':')?;
        let shard = shard.parse().ok().filter(|shard| *shard < keys.shards())?;
        Some((shard, Bytes::copy_from_slice(RunId::new(run).ok()?.as_str().as_bytes())))
    });
    place.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a cursor that is not of this World")
            .help("go on with the cursor of an earlier page, or list from the start")
    })
}
