//! Panics that nobody planned.

use std::{cell::RefCell, panic::PanicHookInfo, sync::Once};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the bodies of samples say when they panic on purpose.
const PLANNED: &str = "oh";

/// Has each panic of this process kept for the simulation of its thread, and none shown. Panics
/// that a workflow makes on purpose are not kept.
pub fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(keep)));
}

fn keep(info: &PanicHookInfo<'_>) {
    if info.payload_as_str() != Some(PLANNED) {
        // A thread that ends has nowhere to keep it.
        let _ = PANICS.try_with(|panics| panics.borrow_mut().push(info.to_string()));
    }
}

/// The panics of this thread since the last call.
pub(super) fn take() -> Vec<String> {
    PANICS.take()
}
