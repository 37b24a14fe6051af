//! The suite on the World in memory.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use world_core::{MemoryWorld, Result};

/// The same site is the same data: clones of a `MemoryWorld` share it.
static SITES: LazyLock<Mutex<HashMap<String, MemoryWorld>>> = LazyLock::new(Mutex::default);

conformance::suite!(|site| async move {
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    Result::<_>::Ok(sites.entry(site.name().to_owned()).or_default().clone())
});
