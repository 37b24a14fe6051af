//! Panics that nobody planned.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    /// The panics of the simulation that this thread is at, if it is at one.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What the bodies of samples say when they panic on purpose.
const PLANNED: &str = "oh";

/// Has each panic of a simulation become an objection, and none of them shown. Panics that a
/// workflow makes on purpose are neither. Other threads panic as before.
pub fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_planned = info.payload().downcast_ref() == Some(&PLANNED);
            let kept = PANICS.try_with(|panics| {
                let mut panics = panics.borrow_mut();
                let panics = panics.as_mut()?;
                if !is_planned {
                    panics.push(info.to_string());
                }
                Some(())
            });
            if !matches!(kept, Ok(Some(()))) {
                before(info);
            }
        }));
    });
}

/// A simulation begins on this thread.
pub(super) fn begin() {
    PANICS.set(Some(Vec::new()));
}

/// It has ended: the panics nobody planned.
pub(super) fn end() -> Vec<String> {
    PANICS.take().unwrap_or_default()
}
