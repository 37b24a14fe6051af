//! A journal in a file: what an operation has changed is one entry, written whole before the
//! answer. Each entry begins with a mark that is written along with the entry before it, so after
//! a kill the last one is always torn.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use world_core::{Error, ErrorKind, LogId, Position, Record, Result, head::Head};

use crate::logs::Logs;

const BEGUN: u8 = 0xB1;

/// What changes of one log.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) log: LogId,
    pub(crate) head: Head,
    pub(crate) records: Vec<Record>,
}

/// A file to which entries are added.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

/// What is found in a file.
pub(crate) struct Found {
    pub(crate) entries: Vec<Vec<Change>>,
    /// Whether the last one is torn.
    pub(crate) is_torn: bool,
    /// Where the whole entries end.
    pub(crate) end: u64,
}

impl Journal {
    /// Opens a file, once nobody else has it open, and reads it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Found)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let mut found = Found { entries: Vec::new(), is_torn: false, end: 0 };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some((entry, others)) = entry(rest) else {
                found.is_torn = true;
                break;
            };
            found.end += (rest.len() - others.len()) as u64;
            found.entries.push(entry);
            rest = others;
        }
        Ok((Self { file }, found))
    }

    /// Goes on from here, and cuts off what is behind, if so.
    pub(crate) fn go_on(&mut self, end: Option<u64>) -> Result<()> {
        match end {
            Some(end) => {
                self.file.set_len(end).map_err(failed)?;
                self.file.seek(SeekFrom::Start(end)).map_err(failed)?;
            }
            None => {
                self.file.seek(SeekFrom::End(0)).map_err(failed)?;
            }
        }
        self.file.write_all(&[BEGUN]).map_err(failed)
    }

    /// Writes an entry, and the mark of the next one.
    pub(crate) fn write(&mut self, changes: &[Change]) -> Result<()> {
        let mut payload = Vec::new();
        for change in changes {
            put_change(&mut payload, change)?;
        }
        let mut bytes = Vec::with_capacity(payload.len() + 13);
        put(&mut bytes, &payload);
        bytes.extend(sum(&payload).to_be_bytes());
        bytes.push(BEGUN);
        self.file.write_all(&bytes).map_err(failed)
    }

    /// Ends it: no entry is begun.
    pub(crate) fn end(&mut self) -> Result<()> {
        let end = self.file.stream_position().map_err(failed)?;
        self.file.set_len(end.saturating_sub(1)).map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the journal").source(error)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u64).to_be_bytes());
    bytes.extend(part);
}

fn put_change(bytes: &mut Vec<u8>, change: &Change) -> Result<()> {
    let log = serde_json::to_vec(&change.log)
        .map_err(|error| Error::new(ErrorKind::Invalid, "a log's name").source(error))?;
    put(bytes, &log);
    put(bytes, &change.head.to_bytes()?);
    bytes.extend((change.records.len() as u64).to_be_bytes());
    for record in &change.records {
        bytes.extend(record.position.get().to_be_bytes());
        put(bytes, &record.to_bytes()?);
    }
    Ok(())
}

/// The first entry, and the bytes behind it; `None` if it is torn.
fn entry(bytes: &[u8]) -> Option<(Vec<Change>, &[u8])> {
    let mut bytes = bytes.strip_prefix(&[BEGUN])?;
    let mut payload = part(&mut bytes)?;
    if number(&mut bytes)? != sum(payload) {
        return None;
    }
    let mut changes = Vec::new();
    while !payload.is_empty() {
        let log: LogId = serde_json::from_slice(part(&mut payload)?).ok()?;
        let head = Head::from_bytes(&log, part(&mut payload)?).ok()?;
        let mut records = Vec::new();
        for _ in 0..number(&mut payload)? {
            let position = Position::new(number(&mut payload)?);
            records.push(Record::from_bytes(&log, position, part(&mut payload)?).ok()?);
        }
        changes.push(Change { log, head, records });
    }
    Some((changes, bytes))
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_be_bytes(*number))
}

fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(number(bytes)?).ok()?;
    let (part, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(part)
}

/// Does again what an entry says.
pub(crate) fn replay(logs: &mut Logs, entry: Vec<Change>) {
    for Change { log, head, records } in entry {
        if head.deleted {
            logs.bury(&log, head);
        } else {
            logs.write(&log, head, &records);
        }
    }
}
