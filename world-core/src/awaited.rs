//! Which run a step's body waits for: said by the handle that the body polls, and heard by the step
//! that polls the body. Nothing else knows that the one waits for the other.

use std::cell::RefCell;

use crate::{ids::RunId, replay::is_in_a_body};

thread_local! {
    static AWAITED: RefCell<Option<RunId>> = const { RefCell::new(None) };
}

/// Says that whoever is being polled waits for the end of a run. Outside a body it is not noted.
pub(crate) fn note(run: &RunId) {
    if is_in_a_body() {
        AWAITED.replace(Some(run.clone()));
    }
}

/// Takes what was said while a body was polled.
pub(crate) fn take() -> Option<RunId> {
    AWAITED.take()
}
