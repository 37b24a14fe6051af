//! Bodies, times and kinds that are not kept as they are: rule I1.

use world_core::{Kind, Record, Sealed, Timestamp};

use crate::flaw::{Flaw, flaw, with_records};

/// A flaw in what is written of a record.
macro_rules! writes {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            I1,
            $name,
            $what,
            append = |logs, log, append| { logs.append(log, &with_records(append, $change)) }
        )
    };
}

fn body(record: &mut Record, change: impl Fn(&[u8]) -> Vec<u8>) {
    record.body = Sealed::from_stored(change(record.body.as_bytes()));
}

pub(crate) fn flaws() -> Vec<Flaw> {
    vec![
        writes!("body_ends_at_nul", "a body ends at its first zero byte", |record| {
            body(record, |bytes| {
                bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
            });
        }),
        writes!(
            "body_without_trailing_zeros",
            "zero bytes at the end of a body are lost",
            |record| {
                body(record, |bytes| {
                    let end =
                        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |index| index + 1);
                    bytes[..end].to_vec()
                });
            }
        ),
        writes!("body_without_spaces", "white space at the end of a body is lost", |record| {
            body(record, |bytes| bytes.trim_ascii_end().to_vec());
        }),
        writes!(
            "body_as_text",
            "a body is kept as text: bytes that are none are replaced",
            |record| {
                body(record, |bytes| String::from_utf8_lossy(bytes).into_owned().into_bytes());
            }
        ),
        writes!("body_with_unix_lines", "a carriage return before a line feed is lost", |record| {
            body(record, |bytes| String::from_utf8_lossy(bytes).replace("\r\n", "\n").into_bytes());
        }),
        writes!("body_of_64_kib", "a body is cut after 65535 bytes", |record| {
            body(record, |bytes| bytes[..bytes.len().min(65_535)].to_vec());
        }),
        writes!("body_of_seven_bits", "the highest bit of each byte is lost", |record| {
            body(record, |bytes| bytes.iter().map(|byte| byte & 0x7F).collect());
        }),
        writes!("kinds_above_0", "a kind of 0 becomes 1", |record| {
            record.kind = Kind(record.kind.0.max(1));
        }),
        flaw!(
            I1,
            "empty_body_dropped",
            "a record with an empty body is not written",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                page.records.retain(|record| !record.body.as_bytes().is_empty());
                page
            },
        ),
        writes!("times_in_seconds", "a record's time is kept in whole seconds", |record| {
            record.at = Timestamp::from_millis(record.at.as_millis() / 1000 * 1000);
        }),
        writes!("times_of_41_bits", "a record's time is kept in 41 bits", |record| {
            record.at = Timestamp::from_millis(record.at.as_millis() & ((1 << 41) - 1));
        }),
        writes!("kinds_of_8_bits", "a record's kind is cut to 8 bits", |record| {
            record.kind = Kind(record.kind.0 & 0xFF);
        }),
        writes!("kinds_with_a_sign", "a kind above 32767 becomes 32767", |record| {
            record.kind = Kind(record.kind.0.min(0x7FFF));
        }),
        flaw!(
            I1,
            "times_of_the_append",
            "a record's time is the append's",
            append = |logs, log, append| {
                let at = append.at;
                logs.append(log, &with_records(append, |record| record.at = at))
            },
        ),
    ]
}
