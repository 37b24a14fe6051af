//! Holds calls back until a test lets them go.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

/// Where held calls wait; shared by its clones. Once open it stays open.
///
/// ```
/// # use world_core::{layer::{Fault, FaultLayer, Gate}, *};
/// # use std::{num::NonZeroU32, sync::Arc};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let gate = Gate::new();
/// let held = gate.clone();
/// let world = Arc::new(FaultLayer::new(MemoryWorld::new(), move |_| Fault::Held(held.clone())));
/// let call = tokio::spawn({
///     let world = world.clone();
///     async move { world.list(&List::all(NonZeroU32::MIN)).await }
/// });
/// gate.arrived(1).await; // the call stands at the gate
/// gate.open();
/// assert!(call.await.unwrap()?.runs.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gate(Arc<Sides>);

struct Sides {
    arrived: watch::Sender<u64>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        let (arrived, is_open) = (watch::Sender::new(0), watch::Sender::new(false));
        Self(Arc::new(Sides { arrived, is_open }))
    }

    /// Lets go what waits here, and what comes.
    pub fn open(&self) {
        self.0.is_open.send_replace(true);
    }

    /// Returns once this many calls have come here.
    pub async fn arrived(&self, calls: u64) {
        // The sender lives as long as this handle.
        let _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived >= calls).await;
    }

    pub(super) async fn pass(&self) {
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        let _ = self.0.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("arrived", &*self.0.arrived.borrow())
            .field("is_open", &*self.0.is_open.borrow())
            .finish()
    }
}
