//! What a World is made of, and how it is opened.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::time::Instant;
use world_core::{Error, ErrorKind, Result};

use crate::{
    claim::Turns,
    error::{Stage, unreadable},
    keys::Keys,
    lineage::Lineage,
    listeners::Listeners,
    options::{Options, SHARDS_MAX},
    script::{Call, OPEN},
    server::Server,
    url::Place,
};

/// The layout of the keys, as it is stored.
const LAYOUT: &str = "1";
/// The shards of a World that is made on a Cluster, where nothing else is said.
const CLUSTER_SHARDS: u16 = 16;
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) server: Server,
    pub(crate) keys: Keys,
    pub(crate) options: Options,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) lineage: Lineage,
    pub(crate) turns: Turns,
    /// When the last sweep ended; nothing while one is under way.
    pub(crate) swept: Mutex<Option<Instant>>,
}

impl Store {
    /// Connects, and makes the World if it is not there.
    pub(crate) async fn open(place: Place, options: Options) -> Result<Arc<Self>> {
        let listeners = Arc::new(Listeners::default());
        let server = Server::connect(place, options.clone(), &listeners).await?;
        try_rights(&server, &options, &listeners).await?;
        let default = if server.is_cluster() { CLUSTER_SHARDS } else { 1 };
        let shards = shards(&server, &options, options.shards.unwrap_or(default)).await?;
        if let Some(wanted) = options.shards.filter(|wanted| *wanted != shards) {
            return Err(Error::new(
                ErrorKind::Unsuitable,
                format!("a World of {shards} shards, where {wanted} are asked for"),
            )
            .help("leave shards out of the URL; a World keeps the number it was made with"));
        }
        Ok(Arc::new(Self {
            server,
            keys: Keys::new(&options.prefix, shards),
            options,
            listeners,
            lineage: Lineage::new(shards),
            turns: Turns::default(),
            swept: Mutex::new(Some(Instant::now())),
        }))
    }

    /// Sees to it that a store that may have lost how the World was made knows it again.
    pub(crate) async fn make_again(&self) -> Result<()> {
        let ours = self.keys.shards();
        match shards(&self.server, &self.options, ours).await {
            Ok(found) if found != ours => Err(Error::new(
                ErrorKind::Unsuitable,
                format!("the World was lost, and made anew with {found} shards in place of {ours}"),
            )
            .help("stop all programs, restore it from a copy, and start them again")),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "whether the World is made as it was is not known");
                Ok(())
            }
        }
    }
}

/// Whether this user may do what no script does: listen, and wait for replicas where that is asked.
async fn try_rights(server: &Server, options: &Options, listeners: &Listeners) -> Result<()> {
    let home = Keys::meta(&options.prefix);
    let ready = Keys::new(&options.prefix, 1).ready(None);
    server.subscribe(&home, listeners, &[ready]).await?;
    if options.wait_replicas > 0 {
        let mut wait = redis::cmd("WAIT");
        wait.arg(0).arg(1); // none of them has to be there
        let _: u64 = server.send(Stage::Connect, &home, &wait).await?;
    }
    Ok(())
}

/// The shards of the World, which is made with this number if it is not there.
async fn shards(server: &Server, options: &Options, number: u16) -> Result<u16> {
    let scratch = ["a", "b", "c"].map(|name| Keys::scratch(&options.prefix, name));
    let call = Call::new(&OPEN, std::iter::once(Keys::meta(&options.prefix)).chain(scratch))
        .arg(LAYOUT)
        .arg(number.to_string());
    let opened = server.run(Stage::Connect, &call, |_| Ok(())).await;
    let ((layout, shards), _): ((Option<Bytes>, Option<Bytes>), _) = opened?;
    let layout = layout.ok_or_else(unreadable)?;
    if layout != LAYOUT {
        let layout = layout.escape_ascii();
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("a World of layout {layout}, where this program knows {LAYOUT}"),
        )
        .help("use the version of world-redis that has made it, or a newer one"));
    }
    let shards = shards.and_then(|shards| str::from_utf8(&shards).ok()?.parse().ok());
    let is_known = |shards: &u16| (1..=SHARDS_MAX).contains(shards);
    shards.filter(is_known).ok_or_else(unreadable)
}
