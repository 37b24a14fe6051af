//! Deleting: a run is hidden by a tombstone at once, then its streams are removed.

use bytes::Bytes;
use world_core::{Deleted, Error, ErrorKind, LogId, Position, Result, RunId, Token};

use crate::{
    append::Answer,
    error::{Stage, corrupt, nonsense},
    keys::Keys,
    list::run_of,
    script::{Call, DELETE_RUN, DELETE_TOKEN, REMOVED, RETIRED},
    server::Server,
};

/// How long a deleted id stays spent, and a deleted token log keeps its head (rule D2).
const SPENT_SECONDS: u32 = 7 * 24 * 3600;
/// Streams that are removed by one command.
const REMOVED_MAX: usize = 256;
/// Closed runs that one script finds.
const RETIRED_MAX: usize = 256;

/// Deletes a run or a token log at its stated head.
pub(crate) async fn delete(
    server: &Server,
    keys: &Keys,
    log: &LogId,
    head: Position,
) -> Result<Deleted> {
    let deleted = match log {
        LogId::Run(run) => delete_run(server, keys, run, Some(head)).await,
        LogId::Token(token) => delete_token(server, keys, token, head).await,
        LogId::Stream(..) => {
            Err(Error::new(ErrorKind::Invalid, "a stream is deleted with its run"))
        }
    };
    deleted.map_err(|error| error.log(log.clone()))
}

/// Deletes the closed runs that have been kept for this many milliseconds; says how many. One that
/// is corrupt stays, and is told of when all others are gone.
pub(crate) async fn sweep(server: &Server, keys: &Keys, kept: u128) -> Result<u64> {
    let (mut swept, mut corrupt) = (0, None);
    for shard in 0..keys.shards() {
        loop {
            let call = Call::new(&RETIRED, [keys.due(shard)])
                .arg(kept.to_string())
                .arg(RETIRED_MAX.to_string());
            let runs: Vec<Bytes> = server.read(&call).await?;
            let (found, before) = (runs.len(), swept);
            for run in runs {
                let deleted = match run_of(&run) {
                    Ok(run) => {
                        delete_run(server, keys, &run, None).await.map_err(|error| error.run(run))
                    }
                    Err(error) => Err(error),
                };
                match deleted {
                    Ok(Deleted::Done) => swept += 1,
                    Ok(Deleted::Open | Deleted::Absent) => {}
                    Err(error) if error.kind() == ErrorKind::Corrupt => corrupt = Some(error),
                    Err(error) => return Err(error),
                }
            }
            if found < RETIRED_MAX || swept == before {
                break;
            }
        }
    }
    corrupt.map_or(Ok(swept), Err)
}

async fn delete_run(
    server: &Server,
    keys: &Keys,
    run: &RunId,
    head: Option<Position>,
) -> Result<Deleted> {
    let log = LogId::Run(run.clone());
    let shard = keys.shard(&log);
    let keys_of_it = [
        keys.runs(shard),
        keys.due(shard),
        keys.about(shard),
        keys.ids(shard),
        keys.log(shard, run),
        keys.spent(shard, run),
        keys.streams(shard, run),
    ];
    let call = Call::new(&DELETE_RUN, keys_of_it)
        .arg(run.as_str())
        .arg(head.map_or_else(|| "*".to_owned(), |head| head.to_string()))
        .arg(SPENT_SECONDS.to_string());
    let mut link = server.link().await?;
    let answer: Answer = server.write(&mut link, &call).await?;
    let deleted = deleted(&log, &answer.word)?;
    if deleted != Deleted::Done {
        return Ok(deleted);
    }
    let streams: Vec<String> = answer.value()?;
    if !streams.is_empty() {
        for names in streams.chunks(REMOVED_MAX) {
            let mut unlink = redis::cmd("UNLINK");
            for name in names {
                let name = world_core::StreamName::new(name.as_str())
                    .map_err(|error| nonsense().source(error))?;
                unlink.arg(keys.stream(shard, run, &name));
            }
            let answer = link.send(&unlink).await;
            let _: u64 = server.conclude(&link, Stage::Write, answer)?;
        }
        let call =
            Call::new(&REMOVED, [keys.due(shard), keys.streams(shard, run)]).arg(run.as_str());
        let _: Answer = server.write(&mut link, &call).await?;
    }
    Ok(Deleted::Done)
}

async fn delete_token(
    server: &Server,
    keys: &Keys,
    token: &Token,
    head: Position,
) -> Result<Deleted> {
    let log = LogId::Token(token.clone());
    let shard = keys.shard(&log);
    let call = Call::new(&DELETE_TOKEN, [keys.token(shard, token), keys.base(shard, token)])
        .arg(head.to_string())
        .arg(SPENT_SECONDS.to_string());
    let mut link = server.link().await?;
    let answer: Answer = server.write(&mut link, &call).await?;
    deleted(&log, &answer.word)
}

fn deleted(log: &LogId, word: &str) -> Result<Deleted> {
    match word {
        "done" => Ok(Deleted::Done),
        "open" => Ok(Deleted::Open),
        "absent" => Ok(Deleted::Absent),
        "corrupt" => Err(corrupt(log, None, "a log whose head cannot be read")),
        _ => Err(nonsense()),
    }
}
