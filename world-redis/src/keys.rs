//! The names of a World's keys, and which shard a log belongs to.
//!
//! A name is `{prefix:shard}:` and what it is. The braces hold a shard's keys together in one slot
//! of a Cluster; a prefix has neither braces nor colons, so that no two Worlds share a key.

use world_core::{LogId, Queue, RunId, StreamName, Token};

/// The names of one World's keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    shards: u16,
}

/// A part of a World whose keys share a slot, by its number.
pub(crate) type Shard = u16;

/// A key's name.
pub(crate) type Key = Vec<u8>;

impl Keys {
    pub(crate) fn new(prefix: &str, shards: u16) -> Self {
        Self { prefix: prefix.to_owned(), shards: shards.max(1) }
    }

    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// The shard of a run with its streams, or of a token.
    pub(crate) fn shard(&self, log: &LogId) -> Shard {
        log.shard(self.shards)
    }

    /// What says how the World was made.
    pub(crate) fn meta(prefix: &str) -> Key {
        format!("{{{prefix}}}:world").into_bytes()
    }

    /// A key that is there only while a World is opened.
    pub(crate) fn scratch(prefix: &str, name: &str) -> Key {
        format!("{{{prefix}}}:scratch:{name}").into_bytes()
    }

    /// The channel on which it is said that a run of a queue is ready; without the queue, what
    /// all of them begin with.
    pub(crate) fn ready(&self, queue: Option<&Queue>) -> Key {
        let queue = queue.map_or("", Queue::as_str);
        format!("{{{}}}:ready:{queue}", self.prefix).into_bytes()
    }

    fn key(&self, shard: Shard, what: &str, of: &str) -> Key {
        format!("{{{}:{shard}}}:{what}{of}", self.prefix).into_bytes()
    }

    /// A shard's runs with their states.
    pub(crate) fn runs(&self, shard: Shard) -> Key {
        self.key(shard, "runs", "")
    }

    /// What never changes of a shard's runs, and their tags.
    pub(crate) fn about(&self, shard: Shard) -> Key {
        self.key(shard, "about", "")
    }

    /// The ids of a shard's runs, in order.
    pub(crate) fn ids(&self, shard: Shard) -> Key {
        self.key(shard, "ids", "")
    }

    /// A shard's index of due runs.
    pub(crate) fn due(&self, shard: Shard) -> Key {
        self.key(shard, "due", "")
    }

    /// A run's log.
    pub(crate) fn log(&self, shard: Shard, run: &RunId) -> Key {
        self.key(shard, "log:", run.as_str())
    }

    /// A deleted run's tombstone.
    pub(crate) fn spent(&self, shard: Shard, run: &RunId) -> Key {
        self.key(shard, "spent:", run.as_str())
    }

    /// The names of a run's streams.
    pub(crate) fn streams(&self, shard: Shard, run: &RunId) -> Key {
        self.key(shard, "streams:", run.as_str())
    }

    /// A stream.
    pub(crate) fn stream(&self, shard: Shard, run: &RunId, stream: &StreamName) -> Key {
        let (run, stream) = (run.as_str(), stream.as_str());
        self.key(shard, "stream:", &format!("{}:{run}:{stream}", run.len()))
    }

    /// A token's log.
    pub(crate) fn token(&self, shard: Shard, token: &Token) -> Key {
        self.key(shard, "token:", token.as_str())
    }

    /// The head at which a token's log was last deleted.
    pub(crate) fn base(&self, shard: Shard, token: &Token) -> Key {
        self.key(shard, "base:", token.as_str())
    }

    /// What is written before replicas are waited for.
    pub(crate) fn confirm(&self, shard: Shard) -> Key {
        self.key(shard, "confirm", "")
    }

    /// A log's records, whose name is also the channel on which it is said that they have changed.
    pub(crate) fn records(&self, shard: Shard, log: &LogId) -> Key {
        match log {
            LogId::Run(run) => self.log(shard, run),
            LogId::Stream(run, stream) => self.stream(shard, run, stream),
            LogId::Token(token) => self.token(shard, token),
        }
    }
}
