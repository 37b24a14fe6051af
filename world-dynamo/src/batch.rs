//! Records as bytes, one after the other: the tail of a head item, and what a batch item holds.
//!
//! A record is its kind (2 bytes), its time in milliseconds (8), the length of its body (4) and its
//! body, numbers big-endian. Its position is not stored: a batch's key says the last one.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use world_core::{Kind, LogId, Position, Record, Result, Sealed, Timestamp};

use crate::error::corrupt;

/// The bytes of a record beside its body.
const FRAME: usize = 14;

/// The most bytes of the records in one item; at least one record goes in. An item has 400 KB at
/// most, of which its keys and the rest take less than 4.
const BATCH_BYTES_MAX: usize = 396 << 10;

/// Records that follow each other, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    pub(crate) count: u64,
}

impl Batch {
    /// These records.
    pub(crate) fn of(records: &[Record]) -> Self {
        let size = records.iter().map(|record| FRAME + record.body.as_bytes().len()).sum();
        let mut bytes = BytesMut::with_capacity(size);
        for record in records {
            let body = record.body.as_bytes();
            bytes.put_u16(record.kind.0);
            bytes.put_u64(record.at.as_millis());
            bytes.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
            bytes.put_slice(body);
        }
        Self { bytes: bytes.freeze(), count: records.len() as u64 }
    }

    /// What was stored of a log; `None` if it is no batch.
    pub(crate) fn stored(bytes: Bytes) -> Option<Self> {
        let (mut rest, mut count) = (&bytes[..], 0);
        while !rest.is_empty() {
            rest = &rest[frame(rest)?..];
            count += 1;
        }
        Some(Self { bytes, count })
    }

    /// These records and then those.
    pub(crate) fn then(&self, more: &Self) -> Self {
        if self.count == 0 {
            return more.clone();
        }
        let mut bytes = BytesMut::with_capacity(self.bytes.len() + more.bytes.len());
        bytes.put_slice(&self.bytes);
        bytes.put_slice(&more.bytes);
        Self { bytes: bytes.freeze(), count: self.count + more.count }
    }

    /// These records without the first ones.
    pub(crate) fn without(&self, first: u64) -> Self {
        let first = first.min(self.count);
        let mut cut = 0;
        for _ in 0..first {
            cut += frame(&self.bytes[cut..]).unwrap_or_default();
        }
        Self { bytes: self.bytes.slice(cut..), count: self.count - first }
    }

    /// These records in parts that each fit into an item.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let (mut parts, mut begin, mut end, mut count) = (Vec::new(), 0, 0, 0);
        while let Some(size) = self.bytes.get(end..).filter(|rest| !rest.is_empty()).and_then(frame)
        {
            if count > 0 && end + size - begin > BATCH_BYTES_MAX {
                parts.push(Self { bytes: self.bytes.slice(begin..end), count });
                (begin, count) = (end, 0);
            }
            (end, count) = (end + size, count + 1);
        }
        if count > 0 {
            parts.push(Self { bytes: self.bytes.slice(begin..), count });
        }
        parts
    }

    /// The records, of which the last stands at this position.
    pub(crate) fn records(&self, log: &LogId, last: Position) -> Result<Vec<Record>> {
        let cut = |position| corrupt(log, Some(position), "a record that was cut short");
        let mut position = Position::new(last.get().saturating_sub(self.count));
        let (mut rest, mut records) = (self.bytes.clone(), Vec::new());
        for _ in 0..self.count {
            position = position.next();
            let size = frame(&rest).ok_or_else(|| cut(position))?;
            let mut record = rest.split_to(size);
            let (kind, at) = (Kind(record.get_u16()), record.get_u64());
            record.advance(4);
            let at = Timestamp::try_from(at).map_err(|error| {
                corrupt(log, Some(position), "a record of no time").source(error)
            })?;
            records.push(Record { position, kind, at, body: Sealed::from_stored(record) });
        }
        Ok(records)
    }
}

/// The bytes of the record that these begin with.
fn frame(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 4] = *bytes.get(FRAME - 4..FRAME)?.first_chunk()?;
    let size = FRAME.checked_add(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
    (size <= bytes.len()).then_some(size)
}

#[cfg(test)]
mod tests {
    use world_core::Token;

    use super::*;

    fn record(number: u64, body: usize) -> Record {
        let body = Sealed::from_stored(vec![number as u8; body]);
        Record {
            position: Position::new(number),
            kind: Kind(7),
            at: Timestamp::from_millis(number),
            body,
        }
    }

    #[test]
    fn records_come_back_as_they_were_whole_or_in_parts() {
        let log = LogId::Token(Token::new("t").unwrap());
        let records: Vec<_> = (5..12).map(|n| record(n, [0, 3, 200_000][n as usize % 3])).collect();
        let batch = Batch::of(&records);
        assert_eq!(Batch::stored(batch.bytes.clone()).as_ref(), Some(&batch));
        assert_eq!(batch.records(&log, Position::new(11)).unwrap(), records);
        assert_eq!(batch.without(2).records(&log, Position::new(11)).unwrap(), records[2..]);
        assert_eq!(batch.without(99), Batch::default());
        assert_eq!(Batch::of(&records[..3]).then(&Batch::of(&records[3..])), batch);
        let (mut found, mut last) = (Vec::new(), 4);
        for part in batch.parts() {
            assert!(part.bytes.len() <= BATCH_BYTES_MAX && part.count > 0);
            last += part.count;
            found.extend(part.records(&log, Position::new(last)).unwrap());
        }
        assert_eq!(found, records);
        assert_eq!(Batch::default().parts(), [], "no item stands for no records");
    }

    #[test]
    fn what_was_cut_short_is_no_batch() {
        let bytes = Batch::of(&[record(1, 3), record(2, 3)]).bytes;
        for length in (1..bytes.len()).filter(|length| *length != bytes.len() / 2) {
            assert_eq!(Batch::stored(bytes.slice(..length)), None, "{length}");
        }
    }
}
