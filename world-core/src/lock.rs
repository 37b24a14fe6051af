//! Taking a lock that a panic may have left behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock. What it guards is left whole by every holder, so a panic elsewhere changes nothing.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
