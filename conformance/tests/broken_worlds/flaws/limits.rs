//! Appends that are too large, or said to be: rule B1.

use world_core::{Append, ErrorKind, Limits, LogId, Result};

use crate::{
    base::RIGHT,
    flaw::{Flaw, flaw},
};

/// Checks with other limits than the World says.
fn check_with(log: &LogId, append: &Append, limits: Limits) -> Result<()> {
    append.check(log, &limits)
}

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        flaw!(
            B1,
            "writes_what_fits",
            "of an append that is too large the part that fits is written",
            check = |_, _, _| Ok(()),
            append = |logs, log, append| {
                let refused = append.check(log, &RIGHT.limits);
                let mut part = append.clone();
                while let Err(error) = part.check(log, &RIGHT.limits) {
                    if error.kind() != ErrorKind::TooLarge || part.records.pop().is_none() {
                        return Err(error);
                    }
                }
                let answer = logs.append(log, &part);
                refused.and(answer)
            },
        ),
        flaw!(
            B1,
            "says_less_than_the_least",
            "it says that it takes 63 records",
            limits = Limits { records_max: 63, ..RIGHT.limits },
        ),
        flaw!(
            B1,
            "says_small_records",
            "it says that it takes records of 64 KiB",
            limits = Limits { record_bytes_max: 64 << 10, ..RIGHT.limits },
        ),
        flaw!(
            B1,
            "says_small_appends",
            "it says that it takes appends of 512 KiB",
            limits = Limits { append_bytes_max: 512 << 10, ..RIGHT.limits },
        ),
        flaw!(
            B1,
            "takes_25_records",
            "it takes no more than 25 records an append, and says more",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { records_max: 25, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "takes_one_record_less",
            "it refuses an append of as many records as it says",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { records_max: limits.records_max - 1, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "takes_one_byte_less",
            "it refuses a record of as many bytes as it says",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { record_bytes_max: limits.record_bytes_max - 1, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "takes_small_appends",
            "it refuses an append of as many bytes as it says",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { append_bytes_max: limits.append_bytes_max - 1, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "takes_more_records",
            "it takes more records an append than it says",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { records_max: usize::MAX, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "takes_larger_records",
            "it takes a larger record than it says",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { record_bytes_max: usize::MAX, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "takes_larger_appends",
            "it takes a larger append than it says",
            check = |log, append, limits| check_with(
                log,
                append,
                Limits { append_bytes_max: usize::MAX, ..*limits }
            ),
        ),
        flaw!(
            B1,
            "too_large_is_invalid",
            "what is too large is refused as invalid",
            check = |log, append, limits| match append.check(log, limits) {
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    Err(world_core::Error::new(ErrorKind::Invalid, "too large"))
                }
                checked => checked,
            },
        ),
        flaw!(
            B1,
            "too_large_is_unavailable",
            "what is too large is refused as unavailable, and sent again for ever",
            check = |log, append, limits| match append.check(log, limits) {
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    Err(world_core::Error::new(ErrorKind::Unavailable, "too large"))
                }
                checked => checked,
            },
        ),
    ]
}
