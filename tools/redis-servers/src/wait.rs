//! Waits for what a server does not announce.

use std::{
    io, thread,
    time::{Duration, Instant},
};

const ASKED_EVERY: Duration = Duration::from_millis(10);
const WAITED_AT_MOST: Duration = Duration::from_secs(60);

/// Asks until the answer is no error; the last error if it always is one.
pub(crate) fn until<T>(mut asked: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        let answer = asked();
        if answer.is_ok() || began.elapsed() >= WAITED_AT_MOST {
            return answer;
        }
        thread::sleep(ASKED_EVERY);
    }
}
