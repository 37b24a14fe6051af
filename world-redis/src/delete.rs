//! Deleting: a run is hidden by a tombstone at once, then its streams are removed.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use world_core::{Deleted, Error, ErrorKind, LogId, Position, Result, RunId, StreamName, Token};

use crate::{
    append::Answer,
    error::{Stage, corrupt, nonsense},
    keys::{Keys, Shard},
    list::run_of,
    script::{Call, DELETE_RUN, DELETE_TOKEN, REMOVED, RETIRED},
    server::Server,
    store::Store,
};

/// How long a deleted id stays spent, and a deleted token log keeps its head (rule D2).
const SPENT_SECONDS: u32 = 7 * 24 * 3600;
/// Streams that are removed by one command.
const REMOVED_MAX: usize = 256;
/// Closed runs that one script finds.
const RETIRED_MAX: usize = 256;
/// Where a run stands in the index while its streams are being removed; its id follows.
const BEING_REMOVED: &str = "00003000000000000000";
/// The bytes before the run's id at any place among the closed.
const PLACE_BYTES: usize = BEING_REMOVED.len();

/// How often workers delete the closed runs that have been kept long enough.
const SWEEP: Duration = Duration::from_secs(60);

impl Store {
    /// Deletes a run or a token log at its stated head.
    pub(crate) async fn delete(&self, log: &LogId, head: Position) -> Result<Deleted> {
        let (server, keys) = (&self.server, &self.keys);
        match log {
            LogId::Run(run) => delete_run(server, keys, run, Some(head)).await,
            LogId::Token(token) => delete_token(server, keys, token, head).await,
            LogId::Stream(..) => {
                Err(Error::new(ErrorKind::Invalid, "a stream is deleted with its run"))
            }
        }
    }

    /// Deletes the closed runs that are kept no longer; says how many.
    pub(crate) async fn sweep(&self) -> Result<u64> {
        match self.options.retention {
            Some(kept) => sweep(&self.server, &self.keys, kept.as_millis()).await,
            None => Ok(0),
        }
    }

    /// Once a minute, and if nobody here does so already: sees to it that the World is as it was
    /// made, and sweeps.
    pub(crate) fn sweep_in_time(self: &Arc<Self>) {
        let is_due = self.swept().take_if(|swept| swept.elapsed() >= SWEEP).is_some();
        if !is_due {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = this.make_again().await {
                tracing::error!(%error, "the World is not as it was made");
            } else if let Err(error) = this.sweep().await {
                tracing::warn!(%error, "closed runs that are kept no longer are still there");
            }
            *this.swept() = Some(Instant::now());
        });
    }

    /// When the last sweep ended; nothing while one is under way.
    fn swept(&self) -> MutexGuard<'_, Option<Instant>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes the closed runs that have been kept for this many milliseconds; says how many. One that
/// cannot be deleted keeps no other from it.
async fn sweep(server: &Server, keys: &Keys, kept: u128) -> Result<u64> {
    let (mut swept, mut failed) = (0, None);
    for shard in 0..keys.shards() {
        let mut after = Vec::new();
        loop {
            let call = Call::new(&RETIRED, [keys.due(shard)])
                .arg(kept.to_string())
                .arg(RETIRED_MAX.to_string())
                .arg(&after);
            let places: Vec<Vec<u8>> = match server.read(&call).await {
                Ok(places) => places,
                Err(error) => {
                    failed = Some(error);
                    break; // of this shard
                }
            };
            for place in &places {
                match retire(server, keys, shard, place).await {
                    Ok(deleted) => swept += u64::from(deleted == Deleted::Done),
                    Err(error) => failed = Some(error),
                }
            }
            match places.into_iter().next_back() {
                Some(last) => after = last,
                None => break,
            }
        }
    }
    failed.map_or(Ok(swept), Err)
}

/// Deletes the run that stands at a place among the closed, and what is left of the place: an
/// earlier try may have been cut short.
async fn retire(server: &Server, keys: &Keys, shard: Shard, place: &[u8]) -> Result<Deleted> {
    let run = run_of(place.get(PLACE_BYTES..).unwrap_or_default())?;
    let deleted = delete_run(server, keys, &run, None).await;
    let deleted = deleted.map_err(|error| error.run(run.clone()))?;
    let mut forget = redis::cmd("ZREM");
    forget.arg(keys.due(shard)).arg(place);
    let _: u64 = server.send(Stage::Write, &keys.due(shard), &forget).await?;
    Ok(deleted)
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
    let answer: Answer = server.write(&call).await?;
    let deleted = deleted(&log, &answer.word)?;
    if deleted != Deleted::Done {
        return Ok(deleted);
    }
    let streams: Vec<String> = answer.value()?;
    if !streams.is_empty() {
        for names in streams.chunks(REMOVED_MAX) {
            let mut unlink = redis::cmd("UNLINK");
            for name in names {
                let name =
                    StreamName::new(name.as_str()).map_err(|error| nonsense().source(error))?;
                unlink.arg(keys.stream(shard, run, &name));
            }
            let _: u64 = server.send(Stage::Unsure, &keys.due(shard), &unlink).await?;
        }
        let call = Call::new(&REMOVED, [keys.due(shard), keys.streams(shard, run)])
            .arg(format!("{BEING_REMOVED}{}", run.as_str()));
        let _: Answer = server.write(&call).await?;
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
    let answer: Answer = server.write(&call).await?;
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
